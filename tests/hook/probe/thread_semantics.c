/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* thread_semantics.c - what a thread has to itself, and keeps while it waits.
 *
 * A crowd of threads, each with a value of its own, waits again and again in
 * different ways; in between, each looks whether the value is still its own.
 * The locks of stdio, recursive and error-checking mutexes know their owner:
 * a thread, not what it runs on. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

#define CROWD 16
#define ROUNDS 200

static bool crowd(void *(*fn)(void *))
{
	pthread_t t[CROWD];
	void *good;

	for (intptr_t i = 0; i < CROWD; i++)
		MUST(pthread_create(&t[i], NULL, fn, (void *)(i + 1)) == 0);
	for (intptr_t i = 0; i < CROWD; i++)
		MUST(pthread_join(t[i], &good) == 0 && good == (void *)(i + 1));
	return true;
}

/* Some of the ways to be off and on again. Each succeeds, so none may change
 * errno. */
static void be_away(int round)
{
	switch (round % 4) {
	case 0:
		sched_yield();
		break;
	case 1:
		usleep(1);
		break;
	case 2:
		poll(NULL, 0, 1);
		break;
	default:
		nanosleep(&(struct timespec){0, 1000}, NULL);
	}
}

/* The compiler takes &errno for a constant; this asks each time. */
static int *(*volatile fresh_errno)(void) = __errno_location;

static void *keeps_errno(void *arg)
{
	int *const where = &errno;

	for (int i = 0; i < ROUNDS; i++) {
		int mine = (int)(intptr_t)arg * 1000 + i;

		errno = mine;
		be_away(i);
		if (errno != mine)
			return NULL;
		if (!SHARES_STORAGE && (fresh_errno() != where || *where != mine))
			return NULL;
	}
	return arg;
}

static bool errno_co(void)
{
	MUST(crowd(keeps_errno));
	return true;
}

static __thread intptr_t own = -1;
static __thread struct {
	char pad[100];
	intptr_t zero;
} own_zero;

static void *keeps_tls(void *arg)
{
	if (own != -1 || own_zero.zero != 0)
		return NULL;
	for (int i = 0; i < ROUNDS; i++) {
		own = (intptr_t)arg * 1000 + i;
		own_zero.zero = -own;
		be_away(i);
		if (own != (intptr_t)arg * 1000 + i || own_zero.zero != -own)
			return NULL;
	}
	return arg;
}

static bool tls_co(void)
{
	if (SHARES_STORAGE)
		probe_skip(NO_STORAGE);
	MUST(crowd(keeps_tls));
	MUST(own == -1);
	return true;
}

static pthread_key_t key;
static atomic_int destroyed;

static void count_destroyed(void *value)
{
	if (value)
		atomic_fetch_add(&destroyed, 1);
}

static void *keeps_key(void *arg)
{
	if (pthread_getspecific(key) != NULL)
		return NULL;
	for (int i = 0; i < ROUNDS; i++) {
		void *value = (void *)((intptr_t)arg * 1000 + i);

		if (pthread_setspecific(key, value) != 0)
			return NULL;
		be_away(i);
		if (pthread_getspecific(key) != value)
			return NULL;
	}
	return arg;
}

static bool key_co(void)
{
	MUST(pthread_key_create(&key, count_destroyed) == 0);
	MUST(crowd(keeps_key));
	MUST(atomic_load(&destroyed) == CROWD);
	MUST(pthread_getspecific(key) == NULL);
	MUST(pthread_key_delete(key) == 0);
	return true;
}

static pthread_t selves[CROWD + 1];
static atomic_int present;

static void *keeps_self(void *arg)
{
	pthread_t self = pthread_self();

	selves[(intptr_t)arg] = self;
	atomic_fetch_add(&present, 1);
	while (atomic_load(&present) < CROWD)
		usleep(100);
	for (int i = 0; i < ROUNDS; i++) {
		be_away(i);
		if (!pthread_equal(self, pthread_self()))
			return NULL;
	}
	for (intptr_t i = 1; i <= CROWD; i++)
		if (i != (intptr_t)arg && pthread_equal(selves[i], self))
			return NULL;
	return arg;
}

static bool self_co(void)
{
	MUST(crowd(keeps_self));
	return true;
}

/* Odd ones block SIGUSR1, even ones SIGUSR2; all inherit SIGHUP. */
static void *keeps_mask(void *arg)
{
	int mine = (intptr_t)arg % 2 ? SIGUSR1 : SIGUSR2;
	int others = (intptr_t)arg % 2 ? SIGUSR2 : SIGUSR1;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, mine);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL))
		return NULL;
	for (int i = 0; i < ROUNDS; i++) {
		be_away(i);
		if (pthread_sigmask(SIG_BLOCK, NULL, &set) ||
		    !sigismember(&set, mine) || sigismember(&set, others) ||
		    !sigismember(&set, SIGHUP))
			return NULL;
	}
	return arg;
}

static bool sigmask_co(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	MUST(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	MUST(crowd(keeps_mask));
	MUST(pthread_sigmask(SIG_BLOCK, NULL, &set) == 0);
	MUST(sigismember(&set, SIGHUP) && !sigismember(&set, SIGUSR1) &&
	     !sigismember(&set, SIGUSR2));
	return true;
}

/* ---- owners ---- */

static FILE *shared;
static pthread_mutex_t mutex;
static int asks[2];          /* the other thread says that it will wait now */
static atomic_bool let_go;

static void *wants_file(void *arg)
{
	bool busy = ftrylockfile(shared) != 0;

	if (!busy || write(asks[1], "x", 1) != 1)
		return NULL;
	flockfile(shared);
	if (!atomic_load(&let_go))
		arg = NULL;
	funlockfile(shared);
	return arg;
}

/* Held twice across a wait, wanted by another: it stays ours. */
static bool stdio_lock_co(void)
{
	void *good = NULL;
	pthread_t t;
	char c;

	MUST(pipe(asks) == 0);
	MUST((shared = fopen("/dev/null", "w")) != NULL);
	flockfile(shared);
	MUST(pthread_create(&t, NULL, wants_file, &key) == 0);
	MUST(read(asks[0], &c, 1) == 1);
	probe_nap_ms(30);
	flockfile(shared);
	MUST(ftrylockfile(shared) == 0);
	MUST(fprintf(shared, "ours\n") == 5);
	funlockfile(shared);
	funlockfile(shared);
	probe_nap_ms(30);
	atomic_store(&let_go, true);
	funlockfile(shared);
	MUST(pthread_join(t, &good) == 0 && good == &key);
	return true;
}

static bool mutex_of(int type)
{
	pthread_mutexattr_t attr;

	MUST(pthread_mutexattr_init(&attr) == 0);
	MUST(pthread_mutexattr_settype(&attr, type) == 0);
	MUST(pthread_mutex_init(&mutex, &attr) == 0);
	MUST(pthread_mutexattr_destroy(&attr) == 0);
	MUST(pipe(asks) == 0);
	return true;
}

static void *wants_mutex(void *arg)
{
	if (pthread_mutex_trylock(&mutex) != EBUSY ||
	    pthread_mutex_unlock(&mutex) != EPERM ||
	    write(asks[1], "x", 1) != 1)
		return NULL;
	if (pthread_mutex_lock(&mutex) != 0 || !atomic_load(&let_go))
		arg = NULL;
	pthread_mutex_unlock(&mutex);
	return arg;
}

static bool recmutex_co(void)
{
	void *good = NULL;
	pthread_t t;
	char c;

	MUST(mutex_of(PTHREAD_MUTEX_RECURSIVE));
	MUST(pthread_mutex_lock(&mutex) == 0);
	MUST(pthread_create(&t, NULL, wants_mutex, &key) == 0);
	MUST(read(asks[0], &c, 1) == 1);
	MUST(pthread_mutex_lock(&mutex) == 0);
	probe_nap_ms(30);
	MUST(pthread_mutex_trylock(&mutex) == 0);
	MUST(pthread_mutex_unlock(&mutex) == 0);
	MUST(pthread_mutex_unlock(&mutex) == 0);
	probe_nap_ms(30);
	atomic_store(&let_go, true);
	MUST(pthread_mutex_unlock(&mutex) == 0);
	MUST(pthread_join(t, &good) == 0 && good == &key);
	MUST(pthread_mutex_unlock(&mutex) == EPERM);
	return true;
}

static bool errchk_unlock(void)
{
	void *good = NULL;
	pthread_t t;
	char c;

	MUST(mutex_of(PTHREAD_MUTEX_ERRORCHECK));
	MUST(pthread_mutex_unlock(&mutex) == EPERM);
	MUST(pthread_mutex_lock(&mutex) == 0);
	MUST(pthread_mutex_lock(&mutex) == EDEADLK);
	MUST(pthread_mutex_trylock(&mutex) == EBUSY);
	MUST(pthread_create(&t, NULL, wants_mutex, &key) == 0);
	MUST(read(asks[0], &c, 1) == 1);
	probe_nap_ms(30);
	MUST(pthread_mutex_lock(&mutex) == EDEADLK);
	atomic_store(&let_go, true);
	MUST(pthread_mutex_unlock(&mutex) == 0);
	MUST(pthread_join(t, &good) == 0 && good == &key);
	MUST(pthread_mutex_destroy(&mutex) == 0);
	return true;
}

/* ---- stacks ---- */

static volatile int bottomless = 1;

__attribute__((noinline)) static int fall(int depth)
{
	volatile char frame[512];

	frame[0] = (char)depth;
	return bottomless ? fall(depth + 1) + frame[0] : 0;
}

static void *falls(void *arg)
{
	fall(0);
	return arg;
}

/* Whoever overflows a stack dies of it, by the signal that says so. */
static bool overflow(void)
{
	struct rlimit no_core = {0, 0};
	int status = -1;
	pthread_t t;
	pid_t pid;

	MUST((pid = fork()) >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		alarm(50);
		pthread_create(&t, NULL, falls, NULL);
		pthread_join(t, NULL);
		_exit(1);
	}
	MUST(waitpid(pid, &status, 0) == pid);
	MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	return true;
}

#define MEGABYTE (1 << 20)

static void *uses_six_megabytes(void *arg)
{
	volatile unsigned char room[6 * MEGABYTE];

	for (int i = 0; i < 6 * MEGABYTE; i += 64)
		room[i] = (unsigned char)(i >> 6);
	for (int i = 0; i < 8; i++)
		be_away(i);
	for (int i = 0; i < 6 * MEGABYTE; i += 64)
		if (room[i] != (unsigned char)(i >> 6))
			return NULL;
	return arg;
}

static bool bigstack(void)
{
	pthread_attr_t attr;
	pthread_t t[4];
	void *good;

	MUST(pthread_attr_init(&attr) == 0);
	MUST(pthread_attr_setstacksize(&attr, 8 * MEGABYTE) == 0);
	for (int i = 0; i < 4; i++)
		MUST(pthread_create(&t[i], &attr, uses_six_megabytes, &key) == 0);
	for (int i = 0; i < 4; i++)
		MUST(pthread_join(t[i], &good) == 0 && good == &key);
	return true;
}

const struct semantic thread_semantics[] = {
	{"errno_co", errno_co},
	{"tls_co", tls_co},
	{"key_co", key_co},
	{"self_co", self_co},
	{"sigmask_co", sigmask_co},
	{"stdio_lock_co", stdio_lock_co},
	{"recmutex_co", recmutex_co},
	{"errchk_unlock", errchk_unlock},
	{"overflow", overflow},
	{"bigstack", bigstack},
	{0},
};
