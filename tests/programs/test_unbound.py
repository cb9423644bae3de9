# SPDX-License-Identifier: MIT OR Apache-2.0
"""unbound with four threads, each an event loop with sockets of its own, that
answers out of what its configuration says and asks nobody."""

import asyncio
import os
import signal
import socket
import struct

from harness import *
from peers import Meeting, everyone

THREADS, NAMES, CLIENTS = 4, 500, 200

need(unbound="unbound")

CONFIG = """
server:
    username: {user}
    chroot: ""
    directory: {dir}
    pidfile: {dir}/unbound.pid
    logfile: {dir}/unbound.log
    use-syslog: no
    verbosity: 1
    num-threads: {threads}
    so-reuseport: {reuse}
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow
    do-ip6: no
    outgoing-range: 64
    num-queries-per-thread: 512
    incoming-num-tcp: 300
    edns-buffer-size: 1232
    # Nothing is asked of anybody.
    module-config: "iterator"
    do-not-query-localhost: yes
    root-hints: ""
    local-zone: "." refuse
    local-zone: "test." static
    local-data: "turn.test. 60 IN TXT {turn}"
{data}
remote-control:
    control-enable: no
"""

A, TXT, OK, NXDOMAIN, REFUSED = 1, 16, 0, 3, 5


def address(i):
    return f"10.0.{i // 250}.{i % 250 + 1}"


def long_text(i):
    """Beyond what a datagram carries without EDNS."""
    return [f"{i}-{n}-".ljust(200, "x") for n in range(6)]


def query(number, name, kind):
    labels = b"".join(
        bytes([len(label)]) + label.encode() for label in name.strip(".").split(".")
    )
    # Recursion is wanted; one question.
    head = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack(">2H", kind, 1)


def skip_name(data, at):
    while data[at]:
        if data[at] & 0xC0:
            return at + 2
        at += data[at] + 1
    return at + 1


def read_answer(data, number):
    """(rcode, truncated, [values])"""
    got, flags, questions, answers, _, _ = struct.unpack_from(">6H", data)
    same((got, questions, flags >> 15), (number, 1, 1), "head of the answer")
    at = skip_name(data, 12) + 4
    values = []
    for _ in range(answers):
        at = skip_name(data, at)
        kind, _, _, size = struct.unpack_from(">HHIH", data, at)
        at += 10
        value = data[at : at + size]
        at += size
        if kind == A:
            values.append(socket.inet_ntoa(value))
        else:
            values.append(value[1 : 1 + value[0]].decode())
    return flags & 15, bool(flags & 0x0200), values


class Datagrams(asyncio.DatagramProtocol):
    """A socket; asks again, as every resolver does, what got no answer."""

    @classmethod
    async def connect(cls, port):
        loop = asyncio.get_running_loop()
        _, self = await loop.create_datagram_endpoint(
            cls, remote_addr=("127.0.0.1", port)
        )
        self.waiting, self.number = {}, 0
        return self

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, _):
        future = self.waiting.get(struct.unpack_from(">H", data)[0])
        if future and not future.done():
            future.set_result(data)

    async def ask(self, name, kind):
        self.number += 1
        number = self.number
        future = self.waiting[number] = asyncio.get_running_loop().create_future()
        for _ in range(8):
            self.transport.sendto(query(number, name, kind))
            try:
                data = await asyncio.wait_for(asyncio.shield(future), 2)
                return read_answer(data, number)
            except asyncio.TimeoutError:
                pass
        raise Failure(f"no answer for {name}")

    def close(self):
        self.transport.close()


class Stream:
    @classmethod
    async def connect(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.number = 0
        return self

    async def ask(self, name, kind):
        self.number += 1
        data = query(self.number, name, kind)
        # The length in a segment of its own: it is read in two parts.
        self.writer.write(struct.pack(">H", len(data)))
        await self.writer.drain()
        self.writer.write(data)
        (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        return read_answer(await self.reader.readexactly(size), self.number)

    def close(self):
        self.writer.close()


class Unbound:
    def __init__(self, run, reuse):
        self.run, self.reuse, self.port = run, reuse, free_port()
        self.log = run.log("unbound.log")
        self.configure("first")

    def configure(self, turn):
        lines = []
        for i in range(NAMES):
            lines.append(f'    local-data: "n{i}.test. 60 IN A {address(i)}"')
        for i in range(20):
            lines += [
                f'    local-data: \'long{i}.test. 60 IN TXT "{text}"\''
                for text in long_text(i)
            ]
        self.config = self.run.file(
            "unbound.conf",
            CONFIG.format(
                dir=self.run.dir,
                # Whoever we are, it stays so: it writes its log here.
                user='""',
                port=self.port,
                threads=THREADS,
                reuse=self.reuse,
                turn=turn,
                data="\n".join(lines),
            ),
        )

    def start(self):
        self.process = self.run.start("unbound", "-d", "-c", self.config)
        self.process.wait_listening(self.port)
        return self.process

    def starts(self):
        return slurp(self.log).count("start of service")

    def messages(self):
        return self.run.messages(
            slurp(self.log),
            (r"^\[\d+\] unbound\[[0-9a-f:]+\] ", ""),
            # Which thread answered how many is chance.
            (r"^info: (server stats|average|histogram|\[|lower|   ).*", ""),
        )


async def names(client, i, rounds):
    for n in range(rounds):
        number = (i * 37 + n) % NAMES
        same(
            await client.ask(f"n{number}.test", A),
            (OK, False, [address(number)]),
            f"n{number}",
        )
    same((await client.ask(f"none{i}.test", A))[0], NXDOMAIN, "none.test")
    same((await client.ask("example.org", A))[0], REFUSED, "example.org")
    same(await client.ask(f"n{i % NAMES}.test", TXT), (OK, False, []), "no such kind")


async def by_datagram(port, i, ready=None):
    client = await Datagrams.connect(port)
    if ready:
        await ready.meet()
    await names(client, i, 12)
    rcode, truncated, _ = await client.ask(f"long{i % 20}.test", TXT)
    same((rcode, truncated), (OK, True), "a long answer in a datagram")
    turn = await client.ask("turn.test", TXT)
    client.close()
    return turn[2][0]


async def by_stream(port, i, ready=None):
    client = await Stream.connect(port)
    await client.ask("n1.test", A)
    if ready:
        await ready.meet()
    await names(client, i, 6)
    rcode, truncated, values = await client.ask(f"long{i % 20}.test", TXT)
    same(
        (rcode, truncated, sorted(values)),
        (OK, False, sorted(long_text(i % 20))),
        "a long answer",
    )
    turn = await client.ask("turn.test", TXT)
    client.close()
    return turn[2][0]


def load(port, count):
    ready = Meeting(count)
    return set(
        asyncio.run(
            everyone(
                count, lambda i: (by_stream if i % 2 else by_datagram)(port, i, ready)
            )
        )
    )


def life(run, reuse):
    server = Unbound(run, reuse)
    process = server.start()
    load(server.port, 20)
    before = process.descriptors()
    if not run.under:
        threads = len(os.listdir(f"/proc/{process.pid}/task"))
        check(threads >= THREADS, threads, "threads")
    same(load(server.port, CLIENTS), {"first"}, "turn")
    run.descriptors_return(process, before)
    # All its threads end, and begin again with what they read anew.
    for turn in ("second", "third"):
        server.configure(turn)
        starts = server.starts()
        process.send(signal.SIGHUP)
        wait_for(lambda: server.starts() > starts, "the reload")
        process.wait_listening(server.port)
        same(load(server.port, 40), {turn}, "turn")
        run.descriptors_return(process, before, turn)
    seen = {"status": process.stop()}
    seen["pid file"] = os.path.exists(run.path("unbound.pid"))
    seen["messages"] = server.messages()
    seen["output"] = run.messages(process.out() + process.err())
    return seen


@test
def four_threads_with_sockets_of_their_own_answer_across_reloads(run):
    return life(run, "yes")


@test
def four_threads_that_share_their_sockets_answer_across_reloads(run):
    return life(run, "no")


main()
