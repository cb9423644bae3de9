# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the tests of refusals share: a program that lacks something, and how it
ended.

    test_x.py COGO_RUN FOLDER [-v] [TestClass.test_name ...]

FOLDER is where the programs of this folder were built. A program may do its
job ("done"), or see an error that its own call may answer ("seen"), or end with
a sentence that says why ("said"). It may not hang, crash, or give a wrong
byte: that is None."""
import os
import signal
import subprocess
import sys
import tempfile
import unittest

PATIENCE = 30   # only a hang uses it up

if len(sys.argv) < 3:
    sys.exit(__doc__)
COGO_RUN = os.path.abspath(sys.argv.pop(1))
FOLDER = os.path.abspath(sys.argv.pop(1))
REFUSE = os.path.join(FOLDER, 'refuse')
WORK = os.path.join(FOLDER, 'fault_work')
FLOORS = os.path.join(FOLDER, 'fault_floors')
NOMALLOC = os.path.join(FOLDER, 'nomalloc.so')

SKIPPED = 77

# What ends a program that has been refused what it cannot do without.
SENTENCES = (
    b'cogo: fatal: ',
    b'cogo-run: out of memory',
    # realpath wants memory too, and says only that there is no path.
    b'cogo-run: libcogo.so is neither',
    # The loader's, and libc's.
    b'error while loading shared libraries: ',
    b'cannot create TLS data structures',
    b'cannot allocate TLS data structures for initial thread',
    b'cannot allocate memory for thread-local data: ABORT',
    b'libgcc_s.so.1 must be installed for pthread_',
)


class Run:
    """One run of a command; preexec: in the child, before it."""

    def __init__(self, command, done, env=None, preexec=None):
        self.command = command
        self.expected = done.encode()
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             start_new_session=True, preexec_fn=preexec,
                             env={**os.environ, **(env or {})})
        self.hung = False
        try:
            self.out, self.err = p.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.hung = True
            os.killpg(p.pid, signal.SIGKILL)
            self.out, self.err = p.communicate()
        self.status = p.returncode

    def kind(self):
        if self.hung or self.status == 4:
            return None
        if self.status == 0:
            return 'done' if self.out == self.expected else None
        if self.status == 3:
            return 'seen' if b'refused: ' in self.out else None
        if any(s in self.err for s in SENTENCES):
            return 'said'
        return None

    def __str__(self):
        return (f'{" ".join(self.command)}: '
                f'{"hung" if self.hung else "status %d" % self.status}\n'
                f'    it said {self.out!r}\n    and {self.err!r}')


def under_cogo(act, workers=2, **more):
    return Run([COGO_RUN, '--workers', str(workers), '--', WORK, act],
               f'done {act}\n', **more)


class Refusal(Run):
    """A run under refuse: command begins to be counted with its n-th exec."""

    def __init__(self, how, command, execs, done):
        with tempfile.TemporaryDirectory() as folder:
            report = os.path.join(folder, 'report')
            super().__init__([REFUSE, '--execs', str(execs), '--report', report,
                              *how, '--', *command], done)
            self.calls = self.refused = 0
            if os.path.exists(report):
                with open(report, encoding='ascii') as f:
                    self.calls, self.refused, _ = map(int, f.read().split())


class Tally:
    """How many ended how, and those that may not."""

    def __init__(self):
        self.count = {'done': 0, 'seen': 0, 'said': 0}
        self.bad = []

    def add(self, run):
        kind = run.kind()
        if kind:
            self.count[kind] += 1
        else:
            self.bad.append(str(run))
        return run

    def tell(self, what):
        print(f'{what}: ' +
              ', '.join(f'{n} {kind}' for kind, n in self.count.items()) +
              f', {len(self.bad)} wrong', flush=True)


def main():
    unittest.main()
