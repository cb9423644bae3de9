#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""--dump: what it says of coroutines that stand in known places."""
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import look

DUMP = ['--workers', '2', '--dump', 'USR1']


def states(*what, options=DUMP):
    program = look.Program(options, look.built('states'), *what)
    program.until_out('ready')
    return program


def dump_until(program, condition):
    """Dumps until it holds: who says that he goes somewhere is there a moment
    later, and main was just running our handler. Returns the last dump."""
    end = time.monotonic() + look.PATIENCE
    while True:
        found = program.dump()
        if condition(found) or time.monotonic() > end:
            return found
        time.sleep(0.01)


def settled(program, name, words):
    """The entry of that name, once it is where it was told to go."""
    return look.named(dump_until(program, lambda found: words in look.named(
        found, name).rest), name)


class Dump(unittest.TestCase):
    def assert_stands(self, what, words, function=None):
        with states(what) as program:
            entry = settled(program, what, words)
            self.assertIn(words, entry.rest)
            self.assertTrue(
                any((function or f'stand_in_{what}') in f
                    for f in entry.frames), repr(entry))
            return entry

    def test_a_reader_waits_to_read_with_its_descriptor_and_its_stack(self):
        entry = self.assert_stands('read', 'waits to read (descriptor ')
        self.assertIn('stack 8', entry.rest)
        self.assertEqual(entry.kind, 'coroutine')

    def test_a_wait_for_a_mutex_names_the_mutex_and_its_holder(self):
        entry = self.assert_stands('mutex', 'waits for a mutex')
        self.assertIn('nobody_unlocks', entry.rest)
        self.assertIn('held by thread 1', entry.rest)

    def test_a_wait_for_a_condition_is_seen(self):
        self.assert_stands('cond', 'waits for a condition')

    def test_a_wait_for_a_semaphore_is_seen(self):
        self.assert_stands('sem', 'waits for a semaphore')

    def test_a_sleeper_says_how_long_it_sleeps_still(self):
        entry = self.assert_stands('sleep', 'for time to pass')
        self.assertIn('more', entry.rest)

    def test_one_in_a_bare_system_call_is_in_the_kernel_on_a_thread(self):
        entry = self.assert_stands('raw', 'is in the kernel')
        self.assertIn('on kernel thread', entry.rest)

    def test_one_that_computes_runs_on_a_thread(self):
        with states('compute') as program:
            entry = settled(program, 'compute', 'runs')
            self.assertIn('on kernel thread', entry.rest)

    def test_the_main_thread_is_there_too(self):
        with states('read') as program:
            mains = [e for e in dump_until(program, lambda found: any(
                e.kind == 'thread' and e.frames for e in found))
                if e.kind == 'thread']
            self.assertEqual(len(mains), 1, mains)
            self.assertIn(f'on kernel thread {program.pid}', mains[0].rest)
            self.assertTrue(any('main+' in f for f in mains[0].frames),
                            repr(mains[0]))

    def test_all_of_many_are_listed_in_order_and_once(self):
        with states(*['read'] * 300) as program:
            found = dump_until(program, lambda found: all(
                e.frames for e in found))
            coroutines = [e.id for e in found if e.kind == 'coroutine']
            self.assertEqual(len(coroutines), 300)
            self.assertEqual(coroutines, sorted(set(coroutines)))
            for entry in found:
                self.assertTrue(entry.frames, repr(entry))

    def test_the_program_goes_on_after_a_hundred_dumps(self):
        with states('read', 'compute', 'raw', 'sleep', 'cond') as program:
            for _ in range(100):
                self.assertEqual(len(program.dump()), 6)
            self.assertEqual(program.end(), 0)

    def test_dumps_disturb_no_one_who_parks_and_wakes(self):
        """Coroutines that are held for their backtrace are woken all the
        time: each wake has to arrive."""
        with look.Program(DUMP, look.built('pingpong'), '40', '3000') as program:
            program.until_out('ready')
            dumps = 0
            while 'done' not in program.out:
                program.dump()
                dumps += 1
                self.assertIsNone(program.process.poll(), program.err)
            self.assertGreater(dumps, 0)
            self.assertEqual(program.end(), 0, program.out)

    def test_without_coroutines_it_says_so_and_the_program_lives(self):
        with states() as program:
            os.kill(program.pid, signal.SIGUSR1)
            program.until_err('no coroutines in this process')
            self.assertEqual(program.end(), 0)

    def test_a_program_that_uses_the_signal_keeps_it_and_that_is_told(self):
        with look.Program(['--dump', 'TERM'], look.built('states'), '--handler',
                          'sem') as program:
            program.until_out('ready')
            self.assertIn('the program uses signal 15 itself', program.err)

    def test_a_program_is_not_shown_our_handler(self):
        out = subprocess.run(
            [look.COGO_RUN, '--dump', 'USR1', '--', sys.executable, '-c',
             'import signal; '
             'print(signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL)'],
            stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertEqual(out, 'True\n')

    def test_without_libunwind_frame_pointers_are_followed(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, 'libunwind.so.8'), 'wb') as f:
                f.write(b'no library')
            with look.Program(DUMP, look.built('states'), 'read',
                              env={'LD_LIBRARY_PATH': folder}) as program:
                program.until_out('ready')
                entry = settled(program, 'read', 'waits to read')
                self.assertIn('backtraces by frame pointers', program.err)
                self.assertTrue(any('stand_in_read' in f
                                    for f in entry.frames), repr(entry))
                self.assertEqual(program.end(), 0)

    def test_the_child_of_a_fork_can_be_asked_too(self):
        with look.Program(DUMP, look.built('forks')) as program:
            program.until_out('child ')
            program.until(lambda: program.out.endswith('\n'), 'a line')
            child = int(program.out.split('child ')[1].split()[0])
            os.kill(child, signal.SIGUSR1)
            program.until_err('that was all')
            found = look.entries(program.err)
            self.assertEqual([e.kind for e in found], ['thread', 'coroutine'],
                             program.err)
            self.assertIn(f'process {child}:', program.err)
            self.assertEqual(program.end(), 0)


if __name__ == '__main__':
    look.main()
