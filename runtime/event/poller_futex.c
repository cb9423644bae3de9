/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* event/poller_futex.c - waiting where there is no epoll: it is forbidden, or the
 * process has no descriptor left for it.
 *
 * Nothing can be registered, so whoever waits for a descriptor has the kernel wait
 * (wait/fd.c), which costs a kernel thread. What is left here is to wait for a time
 * and to be woken.
 *
 * An interrupt is remembered until a poll has taken notice. close() leaves one
 * behind that stays: whoever still comes here with the ops of a moment ago returns
 * at once, and finds those that are used from now on. */
#include "event/poller.h"
#include "base/sys.h"
#include <errno.h>

enum { CALM, INTERRUPTED, CLOSED };
static _Atomic uint32_t word;

static int futex_open(void)
{
	atomic_store_explicit(&word, CALM, memory_order_relaxed);
	return 0;
}

static int futex_arm(int fd, uint64_t data)
{
	(void)fd;
	(void)data;
	return -ENOSPC;
}

static void futex_disarm(int fd)
{
	(void)fd;
}

static int futex_poll(cogo_time deadline, const uint64_t *sigmask,
		      struct poller_event *ret, int room)
{
	uint32_t seen = INTERRUPTED;
	int r = 0;

	(void)sigmask;
	(void)ret;
	(void)room;
	/* acquire: pairs with the release in raise_to. */
	if (deadline != 0 &&
	    atomic_load_explicit(&word, memory_order_acquire) == CALM)
		r = sys_futex_wait(&word, CALM, deadline);
	/* acquire: as above. What is closed stays so. */
	atomic_compare_exchange_strong_explicit(&word, &seen, CALM,
						memory_order_acquire,
						memory_order_acquire);
	return r == -EINTR ? r : 0;
}

static void raise_to(uint32_t state)
{
	uint32_t seen = CALM;

	/* release: what we have done before is seen by the poll that ends. */
	if (state == CLOSED)
		atomic_store_explicit(&word, state, memory_order_release);
	else if (!atomic_compare_exchange_strong_explicit(&word, &seen, state,
							  memory_order_release,
							  memory_order_relaxed))
		return;
	sys_futex_wake(&word, 1);
}

static void futex_interrupt(void)
{
	raise_to(INTERRUPTED);
}

static void futex_close(void)
{
	raise_to(CLOSED);
}

static bool futex_owns(int fd)
{
	(void)fd;
	return false;
}

const struct poller_ops poller_futex = {
	.name = "futex",
	.open = futex_open,
	.arm = futex_arm,
	.disarm = futex_disarm,
	.poll = futex_poll,
	.interrupt = futex_interrupt,
	.close = futex_close,
	.owns = futex_owns,
};
