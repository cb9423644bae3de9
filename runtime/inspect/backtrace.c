/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* inspect/backtrace.c - how did it get there?
 *
 * libunwind is opened, never linked: as a needed library of one that is
 * preloaded it would stand before libgcc_s, whose _Unwind_* names it has too,
 * and exceptions would go through it. RTLD_LOCAL keeps its names to itself.
 *
 * It reads memory through one function of its address space; we put ours in
 * its place, for our own walks, because a stack may change while we walk it:
 * what is on the stack at hand is read as it is, all else is asked of the
 * kernel, which says EFAULT where we would have died. (Its own way of being
 * careful writes to a pipe, that is, holds two of the program's descriptors.)
 *
 * U1  libunwind is entered under walk_lock alone, by one thread at a time, so
 *     its own locks are never waited for, and a fork that holds walk_lock
 *     leaves them free in the child.
 * U2  a thread that faults inside a walk finds itself the lock's owner, and
 *     is given frame pointers instead.
 *
 * Names come from the files themselves: dladdr takes the loader's lock, which
 * a constructor that hangs holds for ever, and knows no static function. */
#include "inspect/backtrace.h"
#include "arch/tp.h"
#include "arch/ucontext.h"
#include "base/lock.h"
#include "base/sys.h"
#include "mem/tls.h"
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#ifdef HAVE_LIBUNWIND
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#endif

/* Frames walked at most: what is beyond is a circle, or garbage. */
#define STEPS_MOST	200000
/* Frame records that are tried for a frame pointer. */
#define GUESSES_MOST	512
/* How long a crashing thread waits for a walk that is under way. */
#define PATIENCE_NS	1000000000ll

static struct lock walk_lock;
static _Atomic int walk_owner;		/* kernel thread id, 0: nobody */

/* ---- memory that may not be there ---------------------------------------- */

/* The part of the stack at hand that is mapped for sure. Under walk_lock. */
static uintptr_t stack_low, stack_high;

static bool peek(uintptr_t addr, uintptr_t *ret)
{
	struct iovec here = { ret, sizeof(*ret) };
	struct iovec there = { (void *)addr, sizeof(*ret) };

	return sys_call(SYS_process_vm_readv, sys_getpid(), &here, 1, &there, 1,
			0) == sizeof(*ret);
}

bool backtrace_peek(const void *addr, uintptr_t *ret)
{
	return peek((uintptr_t)addr, ret);
}

static bool fetch(uintptr_t addr, uintptr_t *ret)
{
	if (likely(addr >= stack_low && addr < stack_high &&
		   stack_high - addr >= sizeof(*ret))) {
		memcpy(ret, (const void *)addr, sizeof(*ret));
		return true;
	}
	return peek(addr, ret);
}

static void note(struct backtrace *b, uintptr_t pc)
{
	if (b->depth && b->pc[b->depth - 1] == pc) {
		b->times[b->depth - 1]++;
		return;
	}
	if (b->depth == BACKTRACE_MOST) {
		b->more = true;
		return;
	}
	b->pc[b->depth] = pc;
	b->times[b->depth++] = 1;
}

/* ---- frame pointers ------------------------------------------------------ */

/* A frame record is (the caller's, its return address) on every CPU that we
 * know, and lies higher the further out it is. */
static void follow_frames(const struct arch_regs *from, struct backtrace *b)
{
	uintptr_t fp = from->fp, above = from->sp, next, pc;

	note(b, from->pc);
	for (int i = 0; i < STEPS_MOST && !b->more; i++) {
		if (fp < above || fp % sizeof(fp) || !fetch(fp, &next) ||
		    !fetch(fp + sizeof(fp), &pc) || pc < PAGE_SIZE)
			break;
		note(b, pc);
		above = fp + 2 * sizeof(fp);
		fp = next;
	}
}

/* ---- libunwind ----------------------------------------------------------- */

#ifdef HAVE_LIBUNWIND
#define NAME_OF(macro)	NAME_OF_(macro)
#define NAME_OF_(name)	#name

static struct {
	int (*init_local2)(unw_cursor_t *, unw_context_t *, int);
	int (*step)(unw_cursor_t *);
	int (*get_reg)(unw_cursor_t *, unw_regnum_t, unw_word_t *);
	int (*set_caching_policy)(unw_addr_space_t, unw_caching_policy_t);
	void (*flush_cache)(unw_addr_space_t, unw_word_t, unw_word_t);
	unw_accessors_t *(*get_accessors)(unw_addr_space_t);
	unw_addr_space_t *local;
	/* Its own reader of memory, for those who use it besides us. */
	int (*access_mem)(unw_addr_space_t, unw_word_t, unw_word_t *, int,
			  void *);
	bool open, ready;
} lib;

/* Too large for an alternate stack. Under walk_lock. */
static unw_cursor_t cursor;
static ucontext_t context;

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *val,
		      int write, void *arg)
{
	uintptr_t who = (uintptr_t)arg & ~(uintptr_t)1, word;

	if (who != (uintptr_t)&context && who != (uintptr_t)&cursor)
		return lib.access_mem(as, addr, val, write, arg);
	if (write)
		return -UNW_EREADONLYREG;
	/* Registers that nobody has saved yet are read from where we put
	 * them. */
	if (addr - (uintptr_t)&context < sizeof(context)) {
		*val = *(const unw_word_t *)addr;
		return 0;
	}
	if (!fetch(addr, &word))
		return -UNW_EINVAL;
	*val = word;
	return 0;
}

void backtrace_open(void)
{
	/* Not by its name, which hook/ may stand in front of. */
	void *(*open_library)(const char *, int);
	void *handle;

	if (lib.open)
		return;
	*(void **)&open_library = dlsym(RTLD_NEXT, "dlopen");
	if (!open_library)
		return;
	/* The number is part of the interface that we were compiled for. */
	handle = open_library("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return;
#define FIND(member, macro) \
	(*(void **)&lib.member = dlsym(handle, NAME_OF(macro)))
	lib.open = FIND(init_local2, unw_init_local2) &&
		   FIND(step, unw_step) && FIND(get_reg, unw_get_reg) &&
		   FIND(set_caching_policy, unw_set_caching_policy) &&
		   FIND(flush_cache, unw_flush_cache) &&
		   FIND(get_accessors, unw_get_accessors) &&
		   FIND(local, unw_local_addr_space);
#undef FIND
	/* It keeps one thing by thread: what it remembers of code it has seen. */
	if (lib.open)
		tls_harmless((const void *)lib.step, open_library);
}

/* At the first walk and not before: it opens two descriptors. Under
 * walk_lock. */
static void make_ready(void)
{
	unw_accessors_t *accessors;

	if (lib.ready)
		return;
	/* The first use fills the address space in: only then can it be
	 * changed. */
	memset(&context, 0, sizeof(context));
	lib.init_local2(&cursor, (unw_context_t *)&context, 0);
	accessors = lib.get_accessors(*lib.local);
	lib.access_mem = accessors->access_mem;
	accessors->access_mem = access_mem;
	lib.set_caching_policy(*lib.local, UNW_CACHE_GLOBAL);
	lib.ready = true;
}

/* Under walk_lock. Whether it came to the end of the stack, as the outermost
 * function marks it, and not to where it knew no further. */
static bool unwind(const struct arch_regs *from, bool exact,
		   struct backtrace *b)
{
	unw_word_t pc;
	int r;

	if (!lib.open)
		return false;
	make_ready();
	arch_regs_to_ucontext(from, &context);
	if (lib.init_local2(&cursor, (unw_context_t *)&context,
			    exact ? UNW_INIT_SIGNAL_FRAME : 0) < 0)
		return false;
	for (int i = 0; i < STEPS_MOST && !b->more; i++) {
		if (lib.get_reg(&cursor, UNW_REG_IP, &pc) < 0 || pc < PAGE_SIZE)
			return false;
		note(b, (uintptr_t)pc);
		r = lib.step(&cursor);
		if (r <= 0)
			return r == 0;
	}
	return b->more;
}

static void forget_libraries(void)
{
	if (lib.ready)
		lib.flush_cache(*lib.local, 0, ~(unw_word_t)0);
}

const char *backtrace_method(void)
{
	return lib.open ? "libunwind" : "frame pointers";
}

#else /* !HAVE_LIBUNWIND */

void backtrace_open(void)
{
}

static bool unwind(const struct arch_regs *from, bool exact,
		   struct backtrace *b)
{
	(void)from, (void)exact, (void)b;
	return false;
}

static void forget_libraries(void)
{
}

const char *backtrace_method(void)
{
	return "frame pointers";
}

#endif

/* ---- the walk ------------------------------------------------------------ */

static void take_walk_lock(void)
{
	lock(&walk_lock);
	atomic_store_explicit(&walk_owner, sys_gettid(), memory_order_relaxed);
}

static void drop_walk_lock(void)
{
	atomic_store_explicit(&walk_owner, 0, memory_order_relaxed);
	unlock(&walk_lock);
}

/* For one who may have crashed anywhere: not for ever, and not at all when
 * what it crashed in was a walk (U2). */
static bool try_walk_lock(void)
{
	cogo_time until = sys_now() + PATIENCE_NS;

	while (!lock_try(&walk_lock)) {
		if (atomic_load_explicit(&walk_owner, memory_order_relaxed) ==
			    sys_gettid() ||
		    sys_now() > until)
			return false;
		sys_call(SYS_sched_yield);
	}
	atomic_store_explicit(&walk_owner, sys_gettid(), memory_order_relaxed);
	return true;
}

void backtrace_walk(const struct arch_regs *from, bool exact,
		    const struct stack *stack, struct backtrace *ret)
{
	ret->depth = 0;
	ret->more = false;
	ret->exact = exact;
	/* `exact` is asked for by those who faulted. */
	if (exact ? !try_walk_lock() : (take_walk_lock(), false)) {
		note(ret, from->pc);
		return;
	}
	stack_low = stack_high = 0;
	/* A stack pointer elsewhere: the program's own memory, or its handler
	 * on an alternate stack. */
	if (stack && stack->pool && from->sp >= (uintptr_t)stack->low &&
	    from->sp < (uintptr_t)stack->top) {
		stack_low = (uintptr_t)stack->low + stack->guard;
		stack_high = (uintptr_t)stack->top;
	}
	if (!unwind(from, exact, ret) && ret->depth < 2) {
		ret->depth = 0;
		ret->more = false;
		follow_frames(from, ret);
	}
	drop_walk_lock();
}

/* Whether every frame is in the code of a library or the program. */
struct places {
	const struct backtrace *b;
	uint64_t found;		/* a bit for each */
};
_Static_assert(BACKTRACE_MOST < 64, "places.found has a bit for each");

static int find_places(struct dl_phdr_info *info, size_t size UNUSED, void *arg)
{
	struct places *p = arg;

	for (int k = 0; k < info->dlpi_phnum; k++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[k];
		uintptr_t start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		for (int i = 0; i < p->b->depth; i++)
			if (p->b->pc[i] - start < ph->p_memsz)
				p->found |= (uint64_t)1 << i;
	}
	return 0;
}

static bool all_code(const struct backtrace *b)
{
	struct places p = { .b = b };

	dl_iterate_phdr(find_places, &p);
	return p.found == ((uint64_t)1 << b->depth) - 1;
}

/* The kernel tells where a sleeper's stack is, and not its frame pointer, which
 * some frame further out may be found by. It is the address of a frame record
 * close above; which one, shows when the walk comes out at the end of the
 * stack, through nothing but code. Under walk_lock. */
static void unwind_guessing(struct arch_regs *from, struct backtrace *ret)
{
	struct backtrace guess = { .depth = 0 };
	uintptr_t at = align_up(from->sp, 16), pc;

	if (unwind(from, false, ret))
		return;
	for (int i = 0; i < GUESSES_MOST; i++, at += 16) {
		if (!fetch(at + sizeof(at), &pc))
			break;
		guess.depth = 1;
		guess.pc[0] = pc;
		if (!all_code(&guess))
			continue;
		guess.depth = 0;
		guess.more = guess.exact = false;
		from->fp = at;
		if (unwind(from, false, &guess) && all_code(&guess)) {
			*ret = guess;
			return;
		}
	}
}

static bool asleep(int tid, struct arch_regs *ret)
{
	char path[64], buf[256], *at = buf, *end;
	uintptr_t last[2] = { 0, 0 };

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	if (sys_read_file(path, buf, sizeof(buf)) <= 0 || *at < '0' || *at > '9')
		return false;	/* "running" */
	/* "number arguments… sp pc"; the last two are wanted. */
	strtol(at, &at, 10);
	for (;;) {
		uintptr_t word = strtoul(at, &end, 16);

		if (end == at)
			break;
		last[0] = last[1];
		last[1] = word;
		at = end;
	}
	memset(ret, 0, sizeof(*ret));
	ret->sp = last[0];
	ret->pc = last[1];
	return ret->pc != 0;
}

bool backtrace_walk_asleep(int tid, struct backtrace *ret)
{
	struct arch_regs from;

	ret->depth = 0;
	ret->more = ret->exact = false;
	if (!asleep(tid, &from))
		return false;
	take_walk_lock();
	stack_low = stack_high = 0;
	unwind_guessing(&from, ret);
	if (!ret->depth)
		note(ret, from.pc);
	drop_walk_lock();
	return true;
}

/* ---- names --------------------------------------------------------------- */

struct module {
	uintptr_t addr;		/* asked for */
	uintptr_t base;		/* what its symbols are relative to */
	uintptr_t header;	/* its first page, if that is mapped */
	char path[256];
};

static int find_module(struct dl_phdr_info *info, size_t size UNUSED, void *arg)
{
	struct module *m = arg;
	uintptr_t header = 0;
	bool here = false;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_LOAD)
			continue;
		if (m->addr - (info->dlpi_addr + ph->p_vaddr) < ph->p_memsz)
			here = true;
		if (ph->p_offset == 0)
			header = info->dlpi_addr + ph->p_vaddr;
	}
	if (!here)
		return 0;
	m->base = info->dlpi_addr;
	m->header = header;
	/* The program itself has no name here. */
	snprintf(m->path, sizeof(m->path), "%s", info->dlpi_name &&
		 *info->dlpi_name ? info->dlpi_name : "/proc/self/exe");
	return 1;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

struct file {
	const char *mem;
	size_t size;
};

/* The file as it is now, which may no longer be the one that was loaded: its
 * first bytes are held against those in memory. */
static bool map_file(const struct module *m, struct file *ret)
{
	int fd = (int)sys_call(SYS_openat, AT_FDCWD, m->path,
			       O_RDONLY | O_CLOEXEC, 0);
	struct stat st;
	long mem = -1;

	if (fd < 0)
		return false;
	if (sys_call(SYS_fstat, fd, &st) == 0 && st.st_size >= (off_t)sizeof(ElfW(Ehdr)))
		mem = sys_call(SYS_mmap, NULL, st.st_size, PROT_READ,
			       MAP_PRIVATE, fd, 0);
	sys_call(SYS_close, fd);
	if (mem < 0)
		return false;
	ret->mem = (const char *)mem;
	ret->size = (size_t)st.st_size;
	if (m->header && memcmp(ret->mem, (const void *)m->header,
				sizeof(ElfW(Ehdr))) == 0)
		return true;
	sys_unmap((void *)mem, ret->size);
	return false;
}

/* n entries of size bytes at offset, or NULL where the file is too short. */
static const void *part(const struct file *f, uint64_t offset, uint64_t n,
			uint64_t size)
{
	if (offset > f->size || (size && n > (f->size - offset) / size))
		return NULL;
	return f->mem + offset;
}

/* The symbol of one table that covers addr (relative to the base). */
static const char *search(const struct file *f, const ElfW(Shdr) *table,
			  const ElfW(Shdr) *strings, uintptr_t addr,
			  uintptr_t *ret_start)
{
	uint64_t n = table->sh_size / sizeof(ElfW(Sym));
	const ElfW(Sym) *sym = part(f, table->sh_offset, n, sizeof(*sym));
	const char *text = part(f, strings->sh_offset, strings->sh_size, 1);
	const char *best = NULL;

	if (!sym || !text)
		return NULL;
	for (uint64_t i = 0; i < n; i++) {
		unsigned type = ELF64_ST_TYPE(sym[i].st_info);

		if (sym[i].st_shndx == SHN_UNDEF || sym[i].st_value > addr ||
		    sym[i].st_name >= strings->sh_size ||
		    (type != STT_FUNC && type != STT_OBJECT &&
		     type != STT_GNU_IFUNC))
			continue;
		if (addr - sym[i].st_value >= (sym[i].st_size ? sym[i].st_size : 1))
			continue;
		/* Of several names of one place, the plainest. */
		if (best && *best != '_')
			continue;
		best = text + sym[i].st_name;
		*ret_start = sym[i].st_value;
	}
	return best;
}

static const char *find_symbol(const struct file *f, uintptr_t addr,
			       uintptr_t *ret_start)
{
	const ElfW(Ehdr) *eh = (const void *)f->mem;
	const ElfW(Shdr) *sh = part(f, eh->e_shoff, eh->e_shnum, sizeof(*sh));
	const char *name = NULL;

	if (!sh || eh->e_shentsize != sizeof(*sh))
		return NULL;
	for (int i = 0; i < eh->e_shnum && !name; i++)
		if ((sh[i].sh_type == SHT_SYMTAB ||
		     sh[i].sh_type == SHT_DYNSYM) &&
		    sh[i].sh_link < eh->e_shnum)
			name = search(f, &sh[i], &sh[sh[i].sh_link], addr,
				      ret_start);
	return name;
}

/* What was looked up is kept: ten thousand coroutines stand in a dozen
 * places. */
#define KEPT 512
struct name {
	uintptr_t addr;
	bool exact;
	bool ours;		/* a frame of the runtime's */
	char text[118];
};
static struct name kept[KEPT];		/* under names_lock */
static struct lock names_lock;

/* Where the library that this is part of was loaded. */
static uintptr_t own_base(void)
{
	static _Atomic uintptr_t base;
	struct module m = { .addr = (uintptr_t)&backtrace_name };

	if (!base && dl_iterate_phdr(find_module, &m))
		base = m.base;
	return base;
}

static void look_up(uintptr_t addr, bool exact, struct name *ret)
{
	struct module m = { .addr = exact ? addr : addr - 1 };
	char exe[256], *file_name = m.path;
	uintptr_t start = 0;
	const char *symbol;
	struct file f;
	long n;

	ret->addr = addr;
	ret->exact = exact;
	ret->ours = false;
	if (!dl_iterate_phdr(find_module, &m)) {
		snprintf(ret->text, sizeof(ret->text), "%#lx",
			 (unsigned long)addr);
		return;
	}
	ret->ours = m.base == own_base();
	if (strcmp(m.path, "/proc/self/exe") == 0) {
		n = sys_call(SYS_readlinkat, AT_FDCWD, m.path, exe,
			     sizeof(exe) - 1);
		if (n > 0) {
			exe[n] = 0;
			file_name = exe;
		}
	}
	if (map_file(&m, &f)) {
		symbol = find_symbol(&f, m.addr - m.base, &start);
		if (symbol && exact && addr - m.base == start)
			snprintf(ret->text, sizeof(ret->text), "%.70s (%.24s)",
				 symbol, base_name(file_name));
		else if (symbol)
			snprintf(ret->text, sizeof(ret->text), "%.70s+%#lx (%.24s)",
				 symbol, (unsigned long)(addr - m.base - start),
				 base_name(file_name));
		sys_unmap((void *)f.mem, f.size);
		if (symbol)
			return;
	}
	snprintf(ret->text, sizeof(ret->text), "%.80s+%#lx", base_name(file_name),
		 (unsigned long)(addr - m.base));
}

static struct name name_of(uintptr_t addr, bool exact)
{
	struct name *slot = &kept[(addr * 0x9e3779b97f4a7c15ull) >> 55];
	struct name fresh;

	_Static_assert(KEPT == 1 << (64 - 55), "the hash fits the table");
	lock(&names_lock);
	if (slot->addr == addr && slot->exact == exact) {
		fresh = *slot;
		unlock(&names_lock);
		return fresh;
	}
	unlock(&names_lock);
	/* Not under the lock: it maps files. */
	memset(&fresh, 0, sizeof(fresh));
	look_up(addr, exact, &fresh);
	lock(&names_lock);
	*slot = fresh;
	unlock(&names_lock);
	return fresh;
}

size_t backtrace_name(uintptr_t addr, bool exact, char *buf, size_t size)
{
	struct name n = name_of(addr, exact);
	int len = snprintf(buf, size, "%s", n.text);

	return len < (int)size ? (size_t)len : size - 1;
}

size_t backtrace_print(const struct backtrace *b, char *buf, size_t size)
{
	int first = 0, last = b->depth - 1;
	size_t at = 0;

#define FRAME(i) name_of(b->pc[i], b->exact && (i) == 0)
	while (last >= 0 && FRAME(last).ours)
		last--;
	while (first < last && FRAME(first).ours && FRAME(first + 1).ours)
		first++;
	/* Nothing but ours: then it is what there is to see. */
	if (last < first) {
		first = 0;
		last = b->depth - 1;
	}
	for (int i = first; i <= last; i++) {
		struct name n = FRAME(i);
		char line[192];
		int len;

		if (b->times[i] > 1)
			len = snprintf(line, sizeof(line),
				       "    %s, %u times\n", n.text, b->times[i]);
		else
			len = snprintf(line, sizeof(line), "    %s\n", n.text);
		if (at + (size_t)len >= size)
			break;
		memcpy(buf + at, line, (size_t)len);
		at += (size_t)len;
	}
#undef FRAME
	if (b->more && at + 16 < size) {
		memcpy(buf + at, "    ...\n", 8);
		at += 8;
	}
	if (size)
		buf[at < size ? at : size - 1] = 0;
	return at;
}

void backtrace_begin_report(void)
{
	take_walk_lock();
	forget_libraries();
	drop_walk_lock();
	lock(&names_lock);
	memset(kept, 0, sizeof(kept));
	unlock(&names_lock);
}

void backtrace_fork_lock(void)
{
	take_walk_lock();
	lock(&names_lock);
}

void backtrace_fork_unlock(void)
{
	unlock(&names_lock);
	drop_walk_lock();
}
