# SPDX-License-Identifier: MIT OR Apache-2.0
"""check-floors finds what it is for: each of its rules is broken in a small
tree, on purpose, and it has to say where.

    test_check_floors.py [CC]
"""
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     '../../tools/check-floors.py')
CC = 'cc'

# Every way that is allowed, once.
RIGHT = {
    'include/cogo.h': '#include "cogo/go.h"\n#include <cogo/go.h>\n',
    'include/cogo/go.h': '#include <stdint.h>\nvoid cogo_go(void);\n',
    'runtime/arch/tp.h': '#ifdef __x86_64__\n#include "arch/x86_64/tp.h"\n'
                         '#endif\n',
    'runtime/arch/x86_64/tp.h': '#pragma once\n#include "arch/tp.h"\n',
    'runtime/base/sys.c': '#include "base/sys.h"\nint sys_read(void)'
                          '{ return 0; }\n',
    'runtime/base/sys.h': '#include "arch/tp.h"\nint sys_read(void);\n',
    'runtime/sched/park.h': '#include "base/sys.h"\nint park(void);\n',
    'runtime/sched/park.c': '#include "park.h"\n#include "sched/park.h"\n'
                            'int park(void) { return sys_read(); }\n',
    'runtime/inspect/backtrace.c': '#include <libunwind.h>\n',
    'runtime/call.c': '#include <ffi.h>\n#include <stdio.h>\n',
    'runtime/go.c': '#include "cogo/go.h"\n#include "sched/park.h"\n'
                    'void cogo_go(void) { park(); }\n',
    'hook/io.c': '#include "real.h"\n#include "sched/park.h"\n'
                 '#include "cogo/go.h"\n'
                 'int read(void);\n'
                 'int read(void) { cogo_go(); return park() + read(); }\n',
    'hook/real.h': '#define HOOK(...)\n#define PASS(...)\n'
                   '#define ALSO(...)\n#include "names.def"\n',
    'hook/thread/create.c': '#include "../real.h"\n'
                            '#include "hook/real.h"\n',
    'hook/names.def': '/* HOOK(memcpy) no */\n#define A1\n'
                      'HOOK(read, A1)\nHOOK(pthread_create, B1)\n'
                      'PASS(vfork, A8, "why")\nALSO(openat2, A2)\n',
}
# What needs headers that are not here to be compiled.
NOT_BUILT = ('runtime/inspect/backtrace.c', 'runtime/call.c',
             'hook/thread/create.c')


class CheckFloors(unittest.TestCase):
    def setUp(self):
        self.tree = tempfile.mkdtemp(prefix='check-floors-')
        self.addCleanup(shutil.rmtree, self.tree)
        for path, text in RIGHT.items():
            self.write(path, text)

    def write(self, path, text):
        full = os.path.join(self.tree, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, 'w', encoding='utf-8') as f:
            f.write(text)

    def build(self, archive=None, options=()):
        """What meson would leave: objects, and a list of how they came."""
        build = os.path.join(self.tree, 'out')
        commands = []
        for folder, _, files in os.walk(self.tree):
            for name in files:
                path = os.path.relpath(os.path.join(folder, name), self.tree)
                if not name.endswith('.c') or path in NOT_BUILT:
                    continue
                room = archive or path.replace('/', '_')[:-2]
                output = f'lib{room}.a.p/{path.replace("/", "_")}.o'
                full = os.path.join(build, output)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                command = [CC, '-w', '-ffreestanding', '-fno-builtin', *options,
                           '-Iruntime', '-Iinclude', '-I.', '-c', path,
                           '-o', full]
                subprocess.run(command, cwd=self.tree, check=True)
                commands.append({'directory': build, 'file': '../' + path,
                                 'command': shlex.join(command),
                                 'output': output})
        with open(os.path.join(build, 'compile_commands.json'), 'w',
                  encoding='utf-8') as f:
            json.dump(commands, f)
        return '--build', build

    def check(self, *args):
        return subprocess.run([sys.executable, CHECK, *args, self.tree],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=60)

    def clean(self, *args):
        result = self.check(*args)
        self.assertEqual((result.returncode, result.stderr), (0, ''),
                         result.stdout)

    def offends(self, *words, build=()):
        """One offence, in these words."""
        result = self.check(*build)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        self.assertEqual(result.stdout.count('\n'), 1, result.stdout)
        for word in words:
            self.assertIn(word, result.stdout)

    def test_a_tree_in_order_passes(self):
        self.clean()
        self.clean(*self.build())

    def test_an_include_upward_is_an_offence(self):
        self.write('runtime/base/list.c', '\n#include "sched/park.h"\n')
        self.offends('runtime/base/list.c:2', 'runtime/sched (floor 6)',
                     'runtime/base (floor 2)')

    def test_an_include_upward_by_another_path_is_an_offence(self):
        for name in ('../sched/park.h', 'runtime/sched/park.h',
                     'arch/../sched/park.h'):
            self.write('runtime/base/list.c', f'  #  include "{name}"\n')
            self.offends('runtime/base/list.c:1', 'runtime/sched/park.h')

    def test_an_include_that_is_compiled_only_sometimes_is_an_offence(self):
        self.write('runtime/base/list.c',
                   '#ifdef DEBUG\n#include "sched/park.h"\n#endif\n')
        self.offends('runtime/base/list.c:2')

    def test_a_neighbour_on_the_same_floor_is_an_offence(self):
        self.write('runtime/wait/lot.h', '')
        self.write('runtime/fault/panic.c', '#include "wait/lot.h"\n')
        self.offends('runtime/fault/panic.c:1', 'runtime/wait')

    def test_a_file_of_a_floor_of_its_own_cannot_use_its_neighbour(self):
        self.write('sync/mutex.h', '')
        self.write('runtime/go.c', '#include "sync/mutex.h"\n')
        self.offends('runtime/go.c:1', 'sync (floor 8)')

    def test_a_subfolder_is_on_its_folders_floor(self):
        self.write('runtime/arch/aarch64/x.c', '#include "base/sys.h"\n')
        self.offends('runtime/arch/aarch64/x.c:1', 'runtime/arch (floor 1)')

    def test_an_include_in_a_comment_is_none(self):
        self.write('runtime/base/list.c',
                   '/*\n#include "sched/park.h"\n*/ // #include "sched/x.h"\n')
        self.clean()

    def test_a_header_that_is_nowhere_is_an_offence(self):
        self.write('runtime/base/list.c', '#include "base/lsit.h"\n')
        self.offends('runtime/base/list.c:1', 'base/lsit.h', 'nowhere')

    def test_a_file_on_no_floor_is_an_offence(self):
        self.write('runtime/misc/x.c', '')
        self.offends('runtime/misc/x.c', 'on no floor')

    def test_a_public_header_that_needs_more_than_C_is_an_offence(self):
        self.write('include/cogo/io.h', '#include <sys/socket.h>\n')
        self.offends('include/cogo/io.h:1', 'sys/socket.h')

    def test_a_public_header_that_needs_the_runtime_is_an_offence(self):
        self.write('include/cogo/io.h', '#include "base/sys.h"\n')
        self.offends('include/cogo/io.h:1', 'runtime/base')

    def test_a_second_user_of_libunwind_or_libffi_is_an_offence(self):
        self.write('runtime/base/list.c', '#include <libunwind.h>\n')
        self.offends('libunwind.h', 'runtime/inspect/backtrace.c')
        self.write('runtime/base/list.c', '#include <ffi.h>\n')
        self.offends('ffi.h', 'runtime/call.c')

    def test_asking_for_the_processor_outside_arch_is_an_offence(self):
        self.write('runtime/base/list.c', '\n#if defined(__aarch64__)\n#endif\n')
        self.offends('runtime/base/list.c:2', '__aarch64__')

    def test_a_symbol_from_above_is_an_offence_though_no_header_tells(self):
        self.write('runtime/base/list.c',
                   'int park(void); int list(void) { return park(); }\n')
        self.clean()
        self.offends('runtime/base/list.c', 'uses park', 'runtime/sched',
                     build=self.build())

    def test_a_weak_use_of_a_symbol_from_above_is_an_offence(self):
        self.write('runtime/base/list.c',
                   '__attribute__((weak)) int park(void);\n'
                   'int list(void) { return park ? park() : 0; }\n')
        self.offends('uses park', build=self.build())

    def test_data_from_above_is_an_offence(self):
        self.write('runtime/sched/w.c', 'int workers = 1;\n')
        self.write('runtime/base/list.c', 'extern int workers;\n'
                   'int list(void) { return workers; }\n')
        self.offends('uses workers', build=self.build())

    def test_a_symbol_of_a_neighbour_is_an_offence(self):
        self.write('runtime/wait/lot.c', 'int lot(void) { return 1; }\n')
        self.write('runtime/fault/panic.c', 'int lot(void);\n'
                   'int panic(void) { return lot(); }\n')
        self.offends('uses lot', 'runtime/wait', build=self.build())

    def test_a_name_that_is_also_defined_below_is_none(self):
        self.write('runtime/base/park.c', 'int park(void) { return 2; }\n')
        self.write('runtime/mem/list.c',
                   'int park(void); int list(void) { return park(); }\n')
        self.clean(*self.build())

    def test_a_hooked_name_below_the_hooks_is_an_offence(self):
        self.write('runtime/base/list.c', 'int pthread_create(void);\n'
                   'int list(void) { return pthread_create(); }\n')
        self.offends('runtime/base/list.c', 'uses pthread_create', 'hooked',
                     build=self.build())

    def test_objects_for_link_time_optimisation_are_seen_through(self):
        nm = 'llvm-nm' if 'clang' in CC else 'gcc-nm'
        if not shutil.which(nm):
            self.skipTest(f'there is no {nm} here')
        self.write('runtime/base/list.c',
                   'int park(void); int list(void) { return park(); }\n')
        self.offends('runtime/base/list.c', 'uses park', 'runtime/sched',
                     build=self.build(options=['-flto']))

    def test_a_thread_local_variable_is_an_offence(self):
        self.write('runtime/base/list.c', 'static __thread int mine;\n'
                   'int list(void) { return mine; }\n')
        self.offends('runtime/base/list.c:1', 'thread-local')

    def test_asking_where_errno_is_is_an_offence(self):
        self.write('runtime/base/list.c', '#include <errno.h>\n'
                   'int list(void) { return errno; }\n')
        self.offends('runtime/base/list.c', 'uses __errno_location', 'keep',
                     build=self.build())

    def test_a_name_in_a_comment_or_passed_on_is_not_hooked(self):
        self.write('runtime/base/list.c',
                   'int memcpy(void), vfork(void), openat2(void);\n'
                   'int list(void) { return memcpy() + vfork() + openat2();'
                   ' }\n')
        self.clean(*self.build())

    def test_names_def_without_a_name_is_an_offence(self):
        self.write('hook/names.def', '#define READ\n')
        self.offends('hook/names.def', 'no name', build=self.build())

    def test_an_archive_of_two_floors_is_an_offence(self):
        self.offends('libeverything.a', 'more than one floor',
                     build=self.build(archive='everything'))

    def test_without_a_build_it_says_so(self):
        result = self.check('--build', os.path.join(self.tree, 'none'))
        self.assertEqual(result.returncode, 1)
        self.assertIn('meson', result.stderr)

    def test_an_empty_tree_is_no_tree_in_order(self):
        shutil.rmtree(self.tree)
        os.mkdir(self.tree)
        self.assertEqual(self.check().returncode, 1)


if __name__ == '__main__':
    if len(sys.argv) > 1:
        CC = sys.argv.pop(1)
    unittest.main(verbosity=2)
