#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""test_leaks.py USE LEAK - nothing of the library's is left when it was stopped.

valgrind looks at what was allocated, and LeakSanitizer at the same in the program
once more, built with it."""
import shutil
import subprocess
import sys
import unittest

USE, LEAK = sys.argv[1], sys.argv[2]


class Leaks(unittest.TestCase):
    @unittest.skipUnless(shutil.which('valgrind'), 'valgrind is not there')
    def test_valgrind_finds_nothing_lost(self):
        # What else it says, about switches of stacks, is another matter; and
        # what is asked for at load and kept is reachable.
        done = subprocess.run(
            ['valgrind', '--leak-check=full',
             '--show-leak-kinds=definite,indirect,possible', USE],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=280, check=False)
        if 'Possibly corrupted debuginfo' in done.stdout:
            self.skipTest('this valgrind cannot read the debugging information '
                          'of the compiler that built libcogo.so')
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn('HEAP SUMMARY', done.stdout)
        for kind in ('definitely lost', 'indirectly lost', 'possibly lost'):
            if kind in done.stdout:
                self.assertIn(f'{kind}: 0 bytes', done.stdout, done.stdout)

    @unittest.skipUnless(LEAK != 'none', 'the compiler has no LeakSanitizer')
    def test_leak_sanitizer_finds_nothing(self):
        done = subprocess.run([LEAK], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=100,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    @unittest.skipUnless(LEAK != 'none', 'the compiler has no LeakSanitizer')
    def test_leak_sanitizer_would_find_something(self):
        done = subprocess.run([LEAK, 'lose'], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=100,
                              check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('LeakSanitizer', done.stdout)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
