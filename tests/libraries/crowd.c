/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* crowd.c - so many at once that use one library.
 *
 * They meet with pthread's own mutex and condition, so that coroutines and threads
 * do the same; in a program that is linked with us these park. */
#include "crowd.h"
#include <cogo.h>
#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ul
#define LOOKS 1000

struct crowd crowd = { .members = 500, .rounds = 10 };

struct member {
	void (*fn)(int);
	int number;
	size_t stack;		/* how much of it has been touched */
	pthread_t thread;
	struct cogo_coro *coro;
};
static struct member *members;

static struct {
	pthread_mutex_t lock;
	pthread_cond_t all;
	int come, times;	/* under lock */
} meeting = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 };

static _Atomic long trips;
static int in_flight, elsewhere;
static double wall, cpu;

/* ---- what is measured ---------------------------------------------------- */

/* Whether a kernel thread is in a call that a library would wait in. Ours wait for
 * each other, for readiness and for signals. */
static bool waits_elsewhere(const char *task)
{
	char path[64];
	long call = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/syscall", task);
	f = fopen(path, "r");
	/* "running" is no number. */
	if (f && fscanf(f, "%ld", &call) != 1)
		call = -1;
	if (f)
		fclose(f);
	return call != -1 && call != SYS_futex && call != SYS_epoll_pwait &&
	       call != SYS_epoll_pwait2 && call != SYS_rt_sigtimedwait;
}

static int kernel_threads(int *ret_elsewhere)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int n = 0, there = 0;

	check(d != NULL, "/proc/self/task: %m");
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		/* Main is here, and looks. */
		if (ret_elsewhere && atoi(e->d_name) != getpid())
			there += waits_elsewhere(e->d_name);
	}
	closedir(d);
	if (ret_elsewhere)
		*ret_elsewhere = there;
	return n;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* From the top down to the lowest page that is there: a page that nobody has
 * touched is not. Stacks that are used again keep some. */
static size_t touched(void)
{
	unsigned char there;
	pthread_attr_t attr;
	uintptr_t low, at;
	size_t size;
	void *base;

	if (pthread_getattr_np(pthread_self(), &attr))
		return 0;
	pthread_attr_getstack(&attr, &base, &size);
	pthread_attr_destroy(&attr);
	low = ((uintptr_t)base + PAGE - 1) & ~(PAGE - 1);
	at = low;
	while (at < (uintptr_t)base + size &&
	       (mincore((void *)at, PAGE, &there) || !(there & 1)))
		at += PAGE;
	return (uintptr_t)base + size - at;
}

/* ---- members ------------------------------------------------------------- */

static void live(void *arg)
{
	struct member *m = arg;

	m->fn(m->number);
	m->stack = touched();
}

static void *live_as_thread(void *arg)
{
	live(arg);
	return NULL;
}

void crowd_begin(void (*member)(int))
{
	pthread_attr_t attr;
	int r;

	members = calloc((size_t)crowd.members, sizeof(*members));
	check(members != NULL, "no memory");
	pthread_attr_init(&attr);
	/* As large as a coroutine's, so that the pages say the same. */
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (int i = 0; i < crowd.members; i++) {
		struct member *m = &members[i];

		m->fn = member;
		m->number = i;
		if (crowd.threads)
			r = pthread_create(&m->thread, &attr, live_as_thread, m);
		else
			r = -cogo_go(&m->coro, NULL, live, m);
		check(r == 0, "member %d: %s", i, strerror(r));
	}
	pthread_attr_destroy(&attr);
}

void crowd_meet(void)
{
	int time;

	pthread_mutex_lock(&meeting.lock);
	time = meeting.times;
	if (++meeting.come == crowd.members) {
		meeting.come = 0;
		meeting.times++;
		pthread_cond_broadcast(&meeting.all);
	}
	while (time == meeting.times)
		pthread_cond_wait(&meeting.all, &meeting.lock);
	pthread_mutex_unlock(&meeting.lock);
}

void crowd_in_flight(void)
{
	/* One that is looked at may be on its way in or out. Threads do wait in
	 * the library, and show that they would be seen. */
	for (int i = 0; i < LOOKS; i++) {
		in_flight = kernel_threads(&elsewhere);
		if (crowd.threads ? elsewhere >= crowd.members / 2 : !elsewhere)
			break;
		crowd_moment();
	}
	/* What main has asked meanwhile is not what is compared. */
	trips = 0;
	wall = seconds();
	cpu = cpu_seconds();
}

void crowd_trips(int more)
{
	/* relaxed: main reads it when it has joined all. */
	atomic_fetch_add_explicit(&trips, more, memory_order_relaxed);
}

void crowd_moment(void)
{
	struct timespec t = { 0, 5000000 };

	nanosleep(&t, NULL);
}

void crowd_end(void)
{
	size_t stack = 0;

	for (int i = 0; i < crowd.members; i++) {
		if (crowd.threads)
			pthread_join(members[i].thread, NULL);
		else
			check(cogo_join(members[i].coro) == COGO_RETURNED,
			      "member %d did not return", i);
		if (members[i].stack > stack)
			stack = members[i].stack;
	}
	wall = seconds() - wall;
	cpu = cpu_seconds() - cpu;
	/* What ever ran a coroutine is still there: so this is the most that
	 * there were at once. */
	printf("members=%d in_flight=%d elsewhere=%d at_end=%d trips=%ld seconds=%.3f "
	       "cpu=%.3f stack=%zu\n", crowd.members, in_flight,
	       elsewhere, kernel_threads(NULL), trips, wall, cpu, stack);
	free(members);
}

/* ---- words and bytes ----------------------------------------------------- */

void crowd_wrong(const char *file, int line, const char *what,
		 const char *format, ...)
{
	int e = errno;
	va_list ap;

	flockfile(stderr);
	fprintf(stderr, "%s:%d: not so: %s: ", file, line, what);
	errno = e;
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	fflush(stderr);
	_exit(1);
}

void crowd_text(char *ret, size_t size, uint64_t number)
{
	uint64_t x = number * 0x9e3779b97f4a7c15ull + 1;

	for (size_t i = 0; i + 1 < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		ret[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[x >> 58];
	}
	ret[size - 1] = 0;
}

static int number(const char *text, const char *usage)
{
	char *end;
	long n = text ? strtol(text, &end, 10) : 0;

	if (n < 1 || n > 100000 || *end) {
		fprintf(stderr, "usage: %s\n", usage);
		exit(2);
	}
	return (int)n;
}

void crowd_options(char **argv, int args, const char *usage)
{
	char **arg = argv + 1;

	for (; *arg && !strncmp(*arg, "--", 2); arg++) {
		if (!strcmp(*arg, "--threads"))
			crowd.threads = true;
		else if (!strcmp(*arg, "--members"))
			crowd.members = number(*++arg, usage);
		else if (!strcmp(*arg, "--rounds"))
			crowd.rounds = number(*++arg, usage);
		else
			number(NULL, usage);
	}
	crowd.args = arg;
	for (; *arg; arg++)
		args--;
	if (args)
		number(NULL, usage);
}
