#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Descriptors, address space and kernel threads that run out: before the
program begins, and in the middle of its work."""
import os
import resource
import subprocess
import unittest

import lack

MIB = 1 << 20


def limited(what, n):
    return lambda: resource.setrlimit(what, (n, n))


class Exhausted(unittest.TestCase):
    def probe(self, acts, what, values):
        tally = lack.Tally()
        for act in acts:
            for n in values:
                tally.add(lack.under_cogo(act, preexec=limited(what, n)))
            # And with the last, which is plenty, it is done.
            last = lack.under_cogo(act, preexec=limited(what, values[-1]))
            self.assertEqual(last.kind(), 'done', str(last))
        tally.tell(self.id().rsplit('.', maxsplit=1)[-1])
        self.assertEqual(tally.bad, [], '\n' + '\n'.join(tally.bad))

    def middle(self, act):
        for workers in 1, 2:
            run = lack.under_cogo(act, workers=workers)
            if run.status == lack.SKIPPED:
                self.skipTest(run.out.decode().strip())
            self.assertEqual(run.kind(), 'done', str(run))

    def test_few_descriptors_from_the_start(self):
        self.probe(('threads', 'pipes', 'sockets', 'waits', 'forks', 'spawns',
                    'signals'), resource.RLIMIT_NOFILE, [*range(3, 16), 64])

    def test_little_address_space_from_the_start(self):
        self.probe(('threads', 'sockets', 'forks', 'ends', 'spawns'),
                   resource.RLIMIT_AS,
                   [n * MIB for n in (5, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48,
                                      56, 64, 72, 80, 96, 128, 1024)])

    def test_little_stack_from_the_start(self):
        self.probe(('threads', 'sockets'), resource.RLIMIT_STACK,
                   [n << 10 for n in (64, 100, 256, 8192)])

    def test_no_core_and_no_file_size_are_needed(self):
        self.probe(('threads', 'forks'), resource.RLIMIT_FSIZE, [0])

    def test_few_processes_for_this_user(self):
        if os.geteuid() == 0:
            # The limit does not bind root, whose threads are refused one by
            # one elsewhere (test_refused: clone).
            user = 65534
        else:
            user = None

        def limit(n):
            def act():
                resource.setrlimit(resource.RLIMIT_NPROC, (n, n))
                if user:
                    os.setgid(user)
                    os.setuid(user)
            return act

        try:
            plain = lack.under_cogo('threads', preexec=limit(1000))
            able = plain.status not in (126, 127)
        except (OSError, subprocess.SubprocessError):
            able = False
        if not able:
            self.skipTest('another user cannot run what was built here')
        self.assertEqual(plain.kind(), 'done', str(plain))
        tally = lack.Tally()
        for n in range(1, 12):
            for act in 'threads', 'locks', 'forks', 'waits':
                tally.add(lack.under_cogo(act, preexec=limit(n)))
        tally.tell('few processes')
        self.assertEqual(tally.bad, [], '\n' + '\n'.join(tally.bad))

    def test_no_descriptor_is_left_in_the_middle(self):
        self.middle('starved')

    def test_no_address_space_is_left_in_the_middle(self):
        self.middle('crowded')

    def test_every_page_is_locked(self):
        self.middle('locked')

    def test_signals_rain_on_every_call(self):
        self.middle('rain')


if __name__ == '__main__':
    lack.main()
