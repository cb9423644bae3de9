/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* mem/stack.c - stacks that are cheap to have and safe to overflow.
 *
 * A pool hands out stacks of one size from regions that it maps as it grows,
 * each twice as large as the last. Two costs decide the layout:
 *
 * - Mappings. A region is one, and neighbouring regions with equal flags
 *   merge; guards by MADV_GUARD_INSTALL are marks in the page table and split
 *   nothing.
 * - Page tables. A touched top and a guard 8 MiB below it would need a page of
 *   page table each. A stack's guard lies right above its neighbour's top; so
 *   a region of large stacks begins 1 MiB off the 2 MiB that one such page
 *   describes, and the two share it.
 *
 * Huge pages are declined: a stack that touches one page should cost one. */
#include "mem/stack.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sys.h"
#include <errno.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define POOLS		64
#define FIRST_REGION	(1u << 20)
#define LARGEST_REGION	(1ul << 30)
#define TABLE_SPAN	(2u << 20)	/* what one page of page table maps */

struct stack_pool {
	size_t size;		/* of one stack with its guard; 0: unused slot */
	size_t guard;
	char *next, *end;	/* of the newest region; under pools_lock */
	size_t region;		/* bytes of the next region */
	unsigned made;
};

/* The kernel's; 4 KiB on x86-64, 16 or 64 on some of the others. */
static size_t page = PAGE_SIZE;
static struct stack_pool pools[POOLS];	/* under pools_lock */
static struct lock pools_lock;
static _Atomic int guard_install;	/* 1 works, 0 does not */
static _Atomic int warned;
static bool locked;			/* under pools_lock */

/* Whether a guard at a page keeps the kernel out, too: emulators say yes to any
 * advice and do nothing. It is asked to sleep for as long as stands there, which
 * is no time at all where it can read it. (Not every call would do: valgrind
 * reads sets of signals itself, and falls over the guard.) */
static bool guards(const void *at)
{
	return sys_call(SYS_madvise, at, page, MADV_GUARD_INSTALL) == 0 &&
	       sys_call(SYS_nanosleep, at, NULL) == -EFAULT;
}

/* Asks the kernel whether it knows guard markers: a page made a guard and
 * thrown away. */
void stack_init(int no_guard_install)
{
	void *trial;

	page = getauxval(AT_PAGESZ);
	trial = sys_map(page);
	if (!trial)
		return;
	guard_install = !no_guard_install && guards(trial);
	sys_unmap(trial, page);
}

const char *stack_guard_method(void)
{
	return guard_install ? "MADV_GUARD_INSTALL" : "mprotect";
}

/* Under pools_lock. With all slots taken, odd sizes share those of the next
 * power of two; the last slot serves the rest by being the largest. */
static struct stack_pool *find_pool(size_t size, size_t guard)
{
	struct stack_pool *p;

	for (p = pools; p < pools + POOLS; p++) {
		if (p->size == 0) {
			if (p - pools > POOLS / 2) {
				size_t round = 16384;

				while (round < size)
					round *= 2;
				if (round != size)
					return find_pool(round, guard);
			}
			p->size = size;
			p->guard = guard;
			return p;
		}
		if (p->size == size && p->guard == guard)
			return p;
	}
	return NULL;
}

static struct stack_pool *pool_for(size_t size, size_t guard)
{
	guard = align_up(guard, page);
	size = align_up(size, page) + guard;
	return find_pool(size, guard);
}

struct stack_pool *stack_pool_for(size_t size, size_t guard)
{
	struct stack_pool *p;

	lock(&pools_lock);
	p = pool_for(size, guard);
	unlock(&pools_lock);
	return p;
}

/* Under pools_lock. Where memory is tight (RLIMIT_AS, strict overcommit), a
 * region shrinks down to a single stack before it is refused. */
static int add_region(struct stack_pool *p)
{
	size_t slack = p->size >= TABLE_SPAN ? TABLE_SPAN : 0;
	/* Of what is locked every page is there from the first moment. */
	size_t want = locked ? p->size : p->region ? p->region : FIRST_REGION;
	char *mem;

	for (;; want /= 2) {
		size_t n = want / p->size ? want / p->size : 1;

		want = n * p->size;
		mem = sys_map(want + slack);
		if (mem)
			break;
		if (n == 1)
			return -ENOMEM;
	}
	sys_call(SYS_madvise, mem, want + slack, MADV_NOHUGEPAGE);
	if (slack) {
		uintptr_t half = TABLE_SPAN / 2;
		uintptr_t at = align_up((uintptr_t)mem + half, TABLE_SPAN) - half;

		if (at < (uintptr_t)mem)
			at += TABLE_SPAN;
		mem = (char *)at;
	}
	p->next = mem;
	p->end = mem + want;
	p->region = want * 2 > LARGEST_REGION ? LARGEST_REGION : want * 2;
	return 0;
}

static long protect(char *low, size_t guard)
{
	long r = sys_call(SYS_mprotect, low, guard, PROT_NONE);

	if (r == -ENOMEM && !warned++)
		cogo_warn("no more guarded stacks: %s, so each costs two "
			  "mappings, and vm.max_map_count is reached; raise it "
			  "(sysctl -w vm.max_map_count=1000000)",
			  locked ? "the program has locked its memory"
				 : "this kernel has no MADV_GUARD_INSTALL");
	return r;
}

/* Under pools_lock. */
static int install_guard(char *low, size_t guard)
{
	long r = -EINVAL;

	if (!guard)
		return 0;
	if (guard_install)
		r = sys_call(SYS_madvise, low, guard, MADV_GUARD_INSTALL);
	/* Memory that is locked (mlockall) takes no marks. */
	if (r == -EINVAL) {
		locked = guard_install;
		r = protect(low, guard);
	}
	return r == -ENOMEM ? -EAGAIN : (int)r;
}

int stack_make(size_t size, size_t guard, struct stack *ret_stack)
{
	struct stack_pool *p;
	char *low;
	int r = 0;

	lock(&pools_lock);
	p = pool_for(size, guard);
	if (!p) {
		r = -ENOMEM;
		goto out;
	}
	if (p->next == p->end) {
		r = add_region(p);
		if (r)
			goto out;
	}
	low = p->next;
	r = install_guard(low, p->guard);
	if (r)
		goto out;
	p->next += p->size;
	ret_stack->low = low;
	ret_stack->top = low + p->size;
	ret_stack->guard = p->guard;
	ret_stack->asked = size;
	ret_stack->pool = p;
	ret_stack->index = p->made++;
out:
	unlock(&pools_lock);
	return r;
}

size_t stack_trim(const struct stack *s, const void *below)
{
	uintptr_t from = (uintptr_t)s->low + s->guard;
	uintptr_t to = (uintptr_t)below & ~(uintptr_t)(page - 1);

	/* Who is parked may be on another stack altogether (makecontext, a
	 * borrowed one). */
	if (!s->pool || to <= from || to > (uintptr_t)s->top)
		return 0;
	sys_call(SYS_madvise, from, to - from, MADV_DONTNEED);
	return to - from;
}

void stack_fork_lock(void)
{
	lock(&pools_lock);
}

void stack_fork_unlock(void)
{
	unlock(&pools_lock);
}
