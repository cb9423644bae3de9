/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* states.c - an ordinary threaded program whose threads stand where they are
 * told to, for those who look inside.
 *
 *	states WHAT...
 *
 * makes a thread for each WHAT, named after it, says "ready" when all of them
 * are there, and ends with 0 when its standard input does. Each thread gets
 * there through a function called stand_in_WHAT, so that a backtrace can be
 * known by it. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int nobody_writes[2];
static pthread_mutex_t nobody_unlocks = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t nobody_signals = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t beside = PTHREAD_MUTEX_INITIALIZER;
static sem_t nobody_posts;
static _Atomic int there;
static volatile int never;

/* Nothing here is inlined, and nothing ends in a jump: then it would not be in
 * the backtrace. */
#define PLACE static __attribute__((noinline))
#define STAY __asm__ volatile("" : : : "memory")

PLACE void stand_in_read(void)
{
	char byte;

	there++;
	if (read(nobody_writes[0], &byte, 1) < 0)
		perror("read");
	STAY;
}

PLACE void stand_in_mutex(void)
{
	there++;
	pthread_mutex_lock(&nobody_unlocks);
	STAY;
}

PLACE void stand_in_cond(void)
{
	pthread_mutex_lock(&beside);
	there++;
	while (!never)
		pthread_cond_wait(&nobody_signals, &beside);
	pthread_mutex_unlock(&beside);
	STAY;
}

PLACE void stand_in_sem(void)
{
	there++;
	sem_wait(&nobody_posts);
	STAY;
}

PLACE void stand_in_sleep(void)
{
	there++;
	sleep(1000);
	STAY;
}

/* The runtime hears nothing of this one. */
PLACE void stand_in_raw(void)
{
	char byte;

	there++;
#if defined(__x86_64__)
	long r;

	__asm__ volatile("syscall" : "=a"(r)
			 : "a"(SYS_read), "D"(nobody_writes[0]), "S"(&byte), "d"(1)
			 : "rcx", "r11", "memory");
#else
	syscall(SYS_read, nobody_writes[0], &byte, 1);
#endif
	STAY;
}

PLACE void stand_in_compute(void)
{
	there++;
	while (!never)
		STAY;
}

static const struct {
	const char *name;
	void (*stand)(void);
} places[] = {
	{ "read", stand_in_read },	 { "mutex", stand_in_mutex },
	{ "cond", stand_in_cond },	 { "sem", stand_in_sem },
	{ "sleep", stand_in_sleep },	 { "raw", stand_in_raw },
	{ "compute", stand_in_compute },
};

static void *stand(void *arg)
{
	const char *name = arg;

	pthread_setname_np(pthread_self(), name);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (strcmp(places[i].name, name) == 0)
			places[i].stand();
	return NULL;
}

/* A program that has a thread for signals, say. */
static void handler(int sig)
{
	(void)sig;
	sem_post(&nobody_posts);
}

int main(int argc, char **argv)
{
	int want = 0;
	pthread_t t;
	char byte;

	setbuf(stdout, NULL);
	if (pipe(nobody_writes))
		return 2;
	sem_init(&nobody_posts, 0, 0);
	pthread_mutex_lock(&nobody_unlocks);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--handler") == 0) {
			signal(SIGTERM, handler);
			continue;
		}
		if (strcmp(argv[i], "--join") == 0)
			continue;
		if (pthread_create(&t, NULL, stand, argv[i]))
			return 2;
		want++;
	}
	while (there < want)
		usleep(1000);
	puts("ready");
	/* The last of them, for ever, instead of standard input. */
	if (argc > 1 && strcmp(argv[argc - 1], "--join") == 0)
		pthread_join(t, NULL);
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}
