/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan/timer.c - channels that time fills.
 *
 * The clock does the work. A timer is a moment under the lock of a channel, and
 * whoever receives asks, under that lock, whether it is over (take_moment in
 * chan.c); if it is not, he waits, until then at most.
 *
 * D1  a moment is received in the step that finds it over, and there is no item
 *     anywhere before that step: so what was unset before it is never received.
 * D2  who waits sleeps until the moment that he saw when he lay down. One that is
 *     set to another is told to look again; one that is unset is not: he wakes at
 *     the old moment, finds nothing, and sleeps on. So stopping costs nothing.
 *
 * The other way, a heap of timers that a worker runs to send items, is what Go had
 * until 1.23: it needs somebody to fill channels that nobody looks at, and a stop
 * had to be followed by a receive, or a stale item was left. */
#include "chan/chan.h"
#include "base/fatal.h"
#include "fault/door.h"
#include "sched/ready.h"
#include <errno.h>

struct cogo_chan *cogo_timer_new(cogo_time when)
{
	return chan_new_timed(CHAN_TIMER, when);
}

struct cogo_chan *cogo_after(cogo_time when)
{
	return cogo_timer_new(when);
}

struct cogo_chan *cogo_ticker_new(int64_t period)
{
	struct cogo_chan *ch;
	cogo_time first;

	if (period < 1)
		period = 1;
	if (__builtin_add_overflow(sys_now(), period, &first))
		first = COGO_FOREVER;
	ch = cogo_timer_new(first);
	if (ch)
		ch->period = period;
	return ch;
}

static int set(struct cogo_chan *ch, cogo_time when)
{
	struct coro_list woken = { 0 };
	struct coro *me;
	int was;

	if (!ch)
		return 0;
	if (ch->kind != CHAN_TIMER)
		cogo_throw("channel %p: is no timer", (void *)ch);
	me = door_in();
	if (!me)
		return -ENOMEM;
	chan_lock(ch);
	was = ch->when != COGO_FOREVER;
	ch->when = when;
	if (when != COGO_FOREVER)
		waitq_claim_all(&ch->receivers, -EAGAIN, &woken);
	unlock(&ch->lock);
	ready_all(&woken);
	door_leave(me);
	return was;
}

int cogo_timer_reset(struct cogo_chan *timer, cogo_time when)
{
	return set(timer, when);
}

int cogo_timer_stop(struct cogo_chan *timer)
{
	return set(timer, COGO_FOREVER);
}
