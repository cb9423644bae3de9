#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""--stats: the summary at the end, by whatever way the program ends."""
import re
import subprocess
import sys
import unittest

import look

STATS = ['--workers', '2', '--stats']


def ended(*program, options=STATS, status=0, env=None):
    """Runs a program to its end: what it said on standard error."""
    with look.Program(options, *program, env=env) as p:
        got = p.end()
        if got != status:
            raise AssertionError(f'{program} ended with {got}: {p.err}')
        return p.err


class Stats(unittest.TestCase):
    def test_it_counts_what_was(self):
        err = ended(look.built('pingpong'), '10', '500')
        self.assertEqual(err.count(', after '), 1, err)
        self.assertIn('coroutines      20 made, ', err)
        # The last may still be on its way out.
        self.assertRegex(err, r' \d left\n')
        self.assertGreaterEqual(
            int(re.search(r'switches +(\d+)', err).group(1)), 500)
        self.assertRegex(err, r'steals +\d+\n')
        self.assertRegex(err, r'hand-offs +\d+ declared, \d+ noticed\n')
        self.assertRegex(err, r'kernel threads +\d+ now; cogo made \d+, of '
                              r'which \d+ are workers: 2 wanted at once')
        self.assertRegex(err, r'memory +\d.* now, \d.* at most; page tables '
                              r'\d.*; \d.* in \d+ stacks, \d.* reserved')

    def test_the_longest_hand_off_has_a_stack_when_it_was_declared(self):
        err = ended(look.built('blocks'), 'declared')
        self.assertRegex(err, r'the longest +\d.*, declared, by coroutine \d+ '
                              r'"blocker"')
        self.assertIn('    block_here', err)

    def test_the_longest_hand_off_has_a_stack_when_it_was_noticed(self):
        err = ended(look.built('blocks'), 'unseen')
        found = re.search(r'the longest +([\d.]+) (m?s), noticed, by coroutine '
                          r'\d+ "blocker"', err)
        self.assertTrue(found, err)
        # It lasted half a second, and was noticed after a hundredth of one.
        seconds = float(found.group(1)) / (1000 if found.group(2) == 'ms' else 1)
        self.assertGreaterEqual(seconds, 0.4, err)
        self.assertIn('    block_here', err)

    def test_who_only_yields_leaves_the_processor_to_others_now_and_then(self):
        err = ended(look.built('blocks'), 'unseen')
        self.assertGreater(
            int(re.search(r'processor ceded +(\d+)', err).group(1)), 0)

    def test_threads_that_wait_unseen_are_kernel_threads_after_some(self):
        err = ended(look.built('blocks'), 'often')
        self.assertLess(
            int(re.search(r'coroutines +(\d+) made', err).group(1)), 60, err)

    def test_each_kind_of_hand_off_is_counted_by_itself(self):
        err = ended(look.built('blocks'), 'declared')
        self.assertRegex(err, r'noticed\n    1 wait in the kernel\n')
        err = ended(look.built('blocks'), 'disk')
        self.assertRegex(err, r'hand-offs +3 declared, .*\n'
                              r'    3 waits for a disk\n')
        self.assertNotIn('bound', err)
        err = ended(look.built('blocks'), 'unseen')
        self.assertRegex(err, r'hand-offs +0 declared, \d+ noticed\n  \S')

    def test_a_coroutine_that_keeps_its_kernel_thread_is_counted(self):
        err = ended(look.built('blocks'), 'nice')
        self.assertRegex(err, r'bound +1 time to a kernel thread, 1 for good\n')

    def test_who_takes_a_name_to_bind_keeps_its_kernel_thread(self):
        err = ended(look.built('blocks'), 'declared',
                    options=['--stats', '--bind', 'x,block?r'])
        self.assertRegex(err, r'bound +1 time to a kernel thread, 1 for good\n')
        err = ended(look.built('blocks'), 'declared',
                    options=['--stats', '--bind', 'block'])
        self.assertNotIn('bound', err)

    def test_a_program_without_threads_says_that(self):
        err = ended('/bin/true')
        self.assertRegex(err, r'^cogo: true, process \d+, made no threads\n$')

    def test_without_the_option_nothing_is_said(self):
        self.assertEqual(ended(look.built('pingpong'), '2', '10', options=[]),
                         '')

    def test_it_is_said_at_an_end_by_exit_on_a_coroutine(self):
        err = ended(look.built('blocks'), 'exit', status=7)
        self.assertEqual(err.count(', after '), 1, err)

    def test_it_is_said_at_an_end_by__exit(self):
        err = ended(look.built('blocks'), '_exit', status=8)
        self.assertEqual(err.count(', after '), 1, err)

    def test_a_child_that_was_forked_says_nothing_of_its_own(self):
        code = ('import os, threading\n'
                't = threading.Thread(target=lambda: None); t.start(); t.join()\n'
                'for _ in range(3):\n'
                '    pid = os.fork()\n'
                '    if pid == 0: os._exit(0)\n'
                '    os.waitpid(pid, 0)\n')
        err = ended(sys.executable, '-c', code)
        self.assertEqual(err.count('cogo: '), 1, err)

    def test_a_child_that_makes_threads_counts_its_own(self):
        code = ('import os, threading\n'
                'def some(n):\n'
                '    ts = [threading.Thread(target=lambda: None)'
                ' for _ in range(n)]\n'
                '    for t in ts: t.start()\n'
                '    for t in ts: t.join()\n'
                'some(7)\n'
                'pid = os.fork()\n'
                'if pid == 0:\n'
                '    some(3)\n'
                '    os._exit(0)\n'
                'os.waitpid(pid, 0)\n')
        err = ended(sys.executable, '-c', code)
        self.assertEqual(re.findall(r'coroutines +(\d+) made', err),
                         ['3', '7'], err)

    def test_a_child_that_execs_says_its_own_and_the_shell_its_own(self):
        err = ended('/bin/sh', '-c', f'{look.built("pingpong")} 1 10 </dev/null; :')
        self.assertEqual(len(re.findall(r'^cogo: (?:sh|dash|bash), .*made no '
                                        r'threads$', err, re.M)), 1, err)
        self.assertIn('coroutines      2 made', err)

    def test_programs_without_threads_that_it_starts_say_nothing(self):
        err = ended('/bin/sh', '-c', '/bin/true; /bin/true & wait; :')
        self.assertRegex(err, r'^cogo: (sh|dash|bash), process \d+, made no '
                              r'threads\n$')

    def test_a_closed_standard_error_is_no_reason_to_fail(self):
        done = subprocess.run(
            ['/bin/sh', '-c', '"$0" --stats -- "$1" 2 10 2>&- </dev/null',
             look.COGO_RUN, look.built('pingpong')], stdout=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0)


if __name__ == '__main__':
    look.main()
