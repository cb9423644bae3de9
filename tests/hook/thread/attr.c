/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* attr.c - what a thread is asked to be, it is, and says it is. */
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>

#include "../../support/expect.h"

static void *give_back(void *arg)
{
	return arg;
}

static void fresh_attributes_are_the_systems_own(void)
{
	struct sched_param param;
	struct rlimit stack;
	pthread_attr_t attr;
	size_t size = 0;
	int value = -1;

	EXPECT_EQ(pthread_attr_init(&attr), 0);
	EXPECT_EQ(pthread_attr_getdetachstate(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_CREATE_JOINABLE);
	EXPECT_EQ(pthread_attr_getguardsize(&attr, &size), 0);
	EXPECT_EQ(size, sysconf(_SC_PAGESIZE));
	EXPECT_EQ(pthread_attr_getinheritsched(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_INHERIT_SCHED);
	EXPECT_EQ(pthread_attr_getschedpolicy(&attr, &value), 0);
	EXPECT_EQ(value, SCHED_OTHER);
	EXPECT_EQ(pthread_attr_getschedparam(&attr, &param), 0);
	EXPECT_EQ(param.sched_priority, 0);
	EXPECT_EQ(pthread_attr_getscope(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_SCOPE_SYSTEM);
	EXPECT_EQ(pthread_attr_getstacksize(&attr, &size), 0);
	EXPECT_OK(getrlimit(RLIMIT_STACK, &stack));
	if (stack.rlim_cur != RLIM_INFINITY)
		EXPECT_EQ(size, stack.rlim_cur);
	EXPECT_EQ(pthread_attr_destroy(&attr), 0);
}

static void what_is_set_is_read_back_and_nonsense_refused(void)
{
	struct sched_param param = {.sched_priority = 0};
	pthread_attr_t attr;
	cpu_set_t cpus, seen;
	size_t size = 0;
	int value = -1;

	EXPECT_EQ(pthread_attr_init(&attr), 0);
	EXPECT_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
	EXPECT_EQ(pthread_attr_getdetachstate(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_CREATE_DETACHED);
	EXPECT_EQ(pthread_attr_setdetachstate(&attr, 77), EINVAL);
	EXPECT_EQ(pthread_attr_setguardsize(&attr, 100000), 0);
	EXPECT_EQ(pthread_attr_getguardsize(&attr, &size), 0);
	EXPECT_EQ(size, 100000);
	EXPECT_EQ(pthread_attr_setstacksize(&attr, 300000), 0);
	EXPECT_EQ(pthread_attr_getstacksize(&attr, &size), 0);
	EXPECT_EQ(size, 300000);
	EXPECT_EQ(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN - 1), EINVAL);
	EXPECT_EQ(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
	EXPECT_EQ(pthread_attr_getinheritsched(&attr, &value), 0);
	EXPECT_EQ(value, PTHREAD_EXPLICIT_SCHED);
	EXPECT_EQ(pthread_attr_setinheritsched(&attr, 77), EINVAL);
	EXPECT_EQ(pthread_attr_setschedpolicy(&attr, SCHED_FIFO), 0);
	EXPECT_EQ(pthread_attr_getschedpolicy(&attr, &value), 0);
	EXPECT_EQ(value, SCHED_FIFO);
	EXPECT_EQ(pthread_attr_setschedpolicy(&attr, 77), EINVAL);
	EXPECT_EQ(pthread_attr_setschedpolicy(&attr, SCHED_OTHER), 0);
	EXPECT_EQ(pthread_attr_setschedparam(&attr, &param), 0);
	EXPECT_EQ(pthread_attr_setscope(&attr, PTHREAD_SCOPE_PROCESS), ENOTSUP);
	EXPECT_EQ(pthread_attr_setscope(&attr, PTHREAD_SCOPE_SYSTEM), 0);
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	EXPECT_EQ(pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus), 0);
	EXPECT_EQ(pthread_attr_getaffinity_np(&attr, sizeof(seen), &seen), 0);
	EXPECT(CPU_EQUAL(&cpus, &seen));
	EXPECT_EQ(pthread_attr_destroy(&attr), 0);
}

/* ---- stacks ---- */

struct stack_seen {
	char *low, *high, *local;
	size_t guard;
	int detached;
};

static void *see_stack(void *arg)
{
	struct stack_seen *seen = arg;
	pthread_attr_t attr;
	void *low;
	size_t size;

	if (pthread_getattr_np(pthread_self(), &attr) ||
	    pthread_attr_getstack(&attr, &low, &size) ||
	    pthread_attr_getguardsize(&attr, &seen->guard) ||
	    pthread_attr_getdetachstate(&attr, &seen->detached) ||
	    pthread_attr_destroy(&attr))
		return NULL;
	seen->low = low;
	seen->high = seen->low + size;
	seen->local = __builtin_frame_address(0);
	return arg;
}

static void a_threads_own_attributes_hold_its_stack(void)
{
	static const size_t sizes[] = {0, 64 << 10, 1 << 20, 3000000, 64 << 20};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct stack_seen seen = {0};
		pthread_attr_t attr;
		size_t want;
		pthread_t t;

		EXPECT_EQ(pthread_attr_init(&attr), 0);
		if (sizes[i])
			EXPECT_EQ(pthread_attr_setstacksize(&attr, sizes[i]), 0);
		EXPECT_EQ(pthread_attr_getstacksize(&attr, &want), 0);
		EXPECT_EQ(pthread_create(&t, &attr, see_stack, &seen), 0);
		EXPECT(finish(t) == &seen);
		EXPECT(seen.low < seen.local && seen.local < seen.high);
		/* glibc takes the guard out of it, and rounds to pages */
		EXPECT((size_t)(seen.high - seen.low) + 8192 >= want);
		EXPECT_EQ(seen.detached, PTHREAD_CREATE_JOINABLE);
		EXPECT_EQ(seen.guard, sysconf(_SC_PAGESIZE));
		pthread_attr_destroy(&attr);
	}
}

extern void *__libc_stack_end;

static void mains_attributes_hold_its_stack(void)
{
	struct stack_seen seen = {0};

	EXPECT(see_stack(&seen) == &seen);
	EXPECT(seen.low < seen.local && seen.local < seen.high);
	/* The page where the kernel has put argc is the last that counts. */
	EXPECT(seen.high > (char *)__libc_stack_end);
}

#define OWN_STACK (256 << 10)

static void a_thread_runs_on_the_memory_it_was_given(void)
{
	char *memory = mmap(NULL, OWN_STACK + 8192, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *low = memory + 4096;

	memset(memory, 0x5a, 4096);
	memset(low + OWN_STACK, 0x5a, 4096);
	for (int i = 0; i < 20; i++) {
		struct stack_seen seen = {0};
		pthread_attr_t attr;
		pthread_t t;

		EXPECT_EQ(pthread_attr_init(&attr), 0);
		EXPECT_EQ(pthread_attr_setstack(&attr, low, OWN_STACK), 0);
		EXPECT_EQ(pthread_create(&t, &attr, see_stack, &seen), 0);
		EXPECT(finish(t) == &seen);
		EXPECT(seen.local > low && seen.local < low + OWN_STACK);
		EXPECT(seen.low == low && seen.high == low + OWN_STACK);
		/* it is ours again: nobody may still be on it */
		memset(low, i, OWN_STACK);
		pthread_attr_destroy(&attr);
	}
	for (int i = 0; i < 4096; i++)
		if (memory[i] != 0x5a || low[OWN_STACK + i] != 0x5a)
			EXPECT(!"wrote beyond the stack");
	EXPECT_EQ(munmap(memory, OWN_STACK + 8192), 0);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* A little of each: a lock, a sleep, a pipe, errno. */
static void *make_do_with_little(void *arg)
{
	int *fd = arg;
	char c = 'x';

	for (int i = 0; i < 5; i++) {
		nap_us(1000);
		pthread_mutex_lock(&mutex);
		pthread_mutex_unlock(&mutex);
		if (write(fd[1], &c, 1) != 1 || read(fd[0], &c, 1) != 1)
			return NULL;
	}
	return close(-1) == -1 && errno == EBADF ? arg : NULL;
}

static void the_smallest_stack_is_enough_for_blocking_calls(void)
{
	pthread_attr_t attr;
	pthread_t t[10];
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	EXPECT_EQ(pthread_attr_init(&attr), 0);
	EXPECT_EQ(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN), 0);
	for (int i = 0; i < 10; i++)
		EXPECT_EQ(pthread_create(&t[i], &attr, make_do_with_little, fd), 0);
	for (int i = 0; i < 10; i++)
		EXPECT(finish(t[i]) == fd);
	close(fd[0]);
	close(fd[1]);
}

/* A program that made its stack as small as it dared, and is interrupted. */
static atomic_int handled;

static void handle(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
}

static void a_handler_runs_on_a_small_stack(void)
{
	struct sigaction old, action = {.sa_handler = handle};
	pthread_attr_t attr;
	pthread_t t;
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	EXPECT_OK(sigaction(SIGUSR1, &action, &old));
	EXPECT_EQ(pthread_attr_init(&attr), 0);
	EXPECT_EQ(pthread_attr_setstacksize(&attr, 32 << 10), 0);
	EXPECT_EQ(pthread_create(&t, &attr, make_do_with_little, fd), 0);
	EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
	finish(t); /* a sleep may have ended early; that is all */
	EXPECT_EQ(atomic_load(&handled), 1);
	EXPECT_OK(sigaction(SIGUSR1, &old, NULL));
	close(fd[0]);
	close(fd[1]);
}

static volatile int bottomless = 1;

__attribute__((noinline)) static int fall(int depth)
{
	volatile char frame[2000];

	frame[0] = (char)depth;
	return bottomless ? fall(depth + 1) + frame[0] : 0;
}

static void *falls(void *arg)
{
	fall(0);
	return arg;
}

static void *sleeps(void *arg)
{
	sleep(60);
	return arg;
}

static void falls_off_a_small_stack(void *arg)
{
	struct rlimit no_core = {0, 0};
	pthread_attr_t attr;
	pthread_t t[3];

	setrlimit(RLIMIT_CORE, &no_core);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)(intptr_t)arg);
	for (int i = 0; i < 2; i++)
		t[i] = start(sleeps, arg);
	pthread_create(&t[2], &attr, falls, NULL);
	pthread_join(t[2], NULL);
}

/* Not by writing into the stack that lies below. */
static void an_overflow_of_any_size_of_stack_dies_of_it(void)
{
	const size_t sizes[] = {PTHREAD_STACK_MIN, 64 << 10, 1 << 20};

	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			alarm(60);
			falls_off_a_small_stack((void *)(intptr_t)sizes[i]);
			_exit(1);
		}
		status = status_of(pid);
		EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	}
}

/* ---- the rest ---- */

static void *see_mask(void *arg)
{
	pthread_sigmask(SIG_BLOCK, NULL, arg);
	return arg;
}

static void a_thread_begins_with_the_mask_it_was_given(void)
{
	sigset_t given, seen;
	pthread_attr_t attr;
	pthread_t t;

	sigemptyset(&given);
	sigaddset(&given, SIGUSR2);
	EXPECT_EQ(pthread_attr_init(&attr), 0);
	EXPECT_EQ(pthread_attr_getsigmask_np(&attr, &seen),
		  PTHREAD_ATTR_NO_SIGMASK_NP);
	EXPECT_EQ(pthread_attr_setsigmask_np(&attr, &given), 0);
	EXPECT_EQ(pthread_attr_getsigmask_np(&attr, &seen), 0);
	EXPECT(sigismember(&seen, SIGUSR2) == 1);
	EXPECT_EQ(pthread_create(&t, &attr, see_mask, &seen), 0);
	finish(t);
	EXPECT(sigismember(&seen, SIGUSR2) == 1);
	EXPECT(sigismember(&seen, SIGUSR1) == 0);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, NULL, &seen), 0);
	EXPECT(sigismember(&seen, SIGUSR2) == 0);
	pthread_attr_destroy(&attr);
}

static void the_default_can_be_changed_for_those_who_ask_for_none(void)
{
	struct stack_seen seen = {0};
	pthread_attr_t before, attr;
	size_t size = 0;

	EXPECT_EQ(pthread_getattr_default_np(&before), 0);
	EXPECT_EQ(pthread_attr_init(&attr), 0);
	EXPECT_EQ(pthread_attr_setstacksize(&attr, 1536 << 10), 0);
	EXPECT_EQ(pthread_setattr_default_np(&attr), 0);
	EXPECT(finish(start(see_stack, &seen)) == &seen);
	EXPECT((size_t)(seen.high - seen.low) + 8192 >= 1536 << 10);
	EXPECT((size_t)(seen.high - seen.low) <= 1600 << 10);
	EXPECT_EQ(pthread_attr_destroy(&attr), 0);
	EXPECT_EQ(pthread_getattr_default_np(&attr), 0);
	EXPECT_EQ(pthread_attr_getstacksize(&attr, &size), 0);
	EXPECT_EQ(size, 1536 << 10);
	EXPECT_EQ(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED), 0);
	EXPECT_EQ(pthread_setattr_default_np(&before), 0);
	EXPECT(finish(start(give_back, &seen)) == &seen);
}

static void attributes_can_go_as_soon_as_the_thread_is_made(void)
{
	pthread_t t[50];

	for (intptr_t i = 0; i < 50; i++) {
		pthread_attr_t attr;

		EXPECT_EQ(pthread_attr_init(&attr), 0);
		EXPECT_EQ(pthread_attr_setstacksize(&attr, 128 << 10), 0);
		EXPECT_EQ(pthread_create(&t[i], &attr, give_back, (void *)i), 0);
		EXPECT_EQ(pthread_attr_destroy(&attr), 0);
		memset(&attr, 0xff, sizeof(attr));
	}
	for (intptr_t i = 0; i < 50; i++)
		EXPECT(finish(t[i]) == (void *)i);
}

static const struct expect_case cases[] = {
	CASE(fresh_attributes_are_the_systems_own),
	CASE(what_is_set_is_read_back_and_nonsense_refused),
	CASE(a_threads_own_attributes_hold_its_stack),
	CASE_IN_MAIN(mains_attributes_hold_its_stack),
	CASE(a_thread_runs_on_the_memory_it_was_given),
	CASE(the_smallest_stack_is_enough_for_blocking_calls),
	CASE(a_handler_runs_on_a_small_stack),
	CASE(an_overflow_of_any_size_of_stack_dies_of_it),
	CASE(a_thread_begins_with_the_mask_it_was_given),
	CASE(the_default_can_be_changed_for_those_who_ask_for_none),
	CASE(attributes_can_go_as_soon_as_the_thread_is_made),
};
EXPECT_MAIN(cases)
