#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A coroutine that runs over its stack is named, and the program ends as it
would have as threads."""
import re
import signal
import unittest

import look


def ends(*arguments, options=(), env=None):
    """Exit status and standard error, as coroutines and bare."""
    said = []
    for how in (options, None):
        with look.Program(how, look.built('deep'), *arguments, env=env) as p:
            said.append((p.end(), p.err))
    return said


class Overflow(unittest.TestCase):
    def assert_named(self, err, size):
        self.assertRegex(err, r'cogo: stack overflow: coroutine \d+ "faller" '
                              rf'ran over its stack of {size}\n')
        self.assertEqual(err.count('stack overflow'), 1, err)
        # Where it fell from, and the bottom that it fell to.
        self.assertRegex(err, r'    fall\+0x[0-9a-f]+ \(inspect-deep\), \d+ times\n')
        self.assertIn('    thread+', err)

    def test_it_is_named_with_its_size_and_dies_as_a_thread_does(self):
        (status, err), (bare_status, bare_err) = ends('65536')
        self.assert_named(err, '64 KiB')
        self.assertIn('--stack 128K', err)
        self.assertIn('pthread_attr_setstacksize', err)
        self.assertEqual(status, bare_status)
        self.assertEqual(status, -signal.SIGSEGV)
        self.assertEqual(bare_err, '')

    def test_a_stack_of_the_default_size_is_named_too(self):
        (status, err), (bare_status, _) = ends('0')
        self.assertRegex(err, 'ran over its stack of \\d')
        self.assertEqual(status, bare_status)

    def test_what_the_option_gave_is_said_to_be_the_options(self):
        (_, err), _ = ends('0', options=['--stack', '64K'])
        self.assert_named(err, '64 KiB')
        self.assertIn('is what --stack (COGO_STACK) says', err)

    def test_the_fallback_guard_catches_it_as_well(self):
        (status, err), _ = ends('65536', env={'COGO_FORCE': 'no_guard_install'})
        self.assert_named(err, '64 KiB')
        self.assertEqual(status, -signal.SIGSEGV)

    def test_with_the_threads_storage_shared_it_is_caught_as_well(self):
        (status, err), _ = ends('65536', env={'COGO_FORCE': 'shared_tls'})
        self.assertIn('ran over its stack of 64 KiB', err)
        self.assertEqual(status, -signal.SIGSEGV)

    def test_a_handler_of_the_programs_own_is_called_after_the_report(self):
        (status, err), (bare_status, _) = ends('65536', '--handler')
        self.assert_named(err, '64 KiB')
        self.assertEqual((status, bare_status), (42, 42))

    def test_the_main_thread_overflows_as_it_always_did(self):
        (status, err), (bare_status, bare_err) = ends('0', '--main')
        self.assertEqual((status, err), (bare_status, bare_err))

    def test_one_of_many_is_found(self):
        with look.Program([], look.built('many'), '1000') as p:
            p.until_out('parked 1000')
            p.send('fall\n')
            self.assertEqual(p.end(), -signal.SIGSEGV)
            self.assertEqual(len(re.findall(
                r'coroutine \d+ ran over its stack of 32 KiB', p.err)), 1, p.err)
            self.assertIn('    fall+', p.err)


if __name__ == '__main__':
    look.main()
