# SPDX-License-Identifier: MIT OR Apache-2.0
"""The demo's load generator believes nothing: each wrong byte, missing answer
and broken tunnel of a proxy that lies is counted, and none of one that does
not.

    test_tunnels.py TUNNELS ECHO

The liars are here; each answers CONNECT itself and has no server behind it."""
import json
import signal
import socket
import subprocess
import sys
import threading
import unittest

TUNNELS = ECHO = None


class Proxy:
    """Answers each CONNECT with `answer`, and then treats the bytes of every
    connection as lie(number of the connection, bytes) says; None ends it."""

    def __init__(self, lie, answer=b'HTTP/1.0 200 Connection established'):
        self.lie = lie
        self.answer = answer
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self.serve, daemon=True, args=(
                connection, len(self.connections) - 1)).start()

    def serve(self, connection, number):
        with connection:
            try:
                asked = b''
                while b'\r\n\r\n' not in asked:
                    asked += connection.recv(4096)
                # In two pieces: an answer may come in any number of them.
                connection.sendall(self.answer[:9])
                connection.sendall(self.answer[9:] + b'\r\nA: b\r\n\r\n')
                while True:
                    got = connection.recv(65536)
                    told = self.lie(number, got) if got else None
                    if told is None:
                        return
                    connection.sendall(told)
            except OSError:
                return

    def close(self):
        self.listener.close()


class Tunnels(unittest.TestCase):
    def start(self, port):
        p = subprocess.Popen([TUNNELS, '--proxy', str(port), '--target', '9'],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True, bufsize=1)
        self.addCleanup(self.finish, p)
        return p

    def finish(self, p):
        p.stdin.close()
        p.stdout.close()
        self.assertEqual(p.wait(60), 0)

    def through(self, *args, **kw):
        proxy = Proxy(*args, **kw)
        self.addCleanup(proxy.close)
        return self.start(proxy.port)

    def ask(self, p, command):
        p.stdin.write(command + '\n')
        return json.loads(p.stdout.readline())

    def opened(self, p, n):
        answer = self.ask(p, f'open {n}')
        self.assertEqual((answer['opened'], answer['errors']), (n, 0), answer)
        return p

    def test_an_honest_proxy_has_no_wrong_byte_and_no_error(self):
        p = self.opened(self.through(lambda _, b: b), 20)
        answer = self.ask(p, 'run 500 7 10 60')
        self.assertEqual((answer['requests'], answer['errors'],
                          answer['wrong_bytes']), (500, 0, 0))
        answer = self.ask(p, 'check 60')
        self.assertEqual((answer['requests'], answer['errors'],
                          answer['wrong_bytes']), (20, 0, 0))

    def test_requests_go_to_as_many_tunnels_as_are_to_be_busy(self):
        seen = set()

        def lie(number, got):
            seen.add(number)
            return got
        p = self.opened(self.through(lie), 40)
        self.ask(p, 'run 100 4 10 60')
        self.assertEqual(len(seen), 10)
        self.ask(p, 'check 60')
        self.assertEqual(len(seen), 40)

    def test_one_flipped_bit_is_one_wrong_byte(self):
        flipped = []

        def lie(_, got):
            if flipped:
                return got
            flipped.append(True)
            return got[:-1] + bytes([got[-1] ^ 0x10])
        p = self.opened(self.through(lie), 3)
        self.assertEqual(self.ask(p, 'run 50 2 3 60')['wrong_bytes'], 1)

    def test_the_answer_to_an_earlier_request_is_wrong(self):
        first = {}

        def lie(number, got):
            stale = first.setdefault(number, got)
            return (stale * 4)[:len(got)]
        p = self.opened(self.through(lie), 1)
        self.assertEqual(self.ask(p, 'run 1 1 1 60')['wrong_bytes'], 0)
        self.assertGreater(self.ask(p, 'run 1 1 1 60')['wrong_bytes'], 50)

    def test_another_tunnels_answer_is_wrong(self):
        first = []

        def lie(_, got):
            first.append(got)
            return (first[0] * 4)[:len(got)]
        p = self.opened(self.through(lie), 2)
        self.assertGreater(self.ask(p, 'check 60')['wrong_bytes'], 50)

    def test_bytes_that_nobody_asked_for_are_wrong(self):
        p = self.opened(self.through(lambda _, b: b + b'xyz'), 1)
        answer = self.ask(p, 'run 1 1 1 60')
        # Those that come a moment later are found by the next request.
        again = self.ask(p, 'run 1 1 1 60')
        self.assertGreaterEqual(answer['wrong_bytes'] + again['wrong_bytes'],
                                3)

    def test_a_tunnel_that_ends_is_one_error_and_the_others_go_on(self):
        p = self.opened(self.through(
            lambda number, b: None if number == 0 else b), 4)
        answer = self.ask(p, 'run 100 2 4 60')
        self.assertEqual((answer['requests'], answer['errors']), (99, 1))
        self.assertIn('ended', answer['first_error'])

    def test_when_all_tunnels_end_the_run_does_too(self):
        p = self.opened(self.through(lambda _, b: None), 4)
        answer = self.ask(p, 'run 100 2 4 60')
        self.assertEqual((answer['requests'], answer['errors']), (0, 4))

    def test_a_refused_connect_is_an_error_with_the_proxys_words(self):
        p = self.through(lambda _, b: b, answer=b'HTTP/1.0 403 "Access"')
        answer = self.ask(p, 'open 5')
        self.assertEqual((answer['opened'], answer['errors']), (0, 5))
        self.assertIn('403', answer['first_error'])

    def test_nobody_listening_is_an_error(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            answer = self.ask(self.start(s.getsockname()[1]), 'open 3')
        self.assertEqual((answer['opened'], answer['errors']), (0, 3))

    def test_tunnels_can_be_closed_and_opened_again(self):
        p = self.opened(self.through(lambda _, b: b), 100)
        self.ask(p, 'close')
        self.opened(p, 50)
        self.assertEqual(self.ask(p, 'check 60')['requests'], 50)


class Echo(unittest.TestCase):
    def setUp(self):
        self.echo = subprocess.Popen([ECHO], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        self.port = int(self.echo.stdout.readline().split()[1])
        self.addCleanup(self.finish)

    def finish(self):
        self.echo.kill()
        self.echo.wait()
        self.echo.stdin.close()
        self.echo.stdout.close()

    def test_what_a_slow_reader_is_owed_comes_whole_and_in_order(self):
        sent = bytes(i * 7 & 0xff for i in range(251)) * 16000
        with socket.create_connection(('127.0.0.1', self.port)) as s:
            writer = threading.Thread(target=s.sendall, args=(sent,))
            writer.start()
            # Nothing is read until echo, too, has had to stop.
            writer.join(0.5)
            got = bytearray()
            s.settimeout(60)
            while len(got) < len(sent):
                piece = s.recv(1 << 16)
                self.assertNotEqual(piece, b'')
                got += piece
            writer.join()
        self.assertEqual(bytes(got), sent)

    def test_it_ends_when_its_standard_input_does(self):
        self.echo.stdin.close()
        self.assertEqual(self.echo.wait(60), 0)

    def test_it_ends_on_sigterm(self):
        self.echo.send_signal(signal.SIGTERM)
        self.assertEqual(self.echo.wait(60), -signal.SIGTERM)


if __name__ == '__main__':
    TUNNELS, ECHO = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
