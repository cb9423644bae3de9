# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the tests of looking inside share: a program under cogo-run, what it
says, and a pool of patience that only a hang uses up.

    test_x.py COGO_RUN FOLDER [-v] [TestClass.test_name ...]

FOLDER is where the test programs were built."""
import os
import re
import select
import signal
import subprocess
import sys
import time
import unittest

PATIENCE = 120

if len(sys.argv) < 3:
    sys.exit(__doc__)
COGO_RUN = os.path.abspath(sys.argv.pop(1))
FOLDER = os.path.abspath(sys.argv.pop(1))


def built(name):
    """A program of this folder's."""
    return os.path.join(FOLDER, 'inspect-' + name)


def libcogo():
    """The library that this cogo-run preloads."""
    out = subprocess.run([COGO_RUN, '--', '/bin/sh', '-c',
                          'echo "$LD_PRELOAD"'],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    return out.strip().split(':')[0]


class Program:
    """A program under cogo-run (or bare: options None), its standard output
    and standard error read as they come."""

    def __init__(self, options, program, *arguments, env=None):
        command = [] if options is None else [COGO_RUN, *options, '--']
        self.process = subprocess.Popen(
            [*command, program, *arguments], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        self.said = {self.process.stdout: b'', self.process.stderr: b''}
        self.open = set(self.said)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, *self.said):
            try:
                stream.close()
            except OSError:
                pass

    @property
    def out(self):
        return self.said[self.process.stdout].decode(errors='replace')

    @property
    def err(self):
        return self.said[self.process.stderr].decode(errors='replace')

    def listen(self, seconds):
        """Reads what there is; False when nothing can come any more."""
        if not self.open:
            return False
        for stream in select.select(list(self.open), [], [], seconds)[0]:
            some = os.read(stream.fileno(), 1 << 16)
            if not some:
                self.open.discard(stream)
            self.said[stream] += some
        return True

    def until(self, condition, what):
        """Listens until the condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end or not self.listen(1):
                if condition():
                    return
                raise AssertionError(
                    f'{what} did not come; standard output:\n{self.out}\n'
                    f'standard error:\n{self.err}')

    def until_out(self, text):
        self.until(lambda: text in self.out, repr(text))

    def until_err(self, text):
        self.until(lambda: text in self.err, repr(text))

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self):
        """Closes its standard input and listens to the end: exit status."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        end = time.monotonic() + PATIENCE
        while self.listen(1) and time.monotonic() < end:
            pass
        return self.process.wait(timeout=PATIENCE)

    def dump(self, sig=signal.SIGUSR1):
        """Asks for a dump and returns it, read as entries."""
        before = self.err.count('that was all')
        start = len(self.err)
        os.kill(self.pid, sig)
        self.until(lambda: self.err.count('that was all') > before, 'a dump')
        return entries(self.err[start:])


class Entry:
    def __init__(self, line):
        self.line = line
        found = re.match(r'(coroutine|thread) (\d+)(?: "([^"]*)")?: (.*)', line)
        self.kind, number, self.name, self.rest = found.groups()
        self.id = int(number)
        self.frames = []

    def __repr__(self):
        return '\n'.join([self.line, *self.frames])


def entries(text):
    """The coroutines and threads of a dump."""
    found = []
    for line in text.split('\n'):
        if re.match(r'(coroutine|thread) \d+', line):
            found.append(Entry(line))
        elif line.startswith('    ') and found:
            found[-1].frames.append(line.strip())
    return found


def named(found, name):
    """The one of that name."""
    those = [e for e in found if e.name == name]
    if len(those) != 1:
        raise AssertionError(f'{len(those)} entries are named {name}: {found}')
    return those[0]


def main():
    unittest.main()
