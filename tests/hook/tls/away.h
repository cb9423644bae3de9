/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* away.h - how the threads of the TLS tests leave their worker and come back.
 *
 * Mostly by sched_yield, now and then by a short sleep, a fought-over mutex or
 * a byte through a pipe that others use too: each a place where a thread may
 * go on somewhere else. None of them changes errno when it succeeds, and they
 * are macros, not functions, so that the compiler keeps across them whatever
 * it believes to be constant: that is what is tested. */
#ifndef TESTS_HOOK_TLS_AWAY_H
#define TESTS_HOOK_TLS_AWAY_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define AWAY_GROUP 64 /* threads to a mutex and a pipe */

struct away {
	pthread_mutex_t mutex;
	int pipe[2];
};

static struct away *aways;

static inline void away_init(int threads)
{
	int n = threads / AWAY_GROUP + 1;

	aways = (struct away *)calloc(n, sizeof(*aways));
	for (int i = 0; i < n; i++) {
		pthread_mutex_init(&aways[i].mutex, NULL);
		if (pipe(aways[i].pipe)) {
			perror("pipe");
			exit(2);
		}
	}
}

/* Our byte or another's of the group: all are alike, and there is one for
 * each who reads. */
static inline int away_through_pipe(struct away *a)
{
	char c = 'a';

	return write(a->pipe[1], &c, 1) == 1 && read(a->pipe[0], &c, 1) == 1;
}

static inline int away_through_mutex(struct away *a)
{
	int good = pthread_mutex_lock(&a->mutex) == 0;

	sched_yield();
	return good && pthread_mutex_unlock(&a->mutex) == 0;
}

static inline int away_asleep(void)
{
	struct timespec t = {0, 1000};

	return nanosleep(&t, NULL) == 0;
}

/* True when nothing went wrong on the way. */
#define AWAY(who, round)                                                       \
	((round) % 32 == 5  ? away_asleep() :                                  \
	 (round) % 32 == 13 ? away_through_mutex(&aways[(who) / AWAY_GROUP]) : \
	 (round) % 32 == 21 ? away_through_pipe(&aways[(who) / AWAY_GROUP]) :  \
			      sched_yield() == 0)

#endif
