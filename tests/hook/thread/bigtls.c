/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* bigtls.c - a program whose threads have much storage of their own, which libc
 * takes out of the stack of each kernel thread that it makes. */
#include "../../support/expect.h"

enum { SIZE = 1 << 20, THREADS = 10 };

static __thread unsigned char own[SIZE];

static void *fill(void *arg)
{
	unsigned char with = *(unsigned char *)arg;

	if (SHARES_STORAGE) {
		memset(own, with, SIZE);
		return arg;
	}
	for (int i = 0; i < SIZE; i++)
		if (own[i])
			return NULL;
	memset(own, with, SIZE);
	for (int i = 0; i < 10; i++)
		sched_yield();
	for (int i = 0; i < SIZE; i++)
		if (own[i] != with)
			return NULL;
	return arg;
}

static void each_thread_has_all_of_it(void)
{
	unsigned char with[THREADS];
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++) {
		with[i] = (unsigned char)(i + 1);
		EXPECT_EQ(pthread_create(&t[i], NULL, fill, &with[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		EXPECT(finish(t[i]) == &with[i]);
}

static const struct expect_case cases[] = {
	CASE(each_thread_has_all_of_it),
};
EXPECT_MAIN(cases)
