/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sleepers - a hundred thousand coroutines that sleep at the same time.
 *
 *	cc sleepers.c -o sleepers $(pkg-config --cflags --libs cogo)
 *	./sleepers [COUNT [MILLISECONDS]]
 *
 * Each waits until all are there, when main looks how much memory that takes: theirs,
 * and the kernel's page tables for it. It is two or three pages for each, which has a
 * stack, errno and thread-local variables of its own. Then they all sleep, by the C
 * library's usleep. */
#include <cogo.h>
#include <errno.h>
#include <error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int nap = 1000;			/* milliseconds */
static struct cogo_waitgroup not_there;
static struct cogo_latch good_night;

static int sleeper(void *arg)
{
	(void)arg;
	cogo_waitgroup_done(&not_there);
	cogo_latch_wait(&good_night, COGO_FOREVER);
	usleep((useconds_t)nap * 1000);
	return 0;
}

/* In KiB, of a line of /proc/self/status. */
static long status(const char *what)
{
	FILE *f = fopen("/proc/self/status", "r");
	size_t length = strlen(what);
	char line[256];
	long n = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, what, length) == 0)
			n = atol(line + length);
	if (f)
		fclose(f);
	return n;
}

static long memory(void)
{
	return status("VmRSS:") + status("VmPTE:");
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 100000, r, started = 0;
	cogo_time start = cogo_now(), put_to_bed = start, woke;
	long before = memory(), kib = 0;

	if (argc > 2)
		nap = atoi(argv[2]);
	cogo_scope (s, &r) {
		while (started < n) {
			cogo_waitgroup_add(&not_there, 1);
			r = cogo_scope_go(s, NULL, sleeper, NULL);
			if (r)
				error(1, -r, "%d are all there can be", started);
			started++;
		}
		cogo_waitgroup_wait(&not_there, COGO_FOREVER);
		kib = memory() - before;
		put_to_bed = cogo_now();
		cogo_latch_fire(&good_night);
	}
	woke = cogo_now();
	printf("%d coroutines, of %.1f KiB each\n", n, (double)kib / n);
	printf("made in %.2f s; slept for %.2f s, all of them in %.2f s\n",
	       (double)(put_to_bed - start) / COGO_SEC, nap / 1000.0,
	       (double)(woke - put_to_bed) / COGO_SEC);
	return 0;
}
