# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sockets, pipes and the calls that wait for several, from many threads."""

import os
import select
import selectors
import signal
import socket
import socketserver
import sys
import threading
import time

PATIENCE = 30
socket.setdefaulttimeout(PATIENCE)


def start(target, *args):
    thread = threading.Thread(target=target, args=args)
    thread.start()
    return thread


def finish(threads):
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread} has not ended"


def exactly(end, size):
    parts = []
    while size and (part := end.recv(min(size, 65536))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def pairs():
    """A large message both ways through each pair: senders must wait."""
    good = []

    def send(end, data):
        end.sendall(data)
        end.shutdown(socket.SHUT_WR)

    def receive(end, data):
        got = exactly(end, len(data))
        good.append(got == data and end.recv(1) == b"")

    threads, ends = [], []
    for i in range(40):
        a, b = socket.socketpair()
        ends += [a, b]
        for left, right in ((a, b), (b, a)):
            data = bytes([i]) * 300_000
            threads += [start(send, left, data), start(receive, right, data)]
    finish(threads)
    for end in ends:
        end.close()
    print("pairs:", good == [True] * 80)


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 512


def tcp():
    server = Server(("127.0.0.1", 0), Echo)
    serving = start(server.serve_forever, 0.05)
    good = []

    def client(i):
        with socket.create_connection(server.server_address) as end:
            data = bytes([i % 256]) * (i * 97 + 1)
            for _ in range(3):
                end.sendall(data)
                good.append(exactly(end, len(data)) == data)

    finish([start(client, i) for i in range(200)])
    server.shutdown()
    server.server_close()
    finish([serving])
    print("tcp:", good == [True] * 600)
    try:
        socket.create_connection(server.server_address)
    except ConnectionRefusedError as error:
        print("tcp:", error)


def udp():
    def answer(end):
        while True:
            data, peer = end.recvfrom(100)
            end.sendto(data.upper(), peer)
            if data == b"end":
                return

    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    thread, good = start(answer, server), []

    def ask(i):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.connect(server.getsockname())
            end.send(b"message %d" % i)
            good.append(end.recv(100) == b"MESSAGE %d" % i)

    finish([start(ask, i) for i in range(50)])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"end", server.getsockname())
        finish([thread])
        end.settimeout(0.01)
        end.recv(10)
        try:
            end.recv(10)
        except TimeoutError as error:
            print("udp:", good == [True] * 50, error)
    server.close()


def pipes():
    totals = []

    def produce(out, i):
        with os.fdopen(out, "w") as file:
            for n in range(1000):
                print(i, n, file=file)

    def consume(source):
        with os.fdopen(source) as file:
            totals.append(sum(int(line.split()[1]) for line in file))

    threads = []
    for i in range(30):
        source, out = os.pipe()
        threads += [start(produce, out, i), start(consume, source)]
    finish(threads)
    print("pipes:", totals == [499500] * 30)


def waiting():
    """select, poll and epoll, each in threads of its own, all at once."""

    def by_select(end):
        return select.select([end], [], [], PATIENCE)[0] == [end]

    def by_poll(end):
        poller = select.poll()
        poller.register(end, select.POLLIN)
        return poller.poll(PATIENCE * 1000) == [(end.fileno(), select.POLLIN)]

    def by_epoll(end):
        with select.epoll() as poller:
            poller.register(end, select.EPOLLIN)
            return poller.poll(PATIENCE) == [(end.fileno(), select.EPOLLIN)]

    def by_selector(end):
        with selectors.DefaultSelector() as selector:
            selector.register(end, selectors.EVENT_READ)
            return len(selector.select(PATIENCE)) == 1

    answers = {}
    threads, ends = [], []
    for i in range(20):
        for how in (by_select, by_poll, by_epoll, by_selector):
            a, b = socket.socketpair()
            ends.append((a, b))

            def one(how=how, end=a):
                ready = how(end)
                answers.setdefault(how.__name__, []).append((ready, end.recv(1)))

            threads.append(start(one))
    for _, b in ends:
        b.send(b"x")
    finish(threads)
    for name in sorted(answers):
        print(f"waiting {name}:", answers[name] == [(True, b"x")] * 20)
    a, b = ends[0]
    print(
        "waiting for nothing:",
        select.select([a], [], [], 0.01),
        select.select([a], [b], [], 0)[1] == [b],
        select.select([], [], [], 0.01),
    )
    for a, b in ends:
        a.close()
        b.close()


def names():
    good = []

    def look(_):
        found = socket.getaddrinfo(
            "localhost", 80, socket.AF_INET, socket.SOCK_STREAM
        )
        good.append(found[0][4] == ("127.0.0.1", 80))
        good.append(
            socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)[0]
            == "127.0.0.1"
        )

    finish([start(look, i) for i in range(50)])
    print("names:", good == [True] * 100)


def descriptors():
    """One descriptor goes from thread to thread, and to a closing one."""
    a, b = socket.socketpair(socket.AF_UNIX)
    source, out = os.pipe()
    got = []

    def receive():
        data, fds, _, _ = socket.recv_fds(a, 10, 1)
        got.append((data, os.write(fds[0], b"through")))
        os.close(fds[0])

    thread = start(receive)
    socket.send_fds(b, [b"take"], [out])
    finish([thread])
    print("descriptors:", got, os.read(source, 10))
    for fd in (source, out):
        os.close(fd)
    woken = []

    def wait():
        woken.append(a.recv(1))

    thread = start(wait)
    b.shutdown(socket.SHUT_WR)
    finish([thread])
    print("descriptors:", woken)
    a.close()
    b.close()


def signals():
    """A signal while every thread waits: main's handler runs, calls go on."""
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    a, b = socket.socketpair()
    got = []
    threads = [start(lambda: got.append(a.recv(1))) for _ in range(10)]
    for _ in range(20):
        before = len(seen)
        os.kill(os.getpid(), signal.SIGUSR1)
        end = time.monotonic() + PATIENCE
        while len(seen) == before and time.monotonic() < end:
            time.sleep(0.001)
    b.sendall(b"0123456789")
    finish(threads)
    print("signals:", len(seen), sorted(got) == [b"%d" % i for i in range(10)])
    a.close()
    b.close()

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    waited = []
    thread = start(lambda: waited.append(signal.sigwait({signal.SIGUSR2})))
    signal.pthread_kill(thread.ident, signal.SIGUSR2)
    finish([thread])
    print("signals:", waited == [signal.SIGUSR2])
    thread = start(
        lambda: waited.append(signal.sigtimedwait({signal.SIGUSR2}, 0.01))
    )
    finish([thread])
    print("signals:", waited[1])

    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    alarms = []
    signal.signal(signal.SIGALRM, lambda *_: alarms.append(1))
    end = time.monotonic() + PATIENCE
    while len(alarms) < 5 and time.monotonic() < end:
        signal.pause()
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("signals:", len(alarms) >= 5)


for part in (pairs, tcp, udp, pipes, waiting, names, descriptors, signals):
    part()
    sys.stdout.flush()
print("open:", sorted(os.listdir("/proc/self/fd"), key=int)[:3])
