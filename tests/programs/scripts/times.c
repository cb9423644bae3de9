/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* times.c - each way to wait for a time, in a thread of its own, and how long it
 * took by the clocks that the program is shown, and by none but those. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#define LONG 5 /* seconds */

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int fds[2];

static struct timespec later(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += LONG;
	return t;
}

/* libfaketime says anything as what was left of it. */
static int by_sleep(void)
{
	sleep(LONG);
	return 0;
}

static int by_usleep(void) { return usleep(LONG * 1000000); }

static int by_nanosleep(void)
{
	return nanosleep(&(struct timespec){LONG, 0}, NULL);
}

static int by_clock_nanosleep(void)
{
	struct timespec t = later();

	return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
}

static int by_poll(void)
{
	struct pollfd p = {fds[0], POLLIN, 0};

	return poll(&p, 1, LONG * 1000);
}

static int by_select(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fds[0], &set);
	return select(fds[0] + 1, &set, NULL, NULL, &(struct timeval){LONG, 0});
}

static int by_epoll(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	int fd = epoll_create1(0);

	epoll_ctl(fd, EPOLL_CTL_ADD, fds[0], &e);
	return epoll_wait(fd, &e, 1, LONG * 1000);
}

static int by_cond(void)
{
	struct timespec t = later();
	int r;

	pthread_mutex_lock(&m);
	r = pthread_cond_timedwait(&c, &m, &t);
	pthread_mutex_unlock(&m);
	return r == ETIMEDOUT ? 0 : r;
}

static const struct way {
	const char *name;
	int (*wait)(void);
} ways[] = {
	{"sleep", by_sleep},     {"usleep", by_usleep},
	{"nanosleep", by_nanosleep},
	{"clock_nanosleep", by_clock_nanosleep},
	{"poll", by_poll},       {"select", by_select},
	{"epoll_wait", by_epoll},
	{"pthread_cond_timedwait", by_cond},
};

#define MANY (sizeof(ways) / sizeof(ways[0]))

static void *measure(void *arg)
{
	const struct way *w = arg;
	struct timespec a, b;
	int r;

	clock_gettime(CLOCK_REALTIME, &a);
	r = w->wait();
	clock_gettime(CLOCK_REALTIME, &b);
	printf("%s %d %.2f\n", w->name, r,
	       (double)(b.tv_sec - a.tv_sec) +
		       (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	return NULL;
}

/* With an argument nobody waits, and the parts of a line are written. */
int main(int argc, char **argv)
{
	pthread_t t[MANY];
	time_t now = time(NULL);
	char day[32];

	(void)argv;
	if (argc > 1) {
		for (int i = 0; i < 5; i++)
			printf("%d ", i);
		puts("");
		return 0;
	}
	if (pipe(fds) != 0)
		return 1;
	for (size_t i = 0; i < MANY; i++)
		if (pthread_create(&t[i], NULL, measure, (void *)&ways[i]) != 0)
			return 1;
	for (size_t i = 0; i < MANY; i++)
		pthread_join(t[i], NULL);
	strftime(day, sizeof(day), "%F", localtime(&now));
	puts(day);
	return 0;
}
