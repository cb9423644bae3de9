#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What libcogo.so exports, and what the C library has that it should.

hook/names.def is the table: a name is stood in front of (HOOK), known and left
to libc (ALSO, PASS with the reason), or not thought of. The last is what this
looks for: among the running C library's names those that are, by their spelling,
one of ours in another form."""
import ctypes
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

LIBCOGO, COGO_RUN, NAMES = sys.argv[1:4]

# Made part of each program by the linker, or names of one CPU alone.
NOT_SHARED = {'atexit', 'at_quick_exit'}
X86_ONLY = {'iopl', 'ioperm', 'arch_prctl', '__arch_prctl'}

# Which glibc brought what is not in all that we run on. Anything else must be
# there.
SINCE = {
    'pthread_clockjoin_np': (2, 31), 'pthread_attr_getsigmask_np': (2, 32),
    'pthread_attr_setsigmask_np': (2, 32), 'close_range': (2, 34),
    'closefrom': (2, 34), 'execveat': (2, 34), '_Fork': (2, 34),
    '_dl_find_object': (2, 35), 'epoll_pwait2': (2, 35),
    'pidfd_open': (2, 36), 'pidfd_getfd': (2, 36),
    'pidfd_send_signal': (2, 36),
    '__isoc23_scanf': (2, 38), '__isoc23_fscanf': (2, 38),
    '__isoc23_vscanf': (2, 38), '__isoc23_vfscanf': (2, 38),
    'pidfd_spawn': (2, 39), 'pidfd_spawnp': (2, 39), 'pidfd_getpid': (2, 39),
    'sched_setattr': (2, 41), 'sched_getattr': (2, 41),
    'pthread_gettid_np': (2, 42),
    '__isoc23_wscanf': (2, 38), '__isoc23_fwscanf': (2, 38),
    '__isoc23_vwscanf': (2, 38), '__isoc23_vfwscanf': (2, 38),
    'fsopen': (2, 36), 'fsconfig': (2, 36), 'fsmount': (2, 36),
    'fspick': (2, 36), 'move_mount': (2, 36), 'mount_setattr': (2, 36),
    'open_tree': (2, 36), 'process_mrelease': (2, 36),
    'arc4random_buf': (2, 36), 'arc4random_uniform': (2, 36),
    'arc4random': (2, 36), 'process_madvise': (2, 36),
    'stat': (2, 33), 'stat64': (2, 33), 'lstat': (2, 33), 'lstat64': (2, 33),
    'fstat': (2, 33), 'fstat64': (2, 33), 'fstatat': (2, 33),
    'fstatat64': (2, 33), 'mknod': (2, 33), 'mknodat': (2, 33),
}

# Fortified forms of what works in memory.
MEMORY_CHK = re.compile(
    r'__(mem|mem?p|str|stp|wcs|wcp|wmem|wc?tomb|wcrtomb|mbs|explicit_bzero|'
    r'v?s?n?printf|v?sw?n?printf|v?asprintf|confstr|gethostname|getdomainname|'
    r'getlogin_r|getwd|ptsname_r)\w*_chk')

# What newer libraries have added was looked at up to this one. Of what has come
# since 2.34, these do something in memory alone.
LOOKED_AT = (2, 41)
IN_MEMORY = re.compile(
    r'GLIBC_.*|stdc_\w+|c8rtomb|mbrtoc8|__memcmpeq|_dl_\w+|'
    r'__isoc23_(str|wcs)to\w+|__isoc23_v?(s|sw)scanf|(__)?(str|wcs)lc(at|py)(_chk)?|'
    r'posix_spawn(attr|_file_actions)_\w+|__rseq_\w+')

GROUPS = re.compile(r'A[1-8]|B[1-9]|C[1-4]|D[12]|E[12]|F[12]|G[12]|H[1-5]')


class Elf:
    """The dynamic symbols of a 64-bit library: name -> set of versions."""

    def __init__(self, path):
        with open(path, 'rb') as f:
            self.data = f.read()
        assert self.data[:5] == b'\x7fELF\2', path
        at, = struct.unpack_from('<Q', self.data, 0x28)
        size, n = struct.unpack_from('<HH', self.data, 0x3a)
        self.sections = [struct.unpack_from('<IIQQQQIIQQ', self.data,
                                            at + i * size) for i in range(n)]
        self.defined, self.wanted = {}, {}
        symbols = self.section(11)
        versions = self.section(0x6fffffff)
        named = self.version_names()
        self.has_versions = bool(self.section(0x6ffffffd))
        for i in range(1, symbols[5] // 24):
            name, info, _, where = struct.unpack_from(
                '<IBBH', self.data, symbols[4] + 24 * i)
            version = 1
            if versions:
                version, = struct.unpack_from('<H', self.data,
                                              versions[4] + 2 * i)
            if info & 15 == 6:      # thread-local: no function
                continue
            text = self.text(symbols[6], name)
            table = self.defined if where else self.wanted
            table.setdefault(text, set()).add(named.get(version & 0x7fff))

    def section(self, kind):
        return next((s for s in self.sections if s[1] == kind), None)

    def text(self, section, offset):
        at = self.sections[section][4] + offset
        return self.data[at:self.data.index(b'\0', at)].decode()

    def version_names(self):
        """Index of a version -> its name; 0 and 1 are no version."""
        named = {}
        defined = self.section(0x6ffffffd)
        at = defined[4] if defined else 0
        while defined:
            _, _, index, _, _, aux, step = struct.unpack_from('<HHHHIII',
                                                              self.data, at)
            name, = struct.unpack_from('<I', self.data, at + aux)
            named[index] = self.text(defined[6], name)
            if not step:
                break
            at += step
        return named

    def needed(self):
        dynamic = self.section(6)
        for i in range(dynamic[5] // 16):
            tag, value = struct.unpack_from('<QQ', self.data,
                                            dynamic[4] + 16 * i)
            if tag == 1:
                yield self.text(dynamic[6], value)


def mapped(name):
    """The path of a library that this very process uses."""
    with open('/proc/self/maps', encoding='utf-8') as f:
        for line in f:
            path = line.split(None, 5)[-1].strip()
            if os.path.basename(path).startswith(name):
                return path
    raise AssertionError(f'{name} is not mapped here')


def libc_names():
    """Before 2.34 much was in libraries of its own."""
    libc = mapped('libc.so')
    found = {}
    for name in ['libc', 'libpthread', 'librt', 'libutil', 'libresolv', 'libdl']:
        for suffix in range(10):
            path = os.path.join(os.path.dirname(libc), f'{name}.so.{suffix}')
            if os.path.exists(path):
                for symbol, versions in Elf(path).defined.items():
                    found.setdefault(symbol, set()).update(versions)
    return found


def table():
    """The names, and what is said of the groups."""
    with open(NAMES, encoding='utf-8') as f:
        text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
    lines = [line for line in text.splitlines() if line.strip()]
    found, groups = [], []
    for line in lines:
        match = re.fullmatch(
            r'(HOOK|ALSO|PASS)\((\w+), (\w+)(?:, "([^"]+)")?(?:, ([A-Z]+))?\)',
            line)
        group = re.fullmatch(r'GROUP\((\w+), ([A-Z]+), "[^"]+", "[^"]*"\)', line)
        if group:
            groups.append(group.groups())
        elif not match or (match[1] == 'PASS') != bool(match[4]):
            raise AssertionError(f'{NAMES}: {line}')
        else:
            found.append(match.groups())
    return found, groups


TABLE, SAID = table()
KNOWN = {name for _, name, *_ in TABLE}
HOOKED = {name for kind, name, *_ in TABLE if kind == 'HOOK'}
LIBC = libc_names()
GLIBC = tuple(int(n) for n in os.confstr('CS_GNU_LIBC_VERSION').split()[1]
              .split('.')[:2])


def plain_forms(name):
    """What a name may be another form of: of __read_chk, read and __read …"""
    found = {name}
    for prefix in ('__libc_', '__isoc99_', '__isoc23_', '_IO_', '__xpg_',
                   '__posix_', '__', '_'):
        if name.startswith(prefix):
            found.add(name[len(prefix):])
    for form in list(found):
        for suffix in ('_nocancel', '_chk', '64', '_time64', '_np', '_r', '2',
                       'v2', '64v2', '_2', '64_2', '64_nocancel', '64_chk',
                       '_internal'):
            if form.endswith(suffix):
                found.add(form[:-len(suffix)])
    return found - {name}


class Table(unittest.TestCase):
    def test_a_name_stands_there_once_and_in_a_known_group(self):
        names = [name for _, name, *_ in TABLE]
        self.assertEqual(sorted(n for n in KNOWN if names.count(n) > 1), [])
        self.assertEqual([g for _, _, g, *_ in TABLE if not GROUPS.fullmatch(g)],
                         [])

    def test_of_each_group_that_has_a_word_it_is_said_what_and_why(self):
        words = {(group, word) for _, _, group, _, word in TABLE if word}
        self.assertEqual(sorted(SAID), sorted(words))

    def test_each_name_is_the_c_librarys(self):
        x86 = os.uname().machine == 'x86_64'
        missing = [name for _, name, *_ in TABLE
                   if name not in LIBC and name not in NOT_SHARED
                   and GLIBC >= SINCE.get(name, (0, 0))
                   and (x86 or name not in X86_ONLY)]
        self.assertEqual(missing, [])

    def test_the_real_one_can_be_found(self):
        """As hook/real.c looks for it: some are for old programs alone, and
        have no version that counts as theirs."""
        libc = ctypes.CDLL(None)
        dlvsym = libc.dlvsym
        dlvsym.restype = ctypes.c_void_p
        dlvsym.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]

        def found(name):
            return hasattr(libc, name) or any(
                dlvsym(None, name.encode(), version)
                for version in (b'GLIBC_2.2.5', b'GLIBC_2.4', b'GLIBC_2.17'))
        self.assertEqual([name for kind, name, *_ in TABLE if kind != 'PASS'
                          and name in LIBC and not found(name)], [])

    def test_what_is_called_internal_cannot_be_linked_to(self):
        for _, name, _, why, _ in TABLE:
            if why == 'internal' and name in LIBC:
                self.assertEqual(LIBC[name], {'GLIBC_PRIVATE'}, name)

    def test_no_form_of_a_hooked_name_is_forgotten(self):
        forgotten = {}
        for name in LIBC.keys() - KNOWN:
            ours = plain_forms(name) & HOOKED
            if ours:
                forgotten[name] = ours
        self.assertEqual(forgotten, {})

    def test_what_newer_libraries_have_added_is_known(self):
        new = {}
        for name, versions in LIBC.items():
            numbers = [tuple(int(n) for n in re.findall(r'\d+', v))
                       for v in versions if v and re.match(r'GLIBC_\d', v)]
            if (numbers and min(numbers) > (2, 34) and name not in KNOWN
                    and not IN_MEMORY.fullmatch(name)):
                new[name] = min(numbers)
        later = sorted(n for n, v in new.items() if v > LOOKED_AT)
        if later:
            print('this C library has names that nobody has looked at yet, and '
                  'that we leave to it:', *later)
        self.assertEqual([n for n, v in new.items() if v <= LOOKED_AT], [])

    def test_no_other_form_is_forgotten_where_the_plain_one_is_known(self):
        """As readlink, which we do not know, and __readlink_chk, which we do:
        fortified forms are ours to know, one and all."""
        self.assertEqual([name for name in sorted(LIBC) if
                          name.endswith('_chk') and name not in KNOWN and
                          not MEMORY_CHK.fullmatch(name)], [])


class Exports(unittest.TestCase):
    def setUp(self):
        self.elf = Elf(LIBCOGO)

    def test_exactly_what_the_table_says(self):
        names = {n for n in self.elf.defined if not n.startswith('cogo_')}
        self.assertEqual(names - HOOKED, set(), 'exported, and not hooked')
        self.assertEqual(HOOKED - names, set(), 'hooked, and not exported')

    def test_without_a_version(self):
        self.assertFalse(self.elf.has_versions)
        self.assertEqual({v for versions in self.elf.defined.values()
                          for v in versions}, {None})

    def test_nothing_of_the_unwinders(self):
        self.assertEqual([n for n in self.elf.defined
                          if n.startswith(('_Unwind_', 'unw_', '_U'))], [])
        self.assertEqual([n for n in self.elf.needed()
                          if n.startswith(('libunwind', 'libffi'))], [])


BINDING = re.compile(r'binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol '
                     r"`(\w+)'(?: \[(\w[\w.]*)\])?")


class Bindings(unittest.TestCase):
    def test_each_reference_is_ours_whatever_version_it_asks_for(self):
        """In a large program with many libraries. libc and the loader bind to
        themselves, and we to them."""
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [COGO_RUN, '--', 'env', 'LD_DEBUG=bindings', 'LD_BIND_NOW=1',
                 f'LD_DEBUG_OUTPUT={folder}/log', sys.executable, '-c',
                 'import socket, ssl, select, threading, ctypes, multiprocessing'],
                check=True)
            text = ''
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), encoding='utf-8',
                          errors='replace') as f:
                    text += f.read()
        ours, others, versions = set(), set(), set()
        for user, used, symbol, version in BINDING.findall(text):
            if symbol not in HOOKED or os.path.basename(user).startswith(
                    ('libc.so', 'ld-', 'libcogo', 'libpthread.so')):
                continue
            if os.path.basename(used).startswith('libcogo'):
                ours.add(symbol)
                versions.add(version)
            else:
                others.add((user, symbol, used))
        self.assertEqual(others, set())
        # This looks where it should: sockets, locks, files.
        self.assertLessEqual({'read', 'connect', 'pthread_mutex_lock'}, ours)
        self.assertGreater(len(ours), 50)
        self.assertGreater(len(versions), 3)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
