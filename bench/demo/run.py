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
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from process import (Failure, Lines, cpu_seconds, descriptors, enough_threads,
                     memory, raise_descriptors, settle, slab_sizes, tasks, turns,
                     wait_for)
from programs import Tinyproxy

THREADS, COGO = 'threads', 'cogo'


# ---- one cell ---------------------------------------------------------------

def measure(settings, mode, connections, sizes):
    result = {'mode': mode, 'connections': connections, 'wrong_bytes': 0,
              'errors': 0, 'complaints': []}
    echo = Lines([os.path.join(settings.build, 'bench/demo/echo')])
    server = tunnels = None
    scratch = tempfile.TemporaryDirectory(prefix='cogo-demo-')
    command = [] if mode == THREADS else [settings.cogo_run, *settings.cogo_option]
    try:
        target = int(echo.line(10).split()[1])
        server = Tinyproxy(scratch.name, target)
        server.start(command, connections)
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
            server.kill()
        scratch.cleanup()
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
    tinyproxy = Tinyproxy.command()
    if tinyproxy is None:
        raise Failure('tinyproxy is not installed; tools/demo installs it')
    settings.workers = len(os.sched_getaffinity(0))
    for i, option in enumerate(settings.cogo_option):
        if option.startswith('--workers='):
            settings.workers = int(option.split('=')[1])
    # Whatever the caller's shell has set belongs to neither column.
    for name in list(os.environ):
        if name.startswith('COGO_') or name == 'LD_PRELOAD':
            del os.environ[name]
    # Two for each tunnel in the server, and some.
    raise_descriptors(2 * max(settings.connections) + 512)
    if THREADS in settings.modes:
        enough_threads(max(settings.connections))

    sizes, exact = slab_sizes()
    version = subprocess.run([tinyproxy, '-v'], text=True,
                             stdout=subprocess.PIPE).stdout.strip()
    print(f'{version}, the unmodified {tinyproxy}; '
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
