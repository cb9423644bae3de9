/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go.c - coroutines: made, known, waited for, parked, ended. */
#include "native.h"
#include <unistd.h>
#include <ctype.h>
#include <dirent.h>
#include <fenv.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- making ---- */

static void count_up(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

static void make_one(void)
{
	atomic_int n = 0;
	struct cogo_coro *c;

	check_eq(cogo_go(&c, NULL, count_up, &n), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(n, 1);
}

Test(go, a_coroutine_is_made_from_a_thread_and_from_a_coroutine)
{
	on_both(make_one);
}

static void make_unheld(void)
{
	static atomic_int n;
	int before = n;

	check_eq(cogo_go(NULL, NULL, count_up, &n), 0);
	while (n == before)
		cogo_yield();
}

Test(go, one_that_nobody_holds_runs_all_the_same)
{
	on_both(make_unheld);
}

static void refuse(void)
{
	static const struct cogo_attr bad[] = {
		{ .stack = 1 }, { .stack = 16383 },
		{ .stack = ((size_t)1 << 30) + 1 }, { .stack = SIZE_MAX },
		{ .flags = 32 }, { .flags = 1u << 31 },
		{ .flags = COGO_UNWINDS | 64 },
	};
	struct cogo_coro *c = (void *)16;
	atomic_int n = 0;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		check_eq(cogo_go(&c, &bad[i], count_up, &n), -EINVAL);
	check(c == (void *)16);
	settle();
	check_eq(n, 0);
}

Test(go, a_stack_or_a_flag_that_cannot_be_is_EINVAL_and_writes_no_handle)
{
	on_both(refuse);
}

static void fill(void *arg)
{
	volatile char *p = __builtin_alloca(*(size_t *)arg);

	for (size_t i = 0; i < *(size_t *)arg; i += 512)
		p[i] = 1;
}

static void use_stacks(void)
{
	static const size_t sizes[] = { 16384, 16385, 65536, 1 << 20, 1 << 30 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct cogo_attr a = { .stack = sizes[i] };
		size_t most = sizes[i] > 65536 ? sizes[i] / 2 : sizes[i] - 6000;

		if (most > 4 << 20)
			most = 4 << 20;
		check_eq(outcome(&a, fill, &most), COGO_RETURNED);
	}
}

Test(go, the_stack_that_was_asked_for_is_there)
{
	on_both(use_stacks);
}

static void set_errno(void *arg)
{
	errno = EDOM;
	cogo_yield();
	check_eq(errno, EDOM);
	*(int *)arg = errno;
	errno = 0;
}

static void keep_errno(void)
{
	int seen = 0;
	struct cogo_coro *c;

	errno = ERANGE;
	c = begin(NULL, set_errno, &seen);
	cogo_yield();
	cogo_sleep(COGO_MS);
	cogo_wait(c, 0);
	cogo_cancel(c, 1);
	cogo_unpark(c);
	cogo_state(c);
	cogo_join(c);
	cogo_go(NULL, &(struct cogo_attr){ .flags = 99 }, set_errno, NULL);
	cogo_park(0);
	check_eq(errno, ERANGE);
	check_eq(seen, EDOM);
}

Test(go, errno_is_each_ones_own_and_left_alone_by_the_library)
{
	on_both(keep_errno);
}

/* ---- flags ---- */

static char order[32];
static atomic_int order_n;

static void note(char c)
{
	order[atomic_fetch_add(&order_n, 1)] = c;
}

static void note_yield_note(void *arg)
{
	note(*(char *)arg);
	cogo_yield();
	note((char)(*(char *)arg + 1));
}

/* With two workers the maker may go on elsewhere, if the machine lets the new one
 * wait. */
static bool alone(void)
{
	const char *workers = getenv("COGO_WORKERS");

	return workers && strcmp(workers, "1") == 0;
}

static void run_first(void)
{
	struct cogo_attr first = { .flags = COGO_RUN_FIRST };
	struct cogo_coro *c, *d;

	memset(order, 0, sizeof(order));
	order_n = 0;
	check_eq(cogo_go(&c, &first, note_yield_note, (void *)"a"), 0);
	note('m');
	if (alone())
		check(order[0] == 'a');
	d = begin(&first, note_yield_note, (void *)"x");
	check_eq(cogo_join(c), 0);
	check_eq(cogo_join(d), 0);
	if (alone())
		check_eq(strncmp(order, "amx", 3), 0);
	check(strchr(order, 'x') > strchr(order, 'm'));
}

Test(go, RUN_FIRST_runs_before_its_maker_goes_on)
{
	on_coroutine(run_first);
}

static void end_at_once(void *arg)
{
	*(int *)arg = 1;
}

static void run_first_and_end(void)
{
	struct cogo_attr first = { .flags = COGO_RUN_FIRST };

	for (int i = 0; i < 1000; i++) {
		struct cogo_coro *c;
		int ran = 0;

		check_eq(cogo_go(&c, &first, end_at_once, &ran), 0);
		if (alone())
			check_eq(ran, 1);
		check_eq(cogo_join(c), COGO_RETURNED);
		check_eq(ran, 1);
	}
}

Test(go, RUN_FIRST_may_end_before_its_maker_goes_on)
{
	on_coroutine(run_first_and_end);
}

Test(go, RUN_FIRST_of_a_thread_runs_like_any_other)
{
	struct cogo_attr first = { .flags = COGO_RUN_FIRST };
	int ran = 0;

	check_eq(outcome(&first, end_at_once, &ran), 0);
	check_eq(ran, 1);
}

static void stay_on_thread(void *arg)
{
	long tid = syscall(SYS_gettid), raw = 0;

	(void)arg;
	for (int i = 0; i < 50; i++) {
		cogo_yield();
		cogo_sleep(100 * COGO_US);
		usleep(50);
		check_eq(syscall(SYS_gettid), tid);
		/* Behind everybody's back. */
#ifdef __x86_64__
		__asm__ volatile("syscall" : "=a"(raw) : "a"(SYS_gettid)
				 : "rcx", "r11", "memory");
		if (i == 0)
			*(long *)arg = raw;
		check_eq(raw, *(long *)arg);
#else
		(void)raw;
#endif
	}
}

static void others(void *arg)
{
	while (!atomic_load((atomic_bool *)arg))
		cogo_yield();
}

Test(go, BOUND_keeps_its_kernel_thread_and_the_others_go_on)
{
	struct cogo_attr bound = { .flags = COGO_BOUND };
	long tid[8] = { 0 };
	struct cogo_coro *c[8], *o;
	atomic_bool stop = false;

	o = begin(NULL, others, &stop);
	for (int i = 0; i < 8; i++)
		c[i] = begin(&bound, stay_on_thread, &tid[i]);
	for (int i = 0; i < 8; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	stop = true;
	check_eq(cogo_join(o), COGO_RETURNED);
}

static void sleep_a_little(void *arg)
{
	(void)arg;
	cogo_sleep(2 * COGO_MS);
}

Test(go, many_bound_ones_come_and_go)
{
	struct cogo_attr bound = { .flags = COGO_BOUND };
	struct cogo_coro *c[40];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 40; i++)
			c[i] = begin(&bound, sleep_a_little, NULL);
		for (int i = 0; i < 40; i++)
			check_eq(cogo_join(c[i]), COGO_RETURNED);
	}
}

static void use_shared(void *arg)
{
	char text[64];
	FILE *f = fopen("/dev/null", "w");

	check(f != NULL);
	for (int i = 0; i < 20; i++) {
		check(snprintf(text, sizeof(text), "%d", i) > 0);
		fputs(text, f);
		cogo_yield();
		cogo_sleep(1000);
		check(read(-1, text, 1) == -1);
	}
	fclose(f);
	check_eq(pthread_equal(pthread_self(), pthread_self()), 1);
	atomic_fetch_add((atomic_int *)arg, 1);
}

Test(go, SHARED_TLS_waits_and_calls_like_any_other)
{
	struct cogo_attr shared = { .flags = COGO_SHARED_TLS }, own = { 0 };
	struct cogo_coro *c[60];
	atomic_int n = 0;

	for (int i = 0; i < 60; i++)
		c[i] = begin(i % 3 ? &shared : &own, use_shared, &n);
	for (int i = 0; i < 60; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	check_eq(n, 60);
}

static void look_at_name(void *arg)
{
	check(strcmp(cogo_name(cogo_self()), arg) == 0);
}

static void name_all(void)
{
	char longest[40] = "0123456789abcdefghij";
	struct cogo_attr a = { .name = longest };
	struct cogo_coro *c;

	c = begin(&a, look_at_name, (void *)"0123456789abcde");
	strcpy(longest, "gone");
	check(strcmp(cogo_name(c), "0123456789abcde") == 0);
	cogo_join(c);
	cogo_set_name("a name that is too long");
	check(strcmp(cogo_name(cogo_self()), "a name that is ") == 0);
	check_eq(outcome(NULL, look_at_name, (void *)"a name that is "), 0);
	cogo_set_name("");
	check(strcmp(cogo_name(cogo_self()), "") == 0);
	check_eq(outcome(NULL, look_at_name, (void *)""), 0);
}

static atomic_int letters;

static void compute_until_seen(void *arg)
{
	(void)arg;
	while (letters == 0)
		;
}

static void use_libcs_tables(void *arg)
{
	char text[32];

	(void)arg;
	snprintf(text, sizeof(text), "%.1f", 1.5);
	check(strcmp(text, "1.5") == 0);
	check(isalpha('a') && !isalpha('1') && toupper('a') == 'A');
	letters++;
}

/* Workers that are begun while all others compute are threads that libc has not
 * heard of. */
Test(go, SHARED_TLS_finds_libcs_tables_on_every_worker)
{
	const struct cogo_attr shared = { .flags = COGO_SHARED_TLS };
	struct cogo_coro *busy[4], *c;

	for (int i = 0; i < 4; i++)
		busy[i] = begin(NULL, compute_until_seen, NULL);
	c = begin(&shared, use_libcs_tables, NULL);
	check_eq(cogo_join(c), COGO_RETURNED);
	for (int i = 0; i < 4; i++)
		check_eq(cogo_join(busy[i]), COGO_RETURNED);
}

Test(go, a_name_is_kept_to_15_bytes_and_handed_on)
{
	on_both(name_all);
}

/* ---- references ---- */

static void who_am_i(void *arg)
{
	struct cogo_coro *c = cogo_self();

	check(cogo_is_coroutine());
	check(c == cogo_self());
	*(struct cogo_coro **)arg = cogo_ref(c);
	cogo_yield();
	check(c == cogo_self());
}

static void know_oneself(void)
{
	struct cogo_coro *seen = NULL, *c = begin(NULL, who_am_i, &seen);
	uint64_t id = cogo_id(c);

	check(id > 0);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check(seen == c);
	cogo_drop(seen);
	check_eq(cogo_id(c), (long long)id);
	check_eq(cogo_state(c), COGO_ENDED);
	check(cogo_id(cogo_self()) != id);
	cogo_drop(c);
	cogo_drop(NULL);
}

Test(go, self_is_the_handle_that_the_maker_got)
{
	check(!cogo_is_coroutine());
	on_both(know_oneself);
}

static void give_id(void *arg)
{
	*(uint64_t *)arg = cogo_id(cogo_self());
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

Test(go, no_id_is_given_twice)
{
	static uint64_t id[3000];
	struct cogo_coro *c[3000];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 1000; i++)
			c[i] = begin(NULL, give_id, &id[round * 1000 + i]);
		for (int i = 0; i < 1000; i++)
			cogo_join(c[i]);
	}
	qsort(id, 3000, sizeof(*id), by_value);
	check(id[0] >= 1);
	for (int i = 1; i < 3000; i++)
		check(id[i] != id[i - 1]);
}

static void nothing(void *arg)
{
	(void)arg;
}

Test(go, a_handle_is_good_long_after_the_end)
{
	struct cogo_attr a = { .name = "kept" };
	struct cogo_coro *kept = begin(&a, nothing, NULL), *c[2000];
	uint64_t id = cogo_id(kept);

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 2000; i++)
			c[i] = begin(NULL, nothing, NULL);
		for (int i = 0; i < 2000; i++)
			cogo_join(c[i]);
	}
	check_eq(cogo_id(kept), (long long)id);
	check(strcmp(cogo_name(kept), "kept") == 0);
	check_eq(cogo_state(kept), COGO_ENDED);
	check_eq(cogo_wait(kept, 0), 0);
	check_eq(cogo_how(kept), COGO_RETURNED);
	check(strcmp(cogo_panic_message(kept), "") == 0);
	check(strcmp(cogo_panic_trace(kept), "") == 0);
	check_eq(cogo_cancel(kept, 3), -ESRCH);
	check_eq(cogo_cancel_reason(kept), 0);
	cogo_unpark(kept);
	check_eq(cogo_join(cogo_ref(kept)), COGO_RETURNED);
	check_eq(cogo_join(kept), COGO_RETURNED);
}

Test(go, handles_dropped_before_and_after_the_end_are_all_right)
{
	atomic_int n = 0;
	uint64_t seed = unit_seed("drop");

	for (int i = 0; i < 20000; i++) {
		struct cogo_coro *c = begin(NULL, count_up, &n);
		int refs = (int)(unit_random(&seed) % 3);

		for (int k = 0; k < refs; k++)
			cogo_ref(c);
		if (unit_random(&seed) % 2)
			sched_yield();
		for (int k = 0; k <= refs; k++)
			cogo_drop(c);
	}
	wait_until(n == 20000);
}

/* ---- state ---- */

static void park_until_told(void *arg)
{
	(void)arg;
	check_eq(cogo_park(COGO_FOREVER), 0);
}

static void spin_until(void *arg)
{
	while (!atomic_load((atomic_bool *)arg))
		;
}

Test(go, the_state_says_what_it_does)
{
	atomic_bool stop = false;
	struct cogo_coro *c = begin(NULL, park_until_told, NULL);
	struct cogo_coro *d = begin(NULL, spin_until, &stop);

	wait_until(cogo_state(d) == COGO_RUNNING);
	wait_until(cogo_state(c) == COGO_PARKED);
	check_eq(cogo_state(cogo_self()), COGO_RUNNING);
	stop = true;
	cogo_join(d);
	cogo_unpark(c);
	wait_until(cogo_state(c) == COGO_ENDED);
	cogo_join(c);
}

static void look_at_new_one(void)
{
	struct cogo_coro *c = begin(NULL, nothing, NULL);
	enum cogo_state s = cogo_state(c);

	check(s == COGO_READY || s == COGO_RUNNING || s == COGO_ENDED);
	cogo_join(c);
}

Test(go, a_new_one_is_ready)
{
	on_both(look_at_new_one);
}

/* ---- waiting for the end ---- */

static void wait_for_told(void)
{
	struct cogo_coro *c = begin(NULL, park_until_told, NULL);
	cogo_time until;

	check_eq(cogo_wait(c, 0), -ETIMEDOUT);
	until = cogo_in(3 * COGO_MS);
	check_eq(cogo_wait(c, until), -ETIMEDOUT);
	check(cogo_now() >= until);
	check_eq(cogo_how(c), COGO_RETURNED);
	cogo_unpark(c);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check_eq(cogo_wait(c, 0), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
}

Test(go, waiting_for_an_end_stops_at_the_deadline_and_not_before)
{
	on_both(wait_for_told);
}

static void wait_for_oneself(void)
{
	struct cogo_coro *me = cogo_self();

	check_eq(cogo_wait(me, COGO_FOREVER), -EDEADLK);
	check_eq(cogo_wait(me, 0), -EDEADLK);
	check_eq(cogo_join(me), -EDEADLK);
	check(cogo_self() == me);
	check(cogo_id(me) > 0);
}

Test(go, waiting_for_oneself_is_EDEADLK)
{
	on_both(wait_for_oneself);
}

static void join_it(void *arg)
{
	check_eq(cogo_join(cogo_ref(arg)), COGO_RETURNED);
}

static void *join_it_as_thread(void *arg)
{
	check_eq(cogo_wait(arg, COGO_FOREVER), 0);
	return NULL;
}

Test(go, any_number_may_wait_for_one)
{
	struct cogo_coro *c = begin(NULL, park_until_told, NULL), *j[200];
	pthread_t t[5];

	for (int i = 0; i < 200; i++)
		j[i] = begin(NULL, join_it, c);
	for (int i = 0; i < 5; i++)
		check_eq(pthread_create(&t[i], NULL, join_it_as_thread, c), 0);
	settle();
	for (int i = 0; i < 200; i++)
		check(cogo_state(j[i]) != COGO_ENDED);
	cogo_unpark(c);
	for (int i = 0; i < 200; i++)
		check_eq(cogo_join(j[i]), COGO_RETURNED);
	for (int i = 0; i < 5; i++)
		check_eq(pthread_join(t[i], NULL), 0);
	cogo_drop(c);
}

static void *be_a_thread(void *arg)
{
	*(struct cogo_coro **)arg = cogo_ref(cogo_self());
	check_eq(cogo_park(COGO_FOREVER), 0);
	return NULL;
}

static void wait_for_a_thread(void)
{
	struct cogo_coro *_Atomic c = NULL;
	pthread_t t;

	check_eq(pthread_create(&t, NULL, be_a_thread, (void *)&c), 0);
	while (!c)
		cogo_yield();
	check_eq(cogo_wait(c, 0), -ETIMEDOUT);
	check_eq(cogo_cancel(c, 1), -ENOTSUP);
	cogo_unpark(c);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check_eq(cogo_state(c), COGO_ENDED);
	check_eq(cogo_how(c), COGO_RETURNED);
	check_eq(cogo_cancel(c, 1), -ESRCH);
	check_eq(cogo_join(c), COGO_RETURNED);
	pthread_join(t, NULL);
}

Test(go, the_end_of_an_ordinary_thread_can_be_waited_for)
{
	on_both(wait_for_a_thread);
}

static void *adopt_and_end(void *arg)
{
	(void)arg;
	cogo_yield();
	check(cogo_self() != NULL);
	return NULL;
}

static long resident(void)
{
	long pages[2] = { 0 };
	FILE *f = fopen("/proc/self/statm", "r");

	check(f && fscanf(f, "%ld %ld", &pages[0], &pages[1]) == 2);
	fclose(f);
	return pages[1] * 4;
}

Test(go, ordinary_threads_that_come_and_go_leave_nothing_behind)
{
	long before = 0;

	for (int i = 0; i < 6000; i++) {
		pthread_t t;

		if (i == 1000)
			before = resident();
		check_eq(pthread_create(&t, NULL, adopt_and_end, NULL), 0);
		pthread_join(t, NULL);
	}
	printf("5000 threads left %ld KiB\n", resident() - before);
	/* Half a kilobyte each would be 2.5 MiB. */
	check(resident() - before < 1200);
}

/* ---- park and unpark ---- */

static void park_tokens(void)
{
	struct cogo_coro *me = cogo_self();
	cogo_time until;

	check_eq(cogo_park(0), -ETIMEDOUT);
	cogo_unpark(me);
	cogo_unpark(me);
	cogo_unpark(me);
	check_eq(cogo_park(0), 0);
	check_eq(cogo_park(0), -ETIMEDOUT);
	until = cogo_in(300 * COGO_US);
	check_eq(cogo_park(until), -ETIMEDOUT);
	check(cogo_now() >= until);
	cogo_unpark(me);
	check_eq(cogo_park(COGO_FOREVER), 0);
}

Test(go, any_number_of_unparks_before_a_park_are_one)
{
	on_both(park_tokens);
}

struct ball {
	struct cogo_coro *_Atomic to[2];
	long word;
	long rounds;
};

static void play(struct ball *b, int side)
{
	while (!b->to[!side])
		cogo_yield();
	for (long i = 0; i < b->rounds; i++) {
		if (side == 0) {
			b->word = i + 1;
			cogo_unpark(b->to[1]);
			check_eq(cogo_park(COGO_FOREVER), 0);
			check_eq(b->word, -(i + 1));
		} else {
			check_eq(cogo_park(COGO_FOREVER), 0);
			check_eq(b->word, i + 1);
			b->word = -(i + 1);
			cogo_unpark(b->to[0]);
		}
	}
}

static void play_second(void *arg)
{
	struct ball *b = arg;

	b->to[1] = cogo_ref(cogo_self());
	play(b, 1);
}

static void play_ball(void)
{
	struct ball b = { .rounds = 3000 };
	struct cogo_coro *c;

	b.to[0] = cogo_self();
	c = begin(NULL, play_second, &b);
	play(&b, 0);
	cogo_join(c);
	cogo_drop(b.to[1]);
}

Test(go, what_was_written_before_an_unpark_is_seen_by_who_it_wakes)
{
	on_both(play_ball);
}

static void park_with_deadlines(void *arg)
{
	atomic_long *got = arg;
	uint64_t seed = cogo_id(cogo_self()) * 77 | 1;

	while (*got >= 0) {
		int r = cogo_park(cogo_in((int64_t)(unit_random(&seed) % 60000)));

		check(r == 0 || r == -ETIMEDOUT);
		if (r == 0 && atomic_fetch_sub(got, 1) == 0)
			return;
	}
}

/* Each unpark that was made while no token was there is taken by a park, however
 * the deadline falls. */
Test(go, no_unpark_is_lost_to_a_deadline)
{
	for (int k = 0; k < 4; k++) {
		atomic_long left = 500;
		struct cogo_coro *c = begin(NULL, park_with_deadlines, &left);

		for (;;) {
			long before = left;

			if (before < 0)
				break;
			cogo_unpark(c);
			wait_until(left < before);
		}
		cogo_join(c);
	}
}

/* ---- ends ---- */

static void clean(void *arg)
{
	++*(int *)arg;
}

static void exit_deep(int depth, int *cleaned)
{
	void (*volatile deeper)(int, int *) = exit_deep;

	cogo_defer(clean, cleaned);
	if (depth == 0)
		cogo_exit();
	deeper(depth - 1, cleaned);
	check(!"reached");
}

static void exit_from_deep(void *arg)
{
	exit_deep(10, arg);
}

Test(go, exit_ends_from_any_depth_with_its_cleanups_as_if_returned)
{
	int cleaned = 0;
	struct cogo_coro *c = begin(NULL, exit_from_deep, &cleaned);

	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	check_eq(cleaned, 11);
	check_eq(cogo_how(c), COGO_RETURNED);
	check_eq(cogo_join(c), COGO_RETURNED);
}

static void *exit_thread(void *arg)
{
	exit_deep(10, arg);
	return NULL;
}

Test(go, exit_of_an_ordinary_thread_ends_it_with_its_cleanups)
{
	int cleaned = 0;
	pthread_t t;

	check_eq(pthread_create(&t, NULL, exit_thread, &cleaned), 0);
	check_eq(pthread_join(t, NULL), 0);
	check_eq(cleaned, 11);
}

static void *exit_in_recover(void *arg)
{
	cogo_defer(clean, arg);
	cogo_recover(exit_from_deep, arg, NULL);
	check(!"reached");
	return NULL;
}

Test(go, exit_of_an_ordinary_thread_goes_through_recover)
{
	int cleaned = 0;
	pthread_t t;

	check_eq(pthread_create(&t, NULL, exit_in_recover, &cleaned), 0);
	check_eq(pthread_join(t, NULL), 0);
	check_eq(cleaned, 12);
}

static char trail[16];

static void leave_mark(void *arg)
{
	trail[strlen(trail)] = *(char *)arg;
}

static void blocks(int way)
{
	memset(trail, 0, sizeof(trail));
	for (int i = 0; i < 2; i++) {
		cogo_defer(leave_mark, (void *)"1");
		cogo_defer(leave_mark, (void *)"2");
		if (way == 0)
			break;
		if (way == 1)
			goto out;
		if (way == 2)
			return;
		if (way == 3)
			continue;
	}
out:
	leave_mark((void *)"o");
}

static void leave_blocks(void)
{
	blocks(0);
	check(strcmp(trail, "21o") == 0);
	blocks(1);
	check(strcmp(trail, "21o") == 0);
	blocks(2);
	check(strcmp(trail, "21") == 0);
	blocks(3);
	check(strcmp(trail, "2121o") == 0);
}

Test(go, what_is_deferred_is_done_however_the_block_is_left_last_in_first_out)
{
	on_both(leave_blocks);
}

/* ---- the runtime ---- */

static int program(int argc, char **argv)
{
	check(cogo_is_coroutine());
	check(strcmp(cogo_name(cogo_self()), "main") == 0);
	check_eq(argc, 2);
	check(strcmp(argv[1], "x") == 0);
	check_eq(cogo_run(program, argc, argv), -EBUSY);
	cogo_sleep(COGO_MS);
	return 42;
}

static int program_panics(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	cogo_panic("main gives %s", "up");
}

static int program_exits(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	cogo_exit();
}

static void run_program_that_panics(void)
{
	exit(cogo_run(program_panics, 0, NULL));
}

Test(go, run_returns_what_main_returned_and_not_on_a_coroutine)
{
	char *argv[] = { (char *)"p", (char *)"x", NULL };

	check_eq(cogo_run(program, 2, argv), 42);
	check_eq(cogo_run(program, 2, argv), 42);
	check_eq(cogo_run(program_exits, 0, NULL), 0);
}

Test(go, a_main_that_panics_is_heard_of)
{
	int status;
	char *text = said(run_program_that_panics, &status);

	check(WIFEXITED(status));
	check_eq(WEXITSTATUS(status), 128 + COGO_PANICKED);
	check_eq(times(text, "main gives up"), 1);
}

/* ---- pthreads on a coroutine ---- */

static void destroyed_once(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

static pthread_key_t key;
static __thread int mine;

static void be_a_thread_too(void *arg)
{
	char name[16] = "";
	int policy, before;
	struct sched_param p;
	pthread_attr_t attr;
	void *low;
	size_t size;

	check(pthread_equal(pthread_self(), pthread_self()));
	check_eq(pthread_setspecific(key, arg), 0);
	check(pthread_getspecific(key) == arg);
	mine = 7;
	cogo_yield();
	check_eq(mine, 7);
	check_eq(pthread_setname_np(pthread_self(), "fourteen_chars"), 0);
	check_eq(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
	check(strcmp(name, "fourteen_chars") == 0);
	check_eq(pthread_getschedparam(pthread_self(), &policy, &p), 0);
	check_eq(pthread_getattr_np(pthread_self(), &attr), 0);
	check_eq(pthread_attr_getstack(&attr, &low, &size), 0);
	check((char *)&attr > (char *)low && (char *)&attr < (char *)low + size);
	pthread_attr_destroy(&attr);
	check_eq(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before), 0);
	check_eq(before, PTHREAD_CANCEL_ENABLE);
	check_eq(pthread_setcancelstate(before, NULL), 0);
	pthread_testcancel();
	check_eq(pthread_kill(pthread_self(), 0), 0);
	check(pthread_join(pthread_self(), NULL) != 0);
	check(pthread_detach(pthread_self()) != 0);
	check_eq(pthread_cancel(pthread_self()), ESRCH);
	pthread_exit(arg);
}

Test(go, the_functions_of_pthreads_do_something_sane)
{
	atomic_int destroyed = 0;

	check_eq(pthread_key_create(&key, destroyed_once), 0);
	for (int i = 1; i <= 20; i++) {
		check_eq(outcome(NULL, be_a_thread_too, &destroyed), COGO_RETURNED);
		check_eq(destroyed, i);
	}
}

static void *return_7(void *arg)
{
	(void)arg;
	return (void *)7;
}

static void make_a_thread(void)
{
	void *r = NULL;
	pthread_t t;

	check_eq(pthread_create(&t, NULL, return_7, NULL), 0);
	check_eq(pthread_join(t, &r), 0);
	check(r == (void *)7);
}

Test(go, a_coroutine_makes_and_joins_threads)
{
	on_both(make_a_thread);
}

/* ---- many ---- */

enum { CROWD = 600 };

static __thread int seen_before = 7;
static atomic_int waiting;

struct one {
	struct cogo_coro *handle;
	pthread_t self;
	pid_t tid;
	bool stays;
};

/* It begins on memory that another has just ended on. */
static void be_new(void *arg)
{
	struct one *o = arg;

	check(cogo_self() == o->handle);
	check_eq(seen_before, 7);
	check(pthread_getspecific(key) == NULL);
	check_eq(errno, 0);
	check_eq(cogo_name(o->handle)[0], 0);
	o->self = pthread_self();
	o->tid = gettid();
	seen_before = 8;
	errno = 5;
	check_eq(pthread_setspecific(key, o), 0);
	if (o->stays) {
		cogo_set_name("stays");
		waiting++;
		cogo_park(COGO_FOREVER);
	}
	check(pthread_equal(o->self, pthread_self()) && gettid() == o->tid);
	check_eq(seen_before, 8);
	check(pthread_getspecific(key) == o);
}

static void nobody_meets_what_another_left(void)
{
	static struct one all[CROWD];

	check_eq(pthread_key_create(&key, NULL), 0);
	for (int round = 0; round < 10; round++) {
		waiting = 0;
		for (int i = 0; i < CROWD; i++) {
			all[i].stays = (i * 7 + round) % 3 == 0;
			check_eq(cogo_go(&all[i].handle, NULL, be_new, &all[i]), 0);
		}
		for (int i = 0; i < CROWD; i++)
			if (!all[i].stays)
				check_eq(cogo_wait(all[i].handle, COGO_FOREVER), 0);
		wait_until(waiting == CROWD / 3);
		for (int i = 0; i < CROWD; i++)
			for (int k = 0; k < i; k++) {
				check(all[i].tid != all[k].tid);
				check(!all[i].stays || !all[k].stays ||
				      all[i].self != all[k].self);
			}
		for (int i = 0; i < CROWD; i++) {
			if (all[i].stays)
				cogo_unpark(all[i].handle);
			check_eq(cogo_join(all[i].handle), COGO_RETURNED);
		}
	}
	check_eq(pthread_key_delete(key), 0);
}

Test(go, who_begins_where_another_ended_meets_nothing_of_its)
{
	nobody_meets_what_another_left();
	on_coroutine(nobody_meets_what_another_left);
}

static void look_at_rounding(void *arg)
{
	*(int *)arg = fegetround();
}

/* Whatever the one that runs before it has set: its maker's when it was made. */
static void each_rounds_as_its_maker_did(void)
{
	const int modes[] = { FE_UPWARD, FE_TONEAREST, FE_DOWNWARD, FE_TOWARDZERO };
	const struct cogo_attr shares = { .flags = COGO_SHARED_TLS };
	struct cogo_coro *c[8];
	int seen[8], before = fegetround();

	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 8; i++) {
			fesetround(modes[(i + round) % 4]);
			c[i] = begin(i % 2 ? &shares : NULL, look_at_rounding,
				     &seen[i]);
		}
		for (int i = 0; i < 8; i++)
			check_eq(cogo_join(c[i]), COGO_RETURNED);
		for (int i = 0; i < 8; i++)
			check_eq(seen[i], modes[(i + round) % 4]);
	}
	fesetround(before);
}

Test(go, rounding_is_the_makers)
{
	each_rounds_as_its_maker_did();
	on_coroutine(each_rounds_as_its_maker_did);
}

/* ---- futexes that do not say that they are private ---- */

static int kernel_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	check(d != NULL);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void futex_wait(void *word)
{
	while (*(atomic_int *)word == 0) {
		long r = syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);

		check(r == 0 || errno == EAGAIN || errno == EINTR);
	}
}

static void until_they_wait_for(struct cogo_coro **c, int n)
{
	for (int i = 0; i < n; i++)
		wait_until(cogo_state(c[i]) != COGO_READY);
	settle();
}

Test(go, who_waits_for_a_word_that_is_ours_alone_costs_no_kernel_thread)
{
	enum { N = 100 };
	atomic_int *word = malloc(sizeof(*word));
	struct cogo_coro *c[N];

	atomic_init(word, 0);
	for (int i = 0; i < N; i++)
		c[i] = begin(NULL, futex_wait, word);
	until_they_wait_for(c, N);
	check(kernel_threads() < N / 2);
	*word = 1;
	check_eq(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
	check_eq(syscall(SYS_futex, word, FUTEX_WAKE, N, NULL, NULL, 0), N - 1);
	for (int i = 0; i < N; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	free(word);
}

Test(go, who_waits_for_a_word_that_others_have_is_woken_by_them)
{
	enum { N = 3 };
	atomic_int *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct cogo_coro *c[N];
	int status;
	pid_t pid;

	check(word != MAP_FAILED);
	for (int i = 0; i < N; i++)
		c[i] = begin(NULL, futex_wait, word);
	until_they_wait_for(c, N);
	pid = fork();
	if (pid == 0) {
		*word = 1;
		for (int woken = 0; woken < N;)
			woken += (int)syscall(SYS_futex, word, FUTEX_WAKE, N, NULL,
					      NULL, 0);
		_exit(0);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	for (int i = 0; i < N; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
	munmap(word, 4096);
}

Test(go, a_hundred_thousand_are_alive_at_once, .timeout = 300)
{
	enum { N = 100000 };
	static struct cogo_coro *c[N];
	long before, after;

	cogo_join(begin(NULL, nothing, NULL));
	before = resident();
	for (int i = 0; i < N; i++)
		c[i] = begin(NULL, park_until_told, NULL);
	for (int i = 0; i < N; i++)
		wait_until(cogo_state(c[i]) == COGO_PARKED);
	after = resident();
	printf("%d coroutines alive: %ld bytes each\n", N,
	       (after - before) * 1024 / N);
	for (int i = 0; i < N; i++)
		cogo_unpark(c[i]);
	for (int i = 0; i < N; i++)
		check_eq(cogo_join(c[i]), COGO_RETURNED);
}
