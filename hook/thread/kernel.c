/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/thread/kernel.c - a coroutine before the kernel: as the thread it runs on.
 *
 * libc keeps a thread's robust locks in a list whose head is in the thread
 * control block, and tells the kernel where the head is. A coroutine has a head
 * of its own, so while it holds any the kernel is told of that one. Where in the
 * block the head lies, and what is in it, is learnt at load, from the thread that
 * loads us, whose head libc has set up. */
#include "hook/thread/kernel.h"
#include "base/sys.h"
#include "coro/self.h"
#include "fault/door.h"
#include "arch/tp.h"
#include "mem/tls.h"
#include "sched/block.h"
#include <linux/futex.h>
#include <stdatomic.h>

/* The longest list that the kernel walks, too. */
#define MOST_ROBUST 2048

/* The coroutine's own, and while `binds` is not 0 also its kernel thread's:
 * right with storage that is shared, where only that thread uses it. Whoever
 * looks at it is OPAQUE, as the next bind may be to another kernel thread. */
static __thread struct {
	uint32_t binds;
	uint32_t held;		/* of those, for locks */
	struct robust_list_head *before;	/* the kernel's list until then */
} mine __attribute__((tls_model("initial-exec")));

static struct {
	bool known;
	long at;		/* of the head, from the thread pointer */
	long futex_offset;
} head;

void kernel_load(void)
{
	struct robust_list_head *h = NULL;
	size_t size = 0;

	if (sys_call(SYS_get_robust_list, 0, &h, &size) < 0 || !h ||
	    size != sizeof(*h))
		return;
	/* Empty it points to itself, and so does the word before it, which is
	 * the way back. Anything else is a libc that we do not know. */
	if (h->list.next != &h->list || ((void **)h)[-1] != h)
		return;
	head.at = (long)h - (long)arch_tp_get();
	head.futex_offset = h->futex_offset;
	head.known = true;
}

static struct robust_list_head *head_of(uintptr_t tp)
{
	return (struct robust_list_head *)(tp + (uintptr_t)head.at);
}

/* Whether me has a block, and so a head, of its own. */
static bool own_head(struct coro *me)
{
	return me->tp && tls_private() && head.known;
}

/* Empty, and the kernel told of it. */
static void begin_list(uintptr_t tp)
{
	struct robust_list_head *h = head_of(tp);

	h->list.next = &h->list;
	((void **)h)[-1] = h;
	h->futex_offset = head.futex_offset;
	h->list_op_pending = NULL;
	sys_call(SYS_set_robust_list, h, sizeof(*h));
}

OPAQUE void bind_for_kernel(struct coro *me)
{
	size_t size;

	if (me->kind != CORO_KIND_CORO)
		return;
	door_enter(me);
	block_bind(me);
	if (mine.binds++ == 0 && own_head(me)) {
		mine.before = NULL;
		sys_call(SYS_get_robust_list, 0, &mine.before, &size);
		begin_list(me->tp);
	}
	door_leave(me);
}

OPAQUE void unbind_for_kernel(struct coro *me)
{
	if (me->kind != CORO_KIND_CORO || !mine.binds)
		return;
	door_enter(me);
	if (--mine.binds == 0 && mine.before) {
		sys_call(SYS_set_robust_list, mine.before, sizeof(*mine.before));
		mine.before = NULL;
	}
	block_unbind(me);
	door_leave(me);
}

void kernel_enter(struct kernel_call *k)
{
	struct coro *me = self();

	if (!me || me->kind != CORO_KIND_CORO) {
		k->me = NULL;
		return;
	}
	k->me = me;
	bind_for_kernel(me);
	if (me->tp && tls_private()) {
		k->tid = tls_tid(me->tp);
		tls_set_tid(me->tp, sys_gettid());
	}
}

OPAQUE void kernel_leave(struct kernel_call *k, int held)
{
	struct coro *me = k->me;

	if (!me)
		return;
	if (me->tp && tls_private())
		tls_set_tid(me->tp, k->tid);
	if (held > 0) {
		mine.held++;
		return;		/* keeps the bind of this call */
	}
	if (held < 0 && mine.held) {
		mine.held--;
		unbind_for_kernel(me);
	}
	unbind_for_kernel(me);
}

/* As the kernel does: the word says that its owner died, and one who waits is
 * told. A lock with priorities that somebody waits for is the kernel's to pass
 * on; it does not expect its owner to die and to live, so the word is marked
 * after that, and it may be the next but one who learns of it. */
static void bequeath(struct robust_list *entry, bool priorities, uint32_t tid)
{
	_Atomic uint32_t *word =
		(_Atomic uint32_t *)((char *)entry + head.futex_offset);
	uint32_t w = atomic_load_explicit(word, memory_order_relaxed);

	do {
		if ((w & FUTEX_TID_MASK) != tid)
			return;
		if (priorities && w & FUTEX_WAITERS) {
			sys_call(SYS_futex, word, FUTEX_UNLOCK_PI, 0, NULL);
			atomic_fetch_or_explicit(word, FUTEX_OWNER_DIED,
						 memory_order_relaxed);
			return;
		}
	} while (!atomic_compare_exchange_weak_explicit(
		word, &w, (w & FUTEX_WAITERS) | FUTEX_OWNER_DIED,
		memory_order_release, memory_order_relaxed));
	if (w & FUTEX_WAITERS)
		sys_call(SYS_futex, word, FUTEX_WAKE, 1);
}

OPAQUE void kernel_thread_end(struct coro *me)
{
	struct robust_list_head *h;
	struct robust_list *entry, *next;
	uint32_t tid;

	if (me->kind != CORO_KIND_CORO || !mine.binds)
		return;
	tid = (uint32_t)sys_gettid();
	/* With shared storage the list is the worker's, which has run nobody
	 * else since the first of these locks was taken. */
	if (head.known && mine.held) {
		h = head_of(arch_tp_get());
		entry = (void *)((uintptr_t)h->list.next & ~(uintptr_t)1);
		bool priorities = (uintptr_t)h->list.next & 1;

		for (int i = 0; i < MOST_ROBUST && entry != &h->list; i++) {
			/* Whoever gets it next writes over the link. */
			uintptr_t link = (uintptr_t)entry->next;

			next = (void *)(link & ~(uintptr_t)1);
			bequeath(entry, priorities, tid);
			priorities = link & 1;
			entry = next;
		}
		h->list.next = &h->list;
		((void **)h)[-1] = h;
	}
	/* Of streams that it had locked, too. */
	mine.held = 0;
	while (mine.binds)
		unbind_for_kernel(me);
}

OPAQUE void kernel_fork_child(void)
{
	mine.binds = mine.held = 0;
	mine.before = NULL;
	/* libc has begun a list for the one thread there is, but the head of a
	 * coroutine's block has never been a thread's. */
	if (tls_private() && head.known)
		begin_list(arch_tp_get());
}
