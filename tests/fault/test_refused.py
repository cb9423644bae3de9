#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Each system call and each allocation refused in its turn, under a program
that looks at every result.

The n-th of a kind of calls fails, for every n until the program gets through
without meeting it; and then all from some n on. FAULT_EACH says how many of
each kind at most, FAULT_SAMPLE how many of those beyond."""
import ctypes
import errno
import os
import time
import unittest

import lack

PATIENCE = 20       # runs, until one has to wait
EACH = int(os.environ.get('FAULT_EACH', '18'))
SAMPLE = int(os.environ.get('FAULT_SAMPLE', '6'))


def some(n, each, sample):
    """The numbers up to n: all of the first, some of the rest."""
    yield from range(1, min(n, each) + 1)
    for i in range(1, sample + 1):
        at = each + (n - each) * i // sample
        if n > each and at > each:
            yield at


def refusal(act, how, poller='epoll'):
    if act == 'floors':
        return lack.Refusal(how, [lack.FLOORS], 1, 'done floors\n')
    return lack.Refusal(how, [lack.COGO_RUN, '--workers', '2', '--poller', poller,
                              '--', lack.WORK, act], 2, f'done {act}\n')


class Refused(unittest.TestCase):
    def probe(self, acts, calls, error, *more, forever=False, poller='epoll'):
        tally = lack.Tally()
        begun = time.monotonic()
        answer = (['--short'] if error == 'short' else
                  ['--errno', str(getattr(errno, error))])

        def run(act, *how):
            return tally.add(refusal(act, ['--call', calls, *more, *how],
                                     poller))

        for act in acts.split():
            plain = run(act)
            if plain.status == lack.SKIPPED:
                self.skipTest(plain.err.decode().strip())
            self.assertEqual(plain.status, 0, str(plain))
            # Where the machine is busy what is asked for may be there before it
            # is asked for, all the time.
            for _ in range(PATIENCE if poller != 'epoll' else 0):
                if plain.calls:
                    break
                plain = run(act)
                self.assertEqual(plain.status, 0, str(plain))
            if poller != 'epoll':
                self.assertGreater(plain.calls, 0)
            for n in some(plain.calls, EACH, SAMPLE):
                run(act, *answer, '--nth', str(n))
            for n in some(plain.calls, EACH // 4, SAMPLE) if forever else ():
                if act != 'floors':
                    run(act, *answer, '--from', str(n))
            if len(tally.bad) > 5:
                break
        tally.tell(f'{calls} {error} ({time.monotonic() - begun:.1f} s)')
        self.assertEqual(tally.bad, [], '\n' + '\n'.join(tally.bad))

    # Memory

    def test_no_mapping_is_had(self):
        self.probe('floors threads sockets forks ends spawns signals', 'mmap', 'ENOMEM', forever=True)

    def test_no_page_is_protected(self):
        self.probe('floors threads sockets ends', 'mprotect', 'ENOMEM', forever=True)

    def test_no_advice_is_taken(self):
        self.probe('floors threads', 'madvise', 'EINVAL', forever=True)
        self.probe('floors threads', 'madvise', 'ENOMEM', forever=True)

    def test_nothing_is_unmapped(self):
        self.probe('threads', 'munmap', 'ENOMEM', forever=True)

    # Kernel threads and what each of them needs

    def test_no_kernel_thread_is_made(self):
        self.probe('floors threads locks waits forks spawns', 'clone,clone3,fork,vfork',
                   'EAGAIN', forever=True)

    def test_no_alternate_stack_is_had(self):
        self.probe('floors threads', 'sigaltstack', 'ENOMEM', forever=True)

    def test_no_action_of_a_signal_is_set(self):
        self.probe('floors threads', 'rt_sigaction', 'EINVAL', forever=True)

    def test_no_processors_are_told(self):
        self.probe('threads', 'sched_getaffinity', 'EINVAL', forever=True)

    # Descriptors

    def test_no_epoll_is_had(self):
        self.probe('floors pipes waits', 'epoll_create1', 'EMFILE', forever=True)

    def test_no_event_descriptor_is_had(self):
        self.probe('floors pipes waits', 'eventfd2', 'EMFILE', forever=True)

    def test_a_descriptor_is_not_registered(self):
        self.probe('floors pipes sockets waits', 'epoll_ctl', 'ENOSPC', forever=True)
        self.probe('sockets', 'epoll_ctl', 'ENOMEM', forever=True)

    def test_no_descriptor_is_duplicated(self):
        self.probe('pipes waits', 'fcntl', 'EMFILE', forever=True)

    def test_no_file_is_opened(self):
        self.probe('threads forks spawns ends', 'openat', 'EMFILE', forever=True)
        self.probe('threads', 'openat', 'ENOENT', forever=True)

    def test_no_connection_is_accepted(self):
        self.probe('sockets', 'accept,accept4', 'EMFILE', forever=True)

    # io_uring

    def test_no_ring_is_had(self):
        for error in 'ENOSYS', 'EPERM', 'EINVAL', 'ENOMEM', 'EMFILE':
            self.probe('turns sockets', 'io_uring_setup', error,
                       poller='io_uring')

    def test_the_ring_has_no_memory(self):
        self.probe('turns', 'mmap,madvise', 'ENOMEM', poller='io_uring')

    def test_nothing_is_submitted(self):
        # io_uring_setup's number is the same everywhere.
        ring = ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(120))
        if ring < 0:
            print('left out: test_nothing_is_submitted: the kernel gives us no ring')
            return
        os.close(ring)
        for error in 'EAGAIN', 'EBUSY', 'ENOMEM':
            self.probe('turns', 'io_uring_enter', error,
                       forever=error == 'EAGAIN', poller='io_uring')

    # A call is interrupted though nothing has come

    def test_a_wait_for_events_is_interrupted(self):
        self.probe('pipes waits', 'epoll_pwait2,epoll_pwait', 'EINTR')

    def test_the_newest_wait_for_events_is_unknown(self):
        self.probe('pipes waits', 'epoll_pwait2', 'ENOSYS', forever=True)

    def test_a_wait_on_a_futex_is_interrupted(self):
        # FUTEX_WAIT and FUTEX_WAIT_BITSET, private or not, by any clock.
        self.probe('locks waits forks', 'futex', 'EINTR', '--arg', '1:77:0')
        self.probe('locks waits forks', 'futex', 'EINTR', '--arg', '1:7f:9')

    def test_a_read_is_interrupted(self):
        self.probe('pipes waits', 'preadv2', 'EINTR')
        self.probe('sockets', 'recvfrom', 'EINTR')

    def test_a_write_is_interrupted(self):
        self.probe('pipes waits', 'pwritev2', 'EINTR')
        self.probe('sockets', 'sendto', 'EINTR')

    def test_a_read_without_waiting_is_unknown(self):
        self.probe('pipes waits', 'preadv2', 'EOPNOTSUPP', forever=True)
        self.probe('pipes waits', 'preadv2', 'ENOSYS', forever=True)

    def test_a_write_without_waiting_is_unknown(self):
        self.probe('pipes waits', 'pwritev2', 'EOPNOTSUPP', forever=True)
        self.probe('pipes waits', 'pwritev2', 'ENOSYS', forever=True)

    def test_an_accept_is_interrupted(self):
        self.probe('sockets', 'accept,accept4', 'EINTR')
        self.probe('sockets', 'accept,accept4', 'ECONNABORTED')

    def test_a_poll_is_interrupted(self):
        self.probe('sockets waits', 'ppoll,poll', 'EINTR')

    def test_a_wait_for_a_child_is_interrupted(self):
        self.probe('forks', 'wait4,waitid', 'EINTR')

    def test_a_sleep_is_interrupted(self):
        self.probe('waits', 'clock_nanosleep', 'EINTR')

    # Counts

    def test_a_read_brings_half(self):
        self.probe('pipes', 'preadv2', 'short', forever=True)

    def test_a_write_takes_half(self):
        self.probe('pipes', 'pwritev2', 'short', forever=True)
        self.probe('sockets', 'pwritev2,sendto', 'short', forever=True)



class Dry(unittest.TestCase):
    """The allocator is libc's with one call refused: libcogo's own, libc's
    and the loader's, on its behalf, go through it."""

    def test_no_allocation_succeeds(self):
        tally = lack.Tally()
        begun = time.monotonic()
        for act in ('threads', 'locks', 'sockets', 'waits', 'forks', 'ends',
                    'spawns', 'signals'):
            plain = lack.under_cogo(act, env={'LD_PRELOAD': lack.NOMALLOC})
            self.assertEqual(plain.kind(), 'done', str(plain))
            for which in 'NTH', 'FROM':
                for n in range(1, 2 * EACH):
                    tally.add(lack.under_cogo(act, env={
                        'LD_PRELOAD': lack.NOMALLOC,
                        'NOMALLOC_' + which: str(n)}))
        tally.tell(f'malloc ({time.monotonic() - begun:.1f} s)')
        self.assertEqual(tally.bad, [], '\n' + '\n'.join(tally.bad))


if __name__ == '__main__':
    lack.main()
