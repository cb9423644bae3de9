/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What libraries ask of the thread that they run on, asked on coroutines of a
 * program that is linked with us: who it is, where its stack lies, what it is
 * called; that it keeps errno and its keys; and that it may wait for a thread. */
#include "crowd.h"
#include <cogo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic int handled, destroyed;
static _Thread_local int on_me;

static void on_signal(int sig)
{
	(void)sig;
	on_me++;
	handled++;
}

static void its_stack_is_where_it_stands(void *arg)
{
	char here, *base;
	pthread_attr_t attr;
	size_t size;
	int state;

	(void)arg;
	check(pthread_getattr_np(pthread_self(), &attr) == 0, "no attributes");
	pthread_attr_getstack(&attr, (void **)&base, &size);
	pthread_attr_getdetachstate(&attr, &state);
	check(&here > base && &here < base + size, "%p is not in %p, %zu", &here,
	      base, size);
	check(size > 128 << 10 && size < 512 << 10, "%zu", size);
	check(state == PTHREAD_CREATE_DETACHED, "it could be joined");
	/* As far down as it says. */
	memset(base + 4096, 1, 100);
	pthread_attr_destroy(&attr);
}

static void it_has_a_name(void *arg)
{
	char name[16];

	(void)arg;
	check(pthread_setname_np(pthread_self(), "librarian") == 0, "no name");
	check(pthread_getname_np(pthread_self(), name, sizeof(name)) == 0 &&
	      !strcmp(name, "librarian"), "another name");
	check(!strcmp(cogo_name(cogo_self()), "librarian"), "to us");
	check(pthread_setname_np(pthread_self(), "sixteen letters!") == ERANGE,
	      "a name that is too long");
}

static void it_runs_somewhere(void *arg)
{
	struct sched_param p;
	cpu_set_t set;
	int policy;

	(void)arg;
	check(pthread_getaffinity_np(pthread_self(), sizeof(set), &set) == 0 &&
	      CPU_COUNT(&set) > 0, "on no processor");
	check(pthread_getschedparam(pthread_self(), &policy, &p) == 0, "policy");
}

static void a_signal_for_itself_is_handled_there(void *arg)
{
	(void)arg;
	check(pthread_kill(pthread_self(), SIGUSR1) == 0, "not sent");
	check(on_me == 1, "handled elsewhere");
	check(pthread_kill(pthread_self(), 0) == 0, "it is not there");
	check(pthread_kill(pthread_self(), 65) == EINVAL, "signal 65");
}

struct sleeper {
	pthread_t me;
	_Atomic bool ready;
};

static void sleep_(void *arg)
{
	struct sleeper *s = arg;
	sigset_t usr1, none;

	sigemptyset(&usr1);
	sigemptyset(&none);
	sigaddset(&usr1, SIGUSR1);
	/* So that it cannot come before the wait. */
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	s->me = pthread_self();
	s->ready = true;
	check(sigsuspend(&none) == -1 && errno == EINTR, "it slept on");
	check(on_me == 1, "handled elsewhere");
}

/* From main, a kernel thread. */
static void a_signal_for_another_ends_its_wait(void)
{
	struct sleeper s = { 0 };
	struct cogo_coro *c;

	check(cogo_go(&c, NULL, sleep_, &s) == 0, "cogo_go");
	while (!s.ready)
		crowd_moment();
	check(pthread_join(s.me, NULL) == EINVAL, "joined");
	check(pthread_detach(s.me) == EINVAL, "detached");
	check(pthread_kill(s.me, SIGUSR1) == 0, "not sent");
	check(cogo_join(c) == COGO_RETURNED, "it did not return");
}

static void *wait_for_word(void *arg)
{
	struct sleeper *s = arg;

	while (!s->ready)
		crowd_moment();
	return s;
}

static void give_word(void *arg)
{
	((struct sleeper *)arg)->ready = true;
}

/* Which stays a kernel thread. Who is to let it go needs a worker meanwhile. */
static void it_may_wait_for_a_thread(void *arg)
{
	struct sleeper s = { 0 };
	struct cogo_coro *c;
	void *result;

	(void)arg;
	check(pthread_create(&s.me, NULL, wait_for_word, &s) == 0, "no thread");
	check(cogo_go(&c, NULL, give_word, &s) == 0, "cogo_go");
	check(pthread_join(s.me, &result) == 0 && result == &s, "join");
	cogo_join(c);
}

static pthread_key_t key;

static void destroy(void *value)
{
	destroyed += *(int *)value;
	free(value);
}

static void keys_and_errno_are_its_own(void *arg)
{
	int number = (int)(intptr_t)arg, *value = malloc(sizeof(*value));

	check(value != NULL, "no memory");
	*value = number;
	pthread_setspecific(key, value);
	for (int i = 0; i < 10; i++) {
		errno = number;
		crowd_moment();
		check(errno == number, "%d became %d", number, errno);
		check(pthread_getspecific(key) == value, "another's value");
	}
}

static void alone(void (*fn)(void *))
{
	struct cogo_coro *c;

	check(cogo_go(&c, NULL, fn, NULL) == 0, "cogo_go");
	check(cogo_join(c) == COGO_RETURNED, "it did not return");
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct cogo_coro *c[100];

	sigaction(SIGUSR1, &act, NULL);
	pthread_key_create(&key, destroy);
	alone(its_stack_is_where_it_stands);
	alone(it_has_a_name);
	alone(it_runs_somewhere);
	alone(a_signal_for_itself_is_handled_there);
	a_signal_for_another_ends_its_wait();
	check(handled == 2, "%d signals", handled);
	alone(it_may_wait_for_a_thread);
	for (int i = 0; i < 100; i++)
		check(cogo_go(&c[i], NULL, keys_and_errno_are_its_own,
			      (void *)(intptr_t)(i + 1)) == 0, "cogo_go");
	for (int i = 0; i < 100; i++)
		cogo_join(c[i]);
	check(destroyed == 5050, "destructors: %d", destroyed);
	return 0;
}
