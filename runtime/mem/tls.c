/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mem/tls.c - a thread control block and thread-local storage per coroutine.
 *
 * What libc expects of a thread descriptor that it did not make itself:
 *
 * - the header words (arch_tcb_init), with multiple_threads set: malloc and
 *   stdio skip their locks where it is not;
 * - tid, unique: recursive locks inside libc compare it;
 * - list, which fork and dlopen follow: see below;
 * - the rseq area marked unregistered: the kernel knows only the worker's;
 * - the locale's character tables (__ctype_init), on the coroutine.
 *
 * A finished coroutine's block is used again. All of it is laid out anew
 * except libc's own thread-local variables, among which is malloc's cache:
 * dropping it would leak it, and libc's way of freeing it cannot be called.
 * Libc would lay it out by way of malloc, and look at every library. As long as
 * none but those of the beginning have variables, we write the first values of
 * theirs, where they have been all the time. What there may be of one that has
 * come and gone, libc clears when the next one takes its place, as in any thread
 * that lives on.
 *
 * Our blocks stand on libc's own list of threads (the one of threads on stacks
 * that libc did not make), from the day they are laid out and for ever. So when
 * a library with initial-exec variables is loaded, libc itself gives them their
 * first values in every block, before the library's constructors run, whoever
 * loads it, by whatever way; and a fork takes the caller off the list as it does
 * with any thread.
 *
 * T1  Between two blocks that no thread uses, first and last, the list is ours:
 *     what libc does to other threads writes to the outer links of these two
 *     alone. Inside we need our own lock, and no lock of libc's.
 * T2  Libc walks forward, at any moment. So a block is complete before the one
 *     in front of it points to it, and its links are never cleared.
 * T3  A block is on the list before _dl_allocate_tls lays it out. A library that
 *     is being loaded is known to that function before libc walks the list; so
 *     one of the two gives the block the library's first values.
 * T4  The memory of a block is never unmapped and never zeroed.
 *
 * A debugger that reads the list (libthread_db) would take each block for a
 * kernel thread. It asks for threads of at least the lowest priority there is,
 * so the blocks say of themselves that theirs is lower. */
#include "mem/tls.h"
#include "arch/tp.h"
#include "base/errno.h"
#include "base/lock.h"
#include "base/sanitize.h"
#include "base/sys.h"
#include <dlfcn.h>
#include <link.h>
#include <locale.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#else
#define RSEQ_SIG 0
#endif

#define REGISTRATION_FAILED	(-2)	/* a cpu_id */
#define UNREGISTER		1
#define UNREGISTERED		(-1)	/* another */
#define COPY_MODULES		500	/* libraries with storage of their own */
#define NO_THREAD		(-1)	/* a tid that libthread_db skips */
#define HIDDEN_POLICY		3	/* any but SCHED_OTHER, whose priority is 0 */
#define HIDDEN_PRIORITY		(-1000)

/* As libc exports a member for debuggers: bits, count, offset. */
struct db_member {
	uint32_t bits, count, offset;
};

static struct {
	bool private;
	const char *why;
	size_t size, align;	/* of static TLS with the descriptor */
	size_t above;		/* how much of it from the thread pointer up */
	size_t thread_size;	/* of the descriptor */
	long rseq;		/* of the rseq area from the thread pointer, 0: none */
	uint32_t rseq_size;	/* 0: nobody is registered */
	struct db_member tid, list, specific, policy, priority;
	struct db_member cancel;	/* not everywhere: bits are 0 then */
	long resolver;		/* libc's pointer, from the thread pointer */
	_Atomic uintptr_t resolver_state;	/* where it leads, from the
						 * descriptor; 0: unknown */
	long libc_offset;	/* libc's variables, from the thread pointer */
	size_t libc_size;

	void *(*allocate)(void *);
	void (*deallocate)(void *, bool);
	void (*ctype_init)(void);
	void (*call_dtors)(void);

	/* Only where storage is shared, and only if the program began with the
	 * C++ library: one word and a number, by the ABI of C++. */
	void **(*exceptions)(void);

	/* libc's: the name is one that we stand in front of. */
	locale_t (*uselocale)(locale_t);
} tls = { .why = "not initialised" };

struct tls_own tls_own;

/* The libraries of the beginning that have variables: where those are from the
 * thread pointer, and their first values. */
#define MODULES	32
struct module {
	long offset;
	const void *values;
	size_t given, size;	/* the rest is zero */
};
static struct {
	struct module module[MODULES];
	uint32_t n;
	bool known;		/* all of them */
	/* The place on the loader's list of libraries of one that stays: the
	 * loader's own, if that was the last one at the beginning, or one that we
	 * keep open. None up to there is a stranger, and what comes later comes
	 * behind it. */
	const struct link_map *_Atomic last;
	uint64_t unseen;	/* loaded, but not shown to us */

	/* libc does not free its lock for the list in the child of a fork: none of
	 * us has it then. Guards what follows. */
	struct lock lock;
	uint64_t loads;		/* how many had been loaded, ever, at the last look */
	bool alone;		/* whether no others had variables then */
	const void *harmless;	/* inside one whose variables may stay as they are */
} fresh;

/* libc's list_t. */
struct node {
	struct node *next, *prev;
};

/* Our stretch of libc's list: head is libc's, NULL when there is none. */
static struct {
	struct lock lock;
	struct node *head, *first, *last;
} stretch;

static bool find_member(const char *name, struct db_member *ret)
{
	const struct db_member *m = dlsym(RTLD_DEFAULT, name);

	if (!m)
		return false;
	*ret = *m;
	return true;
}

static bool is_inside(const struct dl_phdr_info *info, const void *at)
{
	for (int i = 0; at && i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && (uintptr_t)at - start < ph->p_memsz)
			return true;
	}
	return false;
}

static bool variables_of(const struct dl_phdr_info *info, struct module *ret)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_TLS || ph->p_memsz == 0)
			continue;
		ret->values = (const void *)(info->dlpi_addr + ph->p_vaddr);
		ret->given = ph->p_filesz;
		ret->size = ph->p_memsz;
		return true;
	}
	return false;
}

/* dl_iterate_phdr's view of libc: where its variables are on this thread. */
static int find_libc(struct dl_phdr_info *info, size_t size UNUSED, void *inside)
{
	struct module m;

	if (!is_inside(info, inside))
		return 0;
	if (variables_of(info, &m) && info->dlpi_tls_data) {
		tls.libc_offset = (char *)info->dlpi_tls_data -
				  (char *)arch_tp_get();
		tls.libc_size = m.size;
	}
	return 1;
}

static bool in_block(const struct module *m)
{
	long first = ARCH_TLS_BELOW_TP ? (long)(tls.above - tls.size) : 0;
	long end = ARCH_TLS_BELOW_TP ? 0 : (long)tls.above;

	return m->offset >= first && m->offset + (long)m->size <= end;
}

/* dl_iterate_phdr's view of the beginning. */
static int learn_module(struct dl_phdr_info *info, size_t size UNUSED,
			void *arg UNUSED)
{
	struct module m;

	if (!variables_of(info, &m))
		return 0;
	m.offset = (char *)info->dlpi_tls_data - (char *)arch_tp_get();
	/* Where they are not in the block itself, they were not there from the
	 * beginning. */
	fresh.known = info->dlpi_tls_data && fresh.n < MODULES && in_block(&m);
	if (!fresh.known)
		return 1;
	fresh.module[fresh.n++] = m;
	return 0;
}

static int count_loads(struct dl_phdr_info *info, size_t size UNUSED, void *arg)
{
	*(uint64_t *)arg = info->dlpi_adds;
	return 1;
}

struct census {
	uint64_t unseen;	/* in namespaces of their own (dlmopen) */
	uint32_t strangers;	/* with variables, and not from the beginning */
	uint32_t seen;
};

static int count_strangers(struct dl_phdr_info *info, size_t size UNUSED,
			   void *arg)
{
	struct census *c = arg;
	struct module m;
	uint32_t i = 0;

	c->unseen = info->dlpi_adds - info->dlpi_subs - ++c->seen;
	if (!variables_of(info, &m) || is_inside(info, fresh.harmless))
		return 0;
	while (i < fresh.n && fresh.module[i].values != m.values)
		i++;
	c->strangers += i == fresh.n;
	return 0;
}

/* None has been loaded since then, nor into a namespace of its own, of which the
 * version of what debuggers look at tells. What matters is what a coroutine before
 * this one can have used, so whoever has handed us its block has let us see that
 * much. */
static bool none_came(void)
{
	/* acquire: pairs with the release in tls_harmless. */
	const struct link_map *last = atomic_load_explicit(&fresh.last,
							   memory_order_acquire);

	return last && !read_once(last->l_next) &&
	       read_once(_r_debug.r_version) == 1;
}

/* Whether none have variables but those of the beginning. */
static bool no_strangers(void)
{
	struct census c = { 0 };
	uint64_t loads = 0;
	bool alone;

	if (!fresh.known)
		return false;
	if (likely(none_came()))
		return true;
	lock(&fresh.lock);
	dl_iterate_phdr(count_loads, &loads);
	if (fresh.loads != loads) {
		/* One that comes meanwhile may be among them, and is looked for
		 * again the next time. */
		dl_iterate_phdr(count_strangers, &c);
		fresh.loads = loads;
		fresh.alone = !c.strangers && c.unseen == fresh.unseen;
	}
	alone = fresh.alone;
	unlock(&fresh.lock);
	return alone;
}


/* The last one on the loader's list, which is behind that of `inside` and came with
 * it, most likely; kept open for good. Or NULL. */
static const struct link_map *keep_last(const void *inside, tls_open open)
{
	struct link_map *map = NULL;
	Dl_info info;

	if (!dladdr1(inside, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
		return NULL;
	while (map->l_next)
		map = map->l_next;
	/* A handle is the place on the list. */
	return open(map->l_name, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE) == map
		       ? map : NULL;
}

void tls_harmless(const void *inside, tls_open open)
{
	const struct link_map *last = keep_last(inside, open);
	struct census c = { 0 };

	lock(&fresh.lock);
	fresh.harmless = inside;
	fresh.loads = 0;
	dl_iterate_phdr(count_strangers, &c);
	/* One that came meanwhile is behind it. */
	if (last && !c.strangers && c.unseen == fresh.unseen &&
	    atomic_load_explicit(&fresh.last, memory_order_relaxed))
		/* release: pairs with the acquire in none_came. */
		atomic_store_explicit(&fresh.last, last, memory_order_release);
	unlock(&fresh.lock);
}

static void learn_modules(void)
{
	const struct link_map *map = NULL;
	struct census c = { 0 };
	Dl_info info;

	fresh.known = true;
	dl_iterate_phdr(learn_module, NULL);
	dl_iterate_phdr(count_strangers, &c);
	fresh.unseen = c.unseen;
	/* Some function of the loader's. Namespaces are told of since libc 2.35,
	 * which came with this other one. */
	if (dlsym(RTLD_DEFAULT, "_dl_find_object") &&
	    dladdr1((void *)tls.allocate, &info, (void **)&map, RTLD_DL_LINKMAP) &&
	    map && !map->l_next)
		atomic_store_explicit(&fresh.last, map, memory_order_relaxed);
}

static const char *look_up(void)
{
	void (*static_info)(size_t *, size_t *);
	const uint32_t *sizeof_pthread;
	const long *rseq_offset;
	void *resolver;
	const unsigned *rseq_size;

	*(void **)&static_info = dlsym(RTLD_DEFAULT, "_dl_get_tls_static_info");
	*(void **)&tls.allocate = dlsym(RTLD_DEFAULT, "_dl_allocate_tls");
	*(void **)&tls.deallocate = dlsym(RTLD_DEFAULT, "_dl_deallocate_tls");
	if (!static_info || !tls.allocate || !tls.deallocate)
		return "ld.so does not export _dl_allocate_tls";
	sizeof_pthread = dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread");
	if (!sizeof_pthread ||
	    !find_member("_thread_db_pthread_tid", &tls.tid) ||
	    !find_member("_thread_db_pthread_list", &tls.list) ||
	    !find_member("_thread_db_pthread_specific", &tls.specific) ||
	    !find_member("_thread_db_pthread_schedpolicy", &tls.policy) ||
	    !find_member("_thread_db_pthread_schedparam_sched_priority",
			 &tls.priority))
		return "libc does not export its descriptors for debuggers";
	static_info(&tls.size, &tls.align);
	if (tls.align < 64)
		tls.align = 64;
	tls.thread_size = *sizeof_pthread;
	if (ARCH_TLS_BELOW_TP) {
		/* The variables, then the descriptor; libc counts both. */
		tls.above = tls.thread_size;
	} else {
		/* The descriptor, which libc does not count, two words at the
		 * thread pointer, the variables. */
		tls.above = tls.size;
		tls.size += tls.thread_size;
	}
	*(void **)&tls.ctype_init = dlsym(RTLD_DEFAULT, "__ctype_init");
	*(void **)&tls.call_dtors = dlsym(RTLD_DEFAULT, "__call_tls_dtors");
	if (!tls.ctype_init || !tls.call_dtors)
		return "libc does not export __ctype_init or __call_tls_dtors";
	resolver = dlsym(RTLD_DEFAULT, "__resp");
	if (resolver)
		tls.resolver = (char *)resolver - (char *)arch_tp_get();
	rseq_offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
	rseq_size = dlsym(RTLD_DEFAULT, "__rseq_size");
	/* Where the kernel has none of it the area is there all the same, and
	 * a thread's children ask it whether to register. */
	if (rseq_offset && rseq_size) {
		tls.rseq = *rseq_offset;
		tls.rseq_size = *rseq_size;
	}
	if (tls.tid.bits != 32 || tls.tid.offset >= tls.thread_size ||
	    tls.list.offset >= tls.thread_size || tls.size < tls.thread_size)
		return "libc's descriptors for debuggers make no sense";
	return NULL;
}

static char *thread_of(uintptr_t tp)
{
	return (char *)arch_tp_to_thread(tp);
}

static struct node *node_of(uintptr_t tp)
{
	return (struct node *)(thread_of(tp) + tls.list.offset);
}

static void hide(uintptr_t tp)
{
	*(int32_t *)(thread_of(tp) + tls.policy.offset) = HIDDEN_POLICY;
	*(int32_t *)(thread_of(tp) + tls.priority.offset) = HIDDEN_PRIORITY;
}

/* Where in a block that ends at top the thread pointer points. */
static uintptr_t tcb_below(void *top)
{
	return ((uintptr_t)top - tls.above) & ~(uintptr_t)(tls.align - 1);
}

/* A block that only stands on the list. */
static struct node *make_mark(void *top)
{
	uintptr_t tp = arch_tcb_to_tp((void *)tcb_below(top));

	hide(tp);
	tls_set_tid(tp, NO_THREAD);
	return node_of(tp);
}

/* Puts the two marks at the end of libc's list. Nobody else changes it now:
 * the program has not begun. */
static void attach(void)
{
	struct node *end = stretch.head->prev;

	stretch.first->prev = end;
	stretch.last->next = stretch.head;
	end->next = stretch.first;
	stretch.head->prev = stretch.last;
}

static void join_list(void)
{
	const struct db_member *user = dlsym(
		RTLD_DEFAULT, "_thread_db_rtld_global__dl_stack_user");
	char *rtld = dlsym(RTLD_DEFAULT, "_rtld_global");
	struct node *head;
	char *marks;

	if (!user || !rtld || user->bits != 8 * sizeof(*head))
		return;
	head = (struct node *)(rtld + user->offset);
	/* The program's first thread stands on it, so it is not empty. */
	if (!head->next || head->next == head || head->next->prev != head ||
	    head->prev->next != head)
		return;
	marks = sys_map(2 * tls_size());
	if (!marks)
		return;
	stretch.first = make_mark(marks + tls_size());
	stretch.last = make_mark(marks + 2 * tls_size());
	stretch.first->next = stretch.last;
	stretch.last->prev = stretch.first;
	stretch.head = head;
	attach();
}

/* Under stretch.lock, or alone. */
static void insert(struct node *n)
{
	struct node *after = stretch.first->next;

	n->next = after;
	n->prev = stretch.first;
	after->prev = n;
	/* release: who walks finds n's next (T2). */
	__atomic_store_n(&stretch.first->next, n, __ATOMIC_RELEASE);
}

static void enlist(uintptr_t tp)
{
	struct node *n = node_of(tp);

	hide(tp);
	if (!stretch.head) {
		/* fork takes it off whatever list it is on. */
		n->next = n->prev = n;
		return;
	}
	lock(&stretch.lock);
	insert(n);
	unlock(&stretch.lock);
}

void tls_init(bool force_shared)
{
	tls.why = force_shared ? "forced" :
		  SANITIZE_THREAD ? "ThreadSanitizer's state lies there" :
		  look_up();
	tls.private = !tls.why;
	find_member("_thread_db_pthread_cancelhandling", &tls.cancel);
	*(void **)&tls.exceptions = dlsym(RTLD_DEFAULT, "__cxa_get_globals");
	*(void **)&tls.uselocale = dlsym(RTLD_NEXT, "uselocale");
	/* Not the program's: once tells of it, and twice lets it go. */
	dlerror();
	dlerror();
	/* Nothing has been switched yet: no address is an old one. */
	tls_own = (struct tls_own){
		.error = (char *)&errno - (char *)arch_tp_get(),
		.resolver_error = (char *)&h_errno - (char *)arch_tp_get(),
		.more = true,
	};
	if (tls.private) {
		tls.why = "";
		dl_iterate_phdr(find_libc, (void *)tls.ctype_init);
		learn_modules();
		join_list();
	}
}

bool tls_private(void)
{
	return tls.private;
}

const char *tls_why_shared(void)
{
	return tls.why;
}

size_t tls_size(void)
{
	return align_up(tls.size, tls.align) + tls.align;
}

bool tls_follows_dlopen(void)
{
	return stretch.head != NULL;
}

size_t tls_thread_size(void)
{
	return tls.thread_size;
}

/* The members that must not be zero. */
static void init_thread(uintptr_t tp)
{
	arch_tcb_init((void *)tp, (const void *)arch_tp_get());
	hide(tp);
	if (tls.rseq)
		((int32_t *)(tp + (uintptr_t)tls.rseq))[1] = REGISTRATION_FAILED;
}

uintptr_t tls_make(void *top)
{
	uintptr_t tcb = tcb_below(top);
	uintptr_t tp = arch_tcb_to_tp((void *)tcb);

	enlist(tp);	/* first: T3 */
	if (!tls.allocate((void *)tcb))
		return 0;
	init_thread(tp);
	return tp;
}

/* All of the descriptor but its place on the list (T2). */
static void clear_thread(uintptr_t tp)
{
	size_t after = tls.list.offset + sizeof(struct node);

	memset(thread_of(tp), 0, tls.list.offset);
	memset(thread_of(tp) + after, 0, tls.thread_size - after);
}

#define MOST_KEPT 512

static bool keeps_libcs(void)
{
	return tls.libc_size && tls.libc_size <= MOST_KEPT;
}

static void renew_by_hand(uintptr_t tp)
{
	void *dtv = arch_tcb_dtv((void *)tp);

	for (uint32_t i = 0; i < fresh.n; i++) {
		const struct module *m = &fresh.module[i];
		char *at = (char *)tp + m->offset;

		if (m->offset == tls.libc_offset && keeps_libcs())
			continue;
		memcpy(at, m->values, m->given);
		memset(at + m->given, 0, m->size - m->given);
	}
	clear_thread(tp);
	arch_tcb_set_dtv((void *)tp, dtv);
	init_thread(tp);
}

bool tls_known(void)
{
	return fresh.known && none_came();
}

void tls_renew_known(uintptr_t tp)
{
	renew_by_hand(tp);
}

bool tls_renew(uintptr_t tp)
{
	char keep[MOST_KEPT];
	char *libc_vars = (char *)tp + tls.libc_offset;
	bool kept = keeps_libcs();

	if (likely(no_strangers() && arch_tcb_dtv((void *)tp))) {
		renew_by_hand(tp);
		return true;
	}
	if (kept)
		memcpy(keep, libc_vars, tls.libc_size);
	/* None is left when the last time there was no memory for it. */
	if (arch_tcb_dtv((void *)tp))
		tls.deallocate((void *)tp, false);
	clear_thread(tp);
	arch_tcb_set_dtv((void *)tp, NULL);
	if (!tls.allocate((void *)tp))
		return false;
	if (kept)
		memcpy(libc_vars, keep, tls.libc_size);
	init_thread(tp);
	return true;
}

void tls_rest(uintptr_t tp)
{
	if (arch_tcb_dtv((void *)tp))
		tls.deallocate((void *)tp, false);
	arch_tcb_set_dtv((void *)tp, NULL);
}

/* libc starts a thread with a pointer to its resolver state, which is part of
 * the descriptor: what a started thread has tells where. Left as it is in the
 * image, the pointer leads to main's, and lookups of two threads would mix. */
void tls_learn(void)
{
	uintptr_t tp = arch_tp_get();
	uintptr_t state;

	if (!tls.private || !tls.resolver)
		return;
	state = *(uintptr_t *)(tp + (uintptr_t)tls.resolver);
	if (state - (uintptr_t)thread_of(tp) < tls.thread_size)
		tls.resolver_state = state - (uintptr_t)thread_of(tp);
}

void tls_enter(void)
{
	uintptr_t tp = arch_tp_get();

	if (tls.resolver_state)
		*(uintptr_t *)(tp + (uintptr_t)tls.resolver) =
			(uintptr_t)thread_of(tp) + tls.resolver_state;
	/* What libc keeps of the last user of this block: its locale and its
	 * errno are not ours. */
	tls.uselocale(LC_GLOBAL_LOCALE);
	tls.ctype_init();
	errno_set(0);
}

void tls_call_destructors(void)
{
	tls.call_dtors();
}

void tls_set_tid(uintptr_t tp, int tid)
{
	*(int32_t *)(thread_of(tp) + tls.tid.offset) = tid;
}

int tls_tid(uintptr_t tp)
{
	return *(int32_t *)(thread_of(tp) + tls.tid.offset);
}

/* CANCELTYPE, which for a coroutine nobody else sets: see hook/thread. */
#define IN_POINT 2

static int *cancel_word(void)
{
	return (int *)(thread_of(arch_tp_get()) + tls.cancel.offset);
}

bool tls_in_libcs_point(void)
{
	return tls.cancel.bits &&
	       __atomic_load_n(cancel_word(), __ATOMIC_RELAXED) & IN_POINT;
}

void tls_leave_libcs_point(void)
{
	if (tls.cancel.bits)
		__atomic_and_fetch(cancel_word(), ~IN_POINT, __ATOMIC_RELAXED);
}

void tls_free_specific(uintptr_t tp)
{
	void **level1 = (void **)(thread_of(tp) + tls.specific.offset);
	/* Described as one member of so many bits, or as an array. */
	uint32_t n = tls.specific.bits / (8 * sizeof(void *)) *
		     tls.specific.count;
	uintptr_t any = 0;

	/* The first block is part of the descriptor, and mostly the only one. */
	for (uint32_t i = 1; i < n; i++)
		any |= (uintptr_t)level1[i];
	if (likely(!any))
		return;
	for (uint32_t i = 1; i < n; i++) {
		free(level1[i]);
		level1[i] = NULL;
	}
}

/* The table in which code built for any library looks up where its variables
 * are, by the library's number. Its layout is the TLS ABI's (dynamic thread
 * vector): the number of entries, the generation, two words for each. */
struct table {
	uintptr_t n, unused;
	struct {
		uintptr_t at, allocated;
	} entry[1 + COPY_MODULES];
};
#define NOT_YET	UINTPTR_MAX

static uintptr_t image;		/* a thread pointer; 0: none */

bool tls_keep_image(void)
{
	char *map;

	if (image)
		return true;
	map = sys_map(tls_size());
	if (!map)
		return false;
	image = tls_make(map + tls_size());
	return image != 0;
}

bool tls_has_image(void)
{
	return image != 0;
}

void tls_rest_image(void)
{
	if (image)
		tls_rest(image);
}

size_t tls_copy_size(void)
{
	return sizeof(struct table) + 64 + tls_size();
}

uintptr_t tls_copy(void *low)
{
	struct table *t = (void *)align_up((uintptr_t)low, 64);
	uintptr_t tp = arch_tcb_to_tp(
		(void *)tcb_below((char *)(t + 1) + tls_size()));
	size_t below = tls.size - tls.above;
	struct node *n = node_of(tp);

	memcpy((char *)tp - below, (char *)image - below, tls.size);
	n->next = n->prev = n;	/* on no list */
	/* Everything is found at its first use. */
	t->n = COPY_MODULES;
	t->entry[0].at = 0;
	for (int i = 1; i <= COPY_MODULES; i++) {
		t->entry[i].at = NOT_YET;
		t->entry[i].allocated = 0;
	}
	arch_tcb_init((void *)tp, (const void *)arch_tp_get());
	arch_tcb_set_dtv((void *)tp, &t->entry);
	/* It may have children that libc knows, which inherit this. */
	*(int32_t *)(thread_of(tp) + tls.policy.offset) = 0;
	*(int32_t *)(thread_of(tp) + tls.priority.offset) = 0;
	if (tls.rseq)
		((int32_t *)(tp + (uintptr_t)tls.rseq))[1] = UNREGISTERED;
	return tp;
}

void tls_carried_init(struct tls_carried *c)
{
	memset(c, 0, sizeof(*c));
	c->locale = LC_GLOBAL_LOCALE;
}

void tls_carry_locale(bool carry)
{
	write_once(tls_own.more, carry || tls.exceptions);
}

void tls_take_more(struct tls_carried *c)
{
	void **exceptions;

	c->locale = tls.uselocale(NULL);
	if (tls.exceptions) {
		exceptions = tls.exceptions();
		memcpy(c->exceptions, exceptions, sizeof(c->exceptions));
	}
}

void tls_give_more(const struct tls_carried *c)
{
	void **exceptions;

	if (tls.uselocale(NULL) != c->locale)
		tls.uselocale(c->locale);
	if (tls.exceptions) {
		exceptions = tls.exceptions();
		memcpy(exceptions, c->exceptions, sizeof(c->exceptions));
	}
}

void **tls_exceptions(void)
{
	return tls.exceptions ? tls.exceptions() : NULL;
}

void tls_fork_lock(void)
{
	lock(&fresh.lock);
	lock(&stretch.lock);
}

void tls_fork_unlock(void)
{
	unlock(&stretch.lock);
	unlock(&fresh.lock);
}

void tls_fork_child(uintptr_t tp, uintptr_t worker_tp, bool libc_forked)
{
	/* The kernel goes on writing to the area that was the worker's, in
	 * memory that libc may now give away or unmap. */
	if (worker_tp && tls.rseq && tls.rseq_size)
		sys_call(SYS_rseq, worker_tp + (uintptr_t)tls.rseq, tls.rseq_size,
			 UNREGISTER, RSEQ_SIG);
	if (!stretch.head || !libc_forked)
		return;
	/* fork has emptied the list, and has taken the caller from its place
	 * and put it on the list of stacks that are libc's to reuse. */
	if (tp) {
		struct node *n = node_of(tp);

		n->next->prev = n->prev;
		n->prev->next = n->next;
		insert(n);
	}
	attach();
}
