/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* micro.h - what the small measurements written in C or C++ have in common.
 *
 *	PROGRAM ROW [KEY=VALUE...]
 *
 * does one row once and prints one line of JSON: how many operations, the wall clock
 * and the processor time that they took, and what else the row is about. Keys that a
 * program does not know are for another one. Exit status 77, with a sentence, means
 * that this program has no such row.
 *
 *	row		keys		an operation is
 *	switch		n		one of two that take turns gives way to the other
 *	spawn		n		one is made and waited for
 *	waves		n		the same, 1000 made before they are waited for
 *	fan-in		n		the same, 10,000 that count down one wait group
 *	rendezvous	n workers	a message there and one back, each handed over
 *	buffered	n workers	one of 4 sends, one of 4 receives; room for 128
 *	select		n k		one sends on any of k channels, one waits for all
 *	mutex		n		lock and unlock, nobody else is there
 *	contended	n workers	one of 64 locks, counts, unlocks
 *	timers		n workers	one is made, sleeps a random time below 1 s, ends
 *	memory		n		one is made and waits
 */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAVE	1000
#define FAN_IN	10000
#define SIDES	4
#define ROOM	128
#define HOLDERS	64

static int micro_argc;
static char **micro_argv;

static inline const char *key(const char *name)
{
	size_t length = strlen(name);

	for (int i = 2; i < micro_argc; i++)
		if (strncmp(micro_argv[i], name, length) == 0 &&
		    micro_argv[i][length] == '=')
			return micro_argv[i] + length + 1;
	return NULL;
}

static inline long number(const char *name, long otherwise)
{
	const char *text = key(name);
	char *end;
	long n;

	if (!text)
		return otherwise;
	n = strtol(text, &end, 10);
	if (*end || n < 1) {
		fprintf(stderr, "%s=%s: give a number from 1\n", name, text);
		exit(2);
	}
	return n;
}

static inline int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

static int64_t wall_began, cpu_began;

static inline void begin(void)
{
	wall_began = clock_ns(CLOCK_MONOTONIC);
	cpu_began = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* Prints the line; more is NULL, or what else stands in it: "\"x\": 1". */
static inline void end(long ops, const char *more)
{
	int64_t cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_began;
	int64_t wall = clock_ns(CLOCK_MONOTONIC) - wall_began;

	printf("{\"ops\": %ld, \"wall_ns\": %lld, \"cpu_ns\": %lld%s%s}\n", ops,
	       (long long)wall, (long long)cpu, more ? ", " : "",
	       more ? more : "");
}

static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static int by_value(const void *x, const void *y)
{
	int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

	return (a > b) - (a < b);
}

/* Timers: when each one is to wake, how late it did, and when all had been made. */
static int64_t *moments, *late, all_made_at;

/* In place of begin. */
static inline void begin_timers(long n)
{
	moments = (int64_t *)calloc((size_t)n, sizeof(*moments));
	late = (int64_t *)calloc((size_t)n, sizeof(*late));
	if (!moments || !late)
		abort();
	begin();
}

/* Before the i-th is made: it has a random time below 1 s from now. */
static inline void choose_moment(long i)
{
	static uint64_t seed = 88172645463325252;

	moments[i] = clock_ns(CLOCK_MONOTONIC) +
		     (int64_t)(next_random(&seed) % 1000000000);
}

static inline void all_made(void)
{
	all_made_at = clock_ns(CLOCK_MONOTONIC);
}

/* By the i-th, awake. */
static inline void woke(long i)
{
	late[i] = clock_ns(CLOCK_MONOTONIC) - moments[i];
	if (late[i] < 0)
		abort();
}

/* In place of end: of those whose moment came when all had been made, the median and
 * the 99th percentile of how late they were. */
static inline void end_timers(long n)
{
	int64_t *counted = (int64_t *)malloc((size_t)n * sizeof(*counted));
	long some = 0;
	char more[160];

	if (!counted)
		abort();
	for (long i = 0; i < n; i++)
		if (moments[i] >= all_made_at)
			counted[some++] = late[i];
	qsort(counted, (size_t)some, sizeof(*counted), by_value);
	snprintf(more, sizeof(more),
		 "\"late_p50_us\": %.1f, \"late_p99_us\": %.1f, \"made_ms\": %.1f",
		 some ? (double)counted[some / 2] / 1e3 : 0,
		 some ? (double)counted[some * 99 / 100] / 1e3 : 0,
		 (double)(all_made_at - wall_began) / 1e6);
	end(n, more);
	free(counted);
}

static inline long status_kb(const char *what)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, what, strlen(what)) == 0)
			kb = strtol(line + strlen(what), NULL, 10);
	if (f)
		fclose(f);
	return kb;
}

static long rss_before, tables_before;

static inline void begin_memory(void)
{
	rss_before = status_kb("VmRSS:");
	tables_before = status_kb("VmPTE:");
	begin();
}

static inline void end_memory(long n)
{
	char more[120];

	snprintf(more, sizeof(more), "\"rss\": %.1f, \"page_tables\": %.1f",
		 (double)(status_kb("VmRSS:") - rss_before) * 1024 / (double)n,
		 (double)(status_kb("VmPTE:") - tables_before) * 1024 / (double)n);
	end(n, more);
}

struct micro_row {
	const char *name;
	void (*run)(void);
};

static inline int micro_main(int argc, char **argv, const struct micro_row *rows,
			     size_t n, void (*run)(const struct micro_row *))
{
	micro_argc = argc;
	micro_argv = argv;
	for (size_t i = 0; i < n; i++) {
		if (argc > 1 && strcmp(argv[1], rows[i].name) == 0) {
			run(&rows[i]);
			return 0;
		}
	}
	fprintf(stderr, "%s: no row %s here\n", argv[0], argc > 1 ? argv[1] : "");
	return 77;
}

#endif
