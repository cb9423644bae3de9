#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A deadlock is told, once, with everybody's backtrace; what only looks like
one is not."""
import os
import signal
import sys
import time
import unittest

import look

# Longer than the runtime takes to come to rest and look, by far: a report that
# comes later than this would not be missed here.
LONG_ENOUGH = float(os.environ.get('COGO_TEST_QUIET', 3))


class Deadlock(unittest.TestCase):
    def assert_told(self, *program, options=('--stats',)):
        with look.Program(['--workers', '2', *options],
                          look.built(program[0]), *program[1:]) as p:
            p.until_err('cogo: deadlock')
            p.until_err('that was all')
            end = time.monotonic() + LONG_ENOUGH / 3
            while time.monotonic() < end:
                p.listen(0.1)
            self.assertEqual(p.err.count('cogo: deadlock'), 1)
            return look.entries(p.err)

    def test_crossed_mutexes_are_told_with_who_holds_what(self):
        for options in (('--stats',), ('--dump', 'USR1')):
            found = self.assert_told('crossed', options=options)
            text = repr(found)
            self.assertEqual([e.kind for e in found],
                             ['thread', 'coroutine', 'coroutine'], text)
            self.assertIn('waits for a thread to end', found[0].rest)
            one, other = found[1:]
            self.assertIn(f'held by coroutine {other.id}', one.rest)
            self.assertIn(f'held by coroutine {one.id}', other.rest)
            self.assertTrue(any('main+' in f for f in found[0].frames), text)
            self.assertTrue(any('left_then_right' in f
                                for e in found for f in e.frames), text)

    def test_one_that_waits_for_a_semaphore_for_ever_is_told(self):
        found = self.assert_told('states', 'sem', '--join')
        self.assertIn('waits for a semaphore', look.named(found, 'sem').rest)

    def test_nothing_is_told_unless_asked_for(self):
        with look.Program([], look.built('crossed')) as p:
            p.until_out('ready')
            self.quiet(p)

    def quiet(self, p):
        end = time.monotonic() + LONG_ENOUGH
        while time.monotonic() < end:
            p.listen(0.2)
        self.assertNotIn('deadlock', p.err)
        self.assertIsNone(p.process.poll())

    def test_none_of_these_is_one(self):
        """Together, for they all take their time."""
        programs = {
            'main reads': ['sem', 'cond', 'mutex'],
            'one reads': ['sem', 'read', '--join'],
            'one sleeps': ['sem', 'sleep', '--join'],
            'one computes': ['sem', 'compute', '--join'],
            'one is in the kernel': ['sem', 'raw', '--join'],
            'a handler may post': ['--handler', 'sem', '--join'],
        }
        running = {what: look.Program(['--workers', '2', '--stats'],
                                      look.built('states'), *arguments)
                   for what, arguments in programs.items()}
        try:
            for p in running.values():
                p.until_out('ready')
            end = time.monotonic() + LONG_ENOUGH
            while time.monotonic() < end:
                for p in running.values():
                    p.listen(0.05)
            for what, p in running.items():
                with self.subTest(what):
                    self.assertNotIn('deadlock', p.err)
                    self.assertIsNone(p.process.poll())
        finally:
            for p in running.values():
                p.__exit__()

    def test_a_post_by_the_handler_ends_what_was_no_deadlock(self):
        with look.Program(['--stats'], look.built('states'), '--handler', 'sem',
                          '--join') as p:
            p.until_out('ready')
            os.kill(p.pid, signal.SIGTERM)
            self.assertEqual(p.end(), 0, p.err)

    def test_it_is_told_when_the_last_native_thread_joins_in(self):
        """The runtime is long at rest when main, which slept in the kernel,
        begins to wait for those who wait for each other."""
        code = r'''
import threading, time
a, b = threading.Lock(), threading.Lock()
both = threading.Barrier(2)
def cross(x, y):
    with x:
        both.wait()
        with y:
            pass
ts = [threading.Thread(target=cross, args=p) for p in ((a, b), (b, a))]
for t in ts: t.start()
time.sleep(5)
for t in ts: t.join()
'''
        # Python has handlers only for SIGINT; without it, semaphores count.
        with look.Program(['--workers', '2', '--stats'], sys.executable, '-c',
                          'import signal\n'
                          'signal.signal(signal.SIGINT, signal.SIG_DFL)\n' +
                          code) as p:
            p.until_err('cogo: deadlock')
            p.until_err('that was all')


if __name__ == '__main__':
    look.main()
