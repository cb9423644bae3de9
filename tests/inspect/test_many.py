#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""As many guarded coroutines as the kernel's limit of mappings would not let
one have threads."""
import re
import signal
import time
import unittest

import look


def mappings(pid):
    with open(f'/proc/{pid}/maps', encoding='ascii', errors='replace') as f:
        return sum(1 for _ in f)


def most_mappings():
    with open('/proc/sys/vm/max_map_count', encoding='ascii') as f:
        return int(f.read())


def has_guard_install():
    """Whether the guards of this kernel cost no mapping of their own."""
    with look.Program([], look.built('many'), '2000') as p:
        p.until_out('parked 2000')
        few = mappings(p.pid) < 1000
        p.send('go\n')
        p.end()
        return few


class Many(unittest.TestCase):
    def hold(self, n, env=None):
        with look.Program(['--workers', '2', '--dump', 'USR1'],
                          look.built('many'), str(n), env=env) as p:
            p.until(lambda: 'parked' in p.out or 'refused' in p.out,
                    'all of them')
            self.assertIn(f'parked {n}\n', p.out, p.err)
            maps = mappings(p.pid)
            # The last of them said that it would wait, and then did.
            end = time.monotonic() + look.PATIENCE
            while time.monotonic() < end:
                found = p.dump()
                if all(e.frames for e in found if e.kind == 'coroutine'):
                    break
            self.assertEqual(sum(e.kind == 'coroutine' for e in found), n)
            ids = {e.id: e for e in found}
            for e in found:
                if e.kind == 'thread':
                    continue
                # Told in full, or by reference to one that was.
                self.assertTrue(e.frames, repr(e))
                as_other = re.match(r'as coroutine (\d+)', e.frames[0])
                if as_other:
                    e = ids[int(as_other.group(1))]
                self.assertTrue(any('thread+' in f for f in e.frames),
                                repr(e))
            p.send('go\n')
            self.assertEqual(p.end(), 0, p.err)
            self.assertIn(f'joined {n}\n', p.out)
            return maps

    def test_a_hundred_thousand_wait_at_once(self):
        if not has_guard_install():
            self.skipTest('this kernel has no MADV_GUARD_INSTALL')
        maps = self.hold(100000)
        self.assertLess(maps, 2000)

    def test_thirty_thousand_wait_with_the_fallback_guard(self):
        if most_mappings() < 65530:
            self.skipTest('vm.max_map_count is lower than by default')
        self.hold(30000, env={'COGO_FORCE': 'no_guard_install'})

    def test_beyond_the_limit_of_mappings_create_fails_and_says_why(self):
        if most_mappings() > 70000:
            self.skipTest('vm.max_map_count is higher than by default')
        with look.Program(['--workers', '2'], look.built('many'), '40000',
                          env={'COGO_FORCE': 'no_guard_install'}) as p:
            self.assertEqual(p.end(), 3, p.err)
            self.assertRegex(p.out, r'refused after 3\d{4}: ')
            self.assertIn('vm.max_map_count is reached; raise it', p.err)

    def test_one_of_a_hundred_thousand_that_overflows_is_named(self):
        if not has_guard_install():
            self.skipTest('this kernel has no MADV_GUARD_INSTALL')
        with look.Program(['--workers', '2'], look.built('many'),
                          '100000') as p:
            p.until_out('parked 100000')
            p.send('fall\n')
            self.assertEqual(p.end(), -signal.SIGSEGV)
            self.assertRegex(p.err, r'stack overflow: coroutine \d+ ran over '
                                    r'its stack of 32 KiB')
            self.assertIn('    fall+', p.err)


if __name__ == '__main__':
    look.main()
