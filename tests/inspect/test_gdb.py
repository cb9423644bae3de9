#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""gdb, and tools/cogo-gdb.py: on a live program, and on its core."""
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import look

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      '../../tools/cogo-gdb.py')
STOPPED_IN = {'read': 'stand_in_read', 'mutex': 'stand_in_mutex',
              'raw': 'stand_in_raw', 'compute': 'stand_in_compute'}


def gdb(*what, script=True):
    """Runs gdb with these arguments, where one that begins with a colon is a
    command to give it, and returns what it said."""
    arguments = []
    for one in what:
        arguments += ['-ex', one[1:]] if one.startswith(':') else [one]
    done = subprocess.run(
        ['gdb', '-nx', '-nh', '-batch', '-ex', 'set debuginfod enabled off',
         *(['-x', SCRIPT] if script else []), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors='replace',
        timeout=look.PATIENCE)
    if re.search('ptrace: Operation not permitted|Could not attach',
                 done.stdout):
        raise unittest.SkipTest('this machine does not let gdb attach')
    return done.stdout


def ids(listing):
    """Name -> id, from cogo list."""
    return {name: int(number) for number, name in
            re.findall(r'coroutine (\d+) "([^"]+)":', listing)}


def standing(options=('--workers', '2', '--dump', 'USR1'), command=None):
    """A program whose four coroutines are where they were sent."""
    program = look.Program(list(options) if options is not None else None,
                           *(command or [look.built('states')]), *STOPPED_IN)
    program.until_out('ready')
    # They said so a moment before they were there.
    end = time.monotonic() + look.PATIENCE
    while (options or command) and time.monotonic() < end:
        dump = program.dump()
        if all(words in look.named(dump, name).rest for name, words in (
                ('read', 'waits'), ('mutex', 'waits'), ('raw', 'kernel'))):
            break
    return program


class Live(unittest.TestCase):
    def test_every_coroutine_is_listed_with_what_it_waits_for(self):
        with standing() as p:
            out = gdb('-p', str(p.pid), ':cogo list', ':detach')
            self.assertRegex(out, r'coroutine \d+ "read": waits to read '
                                  r'\(descriptor \d+\)')
            self.assertRegex(out, r'coroutine \d+ "mutex": waits for a mutex '
                                  r'\(nobody_unlocks.*\)')
            self.assertRegex(out, r'coroutine \d+ "compute": runs, on LWP \d+')
            self.assertRegex(out, rf'thread 1: .*on LWP {p.pid}\n')
            self.assertIn('4 coroutines, 1 threads', out)
            self.assertEqual(p.end(), 0, out)

    def test_everybodys_backtrace_shows_where_he_stands(self):
        with standing() as p:
            out = gdb('-p', str(p.pid), ':cogo bt all', ':detach')
            for name, function in STOPPED_IN.items():
                part = out.split(f'"{name}": ')[1].split('\n\n')[0]
                self.assertIn(f' {function} ', part)
                self.assertIn(' stand ', part)
            self.assertEqual(p.end(), 0, out)

    def test_one_can_switch_to_a_coroutine_and_look_at_its_variables(self):
        with standing() as p:
            for name, function in STOPPED_IN.items():
                number = ids(gdb('-p', str(p.pid), ':cogo list'))[name]
                out = gdb('-p', str(p.pid), f':cogo switch {number}',
                          f':frame function {function}', ':up', ':info locals',
                          ':print name', ':cogo switch', ':bt', ':detach')
                self.assertRegex(out, rf'\n\$1 = 0x[0-9a-f]+ "{name}"', out)
            self.assertEqual(p.end(), 0)

    def test_to_look_changes_nothing(self):
        with look.Program(['--workers', '2'], look.built('pingpong'), '20',
                          '20000') as p:
            p.until_out('ready')
            for _ in range(3):
                gdb('-p', str(p.pid), ':cogo bt all', ':detach')
            p.until_out('done')
            self.assertEqual(p.end(), 0, p.err)

    def test_a_number_that_is_nobodys_is_refused_with_words(self):
        with standing() as p:
            out = gdb('-p', str(p.pid), ':cogo bt 4711', ':cogo switch x',
                      ':cogo bt', ':detach')
            self.assertIn('there is no coroutine 4711', out)
            self.assertIn('x is no number of a coroutine', out)
            self.assertIn('cogo bt ID, or cogo bt all', out)
            self.assertNotIn('Traceback', out)

    def test_a_program_without_us_is_told_apart(self):
        with standing(options=None) as p:
            out = gdb('-p', str(p.pid), ':cogo list', ':detach')
            self.assertIn('there is no libcogo.so in this program', out)

    def test_a_stripped_library_will_do(self):
        if not shutil.which('strip'):
            self.skipTest('strip is not installed')
        with tempfile.TemporaryDirectory() as folder:
            lib = os.path.join(folder, 'libcogo.so')
            subprocess.run(['strip', '-o', lib, look.libcogo()], check=True)
            with standing(options=None, command=[
                    'env', f'LD_PRELOAD={lib}', 'COGO_RUN=1',
                    'COGO_WORKERS=2', 'COGO_DUMP=USR1', look.built('states')]) as p:
                out = gdb('-p', str(p.pid), ':cogo bt all', ':detach')
                self.assertIn(' stand_in_mutex ', out)
                self.assertIn(' stand_in_read ', out)
                self.assertEqual(p.end(), 0, out)


class Server(unittest.TestCase):
    """gdb alone, as with any threaded program."""

    def test_attach_list_break_continue_detach_and_it_lives(self):
        with look.Program(['--workers', '2'], look.built('pingpong'), '20',
                          '50000') as p:
            p.until_out('ready')
            out = gdb('-p', str(p.pid), ':info threads', ':break turn',
                      ':continue', ':bt', ':continue', ':continue 20', ':bt',
                      ':thread apply all bt 3', ':delete', ':detach',
                      script=False)
            threads = re.findall(r'\(LWP (\d+)\)', out.split('Breakpoint 1')[0])
            self.assertIn(str(p.pid), threads)
            self.assertGreaterEqual(len(set(threads)), 4, out)
            self.assertGreaterEqual(len(re.findall(
                r'hit Breakpoint 1, turn', out)), 3, out)
            self.assertRegex(out, r'#1 .* play ')
            self.assertIn('detached', out)
            self.assertIsNone(p.process.poll(), out)
            p.until_out('done')
            self.assertEqual(p.end(), 0, out)

    def test_a_program_can_be_started_in_gdb(self):
        out = gdb(':set breakpoint pending on', ':break turn', ':run',
                  ':bt', ':info threads', ':delete', ':continue', '--args',
                  look.COGO_RUN, '--workers', '2', '--',
                  look.built('pingpong'), '3', '100')
        self.assertRegex(out, r'hit Breakpoint 1(\.\d)?, turn')
        self.assertRegex(out, r'#1 .* play ')
        self.assertIn('exited normally', out)


class Core(unittest.TestCase):
    def assert_readable(self, core, bt_all=True):
        out = gdb(look.built('states'), core, ':cogo list', ':cogo bt all')
        self.assertIn('4 coroutines, 1 threads', out)
        for name, function in STOPPED_IN.items():
            part = out.split(f'"{name}": ')[2].split('\n\n')[0]
            self.assertIn(f' {function} ', part, out)
        number = ids(out)['read']
        out = gdb(look.built('states'), core, f':cogo switch {number}',
                  ':frame function stand', ':print name')
        self.assertIn('"read"', out)

    def test_a_core_by_cogo_gcore_has_them_all(self):
        with tempfile.TemporaryDirectory() as folder, standing() as p:
            core = os.path.join(folder, 'core')
            gdb('-p', str(p.pid), f':cogo gcore {core}', ':detach')
            self.assertEqual(p.end(), 0)
            self.assert_readable(core)

    def test_a_core_by_the_kernel_has_them_all(self):
        with open('/proc/sys/kernel/core_pattern', encoding='ascii') as f:
            pattern = f.read().strip()
        if pattern.startswith('|') or '/' in pattern or '%' in pattern:
            self.skipTest(f'cores go to {pattern} here')
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        if hard != resource.RLIM_INFINITY:
            self.skipTest('the limit of a core is too low')
        with tempfile.TemporaryDirectory() as folder:
            here = os.getcwd()
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
            os.chdir(folder)
            try:
                p = standing()
            finally:
                os.chdir(here)
                resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
            with p:
                os.kill(p.pid, signal.SIGABRT)
                self.assertEqual(p.end(), -signal.SIGABRT)
            cores = [c for c in os.listdir(folder) if c.startswith('core')]
            self.assertTrue(cores)
            self.assert_readable(os.path.join(folder, cores[0]))


if __name__ == '__main__':
    if not shutil.which('gdb'):
        print('gdb is not installed')
        sys.exit(77)
    look.main()
