/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/preload.c - coming to life inside somebody else's program. */
#include "base/conf.h"
#include "base/sys.h"
#include "boot.h"
#include "hook/gate.h"
#include "hook/real.h"
#include "hook/thread/cancel.h"
#include "hook/thread/thread.h"
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <pthread.h>
#include <signal.h>

/* Kernel threads of the runtime's: every signal blocked, since what arrives is
 * meant for the program's threads, and a stack that is small, since all they
 * run is the loop, and what is called on it for libc's sake (on_worker). */
#define WORKER_STACK (256 << 10)

static int start_thread(void *(*entry)(void *), void *arg)
{
	uint64_t all = ~(uint64_t)0 & ~((uint64_t)3 << 31), before;
	pthread_attr_t attr;
	pthread_t t;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, WORKER_STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
	r = REAL(pthread_create)(&t, &attr, entry, arg);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	pthread_attr_destroy(&attr);
	return -r;
}

static struct boot_real lent = {
	.start_thread = start_thread,
	.thread_ends = thread_ends,
};

__attribute__((constructor)) static void come_to_life(void)
{
	lent.clone = REAL(clone);
	lent.thread_exit = REAL(pthread_exit);
	lent.abort = REAL(abort);
	boot_use(&lent);
	cancel_load();
	boot_load();
	gate_load();
	thread_watch_ends();
	if (!gate_ours)
		return;
	if (sys_gettid() == sys_getpid())
		self_or_adopt();	/* main */
	if (gate_threads())
		thread_load();
}
