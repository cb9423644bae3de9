/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* chan - every call of cogo/chan.h, in the use that it is for.
 *
 *	cc chan.c -o chan $(pkg-config --cflags --libs cogo)
 *	./chan
 *
 * First the channels that know the type of what they carry, which is what a program
 * in C wants; then the functions beneath; then timers, which are channels too. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef COGO_CHAN(int) numbers;

static int count_to_ten(void *arg)
{
	numbers to = arg;

	for (int i = 1; i <= 10; i++)
		if (cogo_put(to, i))
			break;		/* -EPIPE: nobody wants more */
	cogo_close(to);
	cogo_free(to);
	return 0;
}

/* One makes, another uses: cogo_make, cogo_put, cogo_close, cogo_each, cogo_free.
 * cogo_share makes a reference for the other, who gives it back himself. */
static void from_one_to_another(void)
{
	numbers c = cogo_make(int, 0);
	int sum = 0, r;

	must(c);
	cogo_scope (s, &r) {
		cogo_scope_go(s, NULL, count_to_ten, cogo_share(c));
		cogo_each (c, x)
			sum += x;
	}
	must(r == 0);
	must(sum == 55);
	cogo_free(c);
}

/* cogo_get is for one item, where what to do next depends on it. At the end of the
 * channel it is told so, and has a zero. */
static void one_item_at_a_time(void)
{
	COGO_CHAN(const char *) words = cogo_make(const char *, 2);
	const char *word;

	must(words);
	must(cogo_put(words, "hello") == 0);
	must(cogo_put(words, "world") == 0);
	must(cogo_close(words) == 0);
	must(cogo_close(words) == -EPIPE);		/* it was already */
	must(cogo_put(words, "too late") == -EPIPE);

	must(cogo_get(words, word) == 0 && strcmp(word, "hello") == 0);
	must(cogo_get(words, word) == 0 && strcmp(word, "world") == 0);
	must(cogo_get(words, word) == -EPIPE && word == NULL);
	cogo_free(words);
}

/* cogo_put_until and cogo_get_until wait no longer than until a moment; with one
 * that has passed, such as 0, they only try. */
static void not_for_ever(void)
{
	numbers c = cogo_make(int, 1);
	int x;

	must(c);
	must(cogo_get_until(c, x, cogo_in(COGO_MS)) == -ETIMEDOUT);
	must(cogo_put_until(c, 1, cogo_in(COGO_SEC)) == 0);
	must(cogo_put_until(c, 2, 0) == -ETIMEDOUT);	/* there is no room */
	must(cogo_get_until(c, x, 0) == 0 && x == 1);
	cogo_free(c);
}

/* COGO_ITEM is the type of what a channel carries: for macros of one's own, which
 * are to work with channels of any type. */
#define put_twice(c, value)                                                    \
	do {                                                                   \
		COGO_ITEM(c) item_ = (value);                                  \
		must(cogo_put(c, item_) == 0);                                 \
		must(cogo_put(c, item_) == 0);                                 \
	} while (0)

static void a_macro_for_channels_of_any_type(void)
{
	COGO_CHAN(double) c = cogo_make(double, 2);
	double x, y;

	must(c);
	put_twice(c, 0.5);
	must(cogo_get(c, x) == 0 && cogo_get(c, y) == 0);
	must(x + y == 1.0);
	cogo_free(c);
}

/* cogo_raw leads from a channel with a type to the functions that know none: here
 * to ask how full it is. COGO_RAW_OF does so too, and lets the compiler see to it
 * that x is of the type that is in there: before a cogo_recv into x, say. */
static void functions_for_a_channel_with_a_type(void)
{
	numbers c = cogo_make(int, 4);
	int x;

	must(c);
	must(cogo_chan_cap(cogo_raw(c)) == 4);
	must(cogo_chan_len(cogo_raw(c)) == 0);
	must(cogo_put(c, 7) == 0);
	must(cogo_chan_len(cogo_raw(c)) == 1);
	must(cogo_recv(COGO_RAW_OF(c, x), &x, COGO_FOREVER) == 0 && x == 7);
	cogo_free(c);
}

struct point {
	int x, y;
};

static int send_a_point(void *arg)
{
	struct cogo_chan *to = arg;
	struct point p = { 3, 4 };
	int r = cogo_send(to, &p, COGO_FOREVER);

	cogo_chan_close(to);
	cogo_chan_free(to);
	return r;
}

/* cogo_chan_new, cogo_send, cogo_recv and so on are the same without types: items
 * are so many bytes. For C++, and where the size is known only when it runs. */
static void items_that_are_so_many_bytes(void)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(struct point), 0);
	struct point p;
	int r;

	must(c);
	cogo_scope (s, &r) {
		cogo_scope_go(s, NULL, send_a_point, cogo_chan_ref(c));
		must(cogo_recv(c, &p, COGO_FOREVER) == 0);
		must(p.x == 3 && p.y == 4);
		must(cogo_recv(c, &p, COGO_FOREVER) == -EPIPE);
		must(p.x == 0 && p.y == 0);
	}
	must(r == 0);
	cogo_chan_free(c);
}

/* cogo_try_send and cogo_try_recv never wait: for who has other things to do, and
 * for a coroutine that is to end, which they serve still. */
static void without_waiting(void)
{
	struct cogo_chan *c = cogo_chan_new(sizeof(int), 1);
	int x = 5;

	must(c);
	must(cogo_try_send(c, &x) == 0);
	must(cogo_try_send(c, &x) == -EAGAIN);		/* full */
	x = 0;
	must(cogo_try_recv(c, &x) == 0 && x == 5);
	must(cogo_try_recv(c, &x) == -EAGAIN);		/* empty */
	cogo_chan_close(c);
	must(cogo_try_send(c, &x) == -EPIPE);
	must(cogo_try_recv(c, &x) == -EPIPE);
	cogo_chan_free(c);
}

/* Items of no size are signals: that something has happened, not what. */
static void signals_that_carry_nothing(void)
{
	struct cogo_chan *bell = cogo_chan_new(0, 2);

	must(bell);
	must(cogo_send(bell, NULL, COGO_FOREVER) == 0);
	must(cogo_send(bell, NULL, COGO_FOREVER) == 0);
	must(cogo_chan_len(bell) == 2);
	must(cogo_recv(bell, NULL, COGO_FOREVER) == 0);
	must(cogo_recv(bell, NULL, COGO_FOREVER) == 0);
	cogo_chan_free(bell);
}

/* NULL is a channel that nobody uses: this is how one is switched off. */
static void no_channel_at_all(void)
{
	int x = 1;

	must(cogo_send(NULL, &x, 0) == -ETIMEDOUT);
	must(cogo_recv(NULL, &x, cogo_in(COGO_MS)) == -ETIMEDOUT);
	must(cogo_chan_len(NULL) == 0);
	cogo_chan_free(NULL);
}

/* cogo_after is for a moment that is waited for along with other things, by a
 * select; what is received is the moment. */
static void a_moment(void)
{
	cogo_time when = cogo_in(COGO_MS), got;
	struct cogo_chan *later = cogo_after(when);

	must(later);
	must(cogo_recv(later, &got, COGO_FOREVER) == 0);
	must(got == when);
	must(cogo_now() >= when);
	cogo_chan_free(later);
}

/* A timer that is set again and again, such as one for a peer that has been silent
 * for too long: cogo_timer_reset when it speaks, cogo_timer_stop when it has gone.
 * Both say whether it was set. Nobody receives what was set before. */
static void a_timer_that_is_put_off(void)
{
	struct cogo_chan *silent = cogo_timer_new(cogo_in(3600 * COGO_SEC));
	cogo_time soon, got;

	must(silent);
	must(cogo_timer_reset(silent, cogo_in(7200 * COGO_SEC)) == 1);
	must(cogo_timer_stop(silent) == 1);
	must(cogo_timer_stop(silent) == 0);
	must(cogo_try_recv(silent, &got) == -EAGAIN);

	soon = cogo_in(COGO_MS);
	must(cogo_timer_reset(silent, soon) == 0);
	must(cogo_recv(silent, &got, COGO_FOREVER) == 0 && got == soon);
	must(cogo_timer_stop(silent) == 0);		/* it was received */
	cogo_chan_free(silent);
}

/* cogo_ticker_new is for what is to be done so often a second. Who comes late finds
 * one tick, and not all that he has missed; they stay whole periods apart. */
static void ticks(void)
{
	struct cogo_chan *t = cogo_ticker_new(COGO_MS);
	cogo_time first, next;

	must(t);
	must(cogo_recv(t, &first, COGO_FOREVER) == 0);
	for (int i = 0; i < 3; i++) {
		must(cogo_recv(t, &next, COGO_FOREVER) == 0);
		must(next > first && (next - first) % COGO_MS == 0);
		first = next;
	}
	must(cogo_timer_stop(t) == 1);
	must(cogo_try_recv(t, &next) == -EAGAIN);
	cogo_chan_free(t);
}

int main(void)
{
	from_one_to_another();
	one_item_at_a_time();
	not_for_ever();
	a_macro_for_channels_of_any_type();
	functions_for_a_channel_with_a_type();
	items_that_are_so_many_bytes();
	without_waiting();
	signals_that_carry_nothing();
	no_channel_at_all();
	a_moment();
	a_timer_that_is_put_off();
	ticks();
	puts("chan: ok");
	return 0;
}
