/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* futexes.c - what futex calls answer, when half of those who wait are in the
 * kernel and half wherever syscall() took them.
 *
 * It expects nothing: it prints, and same.py holds a bare run and one as
 * coroutines against each other. How many wait is asked with a requeue to the
 * same word, which counts and moves nobody. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../support/rawsys.h"

static uint32_t word, other;

static long futex(uint32_t *addr, int op, uint32_t val, const void *t,
		  uint32_t *addr2, uint32_t val3)
{
	return syscall(SYS_futex, addr, op | FUTEX_PRIVATE_FLAG, val, t, addr2,
		       val3);
}

#define SAY(call)							\
	do {								\
		errno = 0;						\
		long r_ = (long)(call);					\
		printf("%s: %ld%s%s\n", #call, r_, errno ? " " : "",	\
		       errno ? strerror(errno) : "");			\
	} while (0)

#define AS_TIME(n) ((const void *)(uintptr_t)(n))

static long waiters(uint32_t *addr)
{
	return futex(addr, FUTEX_REQUEUE, 0, AS_TIME(INT_MAX), addr, 0);
}

static void until(uint32_t *addr, long n)
{
	while (waiters(addr) != n)
		sched_yield();
}

struct waiter {
	pthread_t t;
	int in_kernel;
	uint32_t bits;
	_Atomic int woken;
};

static void *wait(void *arg)
{
	struct waiter *w = arg;

	if (w->in_kernel)
		rawsys6(SYS_futex, (long)&word,
			FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, 0, 0,
			w->bits);
	else
		futex(&word, FUTEX_WAIT_BITSET, 0, NULL, NULL, w->bits);
	w->woken = 1;
	return NULL;
}

#define WAITERS 6

static struct waiter waiter[WAITERS];

static void begin(void)
{
	for (int i = 0; i < WAITERS; i++) {
		waiter[i] = (struct waiter){ .in_kernel = i % 2,
					     .bits = 1u << i };
		if (pthread_create(&waiter[i].t, NULL, wait, &waiter[i]))
			abort();
	}
	until(&word, WAITERS);
}

static void end(void)
{
	for (int i = 0; i < WAITERS; i++)
		pthread_join(waiter[i].t, NULL);
}

static void *answers(void *arg)
{
	struct timespec ms = { 0, 5000000 }, bad = { 0, 1000000000 };
	struct timespec negative = { -1, 0 }, past = { 1, 0 }, now;

	(void)arg;
	word = 0;
	SAY(futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0));
	SAY(futex(&word, FUTEX_WAIT, 1, &bad, NULL, 0));
	SAY(futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0));
	SAY(futex(&word, FUTEX_WAIT, 0, &negative, NULL, 0));
	SAY(futex(&word, FUTEX_WAIT, 0, &ms, NULL, 0));
	SAY(futex(&word, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, &ms, NULL, 0));
	SAY(futex(&word, FUTEX_WAIT_BITSET, 0, &past, NULL, 1));
	SAY(futex(&word, FUTEX_WAIT_BITSET, 1, &past, NULL, 1));
	SAY(futex(&word, FUTEX_WAIT_BITSET, 0, &past, NULL, 0));
	SAY(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &past,
		  NULL, ~0u));
	clock_gettime(CLOCK_REALTIME, &now);
	SAY(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &now,
		  NULL, ~0u));
	SAY(futex(&word, FUTEX_WAKE_BITSET, 1, NULL, NULL, 0));
	SAY(futex(&word, FUTEX_WAKE, 0, NULL, NULL, 0));
	SAY(futex(&word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
	SAY(futex(&word, FUTEX_WAKE, UINT_MAX, NULL, NULL, 0));
	SAY(futex(&word, FUTEX_REQUEUE, UINT_MAX, AS_TIME(1), &other, 0));
	SAY(futex(&word, FUTEX_CMP_REQUEUE, 1, AS_TIME(1), &other, 7));
	SAY(futex(&word, FUTEX_CMP_REQUEUE, 1, AS_TIME(1), &other, 0));
	SAY(futex((uint32_t *)((char *)&word + 1), FUTEX_WAKE, 1, NULL, NULL, 0));
	SAY(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT, 1, NULL, NULL, 0));
	SAY(futex(NULL, FUTEX_WAIT, 1, NULL, NULL, 0));
	SAY(futex(&word, 99, 1, NULL, NULL, 0));
	SAY(futex(&word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, NULL, NULL, 0));
	SAY(syscall(SYS_futex, &word, FUTEX_WAIT, 1, NULL));
	SAY(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ms));
	SAY(syscall(SYS_futex, &word, FUTEX_WAKE, 1));
	return NULL;
}

static void *counts(void *arg)
{
	(void)arg;
	begin();
	SAY(futex(&word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
	end();

	begin();
	for (int i = 0; i < WAITERS; i++)
		SAY(futex(&word, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, 1u << i));
	end();

	begin();
	SAY(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
	SAY(waiters(&word));
	SAY(futex(&word, FUTEX_WAKE, 3, NULL, NULL, 0));
	SAY(waiters(&word));
	SAY(futex(&word, FUTEX_WAKE, 3, NULL, NULL, 0));
	end();

	begin();
	SAY(futex(&word, FUTEX_REQUEUE, 1, AS_TIME(2), &other, 0));
	SAY(waiters(&word));
	SAY(waiters(&other));
	SAY(futex(&word, FUTEX_CMP_REQUEUE, 0, AS_TIME(INT_MAX), &other, 1));
	SAY(futex(&word, FUTEX_CMP_REQUEUE, 0, AS_TIME(INT_MAX), &other, 0));
	SAY(waiters(&word));
	SAY(waiters(&other));
	SAY(futex(&word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
	SAY(futex(&other, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
	end();

	begin();
	SAY(futex(&word, FUTEX_REQUEUE, 0, AS_TIME(3), &other, 0));
	other = 5;
	SAY(futex(&word, FUTEX_WAKE_OP, 1, AS_TIME(1), &other,
		  FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 4)));
	SAY(other);
	SAY(futex(&word, FUTEX_WAKE_OP, 1, AS_TIME(2), &other,
		  FUTEX_OP(FUTEX_OP_OR, 0x100, FUTEX_OP_CMP_GT, 7)));
	SAY(other);
	SAY(futex(&word, FUTEX_WAKE_OP, 1, AS_TIME(INT_MAX), &other,
		  FUTEX_OP(FUTEX_OP_SET, -1, FUTEX_OP_CMP_GE, -5)));
	SAY((int)other);
	SAY(futex(&word, FUTEX_WAKE_OP, 1, AS_TIME(1), &other,
		  FUTEX_OP(FUTEX_OP_ANDN, 0xff, FUTEX_OP_CMP_LT, 0)));
	SAY((int)other);
	SAY(futex(&word, FUTEX_WAKE_OP, 1, AS_TIME(1), &other,
		  FUTEX_OP((FUTEX_OP_XOR | FUTEX_OP_OPARG_SHIFT), 4,
			   FUTEX_OP_CMP_NE, 0)));
	SAY((int)other);
	SAY(futex(&word, FUTEX_WAKE_OP, 1, AS_TIME(1), &other,
		  FUTEX_OP(7, 4, FUTEX_OP_CMP_NE, 0)));
	SAY(futex(&word, FUTEX_WAKE_OP, 1, AS_TIME(1), &other,
		  FUTEX_OP(FUTEX_OP_ADD, 1, 9, 0)));
	SAY(waiters(&word) + waiters(&other));
	end();
	other = 0;
	return NULL;
}

int main(void)
{
	pthread_t t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	answers(NULL);
	counts(NULL);
	if (pthread_create(&t, NULL, answers, NULL) || pthread_join(t, NULL) ||
	    pthread_create(&t, NULL, counts, NULL) || pthread_join(t, NULL))
		return 1;
	return 0;
}
