# SPDX-License-Identifier: MIT OR Apache-2.0
"""cogo-run as its user meets it: what it execs, with what around it, and what
it refuses with which words and which exit status.

    test_cogo_run.py COGO_RUN [LIBRARY]

LIBRARY is any shared library of this architecture; one that does nothing is
best, for these are tests of cogo-run and not of cogo. The programs that are to
be refused are headers made here byte by byte: they are never run."""
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

COGO_RUN = None
LIBRARY = None
ROOT = os.geteuid() == 0
NOBODY = 65534

EM_386, EM_X86_64, EM_AARCH64 = 3, 62, 183
HERE = {'x86_64': EM_X86_64, 'aarch64': EM_AARCH64}.get(os.uname().machine, 0)
OTHER = EM_AARCH64 if HERE == EM_X86_64 else EM_X86_64


def elf(interp=None, machine=None, bits=64, big=False):
    """A header that says just enough, in either size and byte order."""
    machine = HERE if machine is None else machine
    order = '>' if big else '<'
    name = b'' if interp is None else interp.encode() + b'\0'
    ident = bytes([0x7f, 0x45, 0x4c, 0x46, 2 if bits == 64 else 1,
                   2 if big else 1, 1]) + bytes(9)
    if bits == 64:
        at = 64 + 2 * 56
        header = ident + struct.pack(order + 'HHIQQQIHHHHHH', 3, machine, 1,
                                     0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
        segments = struct.pack(order + 'IIQQQQQQ', 6, 4, 64, 64, 64,
                               112, 112, 8)
        segments += struct.pack(order + 'IIQQQQQQ', 3 if name else 4, 4, at,
                                at, at, len(name), len(name), 1)
    else:
        at = 52 + 2 * 32
        header = ident + struct.pack(order + 'HHIIIIIHHHHHH', 3, machine, 1,
                                     0, 52, 0, 0, 52, 32, 2, 40, 0, 0)
        segments = struct.pack(order + 'IIIIIIII', 6, 52, 52, 52, 64, 64, 4, 4)
        segments += struct.pack(order + 'IIIIIIII', 3 if name else 4, at, at,
                                at, len(name), len(name), 4, 1)
    return header + segments + name + bytes(64)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='cogo-run-test-')
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir)
        # As a clean shell would have it; the tests add what they test.
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith('COGO_') and k != 'LD_PRELOAD'}
        self.env['COGO_LIBRARY'] = LIBRARY
        # For a cogo-run built with ASan: what it allocates it leaves to exit,
        # and a preloaded library comes before ASan's.
        self.env['ASAN_OPTIONS'] = 'detect_leaks=0:verify_asan_link_order=0'

    def run_it(self, *args, env=None, **kw):
        runner = COGO_RUN
        if 'user' in kw:
            # Who need not be able to get at the build.
            runner = self.copy(COGO_RUN, 'cogo-run')
            env = {**(env or {}), 'COGO_LIBRARY': self.library('witness.so')}
        return subprocess.run([runner, *args], env={**self.env, **(env or {})},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True, errors='replace',
                              timeout=60, **kw)

    def file(self, name, content, mode=0o755):
        path = os.path.join(self.dir, name)
        with open(path, 'wb') as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        return path

    def library(self, name):
        path = os.path.join(self.dir, name)
        shutil.copyfile(LIBRARY, path)
        return path

    def copy(self, program, name='copy'):
        path = os.path.join(self.dir, name)
        shutil.copyfile(shutil.which(program), path)
        os.chmod(path, 0o755)
        return path

    def refused(self, result, status, *words):
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, '')
        self.assertTrue(result.stderr.startswith('cogo-run: '), result.stderr)
        self.assertEqual(result.stderr.count('\n'), 1, result.stderr)
        for word in words:
            self.assertIn(word, result.stderr)

    def environment(self, *options, env=None):
        result = self.run_it(*options, 'env', '-0', env=env)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, '')
        return dict(line.split('=', 1)
                    for line in result.stdout.split('\0') if line)


class Execution(Case):
    def test_the_exit_status_is_the_programs(self):
        for status in (0, 1, 77, 255):
            self.assertEqual(
                self.run_it('sh', '-c', f'exit {status}').returncode, status)

    def test_the_program_has_the_pid_of_cogo_run(self):
        p = subprocess.Popen([COGO_RUN, 'sh', '-c', 'echo $$'], env=self.env,
                             stdout=subprocess.PIPE, text=True)
        out, _ = p.communicate(timeout=60)
        self.assertEqual(int(out), p.pid)

    def test_a_signal_ends_the_program_and_its_status_says_so(self):
        p = subprocess.Popen([COGO_RUN, 'sh', '-c', 'echo on; exec sleep 60'],
                             env=self.env, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b'on\n')
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(60), -signal.SIGTERM)
        p.stdout.close()

    def test_arguments_descriptors_and_argv0_pass_unchanged(self):
        result = self.run_it('sh', '-c', 'for a; do echo "<$a>"; done; cat',
                             'sh', 'a b', '', '--stats', '*')
        self.assertEqual(result.stdout, '<a b>\n<>\n<--stats>\n<*>\n')
        self.assertEqual(self.run_it('cat', '/proc/self/cmdline').stdout,
                         'cat\0/proc/self/cmdline\0')

    def test_options_after_the_program_are_the_programs(self):
        result = self.run_it('echo', '--workers', '0', '--help')
        self.assertEqual(result.stdout, '--workers 0 --help\n')
        result = self.run_it('--workers', '2', '--', 'echo', '--', '-x')
        self.assertEqual(result.stdout, '-- -x\n')

    def test_a_script_without_a_first_line_is_the_shells_as_for_execvp(self):
        path = self.file('script', 'echo "$0 $1"\n')
        self.assertEqual(self.run_it(path, 'x').stdout, path + ' x\n')

    def test_an_empty_path_element_is_the_current_directory(self):
        self.file('prog', '#!/bin/sh\necho here\n')
        for path in ('', ':/bin', '/bin:', '/nowhere::/bin'):
            result = self.run_it('prog', env={'PATH': path}, cwd=self.dir)
            self.assertEqual(result.stdout, 'here\n', repr(path))

    def test_a_file_that_may_not_be_executed_is_passed_over_in_the_path(self):
        os.mkdir(os.path.join(self.dir, 'a'))
        os.mkdir(os.path.join(self.dir, 'b'))
        self.file('a/prog', '#!/bin/sh\necho a\n', 0o644)
        self.file('b/prog', '#!/bin/sh\necho b\n')
        result = self.run_it('prog', env={
            'PATH': f'{self.dir}/a:{self.dir}/b'})
        self.assertEqual(result.stdout, 'b\n')
        result = self.run_it('prog', env={'PATH': f'{self.dir}/a'})
        self.refused(result, 126, 'prog', 'Permission denied')


class Environment(Case):
    def test_the_library_is_preloaded_and_says_that_cogo_run_did_it(self):
        env = self.environment()
        self.assertEqual(env['LD_PRELOAD'], LIBRARY)
        result = self.run_it('sh', '-c', 'test $$ = "$COGO_RUN"')
        self.assertEqual(result.returncode, 0)

    def test_what_is_preloaded_already_stays_in_front_of_it_and_once(self):
        other = self.library('libother.so')
        env = self.environment(env={
            'LD_PRELOAD': f'{other} {LIBRARY}:{other}'})
        self.assertEqual(env['LD_PRELOAD'], f'{other}:{other}:{LIBRARY}')
        env = self.environment(env={'LD_PRELOAD': LIBRARY})
        self.assertEqual(env['LD_PRELOAD'], LIBRARY)

    def test_cogo_run_under_cogo_run_preloads_once(self):
        env = self.environment(COGO_RUN)
        self.assertEqual(env['LD_PRELOAD'], LIBRARY)

    def test_every_option_becomes_its_variable(self):
        env = self.environment('--workers', '3', '--stack=64K', '--stats',
                               '--dump', 'usr2', '--no-inherit',
                               '--bind', 'a*', '--bind', 'b?',
                               '--poller', 'io_uring')
        self.assertGreater(int(env.pop('COGO_RUN')), 0)
        self.assertEqual(
            {k: v for k, v in env.items() if k.startswith('COGO_')},
            {'COGO_WORKERS': '3', 'COGO_STACK': '64K', 'COGO_STATS': '1',
             'COGO_DUMP': 'usr2', 'COGO_NO_INHERIT': '1',
             'COGO_BIND': 'a*,b?', 'COGO_POLLER': 'io_uring',
             'COGO_LIBRARY': LIBRARY})

    def test_an_option_wins_over_its_variable(self):
        env = self.environment('--workers', '3', env={'COGO_WORKERS': '5'})
        self.assertEqual(env['COGO_WORKERS'], '3')

    def test_a_variable_without_its_option_stays(self):
        env = self.environment(env={'COGO_WORKERS': '5'})
        self.assertEqual(env['COGO_WORKERS'], '5')

    def test_disabled_it_only_execs(self):
        env = self.environment(env={'COGO_DISABLE': '1'})
        self.assertNotIn('LD_PRELOAD', env)
        self.assertNotIn('COGO_RUN', env)
        # not even a look at the file, or for the library
        result = self.run_it('true', env={'COGO_DISABLE': '1',
                                          'COGO_LIBRARY': '/nowhere'})
        self.assertEqual(result.returncode, 0)

    def test_an_unknown_variable_is_one_line_of_warning_and_no_more(self):
        result = self.run_it('echo', 'ran', env={'COGO_WORKER': '3'})
        self.assertEqual(result.stdout, 'ran\n')
        self.assertEqual(result.stderr,
                         'cogo-run: warning: COGO_WORKER is no setting of '
                         'cogo; did you mean COGO_WORKERS?\n')
        result = self.run_it('true', env={'COGO_SOMETHING': '3'})
        self.assertIn('--help', result.stderr)


class OwnErrors(Case):
    def test_a_bad_option_value_names_option_value_and_cure(self):
        cases = (('--workers', '0', '1 to 256'), ('--workers', 'x', '256'),
                 ('--stack', '1K', '16K to 1G'), ('--dump', 'KILL', 'USR2'),
                 ('--dump', 'HUH', 'USR2'), ('--bind', 'x' * 600, '511'),
                 ('--poller', 'kqueue', 'epoll or io_uring'))
        for option, value, cure in cases:
            result = self.run_it(option, value, 'true')
            self.refused(result, 125, option, value[:40], cure)

    def test_an_empty_option_value_is_refused(self):
        self.refused(self.run_it('--workers', '', 'true'), 125, '--workers')

    def test_a_bad_variable_names_variable_value_and_cure(self):
        result = self.run_it('true', env={'COGO_STACK': '64X'})
        self.refused(result, 125, 'COGO_STACK=64X', '16K to 1G')

    def test_an_unknown_option_is_125_and_points_at_help(self):
        result = self.run_it('--wrokers', '2', 'true')
        self.assertEqual(result.returncode, 125)
        self.assertIn('--wrokers', result.stderr)
        self.assertIn('--help', result.stderr)

    def test_without_a_program_it_is_125(self):
        self.refused(self.run_it(), 125, 'Usage')
        self.refused(self.run_it('--stats', '--'), 125, 'Usage')

    def test_help_names_every_option_and_its_variable_once(self):
        result = self.run_it('--help')
        self.assertEqual(result.returncode, 0)
        for option in ('workers', 'stack', 'bind', 'poller', 'stats', 'dump',
                       'no-inherit'):
            variable = 'COGO_' + option.upper().replace('-', '_')
            self.assertEqual(result.stdout.count('--' + option), 1, option)
            self.assertEqual(result.stdout.count(variable + '='), 1, option)
        self.assertIn('COGO_DISABLE', result.stdout)
        self.assertNotIn('COGO_FORCE', result.stdout)
        self.assertLessEqual(max(map(len, result.stdout.split('\n'))), 80)

    def test_version_is_one_line(self):
        result = self.run_it('--version')
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r'^cogo-run \d+\.\d\S*\n$')

    def test_a_library_that_cannot_be_preloaded_is_named(self):
        self.refused(self.run_it('true', env={'COGO_LIBRARY': '/nowhere/x'}),
                     125, '/nowhere/x')
        text = self.file('libtext.so', 'no library')
        self.refused(self.run_it('true', env={'COGO_LIBRARY': text}), 125,
                     text, 'not a shared library')
        odd = self.library('lib odd.so')
        self.refused(self.run_it('true', env={'COGO_LIBRARY': odd}), 125,
                     'space')


class Refusals(Case):
    def test_what_is_not_there_is_127(self):
        self.refused(self.run_it('no-such-program-at-all'), 127,
                     'no-such-program-at-all')
        self.refused(self.run_it(self.dir + '/none'), 127, self.dir + '/none')

    def test_what_is_there_but_not_executable_is_126(self):
        path = self.file('prog', '#!/bin/sh\n', 0o644)
        self.refused(self.run_it(path), 126, path)
        self.refused(self.run_it(self.dir), 126, self.dir)

    def test_a_script_whose_interpreter_is_missing_is_told_as_that(self):
        path = self.file('prog', '#!/nowhere/sh\n')
        self.refused(self.run_it(path), 127, path, 'interpreter')

    def test_a_static_program_is_refused(self):
        path = self.file('prog', elf())
        self.refused(self.run_it(path), 126, path, 'statically linked')

    def test_the_loader_itself_is_no_static_program(self):
        loader = '/lib64/ld-linux-x86-64.so.2' if HERE == EM_X86_64 \
            else '/lib/ld-linux-aarch64.so.1'
        result = self.run_it(loader, shutil.which('echo'), 'ran')
        self.assertEqual(result.stdout, 'ran\n', result.stderr)

    def test_a_program_of_another_architecture_is_refused(self):
        path = self.file('prog', elf('/lib/ld-linux-x.so', OTHER))
        self.refused(self.run_it(path), 126, path, 'aarch64', 'x86-64')

    def test_a_32_bit_program_is_refused(self):
        path = self.file('prog', elf('/lib/ld-linux.so.2', EM_386, 32))
        self.refused(self.run_it(path), 126, path, '32-bit x86')

    def test_an_x32_program_is_not_taken_for_x86_64(self):
        path = self.file('prog', elf('/lib/ld-linux.so.2', EM_X86_64, 32))
        self.refused(self.run_it(path), 126, path, 'x32')

    def test_a_big_endian_program_is_read_rightly(self):
        path = self.file('prog', elf('/lib/ld.so.1', 22, 64, big=True))
        self.refused(self.run_it(path), 126, path, 'S/390')

    def test_a_musl_program_is_refused(self):
        path = self.file('prog', elf('/lib/ld-musl-x86_64.so.1'))
        self.refused(self.run_it(path), 126, path, 'glibc', 'ld-musl')

    def test_a_script_is_judged_by_its_interpreter(self):
        static = self.file('interpreter', elf())
        script = self.file('prog', f'#! {static} -x\n')
        self.refused(self.run_it(script), 126, static, 'statically')
        deep = self.file('deep', f'#!{script}\n')
        self.refused(self.run_it(deep), 126, static, 'statically')

    def test_a_script_through_env_is_judged_by_what_env_will_run(self):
        static = self.file('myinterp', elf())
        script = self.file('prog', '#!/usr/bin/env myinterp\n')
        result = self.run_it(script, env={
            'PATH': self.dir + ':' + os.environ['PATH']})
        self.refused(result, 126, static, 'statically')

    def test_scripts_that_name_each_other_end(self):
        self.file('a', f'#!{self.dir}/b\n')
        self.file('b', f'#!{self.dir}/a\n')
        self.refused(self.run_it(self.dir + '/a'), 126)

    def test_damaged_headers_end_as_they_do_under_env(self):
        # No format that the kernel knows, so the shell tries its luck.
        good = elf('/lib64/ld-linux-x86-64.so.2')
        far = bytearray(good)
        far[32:40] = b'\xff' * 8
        files = [good[:n] for n in (4, 16, 63, 64, 100, 180)] + [bytes(far)]
        for i, content in enumerate(files):
            path = self.file(f'damaged{i}', content)
            # Nobody knows what it does, so it does it there.
            env = subprocess.run(['env', path], stderr=subprocess.DEVNULL,
                                 timeout=60, cwd=self.dir)
            self.assertEqual(self.run_it(path, cwd=self.dir).returncode,
                             env.returncode, i)


class SecureExecution(Case):
    """Where the kernel sets AT_SECURE, and where it only looks like it."""

    def setUp(self):
        super().setUp()
        if os.statvfs(self.dir).f_flag & os.ST_NOSUID:
            self.skipTest(f'{self.dir} is mounted nosuid')
        with open('/proc/self/status') as f:
            if 'NoNewPrivs:\t1' in f.read():
                self.skipTest('no_new_privs is set here')

    def secure(self, *args, **kw):
        """The kernel's own word: AT_SECURE (23) in the auxiliary vector."""
        result = subprocess.run(
            [*args], env={'LD_SHOW_AUXV': '1'}, timeout=60,
            stdout=subprocess.PIPE, text=True, **kw)
        return 'AT_SECURE:            1' in result.stdout or \
            'AT_SECURE' not in result.stdout

    def both(self, path, **kw):
        """cogo-run's answer to it, which has to be the kernel's."""
        result = self.run_it(path, **kw)
        self.assertEqual(result.returncode == 126, self.secure(path, **kw),
                         result.stderr)
        return result

    @unittest.skipUnless(ROOT, 'needs root to give a file to another user')
    def test_set_uid_to_another_user_is_refused(self):
        path = self.copy('true')
        os.chown(path, NOBODY, 0)
        os.chmod(path, 0o4755)
        self.refused(self.both(path), 126, path, 'set-uid')

    @unittest.skipUnless(ROOT, 'needs root to become another user')
    def test_set_uid_to_root_is_refused_for_a_user_and_fine_for_root(self):
        path = self.copy('true')
        os.chmod(path, 0o4755)
        self.assertEqual(self.both(path).returncode, 0)
        self.refused(self.both(path, user=NOBODY, group=NOBODY,
                               extra_groups=[]), 126, path, 'set-uid')

    @unittest.skipUnless(ROOT, 'needs root to give a file to another group')
    def test_set_gid_counts_only_where_the_group_may_execute(self):
        path = self.copy('true')
        os.chown(path, 0, NOBODY)
        os.chmod(path, 0o2755)
        self.refused(self.both(path), 126, path, 'set-gid')
        os.chmod(path, 0o2745)
        self.assertEqual(self.both(path).returncode, 0)

    @unittest.skipUnless(ROOT, 'needs root to mark a file')
    def test_file_capabilities_count_for_users_and_not_for_root(self):
        path = self.copy('true')
        # cap_net_bind_service=ep, as setcap(8) writes it
        try:
            os.setxattr(path, 'security.capability',
                        struct.pack('<IIIII', 0x02000001, 1 << 10, 0, 0, 0))
        except OSError as e:
            self.skipTest(f'no file capabilities here: {e}')
        self.assertEqual(self.both(path).returncode, 0)
        self.refused(self.both(path, user=NOBODY, group=NOBODY,
                               extra_groups=[]), 126, path, 'capabilities')

    @unittest.skipUnless(ROOT and shutil.which('setpriv'),
                         'needs root and setpriv')
    def test_under_no_new_privs_the_marks_do_not_count(self):
        path = self.copy('true')
        os.chown(path, NOBODY, 0)
        os.chmod(path, 0o4755)
        result = subprocess.run(['setpriv', '--no-new-privs', COGO_RUN, path],
                                env=self.env, timeout=60)
        self.assertEqual(result.returncode, 0)

    def test_set_uid_to_oneself_is_fine(self):
        path = self.copy('true')
        os.chmod(path, 0o4755)
        self.assertEqual(self.both(path).returncode, 0)

    @unittest.skipUnless(ROOT, 'needs root to give a file to another user')
    def test_a_set_uid_script_is_as_good_as_its_interpreter(self):
        path = self.file('prog', '#!/bin/sh\necho ran\n')
        os.chown(path, NOBODY, 0)
        os.chmod(path, 0o4755)
        self.assertEqual(self.run_it(path).stdout, 'ran\n')


class Places(Case):
    """Where the library is looked for when nobody names it."""

    def place(self, run, lib):
        root = os.path.join(self.dir, run.replace('/', '-') + lib.replace('/', '-'))
        os.makedirs(os.path.dirname(os.path.join(root, run)))
        os.makedirs(os.path.dirname(os.path.join(root, lib)), exist_ok=True)
        shutil.copyfile(COGO_RUN, os.path.join(root, run))
        os.chmod(os.path.join(root, run), 0o755)
        shutil.copyfile(LIBRARY, os.path.join(root, lib))
        env = dict(self.env)
        del env['COGO_LIBRARY']
        result = subprocess.run([os.path.join(root, run), 'env'], env=env,
                                stdout=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(result.returncode, 0)
        self.assertIn(f'LD_PRELOAD={os.path.join(root, lib)}\n', result.stdout)

    def test_beside_it(self):
        self.place('x/cogo-run', 'x/libcogo.so')

    def test_in_a_build_tree(self):
        self.place('build/tools/cogo-run', 'build/libcogo.so')

    def test_in_an_installation(self):
        self.place('bin/cogo-run', 'lib/libcogo.so')

    @unittest.skipUnless(ROOT and shutil.which('unshare'),
                         'needs root and unshare')
    def test_without_proc(self):
        os.mkdir(self.dir + '/x')
        for path, name in ((COGO_RUN, 'cogo-run'), (LIBRARY, 'libcogo.so')):
            shutil.copy(path, f'{self.dir}/x/{name}')
        env = dict(self.env)
        del env['COGO_LIBRARY']
        result = subprocess.run(
            ['unshare', '-m', 'sh', '-c',
             'umount -l /proc || exit 77; exec "$0" env',
             self.dir + '/x/cogo-run'],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=60)
        if result.returncode == 77 or result.stdout.startswith('unshare:'):
            self.skipTest(f'/proc stays here: {result.stdout}')
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn(f'LD_PRELOAD={self.dir}/x/libcogo.so\n', result.stdout)

    def test_a_link_to_cogo_run_finds_what_its_target_finds(self):
        os.makedirs(self.dir + '/real')
        shutil.copyfile(COGO_RUN, self.dir + '/real/cogo-run')
        os.chmod(self.dir + '/real/cogo-run', 0o755)
        shutil.copyfile(LIBRARY, self.dir + '/real/libcogo.so')
        os.symlink('real/cogo-run', self.dir + '/run')
        env = dict(self.env)
        del env['COGO_LIBRARY']
        out = subprocess.run([self.dir + '/run', 'env'], env=env, text=True,
                             stdout=subprocess.PIPE, timeout=60).stdout
        self.assertIn(f'LD_PRELOAD={self.dir}/real/libcogo.so\n', out)


if __name__ == '__main__':
    COGO_RUN = os.path.abspath(sys.argv[1])
    LIBRARY = os.path.realpath(sys.argv[2])
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
