# SPDX-License-Identifier: MIT OR Apache-2.0
"""Processes, as the measurements see them: what one takes, and children that do not
outlive whoever measures."""
import contextlib
import ctypes
import json
import os
import re
import resource
import selectors
import signal
import socket
import subprocess
import time

KERNEL_STACK = 16 << 10          # x86-64 and aarch64 with 4 KiB pages
# Bytes, for where slabinfo cannot be read: Linux 6.x on x86-64.
SLAB_DEFAULTS = {
    'task_struct': 5888, 'pid': 192, 'vmap_area': 72,
    'vm_area_struct': 192, 'maple_node': 256, 'anon_vma': 104,
    'anon_vma_chain': 64, 'eventpoll_epi': 128, 'eventpoll_pwq': 72,
}
# From kmalloc, so under no name of its own: the vm_struct of the kernel stack
# and smaller things. Measured once with 4,000 threads that do nothing.
KMALLOC_PER_TASK = 180
MAPLE_SLOTS = 10                 # mappings that one maple_node holds, about


class Failure(Exception):
    """Something that the user has to be told in one sentence."""


# ---- looking at a process ---------------------------------------------------

def read(path):
    with open(path, encoding='utf-8', errors='replace') as f:
        return f.read()


def slab_sizes():
    sizes = dict(SLAB_DEFAULTS)
    try:
        for line in read('/proc/slabinfo').split('\n')[2:]:
            fields = line.split()
            if fields and fields[0] in sizes:
                sizes[fields[0]] = int(fields[3])
    except OSError:
        return sizes, False
    return sizes, True


def cpu_seconds(pid):
    """The CPU clock of a process: see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def tasks(pid):
    return os.stat(f'/proc/{pid}/task').st_nlink - 2


def turns(pid):
    """Kernel thread -> how often it has been given a processor."""
    found = {}
    for tid in os.listdir(f'/proc/{pid}/task'):
        try:
            found[int(tid)] = int(
                read(f'/proc/{pid}/task/{tid}/schedstat').split()[2])
        except OSError:
            pass
    return found


def descriptors(pid):
    return len(os.listdir(f'/proc/{pid}/fd'))


def field_kb(text, name):
    found = re.search(rf'^{name}:\s+(\d+) kB', text, re.M)
    return int(found.group(1)) * 1024 if found else 0


def epoll_registrations(pid):
    count = 0
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            if os.readlink(f'/proc/{pid}/fd/{fd}') == 'anon_inode:[eventpoll]':
                count += read(f'/proc/{pid}/fdinfo/{fd}').count('tfd:')
        except OSError:
            pass
    return count


def memory(pid, sizes):
    """Bytes of the process, by where they are."""
    maps = read(f'/proc/{pid}/maps').rstrip('\n').split('\n')
    written = sum(1 for line in maps if line.split(' ', 2)[1].startswith('rw'))
    n = tasks(pid)
    slab = n * (sizes['task_struct'] + sizes['pid'] + sizes['vmap_area'] +
                KMALLOC_PER_TASK)
    slab += len(maps) * (sizes['vm_area_struct'] +
                         sizes['maple_node'] / MAPLE_SLOTS)
    slab += written * (sizes['anon_vma'] + sizes['anon_vma_chain'])
    slab += epoll_registrations(pid) * (sizes['eventpoll_epi'] +
                                        sizes['eventpoll_pwq'])
    return {
        'user': field_kb(read(f'/proc/{pid}/smaps_rollup'), 'Pss'),
        'stacks': n * KERNEL_STACK,
        'tables': field_kb(read(f'/proc/{pid}/status'), 'VmPTE'),
        'slab': slab,
    }


def settle(pid):
    """Until it does nothing, and what it gives back late is given back."""
    time.sleep(2.5)
    before = cpu_seconds(pid)
    for _ in range(100):
        time.sleep(0.1)
        after = cpu_seconds(pid)
        if after - before < 0.002:
            return
        before = after


# ---- children ---------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)


def child(cpus=None):
    """What a child does first: it ends with us, and stays on those processors, as
    far as they are there."""
    there = os.sched_getaffinity(0)

    def begin():
        libc.prctl(1, signal.SIGKILL)       # PR_SET_PDEATHSIG
        wanted = there & set(cpus or there)
        if wanted:
            os.sched_setaffinity(0, wanted)
    return begin


def wait_for(condition, seconds, what, alive=None):
    """Asks until it holds; the limit is generous and only for what hangs."""
    end = time.monotonic() + seconds
    while not condition():
        if alive is not None and alive.poll() is not None:
            raise Failure(f'{what}: the process ended with status '
                          f'{alive.returncode}')
        if time.monotonic() > end:
            raise Failure(f'{what}: not within {seconds} seconds')
        time.sleep(0.02)


class Lines:
    """A child whose standard output is read line by line, with a limit."""

    def __init__(self, args, cpus=None, errors=None):
        self.process = subprocess.Popen(
            args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            preexec_fn=child(cpus))
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.rest = b''

    def line(self, seconds, meanwhile=lambda: None):
        end = time.monotonic() + seconds
        while b'\n' not in self.rest:
            if time.monotonic() > end:
                raise Failure(f'{self.process.args[0]}: no answer within '
                              f'{seconds} seconds')
            if self.selector.select(0.05):
                got = self.process.stdout.read()
                if got == b'':
                    raise Failure(f'{self.process.args[0]} ended')
                self.rest += got or b''
            meanwhile()
        line, self.rest = self.rest.split(b'\n', 1)
        return line.decode()

    def ask(self, command, seconds, **kw):
        try:
            self.process.stdin.write(command.encode() + b'\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure(f'{self.process.args[0]} ended') from None
        return json.loads(self.line(seconds, **kw))

    def end(self):
        self.selector.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


# ---- limits -----------------------------------------------------------------

def raise_descriptors(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, OSError):
            raise Failure(f'{wanted} descriptors are needed, and the limit is {hard} '
                          f'(ulimit -Hn): run it as root, or with fewer '
                          f'connections') from None
    resource.setrlimit(resource.RLIMIT_NOFILE,
                       (max(wanted, soft if soft > 0 else wanted), hard))


def enough_threads(connections):
    """Threads are limited in more places than one; where one of them would
    fail for that, say so at once and not as errors of the server."""
    limits = {'kernel.threads-max': '/proc/sys/kernel/threads-max',
              'kernel.pid_max': '/proc/sys/kernel/pid_max',
              "the control group's pids.max": '/sys/fs/cgroup/pids.max'}
    for name, path in limits.items():
        try:
            limit = int(read(path))
        except (OSError, ValueError):
            continue
        if limit < connections + 500:
            raise Failure(f'{connections} threads are more than {name} '
                          f'({limit}) allows: raise it, or measure fewer connections')
