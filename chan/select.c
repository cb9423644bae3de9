/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan/select.c - waiting for several things, and doing exactly one of them.
 *
 * One wait, one ticket, and a node with that ticket in the queue of each thing;
 * the first to claim it has chosen (wait/waitq.h). What makes it hard is that two
 * selects may meet: each would have to claim the other and be sure at the same
 * moment that nobody has claimed itself. Here that question does not come up:
 *
 * S1  a select looks at its channels, and joins their queues, in one step: under
 *     the locks of all of them, taken in the order of their addresses, so that two
 *     cannot stand in each other's way.
 * S2  its wait is opened in that step, after the look. So while it claims others it
 *     cannot be claimed, and it never meets itself in a queue.
 * S3  of two that could serve each other one does that step first. If it is not
 *     served, it stands in all of its queues when the other looks: that one finds
 *     it.
 * S4  a node that fired has been served by its claimer, wholly (C3 in chan.c); the
 *     ticket lets one node fire. After the wait the others are taken off, each
 *     under its channel's lock; until that is done nothing is returned. So never
 *     are two done, and none that was done is lost.
 * S5  descriptors and coroutines' ends serve nobody, and are not served: they are
 *     only seen. They are asked before the step, and joined after it, with the wait
 *     open; one that has come in between ends the wait again, unless a channel did
 *     already: then that is what has been done.
 * S6  time is looked at in the step (time_over). A wait whose time is up looks once
 *     more, so a timer among the channels is nothing special: the wait lasts until
 *     its moment at most.
 *
 * The story of two, A {receive X, send Y} and B {send X, receive Y}: A has both
 * locks first, finds nobody, opens its wait, joins both queues. B, which waited for
 * the first lock, finds A in both; it claims A for one of them, and in the queue of
 * the other is a node whose claim will fail, until A takes it off. Had B asked for
 * Y first and A for X, each with one lock: that is what the order is for.
 *
 * Which of several is done is drawn: the k-th that is found takes the place of the
 * one drawn so far with the chance 1 / k, so all have the same. */
#include "cogo/select.h"
#include "base/fatal.h"
#include "chan/chan.h"
#include "event/poller.h"
#include "fault/cancel.h"
#include "sched/park.h"
#include "sched/ready.h"
#include "wait/native.h"
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define FEW 8

/* How often we look for what cannot be registered with the poller, which has no
 * room, or was not started. */
#define LOOK_AGAIN (10 * COGO_MS)

/* Of one case, while its select lasts. A channel's has nothing but its node, which
 * is filled in when all channels are joined. */
struct part {
	union {
		struct waiter_node node;
		struct poller_waiter pw;
	};
	bool joined;
	bool always;		/* a descriptor that no poller takes */
	uint32_t sample[POLLER_DIRS];
};

struct select {
	struct coro *me;
	struct cogo_case *cases;
	size_t n;
	uint64_t ticket;
	size_t nchans, nfds;
	bool others;		/* than channels, among the cases */
	/* n of each. */
	struct part *parts;
	struct cogo_chan **chans;	/* distinct, by address */
	struct pollfd *fds;		/* of those cases, in their order */
};

static bool is_chan(const struct cogo_case *c)
{
	return (c->kind == COGO_CASE_SEND || c->kind == COGO_CASE_RECV) && c->chan;
}

static bool is_fd(const struct cogo_case *c)
{
	return (c->kind == COGO_CASE_READABLE ||
		c->kind == COGO_CASE_WRITABLE) && c->fd >= 0;
}

static bool is_end(const struct cogo_case *c)
{
	return c->kind == COGO_CASE_END && c->coro;
}

#define for_each_case(s, i, is)                                                \
	for (size_t i = 0; i < (s)->n; i++)                                    \
		if (is(&(s)->cases[i]))

/* ---- the channels ---- */

/* By Shell's method: insertion where there are few. */
static void sort(struct cogo_chan **at, size_t n)
{
	for (size_t gap = n / 2; gap; gap /= 2)
		for (size_t i = gap; i < n; i++) {
			struct cogo_chan *x = at[i];
			size_t k = i;

			for (; k >= gap && at[k - gap] > x; k -= gap)
				at[k] = at[k - gap];
			at[k] = x;
		}
}

static size_t make_distinct(struct cogo_chan **at, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (!i || at[i] != at[i - 1])
			at[kept++] = at[i];
	return kept;
}

static void find_chans(struct select *s)
{
	uintptr_t last = 0;
	bool ordered = true;
	size_t n = 0;

	for_each_case(s, i, is_chan) {
		struct cogo_chan *ch = s->cases[i].chan;

		ordered &= (uintptr_t)ch > last;
		last = (uintptr_t)ch;
		s->chans[n++] = ch;
	}
	s->others = n < s->n;
	if (!ordered) {
		sort(s->chans, n);
		n = make_distinct(s->chans, n);
	}
	s->nchans = n;
}

static void lock_all(struct select *s)
{
	for (size_t i = 0; i < s->nchans; i++)
		chan_lock(s->chans[i]);
}

static void unlock_all(struct select *s)
{
	for (size_t i = s->nchans; i-- > 0;)
		unlock(&s->chans[i]->lock);
}

/* ---- the descriptors ---- */

static short events_of(const struct cogo_case *c)
{
	return c->kind == COGO_CASE_READABLE ? POLLIN : POLLOUT;
}

static int dir_of(const struct cogo_case *c)
{
	return c->kind == COGO_CASE_READABLE ? POLLER_IN : POLLER_OUT;
}

static void find_others(struct select *s)
{
	s->nfds = 0;
	if (!s->others)
		return;
	for (size_t i = 0; i < s->n; i++) {
		struct part *p = &s->parts[i];

		p->joined = p->always = false;
		p->sample[POLLER_IN] = p->sample[POLLER_OUT] = 0;
		p->node.fired = false;
	}
	for_each_case(s, i, is_fd)
		s->fds[s->nfds++] = (struct pollfd){
			.fd = s->cases[i].fd, .events = events_of(&s->cases[i]),
		};
}

/* Asks the kernel. Where nothing has been heard of since it last said no that is
 * good enough to wait for news, but not to tell that there are none. */
static void ask_kernel(struct select *s, bool waits)
{
	struct pollfd *f = s->fds;
	bool all_dry = true, dry;

	for_each_case(s, i, is_fd) {
		int dir = dir_of(&s->cases[i]);

		s->parts[i].sample[dir] = poller_sample((f++)->fd, dir, &dry);
		all_dry &= dry;
	}
	if ((all_dry && waits) || sys_poll_now(s->fds, (unsigned)s->nfds) < 0) {
		for (size_t k = 0; k < s->nfds; k++)
			s->fds[k].revents = 0;
		return;
	}
	f = s->fds;
	for_each_case(s, i, is_fd) {
		int dir = dir_of(&s->cases[i]);

		if (f->revents)
			poller_set_wet(f->fd, dir);
		else
			poller_set_dry(f->fd, dir, s->parts[i].sample[dir]);
		f++;
	}
}

/* ---- the look ---- */

/* One of n, from the coroutine's own numbers. */
static uint32_t draw(struct coro *me, uint32_t n)
{
	uint64_t x = me->luck;

	if (unlikely(!x))
		x = (uintptr_t)me * 0x9e3779b97f4a7c15ull | 1;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	me->luck = x;
	return (uint32_t)((x >> 32) * n >> 32);
}

static bool may_be_done(const struct cogo_case *c, const struct part *p,
			const struct pollfd **f)
{
	if (is_chan(c))
		return c->kind == COGO_CASE_SEND ? chan_may_give(c->chan) :
						   chan_may_take(c->chan);
	if (is_fd(c))
		return (*f)++->revents || p->always;
	/* acquire: V2 of wait/native.h. */
	return is_end(c) &&
	       native_has_ended(c->coro);
}

/* One of those that may be done now, or n. */
static size_t choose(struct select *s)
{
	const struct pollfd *f = s->fds;
	size_t chosen = s->n;
	uint32_t found = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (!may_be_done(&s->cases[i], &s->parts[i], &f))
			continue;
		found++;
		if (found == 1 || draw(s->me, found) == 0)
			chosen = i;
	}
	return chosen;
}

/* The result, or -EAGAIN: those who might have served us were claimed elsewhere. */
static int do_one(struct select *s, size_t i, struct coro **ret_woken)
{
	struct cogo_case *c = &s->cases[i];

	switch (c->kind) {
	case COGO_CASE_SEND:
		return chan_give(c->chan, c->item, ret_woken);
	case COGO_CASE_RECV:
		return chan_take(c->chan, c->ret_item, ret_woken);
	case COGO_CASE_READABLE:
	case COGO_CASE_WRITABLE:
		for (size_t k = 0; k < s->nfds; k++)
			if (s->fds[k].fd == c->fd &&
			    s->fds[k].revents & POLLNVAL)
				return -EBADF;
		return 0;
	default:
		return 0;
	}
}

/* Under all locks: the index, or n. */
static size_t try_all(struct select *s, struct coro **ret_woken)
{
	size_t i;
	int r;

	/* It ends: a try in vain leaves one queue less that has anybody in it. */
	while ((i = choose(s)) < s->n) {
		r = do_one(s, i, ret_woken);
		if (r == -EAGAIN)
			continue;
		s->cases[i].result = r;
		break;
	}
	return i;
}

/* ---- the wait ---- */

/* Under all locks. Returns until when to wait at most. */
static cogo_time join_chans(struct select *s, cogo_time deadline)
{
	for_each_case(s, i, is_chan) {
		struct cogo_case *c = &s->cases[i];
		struct waiter_node *n = &s->parts[i].node;

		n->link.next = NULL;
		n->coro = s->me;
		n->ticket = s->ticket;
		n->data = c->ret_item;
		n->result = 0;
		if (c->kind == COGO_CASE_SEND) {
			waitq_add(&c->chan->senders, n);
		} else {
			waitq_add(&c->chan->receivers, n);
			deadline = sooner(deadline, c->chan->when);
		}
	}
	return deadline;
}

/* False: it has ended. */
static bool join_end(struct select *s, size_t i)
{
	struct cogo_coro *c = s->cases[i].coro;
	struct part *p = &s->parts[i];

	p->node = (struct waiter_node){ .coro = s->me, .ticket = s->ticket };
	if (!native_lock(c))
		return false;
	waitq_add(&c->waiters, &p->node);
	p->joined = true;
	unlock(&c->lock);
	return true;
}

/* False: something has happened there. */
static bool join_fd(struct select *s, size_t i, cogo_time *until)
{
	struct cogo_case *c = &s->cases[i];
	struct part *p = &s->parts[i];
	bool in = c->kind == COGO_CASE_READABLE;
	int r;

	p->pw = (struct poller_waiter){
		.coro = s->me,
		.ticket = s->ticket,
		.fd = c->fd,
		.asked = c->fd,
		.events = in ? EPOLLIN | EPOLLRDHUP : EPOLLOUT,
	};
	r = poller_started() ? poller_add(&p->pw, p->sample[POLLER_IN],
					  p->sample[POLLER_OUT]) : -ENOSYS;
	if (r == 0) {
		p->joined = true;
		return true;
	}
	if (r > 0)
		return false;
	p->always = r == -EPERM;
	*until = sooner(*until, sys_now() + LOOK_AGAIN);
	return !p->always;
}

/* Without locks, the wait being open (S5). */
static bool join_others(struct select *s, cogo_time *until)
{
	if (!s->others)
		return true;
	for_each_case(s, i, is_end)
		if (!join_end(s, i))
			return false;
	for_each_case(s, i, is_fd)
		if (!join_fd(s, i, until))
			return false;
	return true;
}

static void leave_other(struct select *s, size_t i)
{
	struct cogo_case *c = &s->cases[i];
	struct part *p = &s->parts[i];

	if (!p->joined)
		return;
	p->joined = false;
	if (is_fd(c)) {
		poller_del(&p->pw);
		/* Closed under us: the next look finds out. */
		poller_release(&p->pw, p->pw.asked);
	} else if (!p->node.fired) {
		lock(&c->coro->lock);
		waitq_del(&p->node);
		unlock(&c->coro->lock);
	}
}

/* The wait is over: nobody shall find us anywhere. What fired was taken off by its
 * claimer, and its channel may be gone if it stands in no other case. */
static void leave_all(struct select *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct waiter_node *n = &s->parts[i].node;

		if (unlikely(!is_chan(&s->cases[i]))) {
			leave_other(s, i);
		} else if (!n->fired) {
			struct lock *l = &s->cases[i].chan->lock;

			lock(l);
			waitq_del(n);
			unlock(l);
		}
	}
}

/* The one that was done for us; n if none was: a descriptor, or a timer that was
 * set to another time. */
static size_t fired(struct select *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct waiter_node *n = &s->parts[i].node;

		if ((is_chan(&s->cases[i]) || is_end(&s->cases[i])) && n->fired) {
			if (n->result == -EAGAIN)
				break;
			s->cases[i].result = n->result;
			return i;
		}
	}
	return s->n;
}

/* After the step that found nothing, whose locks this gives up. The index of what
 * was done; n: look again; or -ECANCELED. */
static long wait_once(struct select *s, cogo_time deadline)
{
	enum wait_outcome how;
	cogo_time until;

	s->ticket = wait_open(s->me);
	until = join_chans(s, deadline);
	unlock_all(s);
	if (join_others(s, &until)) {
		s->me->fd = s->nfds == 1 && s->n == 1 ? s->fds[0].fd : -1;
		how = park(s->me, s->ticket, WHY_SELECT, until);
	} else {
		how = park_cancel(s->me, s->ticket);
	}
	leave_all(s);
	if (how == WAIT_WOKEN)
		return (long)fired(s);
	if (how == WAIT_INTERRUPTED || how == WAIT_CANCELED)
		return cancel_interrupted(s->me, -EINTR) ? -ECANCELED :
							   (long)s->n;
	return (long)s->n;
}

static long run(struct select *s, cogo_time deadline)
{
	struct coro *woken = NULL;
	size_t i;
	long r;

	find_chans(s);
	find_others(s);
	do {
		if (s->nfds)
			ask_kernel(s, !time_over(deadline));
		lock_all(s);
		i = try_all(s, &woken);
		if (i < s->n || time_over(deadline)) {
			unlock_all(s);
			if (woken)
				ready(woken);
			return i < s->n ? (long)i : -ETIMEDOUT;
		}
		r = wait_once(s, deadline);
	} while (r == (long)s->n);
	return r;
}

int cogo_select(struct cogo_case *cases, size_t n, cogo_time deadline)
{
	struct few {
		struct part parts[FEW];
		struct cogo_chan *chans[FEW];
		struct pollfd fds[FEW];
	} few;
	struct select s = { .cases = cases, .n = n, .parts = few.parts,
			    .chans = few.chans, .fds = few.fds };
	void *mem = NULL;
	int r;

	if (n > INT_MAX)
		return -EINVAL;
	if (n > FEW) {
		mem = malloc(n * (sizeof(*s.parts) + sizeof(*s.chans) +
				  sizeof(*s.fds)));
		if (!mem)
			return -ENOMEM;
		s.parts = mem;
		s.chans = (struct cogo_chan **)(s.parts + n);
		s.fds = (struct pollfd *)(s.chans + n);
	}
	s.me = cancel_in(&r);
	if (r == 0)
		r = (int)run(&s, deadline);
	free(mem);
	return cancel_out(s.me, r);
}

/* ---- as a statement ---- */

static struct cogo_case *one_more(struct cogo_choosing *s,
				  enum cogo_case_kind kind)
{
	struct cogo_case *c = &s->cases[s->n];

	if (s->n++ == COGO_CHOOSE_MOST)
		cogo_throw("a choice between more than %d", COGO_CHOOSE_MOST);
	c->kind = kind;
	return c;
}

bool cogo_choosing_chan(struct cogo_choosing *s, enum cogo_case_kind kind,
			struct cogo_chan *ch, void *item, size_t size)
{
	struct cogo_case *c = one_more(s, kind);

	if (ch && item && size != ch->item)
		cogo_throw("channel %p: its items have %zu bytes, not %zu",
			   (void *)ch, ch->item, size);
	c->chan = ch;
	c->ret_item = item;
	return false;
}

bool cogo_choosing_fd(struct cogo_choosing *s, enum cogo_case_kind kind, int fd)
{
	one_more(s, kind)->fd = fd;
	return false;
}

bool cogo_choosing_end(struct cogo_choosing *s, struct cogo_coro *coro)
{
	one_more(s, COGO_CASE_END)->coro = coro;
	return false;
}

/* Whether a loop goes on after what has come of the last choice. */
static bool goes_on(const struct cogo_choosing *s)
{
	return s->loops && (s->chosen >= 0 ||
			    (s->defaults && s->chosen == -ETIMEDOUT));
}

bool cogo_choosing_next(struct cogo_choosing *s)
{
	if (s->gathers) {
		s->gathers = false;
		s->chose = true;
		s->turn = 0;
		s->chosen = cogo_select(s->cases, (size_t)s->n,
					s->defaults ? 0 : s->deadline);
		return true;
	}
	if (s->chose && !goes_on(s))
		return false;
	s->gathers = true;
	s->defaults = false;
	s->n = 0;
	return true;
}
