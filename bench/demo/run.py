#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Measures tinyproxy, an unmodified thread-per-connection server, as threads
and under cogo-run. Started by tools/demo, which builds everything first.

A cell of the table is a fresh server with N long-lived CONNECT tunnels to a
local echo server. The tunnels are opened, left idle, and then half of them
are kept busy while the other half stays idle; at the end every tunnel, the
idle ones too, has to answer once more. All answers are compared byte for byte.
The cells of one N take turns, round by round, so that whatever else the
machine does is fair to both, and the table shows their medians.

What is measured, and how:

CPU per request
    The processor time of the server's process over the busy phase, from its
    CPU clock (exact to the nanosecond, all its threads together), divided by
    the requests answered. The load generator and the echo server are
    processes of their own and are not in it.
memory per idle connection
    What the server's process takes with N idle connections, less what it took
    with none, divided by N. User memory is PSS. Kernel memory is what belongs
    to threads and mappings: kernel stacks, page tables (VmPTE), and the small
    objects of the kernel (task_struct, vm_area_struct, … and, because an
    event-driven server has them instead, epoll's registrations), counted
    exactly and multiplied with their sizes, which /proc/slabinfo tells root.
    Sockets and their buffers are in neither: both ways have the same.
kernel threads
    The most seen during the busy phase. Under cogo those that were not given
    a processor once in all that time are told apart, as spares: they sleep
    until a call that nobody foresaw blocks a worker.
"""
import argparse
import ctypes
import json
import os
import platform
import re
import resource
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS, COGO = 'threads', 'cogo'

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


# ---- processes --------------------------------------------------------------

libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    libc.prctl(1, signal.SIGKILL)           # PR_SET_PDEATHSIG


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

    def __init__(self, args):
        self.process = subprocess.Popen(
            args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=die_with_parent)
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
        self.process.stdin.write(command.encode() + b'\n')
        self.process.stdin.flush()
        return json.loads(self.line(seconds, **kw))

    def end(self):
        self.selector.close()
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


class Server:
    """tinyproxy, one way or the other."""

    def __init__(self, settings, mode, connections, target):
        self.dir = tempfile.mkdtemp(prefix='cogo-demo-')
        self.log = os.path.join(self.dir, 'tinyproxy.log')
        self.errors = os.path.join(self.dir, 'stderr')
        try:
            self.start(settings, mode, connections, target)
        except BaseException:
            self.remove()
            raise

    def start(self, settings, mode, connections, target):
        command = [] if mode == THREADS else [settings.cogo_run,
                                              *settings.cogo_option]
        # Somebody may take the port between our asking and its listening.
        for attempt in range(3):
            self.port = free_port()
            config = os.path.join(self.dir, 'conf')
            with open(config, 'w', encoding='utf-8') as f:
                f.write(f'Port {self.port}\nListen 127.0.0.1\n'
                        f'Timeout 3600\nMaxClients {connections + 64}\n'
                        f'ConnectPort {target}\nDisableViaHeader Yes\n'
                        f'LogLevel Critical\nLogFile "{self.log}"\n')
            with open(self.errors, 'wb') as errors:
                self.process = subprocess.Popen(
                    [*command, settings.tinyproxy, '-d', '-c', config],
                    stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                    preexec_fn=die_with_parent)
            try:
                wait_for(self.listens, 20, 'starting tinyproxy', self.process)
                return
            except Failure as failure:
                self.kill()
                if attempt == 2:
                    raise Failure(f'{failure}; it says: {self.words()}') \
                        from None

    def listens(self):
        """Without connecting, which would already be a connection."""
        wanted = f':{self.port:04X} 00000000:0000 0A'
        return wanted in read('/proc/net/tcp')

    def words(self):
        said = ''
        for path in (self.errors, self.log):
            try:
                said += read(path)
            except OSError:
                pass
        return ' / '.join(said.strip().split('\n')[-4:]) or 'nothing'

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self):
        """As an administrator would. Returns what was not as it should be."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return 'did not end within 30 seconds of SIGTERM'
        return None if status == 0 else f'ended with status {status}'

    def remove(self):
        if hasattr(self, 'process'):
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- one cell ---------------------------------------------------------------

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


def measure(settings, mode, connections, sizes):
    result = {'mode': mode, 'connections': connections, 'wrong_bytes': 0,
              'errors': 0, 'complaints': []}
    echo = Lines([os.path.join(settings.build, 'bench/demo/echo')])
    server = tunnels = None
    try:
        target = int(echo.line(10).split()[1])
        server = Server(settings, mode, connections, target)
        pid = server.process.pid
        tunnels = Lines([os.path.join(settings.build, 'bench/demo/tunnels'),
                         '--proxy', str(server.port),
                         '--target', str(target)])

        def ask(command, seconds, **kw):
            answer = tunnels.ask(command, seconds, **kw)
            result['wrong_bytes'] += answer['wrong_bytes']
            result['errors'] += answer['errors']
            if answer['first_error']:
                result['complaints'].append(
                    f"{answer['first_error']} ({server.words()})")
            return answer

        # Once through everything, so that what is made once is made.
        ask('open 1', 150)
        ask('close', 10)
        settle(pid)
        empty = memory(pid, sizes)
        empty_descriptors = descriptors(pid)

        opened = ask(f'open {connections}', 150)
        result['open_seconds'] = opened['seconds']
        settle(pid)
        idle = memory(pid, sizes)
        for part, amount in idle.items():
            result['memory_' + part] = (amount - empty[part]) / connections
        result['idle_tasks'] = tasks(pid)

        busy = max(1, connections // 2)
        most = [0]

        def watch_tasks():
            most[0] = max(most[0], tasks(pid))

        run = f'{settings.in_flight} {busy} {settings.seconds}'
        limit = settings.seconds + 60
        ask(f'run {2 * busy} {run}', limit)
        turns_before = turns(pid) if mode == COGO else {}
        before = cpu_seconds(pid)
        answer = ask(f'run {settings.requests} {run}', limit,
                     meanwhile=watch_tasks)
        spent = cpu_seconds(pid) - before
        watch_tasks()
        result['tasks'] = most[0]
        result['spares'] = sum(
            tid != pid and n == turns_before.get(tid)
            for tid, n in turns(pid).items()) if mode == COGO else 0
        result['requests'] = answer['requests']
        result['rate'] = answer['requests'] / max(answer['seconds'], 1e-9)
        result['cpu_us'] = spent * 1e6 / max(answer['requests'], 1)
        result['p50_us'] = answer['p50_us']
        result['p99_us'] = answer['p99_us']

        ask('check 60', 120)
        ask('close', 30)
        try:
            wait_for(lambda: descriptors(pid) <= empty_descriptors, 20,
                     'closing', server.process)
        except Failure:
            left = descriptors(pid) - empty_descriptors
            result['complaints'].append(
                f'{left} descriptors were left open')
            result['errors'] += 1
        complaint = server.stop()
        if complaint:
            result['complaints'].append(complaint)
            result['errors'] += 1
    except ProcessLookupError:
        raise Failure('the server is gone; it says: ' +
                      server.words()) from None
    except Failure as failure:
        said = f'; tinyproxy says: {server.words()}' if server else ''
        raise Failure(f'{connections} connections as {mode}: '
                      f'{failure}{said}') from None
    finally:
        for child in (tunnels, echo):
            if child is not None:
                child.end()
        if server is not None:
            server.remove()
    return result


# ---- all cells --------------------------------------------------------------

class Progress:
    """One line that moves, on a terminal; a line for each cell elsewhere."""

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.moves = sys.stdout.isatty() and 'CI' not in os.environ
        self.start = time.monotonic()

    def begin(self, what):
        if self.moves:
            left = ''
            if self.done:
                took = time.monotonic() - self.start
                left = f', about {took / self.done * (self.total - self.done):.0f} s left'
            print(f'\r\033[K[{self.done + 1}/{self.total}] {what}{left}',
                  end='', flush=True)

    def end(self, what):
        self.done += 1
        if not self.moves:
            print(f'[{self.done}/{self.total}] {what}', flush=True)

    def finish(self):
        if self.moves:
            print('\r\033[K', end='', flush=True)


def run_all(settings, sizes):
    results = []
    progress = Progress(len(settings.connections) * settings.rounds *
                        len(settings.modes))
    for n in settings.connections:
        for i in range(settings.rounds):
            modes = settings.modes if i % 2 == 0 else settings.modes[::-1]
            for mode in modes:
                what = f'{n:,} connections, round {i + 1}, {mode}'
                progress.begin(what)
                result = measure(settings, mode, n, sizes)
                results.append(result)
                progress.end(f"{what}: {result['rate']:,.0f} requests/s, "
                             f"{result['cpu_us']:.1f} µs each")
    progress.finish()
    return results


def kernel_memory(r):
    return r['memory_stacks'] + r['memory_tables'] + r['memory_slab']


def all_memory(r):
    return r['memory_user'] + kernel_memory(r)


ROWS = (
    # what, value, how to show it, is the ratio of interest
    ('requests/s', lambda r: r['rate'], '{:,.0f}', True),
    ('server CPU per request, µs', lambda r: r['cpu_us'], '{:.1f}', True),
    ('memory per idle connection, KiB', lambda r: all_memory(r) / 1024,
     '{:.1f}', True),
    ('  of it user (PSS)', lambda r: r['memory_user'] / 1024, '{:.1f}', True),
    ('  of it kernel', lambda r: kernel_memory(r) / 1024, '{:.1f}', True),
    ('kernel threads', lambda r: r['tasks'] - r['spares'], '{:,.0f}', False),
    ('  and spares, asleep', lambda r: r['spares'], '{:,.0f}', False),
)
SUMS = (('wrong bytes', 'wrong_bytes'), ('errors', 'errors'))


def cells(results, n, mode):
    return [r for r in results
            if r['connections'] == n and r['mode'] == mode]


def median(results, n, mode, value):
    values = [value(r) for r in cells(results, n, mode)]
    return statistics.median(values) if values else None


def table(settings, results):
    width = 34
    both = len(settings.modes) == 2
    head = ' ' * width + ''.join(f'{mode:>12}' for mode in settings.modes)
    lines = [head + ('       ratio' if both else '')]
    for n in settings.connections:
        lines.append(f'{n:,} connections')
        for label, value, form, compare in ROWS:
            medians = [median(results, n, mode, value)
                       for mode in settings.modes]
            line = f'  {label:<{width - 2}}'
            line += ''.join(f'{form.format(m):>12}' for m in medians)
            if both and compare and medians[0] > 0:
                line += f'{medians[1] / medians[0]:>12.2f}'
            lines.append(line)
        for label, name in SUMS:
            sums = [sum(r[name] for r in cells(results, n, mode))
                    for mode in settings.modes]
            lines.append(f'  {label:<{width - 2}}' +
                         ''.join(f'{s:>12,}' for s in sums))
    return '\n'.join(lines)


def bounds(settings, results):
    """What a healthy cogo keeps at the largest N: a list of what it did not."""
    n = max(settings.connections)
    missed = []
    for label, value, most in (
            ('server CPU per request', lambda r: r['cpu_us'], 0.7),
            ('memory per idle connection', all_memory, 0.55)):
        ratio = (median(results, n, COGO, value) /
                 median(results, n, THREADS, value))
        if ratio > most:
            missed.append(f'{label} is {ratio:.2f} of that of threads, more '
                          f'than {most}')
    most = max(r['tasks'] - r['spares'] for r in cells(results, n, COGO))
    if most > settings.workers + 4:
        missed.append(f'{most} kernel threads, more than workers + 4 = '
                      f'{settings.workers + 4}')
    return missed


# ---- the command line -------------------------------------------------------

def raise_descriptors(connections):
    """Two for each tunnel in the server, and some."""
    wanted = 2 * connections + 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, OSError):
            raise Failure(
                f'{connections} connections need {wanted} descriptors, and '
                f'the limit is {hard}: run it as root (sudo tools/demo), or '
                f'with fewer (--connections '
                f'{max(1, (hard - 512) // 2)})') from None
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
                          f'({limit}) allows: raise it, or measure fewer '
                          f'(--connections)')


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog='tools/demo', formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__.split('\n\n')[0].replace(
            'Started by tools/demo, which builds everything first.',
            'Installs\nwhat is missing and builds cogo first.'))
    parser.add_argument('--quick', action='store_true',
                        help='fewer and smaller: half a minute or so')
    parser.add_argument('--connections', metavar='N,…',
                        help='default: 100,1000,5000')
    parser.add_argument('--rounds', type=int, metavar='N',
                        help='times that each cell is measured (default 5)')
    parser.add_argument('--requests', type=int, metavar='N',
                        help='in the busy phase of a cell (default 40,000)')
    parser.add_argument('--in-flight', type=int, default=50, metavar='N',
                        help='requests at any time (default 50)')
    parser.add_argument('--seconds', type=int, default=60, metavar='N',
                        help='end a busy phase after so long (default 60)')
    parser.add_argument('--only', choices=(THREADS, COGO),
                        help='measure one way alone')
    parser.add_argument('--cogo-option', action='append', default=[],
                        metavar='OPTION', help='for cogo-run, such as '
                        '--cogo-option=--workers=1; may be repeated')
    parser.add_argument('--assert', action='store_true', dest='check',
                        help='fail unless, at the most connections, cogo '
                        'takes at most 0.7 of the CPU, 0.55 of the memory '
                        'and workers + 4 kernel threads')
    parser.add_argument('--json', metavar='FILE',
                        help='write every measurement there')
    parser.add_argument('--build', default=os.path.join(
        HERE, '../../build-release'), help=argparse.SUPPRESS)
    settings = parser.parse_args()

    connections = settings.connections or (
        '100,1000' if settings.quick else '100,1000,5000')
    try:
        settings.connections = [int(n) for n in connections.split(',')]
    except ValueError:
        settings.connections = []
    if not settings.connections or \
            not all(1 <= n <= 20000 for n in settings.connections):
        parser.error(f'--connections {connections}: give numbers from 1 to '
                     f'20000 with commas between')
    settings.rounds = settings.rounds or (2 if settings.quick else 5)
    settings.requests = settings.requests or (
        10000 if settings.quick else 40000)
    settings.modes = [settings.only] if settings.only else [THREADS, COGO]
    if settings.check and settings.only:
        parser.error('--assert compares both ways, --only measures one')
    settings.build = os.path.abspath(settings.build)
    return settings


def main():
    # In order with what goes to standard error, also into a file.
    sys.stdout.reconfigure(line_buffering=True)
    settings = parse_arguments()
    settings.cogo_run = os.path.join(settings.build, 'tools/cogo-run')
    settings.tinyproxy = shutil.which('tinyproxy') or \
        shutil.which('tinyproxy', path='/usr/sbin:/usr/local/bin')
    if settings.tinyproxy is None:
        raise Failure('tinyproxy is not installed; tools/demo installs it')
    settings.workers = len(os.sched_getaffinity(0))
    for i, option in enumerate(settings.cogo_option):
        if option.startswith('--workers='):
            settings.workers = int(option.split('=')[1])
    # Whatever the caller's shell has set belongs to neither column.
    for name in list(os.environ):
        if name.startswith('COGO_') or name == 'LD_PRELOAD':
            del os.environ[name]
    raise_descriptors(max(settings.connections))
    if THREADS in settings.modes:
        enough_threads(max(settings.connections))

    sizes, exact = slab_sizes()
    version = subprocess.run([settings.tinyproxy, '-v'], text=True,
                             stdout=subprocess.PIPE).stdout.strip()
    print(f'{version}, the unmodified {settings.tinyproxy}; '
          f'{len(os.sched_getaffinity(0))} CPUs, Linux {platform.release()}, '
          f'{" ".join(platform.libc_ver())}')
    print(f'half of the tunnels busy, half idle; {settings.in_flight} '
          f'requests of 128 to 384 bytes in flight; medians of '
          f'{settings.rounds}', flush=True)
    results = run_all(settings, sizes)
    if settings.json:
        with open(settings.json, 'w', encoding='utf-8') as f:
            json.dump({'machine': platform.platform(), 'server': version,
                       'cpus': settings.workers, 'sizes': sizes,
                       'results': results}, f, indent=1)
    print()
    print(table(settings, results))
    if not exact:
        print('\n(The sizes of kernel objects are those of Linux 6.x on '
              'x86-64: only root\nmay read this kernel\'s own.)')

    status = 0
    for r in results:
        for complaint in r['complaints']:
            print(f"{r['connections']:,} connections as {r['mode']}: "
                  f"{complaint}", file=sys.stderr)
    if any(r['wrong_bytes'] or r['errors'] for r in results):
        print('demo: there were wrong bytes or errors: see above',
              file=sys.stderr)
        status = 1
    if settings.check:
        for missed in bounds(settings, results):
            print(f'demo: {missed}', file=sys.stderr)
            status = 1
    return status


if __name__ == '__main__':
    try:
        sys.exit(main())
    except Failure as failure:
        print(f'\ndemo: {failure}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print('\ndemo: interrupted', file=sys.stderr)
        sys.exit(130)
