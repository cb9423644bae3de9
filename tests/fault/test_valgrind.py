#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A server of threads, and what else work.c does, under valgrind and cogo-run:
right answers, and not one invalid read. valgrind knows neither the instruction
that writes the thread pointer nor the newest wait for events, so the ways round
both are taken without being asked for."""
import os
import shutil
import unittest

import lack

lack.PATIENCE = 150


@unittest.skipUnless(shutil.which('valgrind'), 'valgrind is not installed')
class Valgrind(unittest.TestCase):
    def probe(self, act):
        # What moves the stack pointer farther than this is a switch to it. By
        # default that is 2 MB, and a neighbour's stack is nearer.
        run = lack.Run([lack.COGO_RUN, '--workers', '2', '--', 'valgrind', '-q',
                        '--max-stackframe=100000', '--error-exitcode=9',
                        lack.WORK, act],
                       f'done {act}\n')
        if b'Possibly corrupted debuginfo' in run.err:
            self.skipTest('this valgrind cannot read the debugging information '
                          'of the compiler that built libcogo.so')
        self.assertEqual(run.kind(), 'done', str(run))
        self.assertNotIn(b'Invalid ', run.err)
        self.assertNotIn(b'uninitialised', run.err)

    def test_a_server_of_threads_and_its_clients(self):
        self.probe('sockets')

    def test_threads_and_their_storage(self):
        self.probe('threads')

    def test_locks(self):
        self.probe('locks')

    def test_waits(self):
        self.probe('waits')

    def test_threads_that_are_cancelled(self):
        self.probe('ends')


if __name__ == '__main__':
    os.environ.pop('MALLOC_PERTURB_', None)
    lack.main()
