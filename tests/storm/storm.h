/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storm.h - what storms on the floors share: a seed that is printed, and can be given
 * again; chance, from it; what must hold; and a runtime to do it in.
 *
 *	storm_x [SEED [WORKERS [ROUNDS]]]	seed 0: another each time */
#ifndef TESTS_STORM_STORM_H
#define TESTS_STORM_STORM_H

#include "base/conf.h"
#include "boot.h"
#include "coro/coro.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t seed;
static _Atomic long failures;

static inline void check(bool good, const char *file, int line, const char *text)
{
	if (good)
		return;
	failures++;
	printf("%s:%d: not so: %s\n", strrchr(file, '/') + 1, line, text);
}
#define CHECK(cond) check((cond) ? true : false, "/" __FILE__, __LINE__, #cond)

/* One of n. */
static inline uint32_t draw(uint64_t *state, uint32_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)((*state >> 32) * n >> 32);
}

static inline int storm_thread(void *(*entry)(void *), void *arg)
{
	pthread_t t;

	return -pthread_create(&t, NULL, entry, arg);
}

/* The runtime with the arguments' workers, and main a part of it. */
static inline void storm_begin(int argc, char **argv, int *rounds)
{
	static const struct boot_real real = { .start_thread = storm_thread };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = argc > 1 && atoll(argv[1]) ? strtoull(argv[1], NULL, 0) :
		(uint64_t)now.tv_nsec * 1000003 + (uint64_t)now.tv_sec;
	if (argc > 3)
		*rounds = atoi(argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %llu\n", (unsigned long long)seed);
	boot_use(&real);
	boot_load();
	conf.workers = argc > 2 ? atoi(argv[2]) : 2;
	if (!coro_adopt(CORO_KIND_THREAD) || boot_start())
		abort();
}

/* main's status. */
static inline int storm_end(void)
{
	printf("%ld failures\n", (long)failures);
	return failures != 0;
}

#endif
