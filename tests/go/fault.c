/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fault.c - a fault ends one coroutine, if that was asked for; else the program. */
#include "native.h"
#include <assert.h>
#include <sys/mman.h>
#include <sys/resource.h>

static char trail[64];

static void mark(void *arg)
{
	trail[strlen(trail)] = *(char *)arg;
}

static void begin_trail(void)
{
	memset(trail, 0, sizeof(trail));
}

static volatile int zero, seven = 7;
static char *volatile nowhere;
static char *volatile beyond;	/* mapped, of a file that is shorter */

static int deeper(int n)
{
	volatile char frame[400];

	frame[0] = (char)n;
	if (n < 0)
		return 0;
	return deeper(n + 1) + frame[0];
}

static void by_segv(void) { *nowhere = 1; }
static void by_bus(void) { *beyond = 1; }
static void by_fpe(void) { seven = seven / zero; }
static void by_ill(void) { __builtin_trap(); }
static void by_abort(void) { abort(); }
static void by_assert(void) { assert(zero == 5); }
static void by_overflow(void) { zero = deeper(0) * 0; }

static const struct fault {
	const char *name;
	void (*fn)(void);
	int sig;
	const char *message;
} faults[] = {
	{ "SIGSEGV", by_segv, SIGSEGV, "SIGSEGV" },
	{ "SIGBUS", by_bus, SIGBUS, "SIGBUS" },
#ifdef __x86_64__	/* others do not trap */
	{ "SIGFPE", by_fpe, SIGFPE, "SIGFPE" },
#endif
	{ "SIGILL", by_ill, SIGILL, "SIGILL" },
	{ "abort", by_abort, SIGABRT, "abort" },
	{ "assert", by_assert, SIGABRT, "zero == 5" },
	{ "overflow", by_overflow, SIGSEGV, "overflow" },
};
#define FAULTS (sizeof(faults) / sizeof(*faults))

static void prepare(void)
{
	struct rlimit none = { 0, 0 };
	FILE *f = tmpfile();

	setrlimit(RLIMIT_CORE, &none);
	beyond = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0);
	check(beyond != MAP_FAILED);
	(void)by_fpe;
}

static const struct fault *the_fault;

static void fault_deep(void *arg)
{
	cogo_defer(mark, (void *)"d");
	pthread_cleanup_push(mark, (void *)"c");
	((const struct fault *)arg)->fn();
	pthread_cleanup_pop(0);
}

static void fault_contained(void *arg)
{
	cogo_defer(mark, (void *)"1");
	cogo_contain_faults(true);
	fault_deep(arg);
}

static void try_twice(const struct fault *f)
{
	for (int i = 0; i < 3; i++) {
		struct cogo_coro *c;

		begin_trail();
		c = begin(NULL, fault_contained, (void *)f);
		check_eq(cogo_wait(c, COGO_FOREVER), 0);
		if (cogo_how(c) != COGO_PANICKED)
			fprintf(stderr, "%s\n", f->name);
		check_eq(cogo_how(c), COGO_PANICKED);
		check_text(cogo_panic_message(c), f->message);
		check_text(cogo_panic_trace(c), "fault_deep");
		check(strcmp(trail, "cd1") == 0);
		cogo_drop(c);
	}
}

Test(fault, each_ends_one_coroutine_with_its_cleanups_again_and_again)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++)
		try_twice(&faults[i]);
}

static void fault_plain(void *arg)
{
	((const struct fault *)arg)->fn();
}

static void fault_recovered(void *arg)
{
	struct cogo_panic p;

	cogo_contain_faults(true);
	for (int i = 0; i < 3; i++) {
		begin_trail();
		check_eq(cogo_recover(fault_deep, arg, &p), 1);
		check_text(p.message, ((const struct fault *)arg)->message);
		check(strcmp(trail, "cd") == 0);
		cogo_yield();
		cogo_sleep(50 * COGO_US);
	}
}

Test(fault, each_can_be_recovered_from)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++)
		check_eq(outcome(NULL, fault_recovered, (void *)&faults[i]),
			 COGO_RETURNED);
}

static void on_smallest_and_shared(unsigned flags, size_t stack)
{
	struct cogo_attr a = { .stack = stack, .flags = flags };

	for (size_t i = 0; i < FAULTS; i++)
		check_eq(outcome(&a, fault_contained, (void *)&faults[i]),
			 COGO_PANICKED);
}

Test(fault, each_ends_bound_ones_and_such_with_shared_storage_and_small_stacks)
{
	prepare();
	on_smallest_and_shared(0, 16384);
	on_smallest_and_shared(COGO_SHARED_TLS, 0);
	on_smallest_and_shared(COGO_BOUND, 0);
}

/* ---- not asked for ---- */

static void not_contained(void)
{
	outcome(&(struct cogo_attr){ .name = "doomed" }, fault_plain,
		(void *)the_fault);
}

static void not_contained_on_thread(void)
{
	cogo_contain_all_faults(true);
	cogo_contain_faults(true);
	outcome(NULL, fault_contained, (void *)&faults[0]);
	fault_plain((void *)the_fault);
}

Test(fault, by_default_each_ends_the_program_by_its_signal)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++) {
		int status;
		char *text;

		the_fault = &faults[i];
		text = said(not_contained, &status);
		check(WIFSIGNALED(status));
		check_eq(WTERMSIG(status), faults[i].sig);
		if (faults[i].fn == by_overflow) {
			check_text(text, "stack overflow");
			check_text(text, "doomed");
		}
		if (faults[i].fn == by_overflow)
			continue;
		said(not_contained_on_thread, &status);
		check(WIFSIGNALED(status));
		check_eq(WTERMSIG(status), faults[i].sig);
	}
}

Test(fault, all_made_from_now_on_are_contained_if_that_was_asked_for)
{
	prepare();
	cogo_contain_all_faults(true);
	for (size_t i = 0; i < FAULTS; i++)
		check_eq(outcome(NULL, fault_plain, (void *)&faults[i]),
			 COGO_PANICKED);
}

static void change_mind(void *arg)
{
	cogo_contain_faults(true);
	cogo_contain_faults(false);
	fault_plain(arg);
}

static void mind_changed(void)
{
	outcome(NULL, change_mind, (void *)&faults[0]);
}

Test(fault, who_no_longer_asks_is_not_contained)
{
	int status;

	prepare();
	said(mind_changed, &status);
	check(WIFSIGNALED(status));
	check_eq(WTERMSIG(status), SIGSEGV);
}

static void sent(void *arg)
{
	cogo_contain_faults(true);
	kill(getpid(), *(int *)arg);
	for (;;)
		cogo_sleep(COGO_SEC);
}

static void send_segv(void)
{
	int sig = SIGSEGV;

	outcome(NULL, sent, &sig);
}

Test(fault, a_signal_that_was_sent_is_no_fault)
{
	int status;

	prepare();
	said(send_segv, &status);
	check(WIFSIGNALED(status));
	check_eq(WTERMSIG(status), SIGSEGV);
}

/* ---- the program's own handler ---- */

static void exit_by_handler(int sig)
{
	_exit(sig);
}

static void with_handler(void)
{
	struct sigaction act = { .sa_handler = exit_by_handler };

	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGFPE, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	sigaction(SIGILL, &act, NULL);
	sigaction(SIGABRT, &act, NULL);
	outcome(NULL, fault_contained, (void *)the_fault);
}

Test(fault, the_programs_own_handler_has_the_last_word)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++) {
		int status;

		if (faults[i].fn == by_overflow)
			continue;	/* it has no alternate stack to run on */
		the_fault = &faults[i];
		said(with_handler, &status);
		check(WIFEXITED(status));
		check_eq(WEXITSTATUS(status), faults[i].sig);
	}
}

/* ---- faults in cleanups ---- */

static void fault_in_cleanup(void *arg)
{
	mark((void *)"f");
	((const struct fault *)arg)->fn();
	mark((void *)"x");
}

static void fault_twice(void *arg)
{
	cogo_defer(mark, (void *)"1");
	pthread_cleanup_push(mark, (void *)"2");
	cogo_defer(fault_in_cleanup, arg);
	cogo_defer(mark, (void *)"3");
	cogo_contain_faults(true);
	by_segv();
	pthread_cleanup_pop(0);
}

static void exit_into_fault(void *arg)
{
	cogo_defer(mark, (void *)"1");
	cogo_defer(fault_in_cleanup, arg);
	cogo_contain_faults(true);
	cogo_exit();
}

static void recover_on_the_way(void *arg)
{
	mark((void *)"r");
	check_eq(cogo_recover(fault_plain, arg, NULL), 1);
	check_eq(cogo_recover(fault_deep, arg, NULL), 1);
	cogo_sleep(100 * COGO_US);
	mark((void *)"R");
}

static void fault_and_recover(void *arg)
{
	cogo_defer(mark, (void *)"1");
	cogo_defer(recover_on_the_way, arg);
	cogo_defer(mark, (void *)"2");
	cogo_contain_faults(true);
	((const struct fault *)arg)->fn();
}

Test(fault, a_fault_in_a_cleanup_stops_no_other)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++) {
		struct cogo_coro *c;

		begin_trail();
		c = begin(NULL, fault_twice, (void *)&faults[i]);
		check_eq(cogo_wait(c, COGO_FOREVER), 0);
		check_eq(cogo_how(c), COGO_PANICKED);
		check_text(cogo_panic_message(c), "SIGSEGV");
		check(strcmp(trail, "3f21") == 0);
		cogo_drop(c);
		begin_trail();
		c = begin(NULL, exit_into_fault, (void *)&faults[i]);
		check_eq(cogo_wait(c, COGO_FOREVER), 0);
		check_eq(cogo_how(c), COGO_PANICKED);
		check_text(cogo_panic_message(c), faults[i].message);
		check(strcmp(trail, "f1") == 0);
		cogo_drop(c);
	}
}

Test(fault, a_cleanup_of_a_fault_may_recover_from_a_fault)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++) {
		struct cogo_coro *c;

		/* The stack that has overflown is still that deep. */
		if (faults[i].fn == by_overflow)
			continue;
		begin_trail();
		c = begin(NULL, fault_and_recover, (void *)&faults[i]);
		check_eq(cogo_wait(c, COGO_FOREVER), 0);
		check_eq(cogo_how(c), COGO_PANICKED);
		check_text(cogo_panic_message(c), faults[i].message);
		check(strcmp(trail, "2rcdR1") == 0);
		cogo_drop(c);
	}
}

static void defer_and_panic(void *arg)
{
	cogo_defer(mark, (void *)"i");
	mark(arg);
	cogo_panic("inner");
}

static void fault_and_panic(void *arg)
{
	cogo_defer(mark, (void *)"1");
	cogo_defer(defer_and_panic, (void *)"p");
	cogo_contain_faults(true);
	((const struct fault *)arg)->fn();
}

Test(fault, what_a_cleanup_of_a_fault_defers_is_done)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++) {
		begin_trail();
		check_eq(outcome(NULL, fault_and_panic, (void *)&faults[i]),
			 COGO_PANICKED);
		check(strcmp(trail, "pi1") == 0);
	}
}

static void wait_in_cleanup(void *arg)
{
	for (int i = 0; i < 5; i++) {
		cogo_yield();
		cogo_sleep(50 * COGO_US);
		usleep(10);
	}
	mark(arg);
}

static void fault_and_wait(void *arg)
{
	cogo_defer(wait_in_cleanup, (void *)"w");
	cogo_contain_faults(true);
	((const struct fault *)arg)->fn();
}

Test(fault, cleanups_of_many_faults_wait_at_once)
{
	struct cogo_coro *c[70];

	prepare();
	begin_trail();
	for (size_t i = 0; i < 35; i++)
		c[i] = begin(NULL, fault_and_wait, (void *)&faults[i % FAULTS]);
	for (int i = 0; i < 35; i++)
		check_eq(cogo_join(c[i]), COGO_PANICKED);
	check_eq(strlen(trail), 35);
}

/* ---- where it happens ---- */

static int fault_child(void *arg)
{
	((const struct fault *)arg)->fn();
	return 0;
}

static int wait_child(void *arg)
{
	(void)arg;
	return cogo_park(COGO_FOREVER);
}

Test(fault, a_faulting_child_fails_its_scope)
{
	prepare();
	cogo_contain_all_faults(true);
	for (size_t i = 0; i < FAULTS; i++) {
		struct cogo_scope s = COGO_SCOPE;

		cogo_scope_begin(&s);
		check_eq(cogo_scope_go(&s, NULL, wait_child, NULL), 0);
		check_eq(cogo_scope_go(&s, NULL, fault_child, (void *)&faults[i]), 0);
		check_eq(cogo_scope_end(&s), -ECHILD);
		if (faults[i].fn != by_assert)	/* a long one */
			check_text(cogo_scope_message(&s), faults[i].message);
	}
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void unlock(void *m)
{
	pthread_mutex_unlock(m);
}

static void fault_locked(void *arg)
{
	pthread_mutex_lock(&mutex);
	cogo_defer(unlock, &mutex);
	cogo_contain_faults(true);
	((const struct fault *)arg)->fn();
}

static void fault_holding(void *arg)
{
	pthread_mutex_lock(&mutex);
	cogo_contain_faults(true);
	((const struct fault *)arg)->fn();
}

/* What was locked stays so, as of a thread that has ended, unless a cleanup
 * unlocks it. */
Test(fault, a_mutex_is_unlocked_by_a_cleanup_and_by_nothing_else)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++) {
		check_eq(outcome(NULL, fault_locked, (void *)&faults[i]),
			 COGO_PANICKED);
		check_eq(pthread_mutex_trylock(&mutex), 0);
		pthread_mutex_unlock(&mutex);
	}
	check_eq(outcome(NULL, fault_holding, (void *)&faults[0]), COGO_PANICKED);
	check_eq(pthread_mutex_trylock(&mutex), EBUSY);
}

static struct cogo_key key;

static void fault_in_destructor(void *value)
{
	((const struct fault *)value)->fn();
}

static void leave_fault(void *arg)
{
	key.destroy = fault_in_destructor;
	cogo_contain_faults(true);
	check_eq(cogo_local_set(&key, arg), 0);
}

Test(fault, one_in_a_destructor_is_contained)
{
	prepare();
	for (size_t i = 0; i < FAULTS; i++)
		check_eq(outcome(NULL, leave_fault, (void *)&faults[i]),
			 COGO_PANICKED);
}

static void *others_go_on(void *arg)
{
	atomic_int *n = arg;

	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&mutex);
		++*n;
		pthread_mutex_unlock(&mutex);
		cogo_sleep(10 * COGO_US);
	}
	return NULL;
}

static void others_on_coroutine(void *arg)
{
	others_go_on(arg);
}

Test(fault, nobody_else_notices)
{
	struct cogo_coro *c[20], *o[20];
	atomic_int n = 0;
	pthread_t t;

	prepare();
	check_eq(pthread_create(&t, NULL, others_go_on, &n), 0);
	for (int i = 0; i < 20; i++)
		o[i] = begin(NULL, others_on_coroutine, &n);
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < 20; i++)
			c[i] = begin(NULL, fault_locked,
				     (void *)&faults[(i + (size_t)round) % FAULTS]);
		for (int i = 0; i < 20; i++)
			check_eq(cogo_join(c[i]), COGO_PANICKED);
	}
	for (int i = 0; i < 20; i++)
		check_eq(cogo_join(o[i]), COGO_RETURNED);
	pthread_join(t, NULL);
	check_eq(n, 21 * 200);
}
