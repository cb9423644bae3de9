/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* select - every call and case of cogo/select.h, in the use that it is for.
 *
 *	cc select.c -o select $(pkg-config --cflags --libs cogo)
 *	./select
 *
 * Several things may happen, and exactly one of them is done. In C that is a
 * statement, cogo_choose; beneath it there is a function, cogo_select. */
#include "must.h"
#include <cogo.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef COGO_CHAN(int) numbers;

/* COGO_RECV and COGO_SEND: whichever is possible. The other has not happened. */
static void to_send_or_to_receive(void)
{
	numbers in = cogo_make(int, 1), out = cogo_make(int, 1);
	int x, y = 7, received = 0;

	must(in && out);
	cogo_put(in, 3);
	cogo_put(out, 6);			/* it is full */
	cogo_choose (COGO_FOREVER) {
	COGO_RECV(in, x)
		received = x;
	COGO_SEND(out, y)
		must(!"there is no room");
	}
	must(received == 3);
	must(cogo_get(out, x) == 0 && x == 6);	/* and no 7 after it */
	must(cogo_chan_len(cogo_raw(out)) == 0);
	cogo_free(in);
	cogo_free(out);
}

/* COGO_FAILED: none was possible in time, or the caller is to end. */
static void until_a_moment(void)
{
	numbers c = cogo_make(int, 0);
	int x, r, why = 0;

	must(c);
	cogo_choose (cogo_in(COGO_MS)) {
	COGO_RECV(c, x)
		must(!"nobody sends");
	COGO_FAILED(r)
		why = r;
	}
	must(why == -ETIMEDOUT);
	cogo_free(c);
}

/* COGO_DEFAULT: what to do when nothing is possible now; nothing is waited for. */
static void without_waiting(void)
{
	numbers c = cogo_make(int, 1);
	int x = 1, sent = 0, dropped = 0;

	must(c);
	for (int i = 0; i < 3; i++)
		cogo_choose (COGO_FOREVER) {
		COGO_SEND(c, x)
			sent++;
		COGO_DEFAULT
			dropped++;
		}
	must(sent == 1 && dropped == 2);
	cogo_free(c);
}

static int count(void *arg)
{
	numbers to = arg;

	for (int i = 1; i <= 4; i++)
		cogo_put(to, i);
	cogo_close(to);
	cogo_free(to);
	return 0;
}

/* cogo_choose_loop goes on until a body breaks. A channel that is closed is always
 * ready, so COGO_RESULT tells, and NULL in its place switches the case off. */
static void two_channels_until_both_have_ended(void)
{
	numbers a = cogo_make(int, 0), b = cogo_make(int, 0);
	numbers from_a = a, from_b = b;
	int x, y, sum = 0;

	must(a && b);
	cogo_scope (s, NULL) {
		cogo_scope_go(s, NULL, count, cogo_share(a));
		cogo_scope_go(s, NULL, count, cogo_share(b));
		cogo_choose_loop (COGO_FOREVER) {
		COGO_RECV(from_a, x) {
			sum += x;
			if (COGO_RESULT == -EPIPE)
				from_a = NULL;
			if (!from_a && !from_b)
				break;
		}
		COGO_RECV(from_b, y) {
			sum += y;
			if (COGO_RESULT == -EPIPE)
				from_b = NULL;
			if (!from_a && !from_b)
				break;
		}
		}
	}
	must(sum == 20);
	cogo_free(a);
	cogo_free(b);
}

/* COGO_SIGNAL: that something came, not what: here a tick, which ends a wait that
 * would last too long. */
static void a_signal(void)
{
	struct cogo_chan *late = cogo_after(cogo_in(COGO_MS));
	numbers c = cogo_make(int, 0);
	int x, timed_out = 0;

	must(late && c);
	cogo_choose (COGO_FOREVER) {
	COGO_RECV(c, x)
		must(!"nobody sends");
	COGO_SIGNAL(late)
		timed_out = 1;
	}
	must(timed_out);
	cogo_free(c);
	cogo_chan_free(late);
}

/* COGO_READABLE and COGO_WRITABLE: descriptors, beside channels. */
static void descriptors(void)
{
	char letter = 'x';
	int p[2], did = 0;

	must(pipe(p) == 0);
	cogo_choose (COGO_FOREVER) {
	COGO_READABLE(p[0])
		must(!"nothing has been written");
	COGO_WRITABLE(p[1])
		did += write(p[1], &letter, 1);
	}
	must(did == 1);
	letter = 0;
	cogo_choose (COGO_FOREVER) {
	COGO_READABLE(p[0])
		did += read(p[0], &letter, 1);
	COGO_READABLE(-1)			/* a case that is switched off */
		must(!"there is no such descriptor");
	}
	must(did == 2 && letter == 'x');
	close(p[0]);
	close(p[1]);
}

static void work(void *arg)
{
	numbers results = arg;

	cogo_put(results, 5);
}

/* COGO_ENDED: of a coroutine, be it by a panic, so that it is not waited for in
 * vain. */
static void the_end_of_a_coroutine(void)
{
	numbers results = cogo_make(int, 0);
	struct cogo_coro *c;
	int x, sum = 0, ended = 0;

	must(results);
	must(cogo_go(&c, NULL, work, results) == 0);
	cogo_choose_loop (COGO_FOREVER) {
	COGO_RECV(results, x)
		sum += x;
	COGO_ENDED(c) {
		ended = 1;
		break;
	}
	}
	must(sum == 5 && ended);
	must(cogo_join(c) == COGO_RETURNED);
	cogo_free(results);
}

/* cogo_select is the function: for C++, and for as many cases as there are when it
 * runs, more than COGO_CHOOSE_MOST too. It returns which one it was. */
static void as_many_as_there_are(void)
{
	enum { N = 20 };
	struct cogo_chan *chans[N];
	struct cogo_case cases[N] = { 0 };
	int x = 0, seven = 7;

	must(N > COGO_CHOOSE_MOST);
	for (int i = 0; i < N; i++) {
		chans[i] = cogo_chan_new(sizeof(int), 1);
		must(chans[i]);
		cases[i].kind = COGO_CASE_RECV;
		cases[i].chan = chans[i];
		cases[i].ret_item = &x;
	}
	must(cogo_select(cases, N, 0) == -ETIMEDOUT);
	must(cogo_send(chans[13], &seven, COGO_FOREVER) == 0);
	must(cogo_select(cases, N, COGO_FOREVER) == 13);
	must(cases[13].result == 0 && x == 7);

	cogo_chan_close(chans[4]);
	must(cogo_select(cases, N, COGO_FOREVER) == 4);
	must(cases[4].result == -EPIPE && x == 0);
	cases[4].kind = COGO_CASE_NONE;		/* no more of it */
	must(cogo_select(cases, N, 0) == -ETIMEDOUT);
	for (int i = 0; i < N; i++)
		cogo_chan_free(chans[i]);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* All the kinds of case that cogo_select knows, as they are written down. */
static void every_kind_of_case(void)
{
	struct cogo_chan *in = cogo_chan_new(sizeof(int), 1);
	struct cogo_chan *out = cogo_chan_new(sizeof(int), 1);
	struct cogo_coro *c;
	int p[2], x = 0, y = 9;

	must(in && out && pipe(p) == 0);
	must(cogo_go(&c, NULL, nothing, NULL) == 0);
	must(cogo_wait(c, COGO_FOREVER) == 0);

	struct cogo_case cases[] = {
		{ .kind = COGO_CASE_SEND, .chan = out, .item = &y },
		{ .kind = COGO_CASE_RECV, .chan = in, .ret_item = &x },
		{ .kind = COGO_CASE_READABLE, .fd = p[0] },
		{ .kind = COGO_CASE_WRITABLE, .fd = p[1] },
		{ .kind = COGO_CASE_END, .coro = c },
	};
	/* Three are possible, and one of them is done, with the same chance; it
	 * is left out then. */
	for (int i = 0; i < 3; i++) {
		int n = cogo_select(cases, 5, COGO_FOREVER);

		must(n == 0 || n == 3 || n == 4);
		must(cases[n].result == 0);
		cases[n].kind = COGO_CASE_NONE;
	}
	must(cogo_select(cases, 5, 0) == -ETIMEDOUT);
	must(cogo_recv(out, &x, 0) == 0 && x == 9);

	cogo_drop(c);
	close(p[0]);
	close(p[1]);
	cogo_chan_free(in);
	cogo_chan_free(out);
}

int main(void)
{
	to_send_or_to_receive();
	until_a_moment();
	without_waiting();
	two_channels_until_both_have_ended();
	a_signal();
	descriptors();
	the_end_of_a_coroutine();
	as_many_as_there_are();
	every_kind_of_case();
	puts("select: ok");
	return 0;
}
