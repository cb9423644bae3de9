# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every example does what its first comment says.

    test_examples.py DIRECTORY OF THE PROGRAMS

Servers listen on a free port, which they print, and end on a signal: with status
0, soon, whatever their clients do."""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

PROGRAMS = None
SANITIZED = os.environ.get('SANITIZE', 'none') != 'none'
LIMIT = 60      # seconds: the machine may have much else to do


def path(name):
    return os.path.join(PROGRAMS, 'example-' + name)


class Server:
    """Ends with the block; what it said after the port is `said` then."""

    def __init__(self, test, name, how=signal.SIGTERM):
        self.test, self.name, self.how = test, name, how

    def __enter__(self):
        self.process = subprocess.Popen(
            [path(self.name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        first = self.process.stdout.readline()
        self.port = int(re.fullmatch(r'listening on port (\d+)\n', first)[1])
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.process.kill()
            self.process.communicate()
            return
        start = time.monotonic()
        self.process.send_signal(self.how)
        try:
            self.said, errors = self.process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            self.test.fail(f'{self.name} does not end')
        self.test.assertEqual(errors, '')
        self.test.assertEqual(self.process.returncode, 0)
        self.test.assertLess(time.monotonic() - start, 5)

    def connect(self):
        s = socket.create_connection(('127.0.0.1', self.port), timeout=LIMIT)
        self.test.addCleanup(s.close)
        return s


class Client:
    """A connection to a server whose clients speak in lines."""

    def __init__(self, server):
        self.socket = server.connect()
        self.file = self.socket.makefile('r')
        server.test.addCleanup(self.file.close)

    def say(self, line):
        self.socket.sendall(line.encode() + b'\n')

    def hear(self):
        return self.file.readline().rstrip('\n')

    def close(self):
        self.file.close()
        self.socket.close()


class Examples(unittest.TestCase):
    def run_example(self, name, *args, status=0):
        p = subprocess.run([path(name), *map(str, args)], text=True,
                           capture_output=True, timeout=LIMIT)
        self.assertEqual(p.returncode, status, p.stdout + p.stderr)
        self.errors = p.stderr
        return p.stdout

    # What depends on who is faster may fail on a machine that is busy, once.
    def eventually(self, attempt, times=4):
        for last in reversed(range(times)):
            try:
                return attempt()
            except AssertionError:
                if not last:
                    raise


class Channels(Examples):
    def test_sieve_prints_the_first_primes(self):
        primes = [n for n in range(2, 2000) if all(n % d for d in range(2, n))]
        for n in 1, 60:
            said = self.run_example('sieve', n)
            self.assertEqual(said.split(), [str(p) for p in primes[:n]])

    def test_pipeline_prints_as_many_records_as_were_asked_for(self):
        records, n = [], 1
        while len(records) < 15:
            x, steps = n, 0
            while x != 1:
                x, steps = 3 * x + 1 if x % 2 else x // 2, steps + 1
            if not records or steps > records[-1][1]:
                records.append((n, steps))
            n += 1
        for n in 1, 15:
            said = self.run_example('pipeline', n)
            self.assertEqual(
                [tuple(map(int, re.findall(r'\d+', line)))
                 for line in said.splitlines()], records[:n])

    def test_timers_limit_beat_and_bite(self):
        def attempt():
            lines = self.run_example('timers').splitlines()
            self.assertEqual(lines[:2], ['no answer after 50 ms',
                                         'now it is there: 42'])
            ticks = [int(re.fullmatch(r'tick at +(\d+) ms', x)[1])
                     for x in lines[2:8]]
            steps = [b - a for a, b in zip(ticks, ticks[1:])]
            self.assertEqual([x % 20 for x in steps], [0] * 5)
            self.assertGreater(min(steps), 0)
            self.assertGreaterEqual(steps[2], 80)
            self.assertEqual(lines[8:], [
                'key a', 'key b', 'key c', 'key d', 'are you still there?',
                'key e', 'key f'])
        self.eventually(attempt)


class Numbers(Examples):
    def test_generators_give_what_is_asked_for(self):
        with tempfile.NamedTemporaryFile('w') as f:
            f.write('first\nsecond\nthird\n')
            f.flush()
            said = self.run_example('generators', f.name)
        self.assertEqual(said, (
            '0 2 8 34 144 610 2584 \n'
            'two shapes: the same\na 4 for a 3: different\n'
            'first\nsecond\n(closed)\n'))

    def test_bank_keeps_its_money(self):
        said = self.run_example('bank', 20, 200)
        numbers = re.fullmatch(r'20 tellers, (\d+) transfers, (\d+) audits: '
                               'all the money is there\n', said)
        transfers, audits = map(int, numbers.groups())
        self.assertIn(transfers, range(100, 4001))
        self.assertGreater(audits, 0)

    def test_sleepers_sleep_at_the_same_time(self):
        n = 2000 if SANITIZED else 100000
        said = self.run_example('sleepers', n, 500)
        numbers = re.fullmatch(
            r'(\d+) coroutines, of ([\d.]+) KiB each\n'
            r'made in [\d.]+ s; slept for 0.50 s, all of them in ([\d.]+) s\n',
            said)
        self.assertEqual(numbers[1], str(n))
        if not SANITIZED:
            self.assertLess(float(numbers[2]), 32)
        self.assertGreaterEqual(float(numbers[3]), 0.5)


class Scopes(Examples):
    def test_quicksort_sorts(self):
        for n in 0, 1, 2, 999, 200000:
            self.assertEqual(self.run_example('quicksort', n),
                             f'{n} numbers in order\n')

    def test_fan_out_does_all_when_nothing_fails(self):
        self.assertEqual(self.run_example('fan-out', 0), (
            '40 jobs: 40 started, never more than 4 at a time\n'
            '40 done, 0 canceled\n'))

    def test_fan_out_ends_with_the_first_error(self):
        said = self.run_example('fan-out', status=1)
        numbers = re.fullmatch(
            r'40 jobs: (\d+) started, never more than (\d+) at a time\n'
            r'(\d+) done, (\d+) canceled\n'
            r'job 13: Input/output error\n', said)
        started, most, done, canceled = map(int, numbers.groups())
        self.assertIn(most, range(1, 5))
        self.assertEqual(done + canceled + 1, started)
        self.assertGreaterEqual(started, 13)
        self.assertLess(started, 40)

    def test_portscan_finds_who_listens(self):
        with socket.create_server(('127.0.0.1', 0)) as s:
            port = s.getsockname()[1]
            first, last = max(port - 20, 1), min(port + 20, 65535)
            said = self.run_example('portscan', first, last).split()
            self.assertIn(str(port), said)
            self.assertEqual(said, sorted(said, key=int))
        self.run_example('portscan', 0, status=2)

    def test_checksums_are_right_and_in_order(self):
        with tempfile.TemporaryDirectory() as top:
            files = {}
            for d in range(4):
                os.mkdir(f'{top}/d{d}')
                for n in range(30):
                    files[f'{top}/d{d}/f{n:02}'] = os.urandom(n * n * 100)
            for name, data in files.items():
                with open(name, 'wb') as f:
                    f.write(data)
            os.symlink('f00', f'{top}/d0/link')
            said = self.run_example('checksums', top)
            self.assertEqual(said, ''.join(
                f'{zlib.crc32(data):08x}  {name}\n'
                for name, data in sorted(files.items())))


class Libraries(Examples):
    def test_commands_run_side_by_side_and_are_printed_in_order(self):
        start = time.monotonic()
        said = self.run_example('commands', 'sleep 1; echo one', 'echo two',
                                'sleep 1; exit 3', *['sleep 1'] * 5, status=1)
        self.assertLess(time.monotonic() - start, 6)
        self.assertEqual(said, (
            '$ sleep 1; echo one\none\n$ echo two\ntwo\n'
            '$ sleep 1; exit 3\n(exit status 3)\n' + '$ sleep 1\n' * 5))

    def test_lookup_finds_localhost(self):
        said = self.run_example('lookup', 'localhost', '127.0.0.3', '::1')
        self.assertIn(said.splitlines()[0],
                      ('localhost: 127.0.0.1', 'localhost: ::1'))
        self.assertEqual(said.splitlines()[-2:],
                         ['127.0.0.3: 127.0.0.3', '::1: ::1'])


class Servers(Examples):
    def test_echo_sends_back_to_many_clients(self):
        with Server(self, 'echo') as s:
            said = self.run_example('echo-client', s.port, 50, 20)
            self.assertRegex(said, '50 connections: 1000 of 1000 messages')
        self.assertRegex(s.said, r'50 connections, \d+ bytes')
        said = self.run_example('echo-client', s.port, 3, status=1)
        self.assertRegex(said, '3 connections: 0 of 30 messages')
        self.assertIn('Connection refused', self.errors)

    def test_echo_ends_though_clients_stay_or_send_without_end(self):
        with Server(self, 'echo', signal.SIGINT) as s:
            idle, busy, deaf = s.connect(), s.connect(), s.connect()
            idle.sendall(b'x')
            self.assertEqual(idle.recv(1), b'x')
            # Does not read what it is sent: the server waits in send.
            deaf.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                while True:
                    deaf.sendall(bytes(65536))
            # Reads and writes as fast as it can, until there is no server.
            flood = subprocess.Popen(
                [sys.executable, '-c', 'import os\n'
                 'while os.write(3, bytes(65536)): os.read(3, 65536)'],
                preexec_fn=lambda: os.dup2(busy.fileno(), 3), close_fds=False,
                stderr=subprocess.DEVNULL)
            time.sleep(0.2)
        self.assertEqual(flood.wait(LIMIT), 1)

    def test_udp_echo_sends_back_and_reports(self):
        with Server(self, 'udp-echo') as s:
            with socket.socket(type=socket.SOCK_DGRAM) as c:
                c.settimeout(LIMIT)
                c.connect(('127.0.0.1', s.port))
                for i in range(40):
                    c.send(b'%d' % i)
                got = {int(c.recv(100)) for _ in range(40)}
                self.assertEqual(got, set(range(40)))
                c.send(b'')
                self.assertEqual(c.recv(100), b'')
                c.send(bytes(60000))
                self.assertEqual(len(c.recv(65536)), 60000)
            self.assertRegex(s.process.stdout.readline(), r'^\d+ datagrams$')
        self.assertEqual(s.said.splitlines()[-1], '42 datagrams in all')

    def test_chat_tells_those_in_the_room_and_nobody_else(self):
        with Server(self, 'chat') as s:
            anna, bert, carl = Client(s), Client(s), Client(s)
            anna.say('anna')
            anna.say('/join nowhere')
            self.assertEqual(anna.hear(), '* there is no such room')
            bert.say('bert')
            self.assertEqual(anna.hear(), '* bert comes to the hall')
            bert.say('hello')
            self.assertEqual(anna.hear(), 'bert: hello')
            bert.say('/join garden')
            self.assertEqual(anna.hear(), '* bert goes to the garden')
            carl.say('carl')
            self.assertEqual(anna.hear(), '* carl comes to the hall')
            carl.say('x' * 300)         # more than a line may have
            self.assertEqual(anna.hear(), 'carl: ' + 'x' * 199)
            self.assertEqual(anna.hear(), 'carl: ' + 'x' * 101)
            anna.say('/join garden')
            self.assertEqual(carl.hear(), '* anna goes to the garden')
            self.assertEqual(bert.hear(), '* anna comes to the garden')
            bert.close()
            self.assertEqual(anna.hear(), '* bert leaves')
            # Two are there when it ends.
        self.assertEqual(anna.hear(), '')
        self.assertEqual(carl.hear(), '')

    @unittest.skipIf(SANITIZED, 'the sanitizer ends a program that crashes')
    def test_panic_survives_its_requests(self):
        with Server(self, 'panic') as s:
            c, other = Client(s), Client(s)
            for _ in range(3):
                for request, answer in (
                        ('length hello', '5'),
                        ('length', 'sorry: SIGSEGV.*'),
                        ('depth 100', '100'),
                        ('depth 1000000', 'sorry: .*stack overflow.*'),
                        ('order 7', 'sorry: .*item != 7.*'),
                        ('order 1', 'sorry: item 1 is sold out'),
                        ('order 8', '800'),
                        ('', r'what\?')):
                    c.say(request)
                    self.assertRegex(c.hear(), f'^{answer}$')
            other.say('length hello')
            self.assertEqual(other.hear(), '5')


if __name__ == '__main__':
    PROGRAMS = sys.argv.pop(1)
    unittest.main()
