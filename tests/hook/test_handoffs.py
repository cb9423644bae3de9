#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What cannot park is a declared hand-off.

On one worker others would go on all the same, once the monitor has noticed: so
this looks at --stats, where the two are told apart. A thread that reads from a
pipe parks, and is what is compared with."""
import os
import re
import subprocess
import sys
import unittest

COGO_RUN, AWAY, STREAM, PLAIN, LOG = sys.argv[1:6]

# Program, case, how often a thread sleeps in it at least.
SLEEPS = [
    (AWAY, 'who_wants_a_locked_file_waits', 1),
    (AWAY, 'who_wants_a_part_that_another_process_has_waits', 2),
    (AWAY, 'what_is_written_arrives', 5),
    (AWAY, 'a_file_has_the_room_that_was_asked_for', 8),
    (AWAY, 'a_terminal_that_has_sent_all_is_drained', 6),
    (AWAY, 'users_and_groups_are_who_they_are', 12),
    (AWAY, 'who_takes_from_an_empty_set_of_semaphores_waits', 6),
    (AWAY, 'who_wants_a_message_waits_and_so_does_who_has_no_room', 2),
    (AWAY, 'a_queue_lets_readers_and_writers_wait', 4),
    (AWAY, 'who_sleeps_in_one_of_them_can_be_cancelled', 3),
    # A line of which a part has come, and wide characters.
    (STREAM, 'a_reader_waits_for_what_the_buffer_does_not_hold', 9),
    (STREAM, 'a_printer_waits_for_room', 10),
    (STREAM, 'closing_a_stream_waits_until_all_of_it_is_out', 1),
    (STREAM, 'a_stream_that_becomes_a_fifo_waits_for_its_other_end', 2),
    (LOG, 'many_have_something_to_say_and_nobody_listens', 200),
    (LOG, 'who_sets_the_log_waits_for_who_is_in_it', 6),
]


def declared(program, case):
    done = subprocess.run(
        [COGO_RUN, '--workers', '1', '--stats', '--', program, case],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode or 'skip' in done.stdout:
        raise unittest.SkipTest(done.stdout) if done.returncode == 0 else \
            AssertionError(f'{program} {case}: {done}')
    # A child of a fork tells of its own; the process itself is the last.
    return int(re.findall(r'hand-offs +(\d+) declared', done.stderr)[-1])


class HandOffs(unittest.TestCase):
    def test_what_sleeps_in_the_kernel_says_so(self):
        none = declared(AWAY, 'nothing_at_all')
        for program, case, times in SLEEPS:
            with self.subTest(case=case):
                self.assertGreaterEqual(declared(program, case), none + times,
                                        os.path.basename(program))

    def test_what_the_buffer_holds_needs_none(self):
        """Seven streams, each filled once and found at its end once."""
        self.assertLessEqual(
            declared(STREAM, 'what_the_buffer_holds_is_not_waited_for'),
            declared(AWAY, 'nothing_at_all') + 7 * 2 + 2 + 7)

    def test_what_comes_line_by_line_needs_none(self):
        """Three hundred threads, four lines each, and as many answers."""
        self.assertLess(
            declared(PLAIN, 'who_waits_in_a_stream_costs_no_kernel_thread'),
            declared(AWAY, 'nothing_at_all') + 100)

    def test_a_number_in_words_needs_none(self):
        code = ('import socket, threading\n'
                'flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV\n'
                'def ask():\n'
                '    for i in range(%d):\n'
                '        assert socket.getnameinfo(("127.0.0.1", 80), %s) [1:]\n'
                't = threading.Thread(target=ask); t.start(); t.join()\n')

        def count(n, flags):
            done = subprocess.run(
                [COGO_RUN, '--workers', '1', '--stats', '--', sys.executable,
                 '-c', code % (n, flags)], stderr=subprocess.PIPE, text=True,
                check=True)
            return int(re.search(r'(\d+) declared', done.stderr).group(1))
        # Python itself looks the address up first, and that is one each.
        self.assertLess(count(100, 'flags'), count(100, '0'))

    def test_quick_exit_tells_the_summary(self):
        code = ('import ctypes, threading\n'
                't = threading.Thread(target=int); t.start(); t.join()\n'
                'ctypes.CDLL(None).quick_exit(9)\n')
        done = subprocess.run([COGO_RUN, '--stats', '--', sys.executable, '-c',
                               code], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 9)
        self.assertEqual(done.stderr.count('coroutines      1 made'), 1,
                         done.stderr)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
