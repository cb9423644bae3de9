/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go.c - the native API: everything at random, by coroutines and four threads.
 *
 * Arguments: seed (0: another each time), rounds; the seed is printed. Nothing is
 * looked at but what was promised: what was made ends, once, as it was told to or
 * as it meant to; cleanups and destructors run once for each beginning; children
 * do not outlive their scopes; an unpark that met no token is taken. */
#include <cogo.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS	4
#define DEPTH	4

static atomic_long made, ended, cleanups_begun, cleanups_done, values_set,
	values_destroyed, children, panics, cancels, tokens;
static uint64_t seed;

static void fail(int line, const char *what)
{
	char text[200];
	int n = snprintf(text, sizeof(text), "go.c:%d: not so: %s (seed %llu)\n",
			 line, what, (unsigned long long)seed);

	if (write(2, text, (size_t)n) < 0)
		_exit(3);
	abort();
}
#define CHECK(cond) ((cond) ? (void)0 : fail(__LINE__, #cond))

struct chance {
	uint64_t x;
};

static uint32_t chance(struct chance *c, uint32_t n)
{
	c->x ^= c->x << 13;
	c->x ^= c->x >> 7;
	c->x ^= c->x << 17;
	return (uint32_t)((c->x >> 32) * n >> 32);
}

static struct chance more(struct chance *c)
{
	return (struct chance){ (((uint64_t)chance(c, UINT32_MAX) << 32) |
				 chance(c, UINT32_MAX)) | 1 };
}

/* ---- what is counted ---- */

static void destroy(void *value)
{
	(void)value;
	values_destroyed++;
}

static void *hand_on(void *value)
{
	values_set++;
	return value;
}

static struct cogo_key key = { destroy, NULL, hand_on };

static void set_value(void)
{
	if (cogo_local_get(&key))
		return;
	values_set++;
	CHECK(cogo_local_set(&key, &key) == 0);
}

static void count_cleanup(void *arg)
{
	cleanups_done++;
	/* A cleanup at the end of its block is cancelled like any other code. */
	if (*(int *)arg == 1)
		cogo_sleep(1000);
	else if (*(int *)arg == 2)
		cogo_yield();
}

/* ---- what is done ---- */

struct task {
	struct chance c;
	int depth;
};

static void act(struct chance *c, int depth);

static void run(void *arg)
{
	struct task *t = arg;
	int how = (int)chance(&t->c, 3);
	struct chance mine = t->c;
	int depth = t->depth, last;

	free(t);
	cleanups_begun++;
	cogo_defer(count_cleanup, &how);
	if (chance(&mine, 3) == 0)
		set_value();
	for (int i = (int)chance(&mine, 6); i > 0; i--)
		act(&mine, depth);
	last = (int)chance(&mine, 12);
	if (last == 0) {
		panics++;
		cogo_panic("a panic of depth %d", depth);
	}
	if (last == 1)
		cogo_exit();
	if (last == 2)
		cogo_testcancel();
}

static void one_less(void *in_scope)
{
	atomic_fetch_sub((atomic_long *)in_scope, 1);
}

static int run_child(void *arg)
{
	atomic_long *in_scope = ((void **)arg)[0];
	struct task *t = ((void **)arg)[1];

	free(arg);
	atomic_fetch_add(in_scope, 1);
	cogo_defer(one_less, in_scope);
	/* The scope's memory is there for as long as we are. */
	children++;
	cogo_recover(run, t, NULL);
	return 0;
}

static struct task *new_task(struct chance *c, int depth)
{
	struct task *t = calloc(1, sizeof(*t));

	t->c = more(c);
	t->depth = depth + 1;
	return t;
}

static void make(struct chance *c, int depth)
{
	static const unsigned flags[] = {
		0, 0, 0, COGO_UNWINDS, COGO_UNWINDS, COGO_RUN_FIRST,
		COGO_SHARED_TLS, COGO_INHERITS, COGO_BOUND,
		COGO_UNWINDS | COGO_INHERITS | COGO_RUN_FIRST,
	};
	struct cogo_attr a = {
		.flags = flags[chance(c, sizeof(flags) / sizeof(*flags))],
		.stack = chance(c, 2) ? 0 : 65536,
	};
	struct cogo_coro *co;
	int r, before;

	made++;
	r = cogo_go(&co, &a, run, new_task(c, depth));
	CHECK(r == 0);
	for (int i = (int)chance(c, 3); i > 0; i--)
		switch (chance(c, 5)) {
		case 0:
			cogo_unpark(co);
			break;
		case 1:
			r = cogo_cancel(co, 5);
			CHECK(r == 0 || r == -EALREADY || r == -ESRCH);
			cancels++;
			break;
		case 2:
				before = cogo_cancel_disable();
			r = cogo_wait(co, cogo_in(chance(c, 100000)));
			CHECK(r == 0 || r == -ETIMEDOUT);
			cogo_cancel_restore(before);
			break;
		case 3:
			CHECK(cogo_state(co) <= COGO_ENDED);
			break;
		default:
			cogo_drop(cogo_ref(co));
		}
	before = cogo_cancel_disable();
	/* Nobody parks for ever, but it may be told to go on, or to end. */
	while (cogo_wait(co, cogo_in(200 * COGO_US)) == -ETIMEDOUT)
		cogo_unpark(co);
	cogo_cancel_restore(before);
	CHECK(cogo_state(co) == COGO_ENDED);
	r = cogo_join(co);
	CHECK(r == COGO_RETURNED || r == COGO_PANICKED || r == COGO_CANCELED);
	ended++;
}

static void with_scope(struct chance *c, int depth)
{
	atomic_long *in_scope = calloc(1, sizeof(*in_scope));
	struct cogo_scope *s = calloc(1, sizeof(*s));
	int before = cogo_cancel_disable(), r;

	cogo_scope_begin(s);
	if (chance(c, 2))
		cogo_scope_limit(s, 1 + chance(c, 3));
	if (chance(c, 2))
		cogo_scope_manage(s);
	for (int i = (int)chance(c, 5); i > 0; i--) {
		void **arg = malloc(2 * sizeof(*arg));

		arg[0] = in_scope;
		arg[1] = new_task(c, depth + 1);
		r = cogo_scope_try_go(s, NULL, run_child, arg);
		CHECK(r == 0 || r == -EAGAIN || r == -ECANCELED);
		if (r) {
			free(arg[1]);
			free(arg);
		}
	}
	if (chance(c, 3) == 0)
		cogo_scope_wait(s, cogo_in(chance(c, 100000)));
	/* They park without anybody to unpark them. */
	cogo_scope_cancel(s, 6);
	r = cogo_scope_end(s);
	cogo_cancel_restore(before);
	CHECK(r == -6 || r == -ECHILD || r == 0);
	CHECK(*in_scope == 0);
	memset(s, 0xdd, sizeof(*s));
	memset(in_scope, 0xdd, sizeof(*in_scope));
	free(s);
	free(in_scope);
}

static void panic_here(void *arg)
{
	int how = 2;

	cleanups_begun++;
	cogo_defer(count_cleanup, &how);
	panics++;
	cogo_panic("%s", (char *)arg);
}

static void act(struct chance *c, int depth)
{
	struct cogo_panic p;
	int before;

	switch (chance(c, depth < DEPTH ? 12 : 7)) {
	case 0:
		cogo_yield();
		break;
	case 1:
		cogo_sleep(chance(c, 50000));
		break;
	case 2:
		/* Where nobody is sure to unpark us, there is a deadline. */
		if (cogo_park(cogo_in(chance(c, 100000))) == 0)
			tokens++;
		break;
	case 3:
		usleep(chance(c, 50));
		break;
	case 4:
		CHECK(cogo_recover(panic_here, (void *)"caught", &p) == 1);
		CHECK(strcmp(p.message, "caught") == 0);
		break;
	case 5:
		set_value();
		CHECK(cogo_local_get(&key) == &key);
		break;
	case 6:
		before = cogo_cancel_disable();
		CHECK(cogo_sleep(chance(c, 5000)) == 0);
		cogo_cancel_restore(before);
		break;
	case 7:
	case 8:
		with_scope(c, depth);
		break;
	default:
		make(c, depth);
	}
}

/* ---- by whom ---- */

static int rounds = 200;

static void *by_thread(void *arg)
{
	struct chance c = *(struct chance *)arg;

	for (int i = 0; i < rounds; i++)
		act(&c, 0);
	return NULL;
}

int main(int argc, char **argv)
{
	struct timespec now;
	struct chance c, each[THREADS];
	pthread_t t[THREADS];

	clock_gettime(CLOCK_REALTIME, &now);
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	if (seed == 0)
		seed = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
	if (argc > 2)
		rounds = atoi(argv[2]);
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	c.x = seed * 0x9e3779b97f4a7c15ull | 1;
	for (int i = 0; i < THREADS; i++) {
		each[i] = more(&c);
		CHECK(pthread_create(&t[i], NULL, by_thread, &each[i]) == 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	CHECK(made == ended);
	CHECK(cleanups_begun == cleanups_done);
	CHECK(values_set == values_destroyed);
	printf("%ld made, %ld children, %ld panics, %ld cancellations, %ld values, "
	       "%ld tokens\n", made, children, panics, cancels, values_set, tokens);
	return 0;
}
