/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* golang.c - threads as the runtime of Go makes them in a program that has C in it:
 * by pthread_create, with all signals blocked; and from there on each tells the
 * kernel alone what it lets in and where its handlers run, and goes by what the
 * kernel says of it. The mark of Go's linker says that this is such a program. */
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "../../support/expect.h"

__asm__(".pushsection .note.go.buildid, \"a\", %note\n"
	".balign 4\n"
	".long 4, 4, 4\n"
	".ascii \"Go\\0\\0\"\n"
	".long 0\n"
	".popsection");

#define THREADS 40

static atomic_int arrived, wrong_mask, wrong_tid, wrong_stack;

static uint64_t raw_mask(const uint64_t *set)
{
	uint64_t old = 0;

	rawsys6(SYS_rt_sigprocmask, SIG_SETMASK, (long)set, (long)&old, 8, 0, 0);
	return old;
}

static void *go_thread(void *arg)
{
	uint64_t mine = 1ull << (SIGUSR1 - 1);
	char *memory = malloc(1 << 16);
	stack_t stack = {.ss_sp = memory, .ss_size = 1 << 16}, seen;
	long tid = rawsys(SYS_gettid, 0, 0, 0);

	raw_mask(&mine);
	rawsys(SYS_sigaltstack, (long)&stack, 0, 0);
	atomic_fetch_add(&arrived, 1);
	for (int i = 0; i < 50; i++) {
		/* C that is called from Go, and waits. */
		if (i % 2)
			nap_us(200);
		else
			WAIT_UNTIL(atomic_load(&arrived) == THREADS);
		wrong_tid += rawsys(SYS_gettid, 0, 0, 0) != tid;
		wrong_mask += raw_mask(NULL) != mine;
		rawsys(SYS_sigaltstack, 0, (long)&seen, 0);
		wrong_stack += seen.ss_sp != memory;
	}
	stack.ss_flags = SS_DISABLE;
	rawsys(SYS_sigaltstack, (long)&stack, 0, 0);
	free(memory);
	return arg;
}

static void what_the_kernel_alone_was_told_stays_so_over_waits(void)
{
	pthread_t t[THREADS];
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (int i = 0; i < THREADS; i++)
		t[i] = start(go_thread, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	for (int i = 0; i < THREADS; i++)
		EXPECT(finish(t[i]) == t);
	EXPECT_EQ(wrong_mask, 0);
	EXPECT_EQ(wrong_tid, 0);
	EXPECT_EQ(wrong_stack, 0);
}

static atomic_int handled;

static void handle(int sig)
{
	handled += sig == SIGUSR2;
}

static void *waits_to_be_told(void *arg)
{
	atomic_store((atomic_long *)arg, rawsys(SYS_gettid, 0, 0, 0));
	WAIT_UNTIL(handled);
	return arg;
}

/* Go keeps its threads from computing for ever so. */
static void a_signal_reaches_the_thread_that_the_kernels_number_names(void)
{
	struct sigaction action = {.sa_handler = handle};
	atomic_long tid = 0;
	pthread_t t = start(waits_to_be_told, &tid);

	sigaction(SIGUSR2, &action, NULL);
	WAIT_UNTIL(tid != 0);
	EXPECT_EQ(rawsys(SYS_tgkill, getpid(), tid, SIGUSR2), 0);
	EXPECT(finish(t) == &tid);
	EXPECT_EQ(handled, 1);
}

static const struct expect_case cases[] = {
	CASE(what_the_kernel_alone_was_told_stays_so_over_waits),
	CASE(a_signal_reaches_the_thread_that_the_kernels_number_names),
};

EXPECT_MAIN(cases)
