/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* storm.c - everything goes on while signals rain on every thread.
 *
 *   storm [SIGNALS]
 *
 * Threads use locks, conditions, semaphores, pipes, memory, and make threads;
 * others send them signals, each of which is handled by a handler that itself
 * posts a semaphore and writes to a pipe. No pthread call may return EINTR
 * (the standard forbids it to each by name), no count may be off, and of the
 * queued signals none may be lost. */
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../../support/expect.h"

#define WORKERS 8
#define SENDERS 2

static int signals = 4000; /* by each sender */

static pthread_t workers[WORKERS];
static atomic_bool stop, up;
static atomic_int handled, refused, finished;

static sem_t posted;
static int written[2];

static void handle(int sig)
{
	int kept = errno;

	(void)sig;
	sem_post(&posted);
	if (write(written[1], "s", 1) != 1)
		atomic_fetch_add(&refused, 1);
	atomic_fetch_add(&handled, 1);
	errno = kept;
}

/* ---- work ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t checked = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_key_t key;
static long counted, checked_count;
static atomic_int failed_calls;
static int first_failure;

static void good(int err, int which)
{
	if (err && atomic_fetch_add(&failed_calls, 1) == 0)
		first_failure = which * 1000 + err;
}

static void *come_and_go(void *arg)
{
	return arg;
}

static void signal_and_wait(int i)
{
	struct timespec due = in_ms(CLOCK_REALTIME, 1);
	int err;

	good(pthread_mutex_lock(&mutex), 1);
	counted++;
	if (i % 2) {
		good(pthread_cond_signal(&cond), 2);
	} else {
		err = pthread_cond_timedwait(&cond, &mutex, &due);
		good(err == ETIMEDOUT ? 0 : err, 3);
	}
	good(pthread_mutex_unlock(&mutex), 4);
}

static void make_one(void)
{
	void *ret = NULL;
	pthread_t t;
	int err = pthread_create(&t, NULL, come_and_go, &key);

	good(err, 5);
	if (err == 0)
		good(pthread_join(t, &ret), 6);
	good(ret != &key, 7);
}

static void *work(void *arg)
{
	long turns = 0;
	char *memory;
	int fd[2];
	char c;

	(void)arg;
	good(pipe(fd), 8);
	while (!atomic_load(&up))
		sched_yield();
	for (int i = 0; !atomic_load(&stop); i++) {
		good(pthread_mutex_lock(&checked), 9);
		checked_count++;
		turns++;
		good(pthread_mutex_unlock(&checked), 10);
		signal_and_wait(i);
		good(pthread_rwlock_rdlock(&rwlock), 11);
		good(pthread_rwlock_unlock(&rwlock), 12);
		good(pthread_rwlock_wrlock(&rwlock), 13);
		good(pthread_rwlock_unlock(&rwlock), 14);
		good(pthread_setspecific(key, &turns), 15);
		memory = malloc(64 + i % 5000);
		memory[0] = 1;
		free(memory);
		if (i % 32 == 0)
			make_one();
		while (write(fd[1], "p", 1) != 1)
			good(errno != EINTR, 16);
		while (read(fd[0], &c, 1) != 1)
			good(errno != EINTR, 17);
		good(pthread_getspecific(key) != &turns, 18);
	}
	close(fd[0]);
	close(fd[1]);
	atomic_fetch_add(&finished, 1);
	return (void *)(intptr_t)turns;
}

/* Each signal is queued, so each is handled; how many may be under way is
 * bounded, or the kernel would refuse them. */
static atomic_int sent;

static void *send_signals(void *arg)
{
	unsigned dice = (unsigned)(uintptr_t)arg;
	union sigval value = {.sival_int = 0};

	for (int i = 0; i < signals; i++) {
		dice = dice * 1103515245 + 12345;
		while (atomic_load(&sent) - atomic_load(&handled) > 200)
			sched_yield();
		if (pthread_sigqueue(workers[(dice >> 16) % WORKERS],
				     SIGRTMIN + 1 + (dice >> 8) % 3, value) == 0)
			atomic_fetch_add(&sent, 1);
		else
			i--;
		if (i % 64 == 0)
			expect_enter("everything goes on under a storm");
	}
	return arg;
}

/* Empties what the handlers fill, and is signalled by nobody. */
static void *drain(void *arg)
{
	struct pollfd p = {written[0], POLLIN, 0};
	long n = 0;
	char some[512];

	(void)arg;
	while (!atomic_load(&stop) || poll(&p, 1, 0) == 1) {
		ssize_t got;

		if (poll(&p, 1, 10) != 1)
			continue;
		got = read(written[0], some, sizeof(some));
		if (got > 0)
			n += got;
	}
	return (void *)(intptr_t)n;
}

static void everything_goes_on_under_a_storm(void)
{
	struct sigaction action = {.sa_handler = handle};
	pthread_t senders[SENDERS], drainer;
	long turns = 0, drained;
	sigset_t set, old;
	int value = 0;

	sem_init(&posted, 0, 0);
	EXPECT_OK(pipe(written));
	EXPECT_EQ(pthread_key_create(&key, NULL), 0);
	sigemptyset(&set);
	for (int i = 1; i <= 3; i++) {
		EXPECT_OK(sigaction(SIGRTMIN + i, &action, NULL));
		sigaddset(&set, SIGRTMIN + i);
	}
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(work, NULL);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
	drainer = start(drain, NULL);
	for (intptr_t i = 0; i < SENDERS; i++)
		senders[i] = start(send_signals, (void *)(i + 1));
	atomic_store(&up, true);
	for (int i = 0; i < SENDERS; i++)
		finish(senders[i]);
	WAIT_UNTIL(atomic_load(&handled) == SENDERS * signals);
	atomic_store(&stop, true);
	for (int i = 0; i < WORKERS; i++)
		turns += (intptr_t)finish(workers[i]);
	drained = (intptr_t)finish(drainer);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	EXPECT_EQ(atomic_load(&sent), SENDERS * signals);
	EXPECT_EQ(atomic_load(&handled), SENDERS * signals);
	EXPECT_EQ(atomic_load(&refused), 0);
	EXPECT_EQ(drained, SENDERS * signals);
	EXPECT_OK(sem_getvalue(&posted, &value));
	EXPECT_EQ(value, SENDERS * signals);
	EXPECT_EQ(atomic_load(&failed_calls), 0);
	EXPECT_EQ(first_failure, 0);
	EXPECT_EQ(checked_count, turns);
	EXPECT_EQ(counted, turns);
	EXPECT_EQ(atomic_load(&finished), WORKERS);
	EXPECT_EQ(pthread_key_delete(key), 0);
}

static const struct expect_case cases[] = {
	CASE(everything_goes_on_under_a_storm),
};

int main(int argc, char **argv)
{
	if (argc > 1)
		signals = atoi(argv[1]);
	return expect_main(1, argv, cases, 1);
}
