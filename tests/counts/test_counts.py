#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""test_counts.py [--update] BUILD HOW - what the hot paths cost, in instructions.

BUILD is the directory of the build, HOW the compiler and its options, as meson knows
them. Counts say little about how fast something is, but that it has become dearer
they say on any machine, however busy: from run to run they differ by less than one
in a hundred, and by two where there is four times too much to do; times, by half.

Each program runs under valgrind twice, for n operations and for 3n; what the longer
run has more, divided by 2n, is an operation's own, and what it took to start is in
neither. All threads count, and the C library's instructions as well, for they are
what a user pays. System calls are free in this measure, whatever the kernel does in
them, and a path that saves one gains more than is seen here. valgrind has neither
the instruction that writes the thread pointer nor the newest wait for events, so the
ways round both are what is counted; a clock is read by a system call.
cachegrind counts as callgrind does, and in half the time: it follows no calls.

A bound is what was counted, and 8 % more. Far fewer is a failure too: a bound that
much too high guards nothing, and is to be lowered. After a change that is meant to
cost or to save something,

    meson test -C BUILD counts --test-args=--update

takes new bounds and writes them into bounds.json, next to this file; the differences
belong into the commit. Bounds hold for one compiler and one C library. With others
the test is skipped, and it says so, unless it is to take bounds."""
import concurrent.futures
import json
import math
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BOUNDS = os.path.join(HERE, 'bounds.json')

MARGIN = 1.08           # of a new bound over what was counted
SLACK = 0.8             # fewer than this part of its bound: lower it
SAME = 0.01             # a bound that would change by less stays as it is
TRIES = 5
UPDATE_TRIES = 3        # always
LIMIT = 200             # seconds: the machine may have much else to do

# What it is called, the program, its row, and n: enough for some millions of
# instructions, beside which what happens now and then (another worker is begun, the
# monitor looks) is little. A wave is of 1,000.
PATHS = [
    ('yield', 'micro', 'switch', 20000),
    ('yield, shared TLS', 'micro', 'switch tls=shared', 20000),
    ('spawn and join', 'micro', 'spawn', 3000),
    ('spawn and join, shared TLS', 'micro', 'spawn tls=shared', 4000),
    ('waves of 1,000', 'micro', 'waves', 4000),
    ('waves of 1,000, shared TLS', 'micro', 'waves tls=shared', 5000),
    ('channel, there and back', 'micro', 'rendezvous', 5000),
    ('channel with room', 'micro', 'buffered', 20000),
    ('select of 2', 'micro', 'select k=2', 5000),
    ('select of 64', 'micro', 'select k=64', 1000),
    ('mutex', 'micro', 'mutex', 40000),
    ('semaphore, there and back', 'native', 'semaphore', 4000),
    ('condition, there and back', 'native', 'condition', 3000),
    ('socket, there and back', 'native', 'sockets', 3000),
    ('the same with timeouts', 'native', 'timeouts', 3000),
    ('threads: create and join', 'threads', 'spawn', 3000),
    ('threads: mutex', 'threads', 'mutex', 60000),
    ('threads: condition', 'threads', 'condition', 3000),
    ('threads: socket', 'threads', 'sockets', 3000),
    ('threads: poll', 'threads', 'poll', 15000),
]


class Failure(Exception):
    """A run that came to nothing, and its last words."""


def skip(why):
    print('skipped:', why)
    sys.exit(77)


def command(build, path, times, tool):
    _, program, row, n = path
    preload = [os.path.join(build, 'tools/cogo-run'), '--']
    return [*(preload if program == 'threads' else []), 'valgrind', *tool,
            os.path.join(build, 'tests/counts/counts-' + program),
            *row.split(), f'n={times * n}']


def surroundings():
    """One worker: who is awoken by another one's is chance. And nothing that changes
    what is done: meson has malloc fill what it frees, to begin with."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(('COGO_', 'MALLOC_', 'VALGRIND_', 'GLIBC_'))}
    return {**env, 'COGO_WORKERS': '1'}


def count(build, path, times):
    """All instructions of one run."""
    run = command(build, path, times, [
        '--tool=cachegrind', '--cache-sim=no', '--cachegrind-out-file=/dev/null'])
    try:
        done = subprocess.run(run, env=surroundings(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, errors='replace', timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f'{shlex.join(run)}: not done in {LIMIT} s') from None
    refs = re.search(r'I\s+refs:\s+([\d,]+)', done.stderr)
    if done.returncode or not refs or '"ops"' not in done.stdout:
        raise Failure(f'{shlex.join(run)} ends with {done.returncode}:\n'
                      + done.stdout + done.stderr)
    return int(refs[1].replace(',', ''))


def measure(build, path, tries, is_right):
    """Instructions per operation. What does not look right is measured again, and
    the median counts. For where the machine stops a program for a while, the
    monitor begins another worker. That adds something; and it may take one of two
    that yield to each other, whereupon each is alone, and yields to nobody."""
    costs = []
    while len(costs) < tries:
        more = count(build, path, 3) - count(build, path, 1)
        costs.append(more / (2 * path[3]))
        if is_right(statistics.median(costs)):
            break
    return statistics.median(costs)


def verdict(cost, bound):
    """What is wrong with it, or None."""
    if bound is None:
        return 'it has no bound yet'
    change = f'{100 * (cost / (bound / MARGIN) - 1):+.0f} % since it was taken'
    if cost > bound:
        return change
    if cost < SLACK * bound:
        return change + ': lower it'
    return None


def measure_all(build, tries, is_right):
    """[(path, cost)] in order; two at a time, for a count minds no company."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(zip(PATHS, pool.map(lambda path: measure(
            build, path, tries, lambda cost: is_right(path[0], cost)), PATHS)))


def line(name, cost, bound, words):
    print(f'{name:<30}{cost:>14}{bound:>8}  {words}'.rstrip())


def check(build, bounds):
    failed = []
    results = measure_all(build, TRIES, lambda name, cost: not verdict(
        cost, bounds.get(name)))
    line('path', 'instructions', 'bound', 'verdict')
    for path, cost in results:
        bound = bounds.get(path[0])
        wrong = verdict(cost, bound)
        line(path[0], f'{cost:.1f}', bound or '', wrong or 'ok')
        if wrong:
            failed.append(path)
    if not failed:
        return 0
    print('\nWhere the instructions are, callgrind_annotate tells after')
    for path in failed:
        print('  COGO_WORKERS=1', shlex.join(command(build, path, 3, [
            '--tool=callgrind'])))
    print('If it is meant to be so:\n  '
          f'meson test -C {shlex.quote(build)} counts --test-args=--update')
    return 1


def update(build, bounds, how):
    new = {}
    results = measure_all(build, UPDATE_TRIES, lambda *_: False)
    line('path', 'instructions', 'bound', 'was')
    for (name, *_), cost in results:
        was = bounds.get(name)
        new[name] = math.ceil(MARGIN * cost)
        if was and abs(new[name] - was) <= SAME * was:
            new[name] = was
        line(name, f'{cost:.1f}', new[name], '' if was in (None, new[name]) else was)
    with open(BOUNDS, 'w', encoding='utf-8') as f:
        json.dump({'how': how, 'bounds': new}, f, indent='\t')
        f.write('\n')
    return 0


def main():
    arguments = [a for a in sys.argv[1:] if a != '--update']
    if len(arguments) != 2:
        sys.exit(__doc__)
    build, how = arguments
    how += ', ' + os.confstr('CS_GNU_LIBC_VERSION')
    with open(BOUNDS, encoding='utf-8') as f:
        taken = json.load(f)
    if not shutil.which('valgrind'):
        skip('valgrind is not installed')
    try:
        if '--update' in sys.argv:
            bounds = taken['bounds'] if taken['how'] == how else {}
            return update(build, bounds, how)
        if taken['how'] != how:
            skip(f'the bounds are for {taken["how"]}; this is {how}')
        return check(build, taken['bounds'])
    except Failure as failure:
        print(failure)
        return 1


if __name__ == '__main__':
    sys.exit(main())
