/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fan-out - many jobs, a few at a time, and what goes wrong ends them all.
 *
 *	cc fan-out.c -o fan-out $(pkg-config --cflags --libs cogo)
 *	./fan-out			# job 13 of 40 fails
 *	./fan-out 0			# none does
 *
 * A scope can be told to have only so many children: cogo_scope_go then waits for
 * its turn. The first job that returns an error has the others canceled: whatever
 * they wait for returns -ECANCELED, and no more are started. The scope's result is
 * that first error, and it is there when the last job has ended. */
#include <cogo.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS	  40
#define AT_A_TIME 4

static int fails = 13;
static _Atomic int done, canceled;

/* Stands for whatever takes its time: a request to a server, say. */
static int job(void *arg)
{
	int number = *(int *)arg;
	int r = cogo_sleep((number % 3 + 1) * 5 * COGO_MS);

	if (r == 0 && number == fails)
		r = -EIO;
	if (r == 0)
		done++;
	if (r == -ECANCELED)
		canceled++;
	return r;
}

int main(int argc, char **argv)
{
	int number[JOBS], result, started = 0;
	unsigned most = 0;

	if (argc > 1)
		fails = atoi(argv[1]);
	cogo_scope (s, &result) {
		cogo_scope_limit(s, AT_A_TIME);
		for (int i = 0; i < JOBS; i++) {
			number[i] = i + 1;
			if (cogo_scope_go(s, NULL, job, &number[i]))
				break;	/* one has failed */
			started++;
			if (cogo_scope_children(s) > most)
				most = cogo_scope_children(s);
		}
	}
	printf("%d jobs: %d started, never more than %u at a time\n", JOBS,
	       started, most);
	printf("%d done, %d canceled\n", done, canceled);
	if (result)
		printf("job %d: %s\n", fails, strerror(-result));
	return result != 0;
}
