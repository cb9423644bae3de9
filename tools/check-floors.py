#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""check-floors - does every call go down?

    check-floors.py [--build DIRECTORY] [TREE]

The house is built in floors. A file may use what is on a lower floor, and its
own folder; never what is above, nor a neighbour on the same floor. Then each
floor can be understood, tested and replaced with only the floors below in
mind. Nothing but a check keeps such a rule alive, and here it is, on what is
written and on what is linked:

1.  Each `#include` of a file of ours goes down.
2.  include/, which is public, needs the C standard headers alone; libunwind and
    libffi have one user each; what depends on the processor is in arch/; and
    thread-local variables are in two sources.
With --build, a directory in which meson has built the tree:
3.  No object uses a symbol that only a higher floor, or a neighbour, defines. (A
    declaration of one's own would get past 1.)
4.  A static archive holds the objects of one floor.
5.  Below hook/ nothing uses a name that hook/names.def puts us in front of: the
    runtime would enter itself, and sooner or later wait for itself.
6.  Where errno and its kin are, nobody asks but who has to: a compiler keeps the
    answer over a switch to another kernel thread, as it does with thread-local
    variables of our own.

Prints each offence as FILE:LINE or OBJECT, and ends with 1 if there was one."""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys

# Folder, or file without its suffix -> floor. The longest that fits counts.
FLOORS = {
    'include': 1,
    'runtime/arch': 1,
    'runtime/base': 2,
    'runtime/mem': 3,
    'runtime/coro': 4,
    'runtime/event': 5,
    'runtime/inspect': 5,
    'runtime/sched': 6,
    'runtime/wait': 7,
    'runtime/fault': 7,
    'runtime/go': 8,
    'runtime/gen': 8,
    # They tell about the scheduler, and call nothing that it would not.
    'runtime/inspect/report': 8,
    'runtime/inspect/debug': 8,
    'sync': 8,
    'chan': 8,
    'runtime/call': 9,
    'runtime/boot': 9,
    'hook': 10,
}
ROOTS = ('include', 'runtime', 'sync', 'chan', 'hook')
# Where the compiler is told to look, after the includer's own folder.
SEARCHED = ('runtime', 'include', '')

ONE_USER = {
    'libunwind.h': 'runtime/inspect/backtrace.c',
    'ffi.h': 'runtime/call.c',
}
# What is const to a compiler, and is not -> the sources that may use it: one in
# functions that compilers do not see into, one before anything runs.
KEPT = {
    '__errno_location': ('runtime/base/errno.c', 'runtime/mem/tls.c'),
    '__h_errno_location': ('runtime/mem/tls.c',),
    '__ctype_b_loc': (),
    '__ctype_tolower_loc': (),
    '__ctype_toupper_loc': (),
}
# Whoever looks at one is OPAQUE (base/compiler.h).
THREAD_LOCAL = ('runtime/coro/self.c', 'runtime/coro/self.h',
                'hook/thread/kernel.c')
C_HEADERS = {name + '.h' for name in '''
    assert complex ctype errno fenv float inttypes iso646 limits locale math
    setjmp signal stdalign stdarg stdatomic stdbit stdbool stdckdint stddef
    stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar
    wctype'''.split()}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]')
PROCESSOR = re.compile(r'\b__(x86_64|amd64|aarch64|i386|arm|riscv)(__)?\b')
STORAGE = re.compile(r'\b(__thread|_Thread_local|thread_local)\b')
# ALSO and PASS lines of names.def name what we know of and leave to libc.
HOOK = re.compile(r'^\s*HOOK\w*\s*\(\s*([A-Za-z_]\w*)')


def room(path):
    """The part of the house that a file is in: the key of FLOORS, or None."""
    stem = os.path.splitext(path)[0]
    best = None
    for name in FLOORS:
        if stem == name or path.startswith(name + '/'):
            if best is None or len(name) > len(best):
                best = name
    return best


def may_use(user, used):
    return user == used or FLOORS[used] < FLOORS[user]


def nm_of(command):
    """What reads the symbols of an object that the command made. One for link-time
    optimisation has none but the compiler's own, which nm itself may know of, or
    not, whereupon it would find nothing wrong."""
    words = shlex.split(command)
    if not any(word.startswith('-flto') for word in words):
        return 'nm'
    # The second, where the first is ccache.
    for word in words[:2]:
        compiler = os.path.basename(word)
        if word.startswith('-'):
            break
        if 'clang' in compiler:
            return 'llvm-nm'
        if 'gcc' in compiler:
            return compiler.replace('gcc', 'gcc-nm')
    return 'gcc-nm'


def where(name):
    return f'{name} (floor {FLOORS[name]})'


def without_comments(text):
    """Blanks instead of comments, and the same lines."""
    return re.sub(r'/\*.*?\*/|//[^\n]*',
                  lambda m: re.sub(r'[^\n]', ' ', m.group()), text,
                  flags=re.S)


class Check:
    def __init__(self, tree):
        self.tree = tree
        self.offences = []
        self.counts = {'files': 0, 'includes': 0, 'symbols': 0}

    def offend(self, place, what):
        self.offences.append(f'{place}: {what}')

    def sources(self):
        for root in ROOTS:
            for folder, folders, files in os.walk(os.path.join(self.tree, root)):
                folders.sort()
                for name in sorted(files):
                    if name.endswith(('.c', '.h', '.S', '.inc', '.def')):
                        yield os.path.relpath(os.path.join(folder, name),
                                              self.tree)

    def read(self, path):
        with open(os.path.join(self.tree, path), encoding='utf-8') as f:
            return f.read()

    # ---- what is written ----------------------------------------------------

    def resolve(self, path, name):
        """The file of ours that an include means, or None."""
        for folder in (os.path.dirname(path), *SEARCHED):
            found = os.path.normpath(os.path.join(folder, name))
            if os.path.isfile(os.path.join(self.tree, found)):
                return found
        return None

    def check_include(self, path, line, name, quoted):
        user = room(path)
        place = f'{path}:{line}'
        if os.path.basename(name) in ONE_USER:
            if path != ONE_USER[os.path.basename(name)]:
                self.offend(place, f'includes <{name}>, which only '
                            f'{ONE_USER[os.path.basename(name)]} may')
            return
        found = self.resolve(path, name)
        if found is None or (not quoted and not found.startswith('include/')):
            if quoted:
                self.offend(place, f'includes "{name}", which is nowhere in '
                            f'the tree')
            elif user == 'include' and name not in C_HEADERS:
                self.offend(place, f'includes <{name}>, which is no header '
                            f'of the C standard')
            return
        self.counts['includes'] += 1
        used = room(found)
        if used is None:
            self.offend(place, f'includes {found}, which is on no floor')
        elif not may_use(user, used):
            self.offend(place, f'includes {found}, which is in {where(used)}; '
                        f'this is {where(user)}')

    def check_sources(self):
        for path in self.sources():
            self.counts['files'] += 1
            if room(path) is None:
                self.offend(path, 'is on no floor: tools/check-floors.py has '
                            'to know it')
                continue
            lines = without_comments(self.read(path)).split('\n')
            for number, line in enumerate(lines, 1):
                include = INCLUDE.match(line)
                if include:
                    self.check_include(path, number, include.group(2),
                                       include.group(1) == '"')
                elif PROCESSOR.search(line) and \
                        not path.startswith('runtime/arch/'):
                    self.offend(f'{path}:{number}', 'asks for the processor '
                                f'({PROCESSOR.search(line).group()}), which '
                                f'only runtime/arch may')
                elif STORAGE.search(line) and path not in THREAD_LOCAL:
                    self.offend(f'{path}:{number}', 'has a thread-local '
                                'variable, whose address compilers keep; '
                                'coro/coro.h is where it can lie')

    # ---- what is linked -----------------------------------------------------

    def objects(self, build):
        """Object -> source, for the sources that are on a floor, and what reads
        them."""
        try:
            with open(os.path.join(build, 'compile_commands.json'),
                      encoding='utf-8') as f:
                commands = json.load(f)
        except OSError as error:
            sys.exit(f'check-floors: {error}; build the tree with meson first')
        found, nm = {}, 'nm'
        for command in commands:
            folder = command['directory']
            source = os.path.relpath(os.path.realpath(
                os.path.join(folder, command['file'])),
                os.path.realpath(self.tree))
            output = os.path.join(folder, command.get('output', ''))
            if room(source) is not None and os.path.isfile(output):
                found[output] = source
                if source.endswith('.c'):
                    nm = nm_of(command.get('command', ''))
        if not found:
            sys.exit(f'check-floors: {build} has no object of ours; build the '
                     f'tree first (ninja -C {build})')
        return found, nm

    @staticmethod
    def symbols(objects, nm):
        """Object -> (defined, used). nm by the hundred: a call is dear."""
        result = {path: (set(), set()) for path in objects}
        paths = sorted(objects)
        for i in range(0, len(paths), 100):
            try:
                out = subprocess.run([nm, '-A', '-P', '-g', *paths[i:i + 100]],
                                     check=True, text=True,
                                     stdout=subprocess.PIPE).stdout
            except FileNotFoundError:
                sys.exit(f'check-floors: there is no {nm} here, which reads '
                         f'these objects')
            for line in out.splitlines():
                path, rest = line.split(': ', 1)
                name, kind = rest.split()[:2]
                name = name.split('@')[0]
                result[path][kind in 'Uwv'].add(name)
        return result

    def hooked_names(self):
        path = os.path.join(self.tree, 'hook/names.def')
        if not os.path.isfile(path):
            return set()
        names = set()
        for line in without_comments(self.read('hook/names.def')).split('\n'):
            found = None if line.lstrip().startswith('#') else HOOK.match(line)
            if found:
                names.add(found.group(1))
        if not names:
            self.offend('hook/names.def', 'has no name that this check could '
                        'find; lines look like HOOK(read, ...)')
        return names

    def check_archives(self, objects):
        archives = {}
        for path, source in objects.items():
            folder = os.path.dirname(path)
            if folder.endswith('.a.p'):
                archives.setdefault(folder, {})[
                    FLOORS[room(source)]] = source
        for folder, floors in sorted(archives.items()):
            if len(floors) > 1:
                some = ', '.join(f'{source} (floor {floor})'
                                 for floor, source in sorted(floors.items()))
                self.offend(folder[:-2], f'holds more than one floor: {some}')

    def check_build(self, build):
        objects, nm = self.objects(build)
        symbols = self.symbols(objects, nm)
        hooked = self.hooked_names()
        definers = {}                   # symbol -> rooms that define it
        for path, (defined, _) in symbols.items():
            for name in defined:
                definers.setdefault(name, set()).add(room(objects[path]))

        told = set()
        for path, source in sorted(objects.items(), key=lambda x: x[1]):
            user = room(source)
            for name in sorted(symbols[path][1]):
                self.counts['symbols'] += 1
                # One source may be compiled into several things.
                if (source, name) in told:
                    continue
                rooms = definers.get(name, set())
                if name in hooked and user != 'hook':
                    told.add((source, name))
                    self.offend(source, f'uses {name}, which is hooked; '
                                f'enter the kernel through base/sys.c')
                elif name in KEPT and source not in KEPT[name]:
                    told.add((source, name))
                    self.offend(source, f'uses {name}, whose answer compilers '
                                f'keep; of errno ask base/errno.h')
                elif rooms and not any(may_use(user, r) for r in rooms):
                    told.add((source, name))
                    self.offend(source, f'uses {name}, which is defined in '
                                f'{where(min(rooms, key=FLOORS.get))}; this '
                                f'is {where(user)}')
        self.check_archives(objects)


def main():
    parser = argparse.ArgumentParser(
        description='Checks that every include, and with --build every '
        'symbol, goes down a floor.')
    parser.add_argument('--build', metavar='DIRECTORY',
                        help='check the objects that meson built there, too')
    parser.add_argument('tree', nargs='?', metavar='TREE', default=os.path.join(
        os.path.dirname(os.path.abspath(__file__)), '..'))
    arguments = parser.parse_args()

    check = Check(os.path.normpath(arguments.tree))
    check.check_sources()
    if check.counts['files'] == 0:
        sys.exit(f'check-floors: no sources in {arguments.tree}')
    if arguments.build:
        check.check_build(arguments.build)
    for offence in check.offences:
        print(offence)
    if check.offences:
        print(f'check-floors: {len(check.offences)} offences', file=sys.stderr)
        return 1
    what = f"{check.counts['files']} files, {check.counts['includes']} includes"
    if arguments.build:
        what += f", {check.counts['symbols']} uses of symbols"
    print(f'check-floors: {what}: all go down')
    return 0


if __name__ == '__main__':
    sys.exit(main())
