/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What AddressSanitizer knows of coroutines' stacks. Storage is shared, as each
 * coroutine is a thread that it has never met when it has storage of its own.
 * UNIT_FRAMES=1 says that it has been told to know frames that have returned. */
#include "base/conf.h"
#include "boot.h"
#include "coro/self.h"
#include "fault/door.h"
#include "go.h"
#include "sched/park.h"
#include "unit.h"
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <setjmp.h>

#define COROS	8
#define ROUNDS	200
#define SIZE	(64ul << 10)

static int start_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	return -pthread_create(&t, NULL, entry, arg);
}

static void begin(int workers)
{
	static const struct boot_real real = { .start_thread = start_thread };

	boot_use(&real);
	check_eq(setenv("COGO_FORCE", "shared_tls,migrate", 1), 0);
	boot_load();
	conf.workers = workers;
	check(coro_adopt(CORO_KIND_THREAD) != NULL);
	check_eq(boot_start(), 0);
}

static _Atomic int ended;

static void run(void (*fn)(void *), long n)
{
	const struct coro_attr attr = { .stack_size = SIZE, .guard_size = 4096 };
	struct coro *c;

	ended = 0;
	for (long i = 0; i < n; i++) {
		check_eq(go_make(&attr, fn, (void *)i, &c), 0);
		go_ready(c);
	}
	wait_until(ended == n);
}

static void yield(void)
{
	struct coro *me = self();

	door_enter(me);
	park_yield(me);
	door_leave(me);
}

/* A frame that lasts while the coroutine moves, and one that has returned. */
static NOINLINE void keep(volatile char *p, volatile char **ret)
{
	*ret = p;
}

static NOINLINE void frame(volatile char **ret, long n)
{
	volatile char bytes[100];

	keep(bytes, ret);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(n + (long)i);
	yield();
	for (size_t i = 0; i < sizeof(bytes); i++)
		check(bytes[i] == (char)(n + (long)i));
	check(!__asan_address_is_poisoned(bytes));
}

static void frames(void *arg)
{
	volatile char *gone;
	long kept = unit_setting("UNIT_FRAMES", 0);

	for (int i = 0; i < ROUNDS; i++) {
		frame(&gone, (long)arg);
		check(!kept || __asan_address_is_poisoned(gone));
		yield();
	}
	ended++;
}

Test(sanitize, frames_that_have_returned_are_known_and_those_that_stand)
{
	begin(3);
	run(frames, COROS);
	/* And on stacks that were used before. */
	run(frames, COROS);
}

/* Frames jumped over: what is poisoned of them must not stay. */
static void (*volatile leave)(jmp_buf, int) = longjmp;

static NOINLINE void jump(jmp_buf to, int deep)
{
	volatile char bytes[64];
	volatile char *p;

	keep(bytes, &p);
	p[0] = (char)deep;
	if (deep > 0)
		jump(to, deep - 1);
	else
		leave(to, 1);
	p[1] = p[0];
}

static void jumps(void *arg)
{
	jmp_buf here;

	for (volatile int i = 0; i < ROUNDS; i++) {
		if (setjmp(here) == 0) {
			yield();
			jump(here, 20);
		}
		yield();
		check(!__asan_region_is_poisoned(
			(char *)__builtin_frame_address(0) - SIZE / 4,
			SIZE / 4 - 1024));
	}
	(void)arg;
	ended++;
}

Test(sanitize, frames_jumped_over_leave_nothing_behind)
{
	begin(2);
	run(jumps, COROS);
}

static void frames_or_jumps(void *arg)
{
	((long)arg % 2 ? frames : jumps)(arg);
}

Test(sanitize, who_jumps_takes_nobody_elses_frames)
{
	begin(2);
	run(frames_or_jumps, 4 * COROS);
}

static void end_deep(void *arg)
{
	volatile char bytes[2000];
	volatile char *p;

	keep(bytes, &p);
	p[(long)arg] = 1;
	yield();
	ended++;
	go_exit();
}

static void look_below(void *arg)
{
	char *here = __builtin_frame_address(0);

	check(!__asan_region_is_poisoned(here - SIZE / 2, SIZE / 2 - 1024));
	(void)arg;
	ended++;
}

Test(sanitize, a_stack_is_clean_when_it_is_used_again)
{
	begin(1);
	for (int i = 0; i < 10; i++) {
		run(end_deep, COROS);
		run(look_below, COROS);
	}
}
