#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Measures cogo beside its peers, and unmodified programs as threads beside the
same as coroutines. Started by tools/bench, which builds everything first.

A row is one thing to do. All who can do it take turns, round by round and each
round in another order, so that whatever else the machine does is fair to all; the
table shows medians, with the least and the most, and what part each is of the
row's first. Beside it stands what we mean to reach, and whether this run did.

CPU is the processor time of the whole process, by its own clock; where one worker
is measured it has one processor to itself (CPU 0, and the load generator CPU 1).
Wall-clock times stand where two workers share the work.

Programs of others are measured so, too: each has CPU 0, and the load generator CPU
1 with what stands behind a proxy. The load is closed: an answer lets the next request
go. 50 requests are in flight, and all connections have their turn; Python's servers,
that are slower, have one in flight on each. Memory is measured in the first round,
with all connections open and idle, less what there was with one: PSS, kernel stacks,
page tables and the kernel's objects, as in the demo. Requests per second are worth
something where the server has used most of its processor, and the table says how much:
on a busy machine it has not.
"""
import argparse
import contextlib
import fnmatch
import functools
import importlib.util
import json
import os
import platform
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import process
import programs
from process import Failure

HERE = os.path.dirname(os.path.abspath(__file__))

NO_SUCH_ROW = 77
MOST_SECONDS = 300              # for one measurement of one system


class Absent(Exception):
    """Why a system is not in a row, in a few words."""


class Goal:
    """What we mean to reach: label's figure at most (or at least) times that of
    reference (of its own, if that is another row's), or at most an absolute figure
    where there is neither."""

    def __init__(self, label, bound, reference=None, least=False, figure='value',
                 row=None):
        self.label, self.bound, self.reference = label, bound, reference
        self.least, self.figure, self.row = least, figure, row
        if row is not None:
            self.reference = label

    def text(self):
        sign = '>=' if self.least else '<='
        what = '' if self.figure == 'value' else f' {self.figure}'
        text = f'{self.label}{what} {sign} {self.bound:g}'
        if self.reference is None:
            return text
        return f'{text} x ' + (self.reference if self.row is None else
                               f'its own in "{self.row}"')

    def look(self, name, done):
        """(figure, reached), or None where one of the two is missing. name: of the
        row; done: row -> (results, absent)."""
        figures = [median(done[row][0], label, self.figure) if row in done else None
                   for row, label in ((name, self.label),
                                      (self.row or name, self.reference)) if label]
        if None in figures:
            return None
        figure, limit = figures[0], self.bound
        if self.reference is not None:
            limit *= figures[1]
            # Nothing is no more than nothing.
            shown = figure / figures[1] if figures[1] else \
                float('inf') if figure else 1
        else:
            shown = figure
        return shown, figure >= limit if self.least else figure <= limit


class Row:
    """systems: [(label, function of no arguments that measures once and returns
    {'value': the row's figure, more by name})]."""

    def __init__(self, name, unit, systems, goals=(), note='', plot=None, more=()):
        self.name, self.unit, self.note = name, unit, note
        self.more = more        # [(another figure's name, what it is)], to print
        self.systems, self.goals = systems, goals
        self.plot = plot        # (name of a plot, where on its x axis), or None


def median(results, label, figure='value'):
    figures = [r[figure] for r in results.get(label, ()) if figure in r]
    return statistics.median(figures) if figures else None


# ---- processes ----------------------------------------------------------------

def ask(command, cpus, seconds=MOST_SECONDS, env=None):
    """What a program prints as its one line of JSON."""
    try:
        done = subprocess.run(command, preexec_fn=process.child(cpus), text=True,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=seconds, env=env, check=False)
    except subprocess.TimeoutExpired:
        raise Absent(f'not within {seconds} s') from None
    except OSError as error:
        raise Absent(f'{command[0]}: {error.strerror}') from None
    if done.returncode == NO_SUCH_ROW:
        raise Absent('has no such row')
    if done.returncode < 0:
        raise Absent(f'ended by {signal.Signals(-done.returncode).name}')
    try:
        return json.loads(done.stdout.strip().split('\n')[-1])
    except ValueError:
        raise Absent(done.stderr.strip()[-200:] or
                     f'ended with {done.returncode}') from None


# ---- the small ones -----------------------------------------------------------

ONE, BOTH = (0,), (0, 1)


class Micro:
    def __init__(self, peers, quick):
        self.peers, self.quick = peers, quick

    def system(self, label, peer, row, keys, cpus, figure):
        def once():
            path = self.peers.micro[peer]
            if not os.path.exists(path):
                raise Absent(path)
            got = ask([path, row, *keys], cpus)
            got['cpu'] = got['cpu_ns'] / got['ops']
            got['wall'] = got['wall_ns'] / got['ops']
            got['rate'] = 1e3 / got['wall']
            got['value'] = figure(got)
            return got
        return label, once

    def row(self, name, row, unit, peers, goals=(), keys=(), cpus=ONE,
            figure=lambda got: got['cpu'], note='', few=None, plot=None):
        """peers: names of programs, or (label, program, key...)."""
        if few and self.quick:
            keys = (*keys, few)
        systems = []
        for peer in peers:
            label, program, *more = peer if isinstance(peer, tuple) else (peer, peer)
            systems.append(self.system(label, program, row, (*keys, *more), cpus,
                                       figure))
        return Row(name, unit, systems, goals, note, plot)

    def rows(self):
        shared = ('cogo shared', 'cogo', 'tls=shared')
        own = ('cogo', 'cogo', 'tls=own')
        all_peers = (own, shared, 'go', 'boost', 'pth', 'tokio', 'nptl')
        # Those that so many may wait of: Pth walks all of them at each turn, and
        # the kernel has 32,768 threads.
        many = tuple(p for p in all_peers if p != 'pth')
        very_many = tuple(p for p in many if p != 'nptl')
        two = 'workers=2'
        wall = {'cpus': BOTH, 'figure': lambda got: got['wall']}
        rate = {'cpus': BOTH, 'figure': lambda got: got['rate']}
        rows = [
            self.row('switch', 'switch', 'CPU ns', all_peers, [
                Goal('cogo shared', 0.2, 'go'), Goal('cogo', 0.6, 'go')],
                few='n=1000000', note='two that give way to each other'),
            self.row('spawn and join', 'spawn', 'CPU ns', all_peers, [
                Goal('cogo shared', 0.2, 'go')], few='n=100000',
                note='one at a time'),
            self.row('spawn in waves', 'waves', 'CPU ns', all_peers, [
                Goal('cogo shared', 0.3, 'go'), Goal('cogo', 0.9, 'go')],
                few='n=100000', note='1,000 made, then waited for'),
            self.row('fan-in', 'fan-in', 'CPU ns', all_peers, few='n=100000',
                     note='10,000 that count down one wait group'),
            self.row('rendezvous', 'rendezvous', 'CPU ns', all_peers, [
                Goal('cogo', 0.5, 'go')], few='n=100000',
                note='there and back, one worker'),
            self.row('rendezvous, 2 workers', 'rendezvous', 'ns', all_peers, [
                Goal('cogo', 0.8, 'go')], (two,), few='n=100000',
                note='there and back', **wall),
            self.row('buffered 4x4', 'buffered', 'CPU ns', all_peers,
                     few='n=400000', note='room for 128, one worker'),
            self.row('buffered 4x4, 2 workers', 'buffered', 'M/s', all_peers, [
                Goal('cogo', 2, 'go', least=True),
                Goal('cogo', 1, 'boost', least=True)], (two,),
                few='n=400000', note='room for 128', **rate),
        ]
        for k in (2, 8, 64):
            rows.append(self.row(
                f'select of {k}', 'select', 'CPU ns', all_peers,
                [Goal('cogo', 0.8, 'go')], (f'k={k}',), few='n=100000',
                note='channels without room, one sender'))
        rows += [
            self.row('mutex', 'mutex', 'CPU ns', all_peers, [
                Goal('cogo', 1, 'nptl')], few='n=1000000', note='nobody else there'),
            self.row('mutex, 64 contend', 'contended', 'M/s', all_peers, [
                Goal('cogo', 1.2, 'go', least=True)], (two,), few='n=640000',
                note='two workers', **rate),
            self.row('100,000 timers', 'timers', 'CPU ms', all_peers, [
                Goal('cogo', 0.7, 'go'), Goal('cogo', 1, 'go', figure='late_p99_us')],
                figure=lambda got: got['cpu_ns'] / 1e6 * 1e5 / got['ops'],
                note='each sleeps a random time below 1 s'),
        ]
        for n in (10000, 100000, 1000000):
            if self.quick and n == 1000000:
                continue
            rows.append(self.row(
                f'memory of {n:,} parked', 'memory', 'bytes',
                many if n == 10000 else very_many,
                [Goal('cogo shared', 4.6 * 1024), Goal('cogo', 9 * 1024)]
                if n == 1000000 else (), (f'n={n}',),
                figure=lambda got: got['rss'], note='resident, each'))
        return rows


# ---- echo ---------------------------------------------------------------------

class EchoServer:
    """A child that prints "port N", and ends when its input does."""

    def __init__(self, command, cpus, env=None):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=process.child(cpus), env=env)
        line = self.process.stdout.readline().split()
        if len(line) != 2 or line[0] != b'port':
            self.end()
            raise Absent(f'{os.path.basename(command[0])} does not start')
        self.port = int(line[1])

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Echo:
    def __init__(self, build, peers, quick):
        self.build, self.peers, self.quick = build, peers, quick
        self.load = os.path.join(build, 'bench/echo/echo_load')
        run = [os.path.join(build, 'tools/cogo-run'), '--workers=1']
        by_ring = [shutil.which('env') or 'env', 'COGO_POLLER=io_uring']
        threads = [self.path('threads')]
        self.servers = {
            'raw epoll': [self.path('raw_epoll')],
            'raw io_uring': [self.path('raw_uring')],
            'cogo': [self.path('native')],
            'cogo, io_uring': [*by_ring, self.path('native')],
            'threads': threads,
            'threads, cogo-run': [*run, '--', *threads],
            'threads, cogo-run, io_uring': [*run, '--poller=io_uring', '--',
                                            *threads],
        }

    def path(self, name):
        return os.path.join(self.build, 'bench/echo/echo_' + name)

    def system(self, label, connections, idle=False):
        def once():
            command = self.servers.get(label) or [self.peers.echo[label]]
            if not os.path.exists(command[0]):
                raise Absent(f'not built: {command[0]}')
            with EchoServer(command, ONE) as server:
                options = (['--idle', '5'] if idle else
                           ['--requests', str(self.requests(connections))])
                got = ask([self.load, '--port', str(server.port), '--pid',
                           str(server.process.pid), '--connections',
                           str(connections), *options], (1,))
            if got.get('errors') or got.get('wrong'):
                raise Absent(f'{got["errors"]} errors, {got["wrong"]} wrong bytes')
            got['value'] = got['switches'] / 5 if idle else got['cpu_ns'] / 1e3
            return got
        return label, once

    def requests(self, connections):
        most = 20000 if self.quick else 100000
        return max(min(most, 20000 * connections), 3 * connections)

    def row(self, name, labels, n, goals=(), **more):
        return Row(f'{name}, {n:,}', 'CPU us',
                   [self.system(label, n) for label in labels], goals,
                   'a request of 64 bytes; all connections busy', (name, n), **more)

    def rows(self):
        rows = []
        native = ('cogo', 'cogo, io_uring', 'raw epoll', 'raw io_uring', 'go',
                  'tokio')
        for n in (1, 100, 1000, 5000, 10000):
            if self.quick and n not in (100, 1000):
                continue
            rows.append(self.row('echo', native, n, [
                Goal('cogo', 1.05, 'raw epoll'), Goal('cogo', 0.75, 'go'),
                Goal('cogo, io_uring', 1.05, 'raw io_uring'),
                Goal('cogo, io_uring', 1, 'raw epoll')]
                if 100 <= n <= 5000 else ()))
        bounds = {1000: 0.55, 5000: 0.45}
        for n in (100, 1000) if self.quick else (10, 100, 1000, 5000):
            under = 'threads, cogo-run'
            rows.append(self.row('echo by threads',
                                 ('threads', under, under + ', io_uring'), n, [
                Goal(under, bounds[n], 'threads')] if n in bounds else ()))
        rows.append(Row(
            'idle, 10,000 connections', 'switches/s',
            [self.system(label, 10000, idle=True)
             for label in ('cogo', 'threads, cogo-run', 'go', 'raw epoll')],
            [Goal('cogo', 0.2), Goal('threads, cogo-run', 0.2)],
            'how often a kernel thread of it wakes'))
        return rows


# ---- programs that serve --------------------------------------------------------

THREADS, COGO = 'threads', 'cogo-run'
MOST_CONNECTIONS = 5000
IN_FLIGHT = 50
LOAD_SECONDS = 200              # after which something hangs
MEMORY_FROM = 100               # connections: of fewer it is lost in all the rest


class Serving:
    """One of other people's programs, with a thread for each connection."""

    def __init__(self, build, scratch, quick, name, kind, bounds, busy=False,
                 may_fail=False):
        """bounds: connections -> how much of the threads' CPU it may take; busy:
        whether all connections have a request in flight; may_fail: errors are
        counted, and do not end the row."""
        self.build, self.quick, self.name, self.kind = build, quick, name, kind
        self.bounds, self.busy, self.may_fail = bounds, busy, may_fail
        self.sizes, _ = process.slab_sizes()
        # One directory for all rounds, since a database takes long to make.
        self.program = kind(os.path.join(scratch, name))
        self.prepared = False
        self.known = set()          # of which cells memory has been measured

    def path(self, name):
        return os.path.join(self.build, name)

    def prepare(self):
        if self.kind.command() is None:
            raise Absent(f'there is no {self.kind.name}')
        if not self.prepared:
            os.makedirs(self.program.dir, exist_ok=True)
            self.program.prepare()
            self.prepared = True

    def load(self, n, options, meanwhile):
        """Opens n connections, and makes requests after meanwhile()."""
        path = self.path('bench/echo/echo_load' + ('_tls' if self.kind.tls else ''))
        if not os.path.exists(path):
            raise Absent(f'not built: {path}')
        if self.kind.forwards:
            options = ['--target', str(self.program.target), *options]
        with open(self.program.path('load'), 'wb') as errors:
            load = process.Lines([
                path, '--port', str(self.program.port), '--pid',
                str(self.program.process.pid), '--speak', self.kind.speaks,
                '--connections', str(n), '--seconds', str(LOAD_SECONDS), '--pause',
                *options], (1,), errors)
        try:
            load.line(LOAD_SECONDS + 20)
            meanwhile()
            return load.ask('', LOAD_SECONDS + 20)
        except Failure as failure:
            said = process.read(self.program.path('load')).strip()
            raise Failure(said[-200:] or str(failure)) from None
        finally:
            load.end()

    def measure(self, way, n):
        """One cell: a fresh server, n connections, and as many requests as it
        answers in some seconds."""
        program, seen = self.program, []

        def look():
            if n >= MEMORY_FROM and (way, n) not in self.known:
                pid = program.process.pid
                process.settle(pid)
                seen.append(process.memory(pid, self.sizes))

        process.raise_descriptors((1 + self.kind.forwards) * n + 512)
        process.enough_threads(n)
        self.prepare()
        with contextlib.ExitStack() as stack:
            if self.kind.forwards:
                program.target = stack.enter_context(
                    EchoServer([self.path('bench/demo/echo')], (1,))).port
            stack.callback(program.kill)
            program.start([] if way == THREADS else
                          [self.path('tools/cogo-run'), '--'], n, ONE)
            # Once through everything, so that what is made once is made; and one
            # stays while memory is looked at, since pages that load has in common
            # with the server count for half.
            self.load(1, ['--requests', '10'], look)
            got = self.load(n, [
                '--requests', '100000000', '--for', '1' if self.quick else '3',
                '--in-flight', str(n if self.busy else min(n, IN_FLIGHT))], look)
            program.stop()
        if seen:
            before, after = (sum(memory.values()) for memory in seen)
            got['memory'] = (after - before) / (n - 1) / 1024
            self.known.add((way, n))
        got['value'], got['rate'] = got['cpu_ns'] / 1e3, got['per_second']
        # Where it is far from 100, requests per second tell of others.
        got['share'] = got['cpu_ns'] * got['rate'] / 1e7
        return got

    def system(self, way, n):
        def once():
            try:
                got = self.measure(way, n)
            except Failure as failure:
                raise Absent(str(failure)) from None
            if got['wrong'] or got['errors'] and not self.may_fail:
                raise Absent(f'{got["errors"]} errors, {got["wrong"]} wrong bytes')
            return got
        return way, once

    def row(self, n):
        goals = []
        if n in self.bounds:
            goals.append(Goal(COGO, self.bounds[n], THREADS))
        if n in self.bounds and not self.busy:
            goals.append(Goal(COGO, 1.25, row=f'{self.name}, 10'))
        if not self.busy:
            goals.append(Goal(COGO, 0.97, THREADS, least=True, figure='rate'))
        more = [('rate', 'requests/s'), ('share', '% of its CPU')]
        if n >= MEMORY_FROM:
            more.append(('memory', 'KiB a connection'))
        if self.may_fail:
            goals.append(Goal(COGO, 1, THREADS, figure='errors'))
            more.append(('errors', 'errors'))
        return Row(f'{self.name}, {n:,}', 'CPU us',
                   [self.system(way, n) for way in (THREADS, COGO)], goals,
                   'a request; all connections busy' if self.busy else
                   f'a request; {min(n, IN_FLIGHT)} in flight', (self.name, n), more)

    @classmethod
    def rows(cls, build, scratch, quick):
        most = {1000: 0.75, 5000: 0.75}
        every = [cls(build, scratch, quick, *rest) for rest in (
            ('tinyproxy', programs.Tinyproxy, most),
            ('stunnel', programs.Stunnel, most),
            ('MariaDB', programs.MariaDB, most),
            ('http.server', programs.PythonHttp, {1000: 0.25}, True, True),
            ('socketserver', programs.PythonEcho, {1000: 0.25, 5000: 0.1}, True))]
        return [serving.row(n) for serving in every for n in (
            (10, 1000) if quick else (10, 100, 1000, MOST_CONNECTIONS))]


# ---- programs that compute ------------------------------------------------------

class Computing:
    """Programs that never wait: what cogo-run may cost them."""

    def __init__(self, build, scratch, quick):
        self.run = [os.path.join(build, 'tools/cogo-run'), '--']
        self.data = os.path.join(scratch, 'data')
        self.quick = quick
        with open(self.data, 'wb') as f:
            source = random.Random(1)
            words = [source.randbytes(source.randrange(2, 9)) for _ in range(4000)]
            for _ in range(20 if quick else 150):
                f.write(b' '.join(source.choices(words, k=40000)))

    def system(self, label, command):
        def once():
            if not shutil.which(command[0]):
                raise Absent(f'there is no {command[0]}')
            prefix = self.run if label == 'cogo-run' else []
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.monotonic()
            done = subprocess.run(prefix + command, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, check=False)
            wall = time.monotonic() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if done.returncode:
                raise Absent(f'ended with {done.returncode}')
            cpu = (after.ru_utime + after.ru_stime -
                   before.ru_utime - before.ru_stime)
            return {'value': cpu * 1e3, 'wall_ms': wall * 1e3}
        return label, once

    def rows(self):
        events = '2000' if self.quick else '5000'
        commands = {
            'pigz': ['pigz', '-c', '-p', '4', self.data],
            'xz -T': ['xz', '-c', '-1', '-T', '4', '--block-size=4MiB', self.data],
            'sysbench cpu': ['sysbench', 'cpu', '--threads=4', '--time=0',
                             f'--events={events}', 'run'],
        }
        return [Row(name, 'CPU ms',
                    [(label, self.system(label, command)[1])
                     for label in ('threads', 'cogo-run')],
                    [Goal('cogo-run', 1.03, 'threads')], '4 threads that compute')
                for name, command in commands.items()]


# ---- the run --------------------------------------------------------------------

def measure(row, rounds, say):
    results, absent = {}, {}
    systems = list(row.systems)
    for n in range(rounds):
        random.Random(n).shuffle(systems)
        for label, once in systems:
            if label in absent:
                continue
            say(f'{row.name}: round {n + 1} of {rounds}, {label}')
            try:
                results.setdefault(label, []).append(once())
            except Absent as why:
                absent[label] = str(why)
                results.pop(label, None)
    say('')
    return results, absent


def figure(x):
    if x is None:
        return '-'
    return f'{x:,.0f}' if abs(x) >= 1000 else f'{x:.3g}' if abs(x) < 100 else f'{x:.0f}'


def print_row(row, done):
    results, absent = done[row.name]
    print(f'\n{row.name}, {row.unit}' + (f' ({row.note})' if row.note else ''))
    first = None
    for label, _ in row.systems:
        if label in absent:
            print(f'  {label:<20} {absent[label]}')
            continue
        values = [r['value'] for r in results[label]]
        middle = statistics.median(values)
        if first is None:
            first = middle
        ratio = f'{middle / first:8.2f}' if first else ' ' * 8
        more = ''.join(f', {figure(median(results, label, other))} {what}'
                       for other, what in row.more)
        print(f'  {label:<20} {figure(middle):>10} {ratio}   '
              f'{figure(min(values))} to {figure(max(values))}{more}')
    for goal in row.goals:
        seen = goal.look(row.name, done)
        if seen:
            print(f'  {"reached" if seen[1] else "MISSED"}: {goal.text()}: '
                  f'{seen[0]:.2f}')


def markdown(rows, done):
    """The goals, as the README has them."""
    lines = ['| row | goal | this run |', '|---|---|---|']
    for row in rows:
        for goal in row.goals:
            seen = goal.look(row.name, done)
            lines.append(f'| {row.name} | {goal.text()} | ' + (
                f'{seen[0]:.2f}{"" if seen[1] else ", missed"} |' if seen
                else 'not measured |'))
    return '\n'.join(lines)


def plot(path, rows, done):
    """Cost against scale: one picture of each family of rows, by gnuplot."""
    families = {}
    for row in rows:
        if row.plot and row.name in done:
            families.setdefault(row.plot[0], []).append((row.plot[1], row))
    drawn = []
    for name, points in families.items():
        if len(points) < 2:
            continue
        labels = [label for label, _ in points[0][1].systems]
        script = [
            'set terminal svg size 720,440 dynamic background rgb "white"',
            f'set title "{name}: {points[0][1].unit} a request"',
            'set logscale x', 'set xlabel "connections"', 'set yrange [0:*]',
            'set key left top', 'set grid', 'set style data linespoints']
        data = []
        for i, label in enumerate(labels):
            data.append(f'$d{i} << EOD')
            for n, row in points:
                middle = median(done[row.name][0], label)
                if middle is not None:
                    data.append(f'{n} {middle}')
            data.append('EOD')
        file = os.path.join(path, name.replace(' ', '-') + '.svg')
        script += data + [f'set output "{file}"', 'plot ' + ', '.join(
            f'$d{i} title "{label}" lw 2' for i, label in enumerate(labels)
            if any(median(done[row.name][0], label) is not None
                   for _, row in points))]
        subprocess.run(['gnuplot'], input='\n'.join(script), text=True, check=True)
        drawn.append(file)
    return drawn


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog='tools/bench', formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__.replace('Started by tools/bench, which builds everything '
                                    'first.', 'Installs\nwhat is missing and builds '
                                    'everything first.'))
    parser.add_argument('--quick', action='store_true',
                        help='fewer rows, smaller and three rounds: some minutes')
    parser.add_argument('--rounds', type=int, metavar='N',
                        help='times that each is measured (default 7)')
    parser.add_argument('--rows', metavar='PATTERN', action='append', default=[],
                        help='those whose name matches, as "echo*"; may be repeated')
    parser.add_argument('--list', action='store_true', help='print the rows')
    parser.add_argument('--json', metavar='FILE',
                        help='write every measurement there')
    parser.add_argument('--svg', metavar='DIRECTORY',
                        help='draw cost against scale there (needs gnuplot)')
    parser.add_argument('--markdown', action='store_true',
                        help='at the end, print the goals as a table of the README')
    parser.add_argument('--build', default=os.path.join(HERE, '../build-release'),
                        help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.rounds is not None and settings.rounds < 1:
        parser.error(f'--rounds {settings.rounds}: give a number from 1')
    settings.rounds = settings.rounds or (3 if settings.quick else 7)
    if settings.svg and not shutil.which('gnuplot'):
        parser.error('--svg draws with gnuplot, which is not installed '
                     '(Debian: gnuplot-nox)')
    settings.build = os.path.abspath(settings.build)
    return settings


def raise_descriptors():
    """As far as it goes; a row that lacks some says so."""
    with contextlib.suppress(Failure):
        process.raise_descriptors(2 * MOST_CONNECTIONS + 512)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Peers:
    """name -> the path of a program of ours for a system of others, or why there is
    none. Built when the first row asks, since that takes longer than many rows."""

    def __init__(self, build):
        self.libraries = build
        self.out = os.path.join(build, 'bench/peers')

    def build(self, folder, *more):
        """By micro/build.py or echo/build.py."""
        say('')
        print(f'building the peers of bench/{folder}', file=sys.stderr)
        spec = importlib.util.spec_from_file_location(
            folder, os.path.join(HERE, folder, 'build.py'))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        out = os.path.join(self.out, folder)
        os.makedirs(out, exist_ok=True)
        return module.build(out, *more)

    @functools.cached_property
    def micro(self):
        return self.build('micro', self.libraries)

    @functools.cached_property
    def echo(self):
        return self.build('echo')


def all_rows(settings, scratch):
    peers = Peers(settings.build)
    return (Micro(peers, settings.quick).rows() +
            Echo(settings.build, peers, settings.quick).rows() +
            Serving.rows(settings.build, scratch, settings.quick) +
            Computing(settings.build, scratch, settings.quick).rows())


def chosen(rows, patterns):
    if not patterns:
        return rows
    for pattern in patterns:
        if not any(fnmatch.fnmatch(row.name, pattern) for row in rows):
            raise Failure(f'--rows {pattern}: no row is called that; '
                          f'--list prints them all')
    return [row for row in rows
            if any(fnmatch.fnmatch(row.name, p) for p in patterns)]


def say(text):
    """Progress, on one line that is written over."""
    if sys.stderr.isatty():
        print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


def main():
    sys.stdout.reconfigure(line_buffering=True)
    # As an error does, it takes down what has been put up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    settings = parse_arguments()
    # Whatever the caller's shell has set belongs to no column.
    for name in list(os.environ):
        if name.startswith('COGO_') or name == 'LD_PRELOAD':
            del os.environ[name]
    raise_descriptors()
    with tempfile.TemporaryDirectory(prefix='cogo-bench-') as scratch:
        rows = chosen(all_rows(settings, scratch), settings.rows)
        if settings.list:
            print('\n'.join(row.name for row in rows))
            return 0
        print(f'{len(os.sched_getaffinity(0))} CPUs, Linux {platform.release()}, '
              f'{" ".join(platform.libc_ver())}; medians of {settings.rounds}, '
              f'then what part each is of the first, the least and the most')
        done = {}
        for row in rows:
            done[row.name] = measure(row, settings.rounds, say)
            print_row(row, done)
            if settings.json:
                with open(settings.json, 'w', encoding='utf-8') as f:
                    json.dump({'machine': platform.platform(),
                               'rounds': settings.rounds,
                               'rows': {name: {'results': results, 'absent': absent}
                                        for name, (results, absent) in done.items()}},
                              f, indent=1)
    if settings.svg:
        os.makedirs(settings.svg, exist_ok=True)
        for file in plot(settings.svg, rows, done):
            print(f'drawn: {file}')
    if settings.markdown:
        print('\n' + markdown(rows, done))
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except Failure as failure:
        print(f'\nbench: {failure}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print('\nbench: interrupted', file=sys.stderr)
        sys.exit(130)
