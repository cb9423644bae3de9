# SPDX-License-Identifier: MIT OR Apache-2.0
"""cogo-gdb.py - coroutines in gdb, of a live process or its core.

    (gdb) source cogo-gdb.py            or: gdb -x cogo-gdb.py -p PID
    (gdb) cogo list                     every coroutine, and what it waits for
    (gdb) cogo bt 7                     where coroutine 7 is
    (gdb) cogo bt all                   where everybody is
    (gdb) cogo switch 7                 look at it: bt, up, frame, info locals
    (gdb) cogo switch                   back to the kernel thread
    (gdb) cogo gcore FILE               as gcore, with the coroutines' stacks

gdb itself knows kernel threads. A coroutine that runs is the one that its
worker's thread shows, so for that one `switch` selects the thread. One that
waits has its registers on its stack, and none of them in a thread; to show it,
the frame of the thread that is selected is made to seem called by the coroutine.
So frame 0 (with its inlined ones) stays what it was, and after it the coroutine
begins. Nothing is written, neither registers nor memory: the process does not
notice, and a core will do. When the process goes on, the view goes back by
itself.

A core that the kernel writes has everything. gdb's own gcore gives up a whole
mapping at the first page that it cannot read, and below each stack is such a
page; cogo gcore fills in what is missing.

What lies where, libcogo.so says itself, in cogo_debug_info: it may be stripped.
"""
import struct

import gdb
import gdb.unwinder

MAGIC, VERSION = 0x6f676f63, 2

# As struct cogo_debug_info has them, in that order, 64 bits each.
MEMBERS = '''
    magic version size
    chunks chunk_next chunk_used chunk_objects object_size
    left_behind survivor
    coro_sp coro_tp coro_worker coro_state coro_bound
    coro_id coro_kind coro_why coro_what coro_fd coro_name
    coro_name_size coro_tid coro_vtid
    coro_stack_low coro_stack_top coro_stack_guard
    coro_asleep_pc coro_asleep_sp coro_asleep_fp
    coro_since
    worker_tid
    context_pc context_fp context_size
    saved0 saved1 saved2 saved3 saved4 saved5 saved6 saved7 saved8 saved9
    number0 number1 number2 number3 number4 number5 number6 number7 number8
    number9
    states nstates whys nwhys'''.split()

# Program counter, stack pointer, frame pointer, and what DWARF's numbers of the
# saved registers are called.
REGISTERS = {
    'x86-64': ('rip', 'rsp', 'rbp',
               {3: 'rbx', 12: 'r12', 13: 'r13', 14: 'r14', 15: 'r15'}),
    'aarch64': ('pc', 'sp', 'x29', {n: f'x{n}' for n in range(19, 29)}),
}

KIND_CORO, KIND_THREAD, KIND_ROOT = 0, 1, 2
NEVER_SHOWN = ('free', 'done')
SUSPENDED = ('ready', 'waits', 'new')


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def read_word(address):
    return struct.unpack('<Q', read(address, 8))[0]


def read_text(address):
    text = b''
    while len(text) < 256:
        byte = read(address + len(text), 1)
        if byte == b'\0':
            break
        text += byte
    return text.decode(errors='replace')


class Info:
    """cogo_debug_info of the inferior."""

    def __init__(self):
        try:
            at = int(gdb.parse_and_eval('(unsigned long)&cogo_debug_info'))
        except gdb.error:
            raise gdb.GdbError('there is no libcogo.so in this program')
        words = struct.unpack(f'<{len(MEMBERS)}q', read(at, 8 * len(MEMBERS)))
        self.__dict__.update(zip(MEMBERS, words))
        if self.magic != MAGIC:
            raise gdb.GdbError('libcogo.so has not been initialised yet')
        if self.version != VERSION or self.size < 8 * len(MEMBERS):
            raise gdb.GdbError(f'this libcogo.so describes itself as version '
                               f'{self.version}; take the cogo-gdb.py that '
                               f'came with it')
        self.state_texts = self.texts(self.states, self.nstates)
        self.why_texts = self.texts(self.whys, self.nwhys)

    @staticmethod
    def texts(at, n):
        return [read_text(read_word(at + 8 * i)) for i in range(n)]


class Coro:
    """A coroutine or a thread, from a copy of its object."""

    def __init__(self, info, at, raw):
        def word(offset):
            return struct.unpack_from('<Q', raw, offset)[0]

        def half(offset):
            return struct.unpack_from('<i', raw, offset)[0]

        self.info, self.at = info, at
        self.id = word(info.coro_id)
        self.kind = half(info.coro_kind)
        state = half(info.coro_state)
        self.state = info.state_texts[state] \
            if 0 <= state < len(info.state_texts) else '?'
        self.bound = half(info.coro_bound)
        why = half(info.coro_why)
        self.why = info.why_texts[why] if 0 < why < len(info.why_texts) else ''
        self.what = word(info.coro_what)
        self.fd = half(info.coro_fd)
        self.name = raw[info.coro_name:info.coro_name + info.coro_name_size] \
            .split(b'\0')[0].decode(errors='replace')
        self.tid = half(info.coro_tid)
        self.sp = word(info.coro_sp)
        self.worker = word(info.coro_worker)

    @property
    def suspended(self):
        return self.kind == KIND_CORO and not self.bound and \
            self.state in SUSPENDED and self.sp != 0

    @property
    def lwp(self):
        """The kernel thread that it is on, or 0."""
        if self.tid:
            return self.tid
        if self.suspended or not self.worker:
            return 0
        return struct.unpack('<i', read(self.worker + self.info.worker_tid, 4))[0]

    def sentence(self):
        if not self.why or self.state in ('ready', 'new'):
            text = {'running': 'runs', 'new': 'has not begun',
                    'ready': 'is ready to run'}.get(self.state, self.state)
        else:
            text = f'waits {self.why}'
            if self.fd >= 0:
                text += f' (descriptor {self.fd})'
            elif self.what:
                text += f' ({symbol(self.what)})'
        if self.lwp:
            text += f', on LWP {self.lwp}'
        return text

    def title(self):
        kind = 'coroutine' if self.kind == KIND_CORO else 'thread'
        name = f' "{self.name}"' if self.name else ''
        return f'{kind} {self.id}{name}: {self.sentence()}'

    def registers(self):
        """Name -> value, of one that is suspended."""
        pc, sp, fp, saved = register_names()
        found = {
            pc: read_word(self.sp + self.info.context_pc),
            fp: read_word(self.sp + self.info.context_fp),
            sp: self.sp + self.info.context_size,
        }
        for i in range(10):
            number = getattr(self.info, f'number{i}')
            if number in saved:
                found[saved[number]] = read_word(
                    self.sp + getattr(self.info, f'saved{i}'))
        return found


def symbol(address):
    text = gdb.execute(f'info symbol {address:#x}', to_string=True)
    if text.startswith('No symbol'):
        return f'{address:#x}'
    return text.split(' in section')[0]


def register_names():
    name = gdb.selected_inferior().architecture().name() \
        if hasattr(gdb.Inferior, 'architecture') \
        else gdb.newest_frame().architecture().name()
    for key, names in REGISTERS.items():
        if key in name:
            return names
    raise gdb.GdbError(f'no names of registers for {name}')


def everybody():
    """All of them by their ids."""
    info = Info()
    left_behind = read_word(info.left_behind)
    survivor = read_word(info.survivor)
    found = []
    chunk = read_word(info.chunks)
    while chunk:
        used = read_word(chunk + info.chunk_used)
        start = chunk + info.chunk_objects
        raw = read(start, used * info.object_size) if used else b''
        for i in range(used):
            at = start + i * info.object_size
            c = Coro(info, at, raw[i * info.object_size:
                                   (i + 1) * info.object_size])
            if c.state in NEVER_SHOWN or c.kind == KIND_ROOT:
                continue
            if c.id > left_behind or at == survivor:
                found.append(c)
        chunk = read_word(chunk + info.chunk_next)
    return sorted(found, key=lambda c: c.id)


def by_id(text):
    try:
        number = int(text, 0)
    except ValueError:
        raise gdb.GdbError(f'{text} is no number of a coroutine')
    for c in everybody():
        if c.id == number:
            return c
    raise gdb.GdbError(f'there is no coroutine {number} (any more)')


def thread_of(lwp):
    for thread in gdb.selected_inferior().threads():
        if lwp in thread.ptid[1:]:
            return thread
    return None


class FrameId:
    def __init__(self, sp, pc):
        self.sp, self.pc = sp, pc


class View(gdb.unwinder.Unwinder):
    """Makes the innermost frame of one thread seem called by a coroutine."""

    def __init__(self):
        super().__init__('cogo')
        self.registers = None

    def show(self, coro):
        self.hide()
        frame = gdb.newest_frame()
        pc, sp, _, _ = register_names()
        self.thread = gdb.selected_thread().ptid
        self.at = int(frame.read_register(pc)), int(frame.read_register(sp))
        self.registers = coro.registers()
        gdb.invalidate_cached_frames()

    def hide(self, *_):
        if self.registers is not None:
            self.registers = None
            gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.registers is None or gdb.selected_thread() is None or \
                gdb.selected_thread().ptid != self.thread:
            return None
        pc, sp, _, _ = register_names()
        if (int(pending.read_register(pc)),
                int(pending.read_register(sp))) != self.at:
            return None
        # An inner frame has to lie below its caller.
        to = self.registers
        word = gdb.lookup_type('unsigned long')
        frame = FrameId(gdb.Value(to[sp] - 16).cast(word),
                        gdb.Value(to[pc]).cast(word))
        unwound = pending.create_unwind_info(frame)
        for name, value in to.items():
            kind = pending.read_register(name).type
            unwound.add_saved_register(
                name, gdb.Value(value).cast(word).cast(kind))
        return unwound


view = View()
gdb.unwinder.register_unwinder(None, view, replace=True)
gdb.events.cont.connect(view.hide)


def first_level():
    """Of the frames that are the coroutine's, while the view shows one."""
    pc = register_names()[0]
    frame, level = gdb.newest_frame(), 0
    while frame is not None and level < 100:
        if level and frame.pc() == view.registers[pc]:
            return level
        frame, level = frame.older(), level + 1
    raise gdb.GdbError('its frames cannot be found; is its stack in the core?')


def backtrace_text(skip):
    """What bt says from that level on, counted from 0."""
    lines = gdb.execute('bt', to_string=True).split('\n')
    frames = []
    for line in lines:
        if line.startswith('#'):
            frames.append([line])
        elif line and frames:
            frames[-1].append(line)
    frames = frames[skip:]
    out = []
    for i, frame in enumerate(frames):
        head = frame[0].split(None, 1)[1]
        out.append('\n'.join([f'#{i:<3}{head}', *frame[1:]]))
    return '\n'.join(out)


def print_backtrace(c):
    """Leaves everything selected as it was."""
    thread = gdb.selected_thread()
    frame = gdb.selected_frame() if thread else None
    level = frame.level() if frame and hasattr(frame, 'level') else 0
    before = view.registers, getattr(view, 'thread', None), \
        getattr(view, 'at', None)
    print(c.title())
    try:
        if c.suspended:
            view.show(c)
            print(backtrace_text(first_level()))
        elif not c.lwp:
            print('    has not begun')
        else:
            view.hide()
            owner = thread_of(c.lwp)
            if owner is None:
                print(f'    LWP {c.lwp} is not there')
                return
            owner.switch()
            print(backtrace_text(0))
    finally:
        view.hide()
        if thread and thread.is_valid():
            thread.switch()
        view.registers, view.thread, view.at = before
        gdb.invalidate_cached_frames()
        if level:
            gdb.execute(f'frame {level}', to_string=True)


class Cogo(gdb.Command):
    """Coroutines of a program under cogo-run, or linked with -lcogo."""

    def __init__(self):
        super().__init__('cogo', gdb.COMMAND_STACK, prefix=True)


class List(gdb.Command):
    """cogo list: every coroutine and thread, and what it waits for."""

    def __init__(self):
        super().__init__('cogo list', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        found = everybody()
        for c in found:
            print(c.title())
        n = sum(c.kind == KIND_CORO for c in found)
        print(f'{n} coroutines, {len(found) - n} threads')


class Backtrace(gdb.Command):
    """cogo bt ID | all: where a coroutine is, or all of them."""

    def __init__(self):
        super().__init__('cogo bt', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError('cogo bt ID, or cogo bt all')
        if argument == 'all':
            for c in everybody():
                print_backtrace(c)
                print()
        else:
            print_backtrace(by_id(argument))


class Switch(gdb.Command):
    """cogo switch [ID]: look at a coroutine, or at kernel threads again."""

    def __init__(self):
        super().__init__('cogo switch', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        view.hide()
        if not argument:
            gdb.execute('frame 0')
            return
        c = by_id(argument)
        print(c.title())
        if c.suspended:
            view.show(c)
            try:
                gdb.execute(f'frame {first_level()}')
            except gdb.GdbError:
                view.hide()
                raise
            return
        if not c.lwp:
            raise gdb.GdbError(f'coroutine {c.id} has not begun')
        thread = thread_of(c.lwp)
        if thread is None:
            raise gdb.GdbError(f'LWP {c.lwp} is not there')
        thread.switch()
        gdb.execute('frame 0')


class Gcore(gdb.Command):
    """cogo gcore FILE: a core of the process, coroutines' stacks included."""

    CHUNK, PAGE = 1 << 20, 4096

    def __init__(self):
        super().__init__('cogo gcore', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        path = argument or f'core.{gdb.selected_inferior().pid}'
        said = gdb.execute(f'gcore {path}', to_string=True)
        with open(path, 'r+b') as core:
            filled = sum(self.fill(core, *s) for s in self.segments(core))
        print(said.strip())
        print(f'and filled in {filled * self.PAGE >> 10} KiB')

    @staticmethod
    def segments(core):
        """(offset, address, size) of what is in the file."""
        header = core.read(64)
        at, = struct.unpack_from('<Q', header, 32)
        size, n = struct.unpack_from('<HH', header, 54)
        if n == 0xffff:        # more than fit: the number is elsewhere
            core.seek(struct.unpack_from('<Q', header, 40)[0] + 44)
            n, = struct.unpack('<I', core.read(4))
        core.seek(at)
        raw = core.read(size * n)
        for i in range(n):
            kind, = struct.unpack_from('<I', raw, size * i)
            offset, address, _, length = struct.unpack_from('<4Q', raw,
                                                            size * i + 8)
            if kind == 1:
                yield offset, address, length

    def fill(self, core, offset, address, length):
        """gcore leaves a mapping at the first chunk that it cannot read. From
        there on, the pages that can be; how many."""
        filled, left = 0, False
        for at in range(0, length, self.CHUNK):
            n = min(self.CHUNK, length - at)
            try:
                some = read(address + at, n)
            except gdb.MemoryError:
                left = True
                filled += self.fill_pages(core, offset, address, at, n)
                continue
            if left and some.strip(b'\0'):
                core.seek(offset + at)
                core.write(some)
                filled += n // self.PAGE
        return filled

    def fill_pages(self, core, offset, address, at, n):
        filled = 0
        for page in range(at, at + n, self.PAGE):
            try:
                some = read(address + page, self.PAGE)
            except gdb.MemoryError:
                continue
            if some.strip(b'\0'):
                core.seek(offset + page)
                core.write(some)
                filled += 1
        return filled


Cogo()
Gcore()
List()
Backtrace()
Switch()
