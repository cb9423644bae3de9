/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* timers - time as a channel: a time limit, a beat, and a watchdog.
 *
 *	cc timers.c -o timers $(pkg-config --cflags --libs cogo)
 *	./timers
 *
 * A timer is something that one receives from, so it can be a case of a select
 * beside whatever else is waited for. Nothing runs while nobody looks: no thread, no
 * signal, no callback.
 *
 * Where only one call is to be limited, there is no need for one: every call that
 * waits takes the moment until which it shall. */
#include <cogo.h>
#include <stdio.h>

static void answer_late(void *arg)
{
	COGO_CHAN(int) answers = arg;

	cogo_sleep(200 * COGO_MS);
	cogo_put(answers, 42);
}

/* The answer takes longer than we want to wait for it. */
static void limit(void)
{
	COGO_CHAN(int) answers = cogo_make(int, 0);
	struct cogo_chan *soon = cogo_after(cogo_in(50 * COGO_MS));
	struct cogo_coro *c;
	int x;

	if (cogo_go(&c, NULL, answer_late, answers))
		return;
	cogo_choose (COGO_FOREVER) {
	COGO_RECV(answers, x)
		printf("the answer is %d\n", x);
	COGO_SIGNAL(soon)
		printf("no answer after 50 ms\n");
	}
	/* The same, with a deadline. */
	if (cogo_get_until(answers, x, cogo_in(10 * COGO_SEC)) == 0)
		printf("now it is there: %d\n", x);
	cogo_join(c);
	cogo_free(answers);
	cogo_chan_free(soon);
}

/* Beats do not drift, and what was missed is not made up for: after the pause there is
 * one at once, the last that was due, and the next when its time has come. */
static void beat(void)
{
	cogo_time start = cogo_now(), when;
	struct cogo_chan *ticker = cogo_ticker_new(20 * COGO_MS);

	for (int i = 0; i < 6; i++) {
		if (i == 3)
			cogo_sleep(110 * COGO_MS);
		cogo_get(ticker, when);
		printf("tick at %3d ms\n", (int)((when - start) / COGO_MS));
	}
	cogo_chan_free(ticker);
}

static void type(void *arg)
{
	static const int pauses[] = { 10, 20, 30, 10, 400, 10 };
	COGO_CHAN(int) keys = arg;

	for (int i = 0; i < 6; i++) {
		cogo_sleep(pauses[i] * COGO_MS);
		cogo_put(keys, 'a' + i);
	}
	cogo_close(keys);
}

/* Each key puts it off by 200 ms; when none comes for so long, it bites. */
static void watchdog(void)
{
	COGO_CHAN(int) keys = cogo_make(int, 0);
	struct cogo_chan *dog = cogo_timer_new(cogo_in(200 * COGO_MS));
	struct cogo_coro *c;
	int key;

	if (cogo_go(&c, NULL, type, keys))
		return;
	cogo_choose_loop (COGO_FOREVER) {
	COGO_RECV(keys, key) {
		if (COGO_RESULT == -EPIPE)
			break;
		printf("key %c\n", key);
		cogo_timer_reset(dog, cogo_in(200 * COGO_MS));
	}
	COGO_SIGNAL(dog)
		printf("are you still there?\n");
	}
	cogo_join(c);
	cogo_free(keys);
	cogo_chan_free(dog);
}

int main(void)
{
	limit();
	beat();
	watchdog();
	return 0;
}
