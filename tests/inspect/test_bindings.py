#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Nobody's exceptions go through our unwinder: libcogo.so needs no libunwind,
and each _Unwind_* name of a program binds to what it binds to without us."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

import look

BINDING = re.compile(r'binding file (\S+) \[0\] to (\S+) \[0\]: \w+ symbol '
                     r"`(_Unwind_\w+)'")


def bindings(options, folder, env=()):
    """(file, symbol) -> library, of the program and its libraries, and what the
    program said."""
    log = os.path.join(folder, 'bindings')
    command = [] if options is None else [look.COGO_RUN, *options, '--']
    done = subprocess.run(
        # Not for cogo-run itself.
        [*command, 'env', 'LD_DEBUG=bindings', f'LD_DEBUG_OUTPUT={log}',
         'LD_BIND_NOW=1', *env, look.built('thrower'), look.built('plugin.so')],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise AssertionError(f'{options}: {done}')
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding='utf-8',
                  errors='replace') as f:
            for user, used, symbol in BINDING.findall(f.read()):
                # libgcc_s to itself: somebody asked by dlsym, as libc does for
                # pthread_exit.
                if os.path.basename(user) == os.path.basename(used):
                    continue
                found[os.path.basename(user), symbol] = os.path.basename(used)
    return found, done.stdout


class Bindings(unittest.TestCase):
    def test_the_library_needs_no_libunwind(self):
        out = subprocess.run(['readelf', '-d', look.libcogo()],
                             stdout=subprocess.PIPE, text=True,
                             check=True).stdout
        self.assertIn('NEEDED', out)
        self.assertNotIn('libunwind', out)

    def test_no_binding_of_unwind_changes_under_the_preload(self):
        with tempfile.TemporaryDirectory() as folder:
            bare, said = bindings(None, folder)
        users = {user for user, _ in bare}
        self.assertIn('inspect-thrower', users)
        self.assertIn('inspect-plugin.so', users)
        self.assertEqual(set(bare.values()), {'libgcc_s.so.1'})
        for options in ([], ['--stats', '--dump', 'USR1']):
            with self.subTest(options), \
                    tempfile.TemporaryDirectory() as folder:
                under, said_under = bindings(options, folder)
                ours = {key: used for key, used in under.items()
                        if key[0].startswith(('libcogo', 'libunwind'))}
                others = {key: used for key, used in under.items()
                          if key not in ours}
                self.assertEqual(others, bare)
                self.assertEqual(said_under, said)

    def test_a_libunwind_that_is_preloaded_would_be_noticed_here(self):
        """That is: this looks where it should."""
        with tempfile.TemporaryDirectory() as folder:
            found, _ = bindings(None, folder, ['LD_PRELOAD=libunwind.so.8'])
        if 'libunwind.so.8' not in found.values():
            self.skipTest('libunwind.so.8 is not installed')

    def test_the_names_of_libunwind_are_for_nobody_but_us(self):
        """It is there, once a thread is, and not where a plugin would find
        it."""
        code = ('import ctypes, threading\n'
                't = threading.Thread(target=lambda: None)\n'
                't.start(); t.join()\n'
                'print("libunwind.so.8" in open("/proc/self/maps").read())\n'
                'try: ctypes.CDLL(None).unw_backtrace; print("found")\n'
                'except AttributeError: print("hidden")\n')
        out = subprocess.run([look.COGO_RUN, '--', sys.executable, '-c', code],
                             stdout=subprocess.PIPE, text=True,
                             check=True).stdout.split()
        if out[0] == 'False':
            self.skipTest('libunwind.so.8 is not installed')
        self.assertEqual(out, ['True', 'hidden'])


if __name__ == '__main__':
    look.main()
