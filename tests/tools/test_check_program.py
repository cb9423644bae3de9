# SPDX-License-Identifier: MIT OR Apache-2.0
"""cogo-run --check: what it says of programs, and that it runs none of them.

    test_check_program.py COGO_RUN LIBRARY COMPILER

LIBRARY is any shared library of this architecture. The programs are compiled here,
each with one thing in it to be found; a few are the distribution's own."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

COGO_RUN = LIBRARY = COMPILER = None
X86 = os.uname().machine == 'x86_64'

THREADS = '''
#include <pthread.h>
#include <unistd.h>
static void *run(void *arg) { %s; return arg; }
int main(void)
{
	pthread_t t;
	/* A check runs nothing: this would be seen. */
	write(1, "RAN", 3);
	pthread_create(&t, 0, run, 0);
	return pthread_join(t, 0);
}
'''
INLINE = '''
static long my_getpid(void)
{
	long r;
#if defined __x86_64__
	__asm__ volatile("syscall" : "=a"(r) : "a"(39) : "rcx", "r11", "memory");
#else
	register long x0 __asm__("x0");
	register long x8 __asm__("x8") = 172;
	__asm__ volatile("svc #0" : "=r"(x0) : "r"(x8) : "memory");
	r = x0;
#endif
	return r;
}
'''


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='cogo-check-test-')
        self.addCleanup(shutil.rmtree, self.dir)
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(('COGO_', 'LD_'))}
        self.env['COGO_LIBRARY'] = LIBRARY
        self.env['ASAN_OPTIONS'] = 'detect_leaks=0:verify_asan_link_order=0'

    def check(self, *args, env=None, **kw):
        result = subprocess.run(
            [COGO_RUN, '--check', *args], env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=60, **kw)
        self.assertNotIn('RAN', result.stdout)
        self.assertLessEqual(max(map(len, result.stdout.split('\n'))), 79)
        # Sentences are looked for as such, wherever a line ends.
        result.text = ' '.join(result.stdout.split())
        return result

    def says(self, result, status, *words):
        self.assertEqual(result.returncode, status,
                         result.stdout + result.stderr)
        self.assertEqual(result.stderr, '')
        for word in words:
            self.assertIn(word, result.text)

    def fails(self, result, status, *words):
        """There was nothing to check: one line, on standard error."""
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stdout, '')
        self.assertRegex(result.stderr, r'\Acogo-run: [^\n]*\n\Z')
        for word in words:
            self.assertIn(word, result.stderr)

    def file(self, name, content, mode=0o755):
        path = os.path.join(self.dir, name)
        with open(path, 'wb') as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        return path

    def compile(self, name, source, *options):
        path = os.path.join(self.dir, name)
        # By itself: a sanitizer's or a coverage's library asks for much.
        result = subprocess.run(
            [*COMPILER, '-w', '-x', 'c', '-', '-o', path, '-pthread', '-O1',
             '-D_GNU_SOURCE', *options],
            input=source, text=True, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        return path

    def section(self, result, heading):
        """The lines below a heading, as one."""
        for part in result.stdout.split('\n\n'):
            part = ' '.join(part.split())
            if heading in part:
                return part
        return ''


class Reports(Case):
    def test_a_program_whose_waits_are_all_coroutines_is_well(self):
        path = self.compile('prog', THREADS % 'sleep(1)')
        result = self.check(path)
        self.says(result, 0, f'{path} can run under cogo-run.',
                  'no library but the C library',
                  'assembly: none found', 'A guess')
        self.assertIn('pthread_create', self.section(result, 'Makes coroutines'))
        waits = self.section(result, 'only the coroutine does')
        for name in ('pthread_join', 'sleep', 'write'):
            self.assertIn(name, waits)
        self.assertNotIn('*', result.stdout)
        self.assertNotIn('dlopen', result.stdout)
        self.assertNotIn('--bind', result.stdout)

    def test_what_the_program_was_given_is_left_alone(self):
        path = self.compile('prog', THREADS % '')
        self.says(self.check(path, '--check', 'x'), 0)

    def test_a_program_without_threads_is_told_so(self):
        path = self.compile('prog', 'int main(void) { return 0; }')
        self.says(self.check(path), 1, 'makes threads')

    def test_a_hand_off_has_its_reason_and_its_place(self):
        path = self.compile('prog', THREADS % 'fsync(1)')
        result = self.check(path)
        self.says(result, 0)
        self.assertRegex(self.section(result, 'takes over at once'),
                         r'fsync \(in prog\); the kernel tells nobody')

    def test_a_policy_of_its_own_binds_and_is_a_remark(self):
        path = self.compile('prog', '#include <sched.h>' + THREADS %
                            'struct sched_param p = {0};'
                            'sched_setscheduler(0, SCHED_FIFO, &p)')
        result = self.check(path)
        self.says(result, 1, '--bind FUNCTION')
        self.assertRegex(self.section(result, 'keeps a kernel thread'),
                         r'\* .*sched_setscheduler \(in prog\)')

    def test_a_name_for_its_thread_binds_nobody(self):
        path = self.compile('prog', '#include <sys/prctl.h>' + THREADS %
                            'prctl(PR_SET_NAME, "name")')
        result = self.check(path)
        self.says(result, 0, "a thread's name, for one, is not")
        self.assertNotIn('--bind', result.stdout)

    def test_wide_stdio_is_noticed_only_and_no_remark(self):
        path = self.compile('prog', '#include <wchar.h>\n#include <stdio.h>' +
                            THREADS % 'wchar_t b[9]; fgetws(b, 9, stdin);'
                            'char c[9]; fgets(c, 9, stdin)',
                            '-U_FORTIFY_SOURCE')
        result = self.check(path)
        self.says(result, 0)
        self.assertIn('fgetws', self.section(result, 'when that is noticed'))
        self.assertNotIn('fgets', self.section(result, 'when that is noticed'))

    def test_an_inline_system_call_is_counted_in_its_file(self):
        path = self.compile('prog', INLINE + THREADS %
                            'my_getpid()')
        result = self.check(path)
        self.says(result, 1)
        self.assertIn('prog: 1', self.section(
            result, '* System calls by inline assembly'))
        # And so without the headers of sections.
        if shutil.which('objcopy'):
            bare = os.path.join(self.dir, 'bare')
            if subprocess.run(['objcopy', '--strip-section-headers', path, bare],
                              stderr=subprocess.DEVNULL).returncode == 0:
                self.says(self.check(bare), 1, 'bare: 1', 'pthread_create')

    def test_those_of_the_c_library_are_not_counted(self):
        path = self.compile('prog', '#include <math.h>' + THREADS %
                            'return (void *)(long)pow((long)arg, 0.3)', '-lm')
        self.says(self.check(path), 0, 'none found')

    def test_dlopen_is_what_is_not_known(self):
        path = self.compile('prog', '#include <dlfcn.h>' + THREADS %
                            'dlopen("x", 1)', '-ldl')
        self.says(self.check(path), 0, 'dlopen', 'not known')

    def test_a_go_program_is_told_from_its_section(self):
        path = self.compile('prog', '__attribute__((section(".go.buildinfo"),'
                            'used)) int g = 1;' + THREADS % '')
        self.says(self.check(path), 1, 'Go', 'gain nothing')


class Libraries(Case):
    def setUp(self):
        super().setUp()
        os.mkdir(self.dir + '/lib')
        self.library = self.compile('lib/libslow.so', INLINE + '''
            #include <sys/file.h>
            long slow(void) { return flock(1, 2) + my_getpid(); }''',
            '-shared', '-fPIC')

    def program(self, *options):
        return self.compile('prog', 'long slow(void);' + THREADS % 'slow()',
                            f'-L{self.dir}/lib', '-lslow', *options)

    def seen(self, result):
        self.says(result, 1, 'libslow.so: 1', 'flock (in libslow.so)')

    def test_one_is_found_by_runpath(self):
        self.seen(self.check(self.program(
            f'-Wl,--enable-new-dtags,-rpath,{self.dir}/lib')))

    def test_one_is_found_by_rpath(self):
        self.seen(self.check(self.program(
            f'-Wl,--disable-new-dtags,-rpath,{self.dir}/lib')))

    def test_one_is_found_beside_the_program_wherever_a_link_leads(self):
        path = self.program('-Wl,-rpath,$ORIGIN/lib')
        self.seen(self.check(path))
        os.mkdir(self.dir + '/bin')
        os.symlink('../prog', self.dir + '/bin/link')
        self.seen(self.check(self.dir + '/bin/link'))

    def test_one_is_found_by_ld_library_path(self):
        path = self.program()
        self.seen(self.check(path, env={'LD_LIBRARY_PATH': self.dir + '/lib'}))

    def test_one_that_is_not_found_is_named(self):
        self.says(self.check(self.program()), 2, 'does not start',
                  'the loader says: libslow.so: cannot open')

    def test_one_that_is_damaged_is_the_loaders_word(self):
        path = self.program('-Wl,-rpath,$ORIGIN/lib')
        self.file('lib/libslow.so', b'\x7fELF' + bytes(100))
        self.says(self.check(path), 2, 'does not start', 'libslow.so')

    def test_variables_of_the_loader_do_not_disturb(self):
        path = self.program('-Wl,-rpath,$ORIGIN/lib')
        self.seen(self.check(path, env={
            'LD_DEBUG': 'all', 'LD_DEBUG_OUTPUT': self.dir + '/debug',
            'LD_BIND_NOW': '1', 'LD_VERBOSE': '1'}))

    def test_a_loader_that_is_not_the_systems_is_not_run(self):
        own = self.file('ld-linux-own.so.2', '#!/bin/sh\necho RAN\n')
        path = self.program(f'-Wl,--dynamic-linker,{own}')
        self.says(self.check(path), 1, 'libraries were not looked at', own)


class Refusals(Case):
    def test_a_static_program_cannot_in_the_words_of_cogo_run(self):
        try:
            path = self.compile('prog', THREADS % '', '-static')
        except AssertionError as e:
            self.skipTest(f'no static C library here: {e}')
        result = self.check(path)
        self.says(result, 2, 'statically linked')
        run = subprocess.run([COGO_RUN, path], env=self.env, text=True,
                             stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(run.returncode, 126)
        self.assertEqual(result.text,
                         run.stderr.strip().removeprefix('cogo-run: ') + '.')

    def test_a_musl_program_cannot(self):
        path = self.compile('prog', THREADS % '',
                            '-Wl,--dynamic-linker,/lib/ld-musl-x86_64.so.1')
        self.says(self.check(path), 2, 'glibc', 'ld-musl')

    def test_a_program_of_another_machine_cannot(self):
        path = self.compile('prog', THREADS % '')
        with open(path, 'r+b') as f:
            f.seek(18)
            f.write(bytes([183 if X86 else 62, 0]))
        self.says(self.check(path), 2, 'aarch64', 'x86-64')

    def test_a_script_is_followed_to_its_interpreter(self):
        path = self.file('script', '#!/bin/sh\necho RAN\n')
        result = self.check(path)
        self.says(result, 1, f'{path} is a script', '/bin/sh can run')
        self.says(self.check('script', env={
            'PATH': self.dir + ':' + os.environ['PATH']}), 1, '/bin/sh')


    def sanitized(self, kind):
        try:
            return self.compile('prog', THREADS % '', f'-fsanitize={kind}')
        except AssertionError as e:
            self.skipTest(f'{COMPILER[0]} cannot link with it: {e}')

    def test_what_thread_sanitizer_watches_cannot(self):
        path = self.sanitized('thread')
        self.says(self.check(path), 2, f'{path} is built with ThreadSanitizer')

    def test_what_address_sanitizer_watches_can_if_its_library_is_first(self):
        path = self.sanitized('address')
        for options, status in (('', 2), (':verify_asan_link_order=0', 0)):
            # cogo-run may be built with it, too.
            result = self.check(path, env={'ASAN_OPTIONS':
                                           'detect_leaks=0' + options})
            # clang's is a part of the program, and first by that.
            if result.returncode != 2 and options == '':
                self.assertNotIn('libasan', result.text)
                self.assertIn('Makes coroutines', result.text)
                return
            self.assertEqual(result.returncode == 2, status == 2, result.text)
            self.assertEqual('AddressSanitizer' in result.text, status == 2)


class NothingToCheck(Case):
    def test_a_missing_file(self):
        self.fails(self.check(self.dir + '/none'), 127, self.dir + '/none')
        self.fails(self.check('no-such-program-at-all'), 127,
                   'no-such-program-at-all')

    def test_a_missing_interpreter(self):
        path = self.file('script', '#!/nowhere/sh\n')
        self.fails(self.check(path), 127, path, 'interpreter')

    def test_scripts_that_name_each_other(self):
        self.file('a', f'#!{self.dir}/b\n')
        self.file('b', f'#!{self.dir}/a\n')
        self.fails(self.check(self.dir + '/a'), 126, 'without end')

    def test_a_directory(self):
        self.fails(self.check(self.dir), 126, 'is a directory')

    def test_what_is_not_executable(self):
        path = self.file('prog', '#!/bin/sh\n', 0o644)
        self.fails(self.check(path), 126, path, 'Permission denied')

    def test_what_is_no_program(self):
        self.fails(self.check(self.file('text', 'words\n')), 126, 'neither')
        self.fails(self.check(self.file('empty', '')), 126, 'is empty')

    def test_the_loader_itself(self):
        loader = '/lib64/ld-linux-x86-64.so.2' if X86 \
            else '/lib/ld-linux-aarch64.so.1'
        self.fails(self.check(loader), 126, 'the loader itself')

    def test_nothing_named(self):
        self.fails(self.check(), 125, 'Usage')


class Damage(Case):
    def test_a_file_that_was_cut_off_is_told_and_nothing_crashes(self):
        with open(self.compile('prog', THREADS % 'sleep(1)'), 'rb') as f:
            whole = f.read()
        for n in [1, 4, 16, 63, 64, 65, 200, 700, 1000, 4096, len(whole) // 2]:
            with self.subTest(n):
                self.fails(self.check(self.file('cut', whole[:n])), 126, 'cut')

    def test_no_damaged_header_brings_it_down(self):
        path = self.compile('prog', THREADS % 'sleep(1)')
        with open(path, 'rb') as f:
            whole = f.read()
        sections = int.from_bytes(whole[40:48], 'little')
        places = [*range(16, 64, 2), *range(sections, len(whole), 16)]
        for at in places:
            bad = bytearray(whole)
            bad[at:at + 4] = b'\xff\xff\xff\x7f'
            result = self.check(self.file('bad', bytes(bad[:len(whole)])))
            self.assertIn(result.returncode, (0, 1, 2, 126), (at, result))


class Real(Case):
    """Where they are installed."""

    def real(self, name):
        path = shutil.which(name, path='/usr/bin:/usr/sbin:/bin:/sbin')
        if path is None:
            self.skipTest(f'no {name} here')
        with open(path, 'rb') as f:
            if f.read(2) == b'#!':
                self.skipTest(f'{name} is a script here')
        return self.check(path)

    def test_tinyproxy_is_well(self):
        self.says(self.real('tinyproxy'), 0, 'pthread_create', 'getaddrinfo')

    def test_memcached_is_well(self):
        self.says(self.real('memcached'), 0, 'pthread_create', 'libevent')

    def test_a_java_launcher_is_told(self):
        self.says(self.real('java'), 1, 'Java virtual machine')

    def test_xz_waits_for_conditions(self):
        self.assertIn('pthread_cond_wait', self.section(
            self.real('xz'), 'only the coroutine does'))


if __name__ == '__main__':
    COGO_RUN = os.path.abspath(sys.argv[1])
    LIBRARY = os.path.realpath(sys.argv[2])
    COMPILER = sys.argv[3:]
    unittest.main(argv=sys.argv[:1], verbosity=2)
