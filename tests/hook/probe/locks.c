/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* locks.c - operations that wait for another thread.
 *
 * In those named *_co the other thread is the ticker. In those named
 * *_kthread it is one whose function is called kernel_thread_*: the build
 * runs this program with --bind 'kernel_thread_*', so that it stays a kernel
 * thread whatever becomes of the others; it does what it does when the ticker
 * sends it a byte. The functions are exported, so that the pattern finds
 * their names. */
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

#include "probe.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t sem;
static mtx_t mtx;
static uint32_t word;
static int owned; /* under mutex: who has it, or what the condition waits for */

static pthread_t kernel_thread;
static int ask[2]; /* main or ticker to the kernel thread */
static int say[2]; /* the kernel thread to main */

static bool asked(void)
{
	char c;

	MUST(read(ask[0], &c, 1) == 1);
	return true;
}

static bool tell_kernel_thread(void)
{
	MUST(write(ask[1], "x", 1) == 1);
	return true;
}

static bool start_kernel_thread(void *(*fn)(void *))
{
	char c;

	MUST(pipe(ask) == 0 && pipe(say) == 0);
	MUST(pthread_create(&kernel_thread, NULL, fn, NULL) == 0);
	MUST(read(say[0], &c, 1) == 1);
	return true;
}

static bool said_ready(void)
{
	MUST(write(say[1], "x", 1) == 1);
	return true;
}

/* ---- the other side is a kernel thread ---- */

void *kernel_thread_mutex(void *arg);
void *kernel_thread_cond(void *arg);
void *kernel_thread_sem(void *arg);
void *kernel_thread_ends(void *arg);

void *kernel_thread_mutex(void *arg)
{
	pthread_mutex_lock(&mutex);
	owned = 1;
	if (said_ready() && asked())
		owned = 2;
	pthread_mutex_unlock(&mutex);
	return arg;
}

static bool mutex_of_kernel_thread(void)
{
	return start_kernel_thread(kernel_thread_mutex);
}

static bool by_mutex(void)
{
	MUST(pthread_mutex_trylock(&mutex) == EBUSY);
	MUST_QUIETLY(pthread_mutex_lock(&mutex) == 0);
	MUST(owned == 2);
	MUST(pthread_mutex_unlock(&mutex) == 0);
	return true;
}

void *kernel_thread_cond(void *arg)
{
	if (!said_ready() || !asked())
		return NULL;
	pthread_mutex_lock(&mutex);
	owned = 3;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&mutex);
	return arg;
}

static bool cond_of_kernel_thread(void)
{
	return start_kernel_thread(kernel_thread_cond);
}

static bool by_cond(void)
{
	MUST(pthread_mutex_lock(&mutex) == 0);
	while (owned != 3)
		MUST_QUIETLY(pthread_cond_wait(&cond, &mutex) == 0);
	MUST(pthread_mutex_unlock(&mutex) == 0);
	return true;
}

void *kernel_thread_sem(void *arg)
{
	if (said_ready() && asked())
		sem_post(&sem);
	return arg;
}

static bool sem_of_kernel_thread(void)
{
	MUST(sem_init(&sem, 0, 0) == 0);
	return start_kernel_thread(kernel_thread_sem);
}

static bool by_sem(void)
{
	int value = -1;

	MUST_QUIETLY(sem_wait(&sem) == 0);
	MUST(sem_getvalue(&sem, &value) == 0 && value == 0);
	return true;
}

void *kernel_thread_ends(void *arg)
{
	(void)arg;
	return said_ready() && asked() ? (void *)42 : NULL;
}

static bool a_kernel_thread(void)
{
	return start_kernel_thread(kernel_thread_ends);
}

static bool by_join(void)
{
	void *result = NULL;

	MUST_QUIETLY(pthread_join(kernel_thread, &result) == 0);
	MUST(result == (void *)42);
	return true;
}

/* ---- the other side is the ticker ---- */

static bool hold_mutex(void)
{
	MUST(pthread_mutex_lock(&mutex) == 0);
	owned = 1;
	return true;
}

static bool let_mutex_go(void)
{
	owned = 2;
	MUST(pthread_mutex_unlock(&mutex) == 0);
	return true;
}

static bool signal_cond(void)
{
	MUST(pthread_mutex_lock(&mutex) == 0);
	owned = 3;
	MUST(pthread_cond_signal(&cond) == 0);
	MUST(pthread_mutex_unlock(&mutex) == 0);
	return true;
}

static bool empty_sem(void)
{
	MUST(sem_init(&sem, 0, 0) == 0);
	return true;
}

static bool post_sem(void)
{
	MUST(sem_post(&sem) == 0);
	return true;
}

static bool hold_rwlock(void)
{
	MUST(pthread_rwlock_wrlock(&rwlock) == 0);
	owned = 1;
	return true;
}

/* First it waits to read, then, while the ticker reads, to write. */
static bool by_rwlock(void)
{
	MUST(pthread_rwlock_tryrdlock(&rwlock) == EBUSY);
	MUST_QUIETLY(pthread_rwlock_rdlock(&rwlock) == 0);
	MUST(owned == 2);
	MUST(pthread_rwlock_unlock(&rwlock) == 0);
	MUST_QUIETLY(pthread_rwlock_wrlock(&rwlock) == 0);
	MUST(pthread_rwlock_unlock(&rwlock) == 0);
	return true;
}

static bool let_rwlock_go(void)
{
	owned = 2;
	MUST(pthread_rwlock_unlock(&rwlock) == 0);
	MUST(pthread_rwlock_rdlock(&rwlock) == 0);
	probe_nap_ms(20);
	MUST(pthread_rwlock_unlock(&rwlock) == 0);
	return true;
}

static bool a_mtx(void)
{
	MUST(mtx_init(&mtx, mtx_plain) == thrd_success);
	return true;
}

static bool hold_mtx(void)
{
	MUST(mtx_lock(&mtx) == thrd_success);
	owned = 1;
	return true;
}

static bool by_mtx(void)
{
	MUST(mtx_trylock(&mtx) == thrd_busy);
	MUST_QUIETLY(mtx_lock(&mtx) == thrd_success);
	MUST(owned == 2);
	MUST(mtx_unlock(&mtx) == thrd_success);
	return true;
}

static bool let_mtx_go(void)
{
	owned = 2;
	MUST(mtx_unlock(&mtx) == thrd_success);
	return true;
}

/* ---- below all of them ---- */

static bool by_futex(void)
{
	while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
		MUST_QUIETLY(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0,
				     NULL) == 0);
	errno = 0;
	MUST(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL) == -1 &&
	     errno == EAGAIN);
	return true;
}

static bool wake_futex(void)
{
	__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
	MUST(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1) == 1);
	return true;
}

const struct operation lock_operations[] = {
	{"mutex_kthread", mutex_of_kernel_thread, NULL, by_mutex,
	 tell_kernel_thread},
	{"cond_kthread", cond_of_kernel_thread, NULL, by_cond,
	 tell_kernel_thread},
	{"sem_kthread", sem_of_kernel_thread, NULL, by_sem, tell_kernel_thread},
	{"join_kthread", a_kernel_thread, NULL, by_join, tell_kernel_thread},
	{"mutex_co", NULL, hold_mutex, by_mutex, let_mutex_go},
	{"cond_co", NULL, NULL, by_cond, signal_cond},
	{"sem_co", empty_sem, NULL, by_sem, post_sem},
	{"rwlock_co", NULL, hold_rwlock, by_rwlock, let_rwlock_go},
	{"mtx_co", a_mtx, hold_mtx, by_mtx, let_mtx_go},
	{"futex", NULL, NULL, by_futex, wake_futex},
	{0},
};
