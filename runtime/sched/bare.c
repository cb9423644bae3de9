/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sched/bare.c - a kernel thread that libc has not heard of. */
#include "sched/bare.h"
#include "base/errno.h"
#include "base/lock.h"
#include "base/sys.h"
#include "mem/tls.h"
#include <linux/futex.h>
#include <sched.h>

#define GUARD	4096
#define STACK	(256 << 10)	/* only what is used becomes memory */

/* At the top of the thread's memory, above it its storage, below it its stack. */
struct bare {
	struct bare *next;
	char *map;
	size_t size;
	/* The kernel's: zero when the thread has ended, and is off its stack. */
	_Atomic uint32_t tid;
	uintptr_t tp;
	void *(*entry)(void *);
	void *arg;
};

static struct lock bares_lock;
static struct bare *bares;	/* all that ever were; under bares_lock */
static bare_clone_fn clone_thread;

void bare_use(bare_clone_fn clone)
{
	clone_thread = clone;
}

int bare_init(void)
{
	if (!clone_thread || !tls_private())
		return -ENOSYS;
	return tls_keep_image() ? 0 : -ENOMEM;
}

static int begin(void *arg)
{
	struct bare *b = arg;

	tls_set_tid(b->tp, sys_gettid());
	/* Where coroutines share its storage, they look for libc's tables there. */
	tls_enter();
	b->entry(b->arg);
	return 0;
}

static struct bare *make(void)
{
	size_t storage = tls_copy_size();
	size_t size = align_up(STACK + sizeof(struct bare) + storage, GUARD);
	char *map = sys_map(size);
	struct bare *b;

	if (!map)
		return NULL;
	sys_call(SYS_mprotect, map, GUARD, 0);
	b = (struct bare *)(((uintptr_t)map + size - storage - sizeof(*b)) &
			    ~(uintptr_t)63);
	b->map = map;
	b->size = size;
	b->next = bares;
	bares = b;
	return b;
}

int bare_start(void *(*entry)(void *), void *arg)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
		    CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
		    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	struct bare *b;
	int r = -ENOMEM;

	if (!tls_has_image())
		return -ENOSYS;
	lock(&bares_lock);
	for (b = bares; b; b = b->next)
		/* acquire: pairs with the kernel's last store for the thread. */
		if (!atomic_load_explicit(&b->tid, memory_order_acquire))
			break;
	if (!b)
		b = make();
	if (b) {
		b->entry = entry;
		b->arg = arg;
		b->tp = tls_copy(b + 1);
		r = clone_thread(begin, b, flags, b, &b->tid, b->tp, &b->tid);
		if (r < 0) {
			r = -errno_get();
			atomic_store_explicit(&b->tid, 0, memory_order_relaxed);
		}
	}
	unlock(&bares_lock);
	return r < 0 ? r : 0;
}

void bare_rest(void)
{
	struct bare *b;
	uint32_t tid;

	lock(&bares_lock);
	while ((b = bares)) {
		bares = b->next;
		while ((tid = atomic_load_explicit(&b->tid, memory_order_acquire)))
			sys_call(SYS_futex, &b->tid, FUTEX_WAIT, tid, NULL, NULL,
				 0);
		sys_unmap(b->map, b->size);
	}
	tls_rest_image();
	unlock(&bares_lock);
}

void bare_fork_child(void)
{
	for (struct bare *b = bares; b; b = b->next)
		atomic_store_explicit(&b->tid, 0, memory_order_relaxed);
}
