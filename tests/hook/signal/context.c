/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* context.c - programs that have several stacks in one thread, by makecontext and
 * swapcontext: what waits on such a stack goes on there, and each has the signal
 * mask that it had. */
#include "../../support/expect.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <ucontext.h>

#define STACK 65536

struct fibre {
	ucontext_t here, back;
	char *stack;
	int pair[2];
	int turns, sum;
};

static _Thread_local struct fibre *begun;

/* Gives back after each byte, which somebody else may have sent. */
static void fibre_main(void)
{
	struct fibre *f = begun;
	unsigned char byte;

	for (int i = 0; i < f->turns; i++) {
		if (read(f->pair[0], &byte, 1) == 1)
			f->sum += byte;
		swapcontext(&f->here, &f->back);
	}
}

static bool fibre_make(struct fibre *f, int turns)
{
	*f = (struct fibre){.turns = turns, .stack = malloc(STACK)};
	if (!EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, f->pair)))
		return false;
	getcontext(&f->here);
	f->here.uc_stack.ss_sp = f->stack;
	f->here.uc_stack.ss_size = STACK;
	f->here.uc_link = &f->back;
	makecontext(&f->here, fibre_main, 0);
	return true;
}

static void fibre_drop(struct fibre *f)
{
	close(f->pair[0]);
	close(f->pair[1]);
	free(f->stack);
}

/* ---- waits on stacks of one's own, of many threads ---- */

#define THREADS 20
#define FIBRES 5
#define TURNS 20

static void *send_all(void *arg)
{
	struct fibre *fibres = arg;

	for (int turn = 0; turn < TURNS; turn++)
		for (int i = 0; i < FIBRES; i++) {
			unsigned char byte = (unsigned char)(turn + i);

			usleep(100);
			if (write(fibres[i].pair[1], &byte, 1) != 1)
				return NULL;
		}
	return arg;
}

static void *run_fibres(void *arg)
{
	struct fibre fibres[FIBRES];
	pthread_t sender;
	bool good = true;

	for (int i = 0; i < FIBRES; i++)
		if (!fibre_make(&fibres[i], TURNS))
			return NULL;
	sender = start(send_all, fibres);
	for (int turn = 0; turn <= TURNS; turn++)
		for (int i = 0; i < FIBRES; i++) {
			begun = &fibres[i];
			good &= swapcontext(&fibres[i].back, &fibres[i].here) == 0;
		}
	good &= finish(sender) == fibres;
	for (int i = 0; i < FIBRES; i++) {
		good &= fibres[i].sum == TURNS * (TURNS - 1) / 2 + TURNS * i;
		fibre_drop(&fibres[i]);
	}
	return good ? arg : NULL;
}

static void a_wait_goes_on_on_the_stack_where_it_began(void)
{
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++)
		t[i] = start(run_fibres, &t[i]);
	for (int i = 0; i < THREADS; i++)
		EXPECT(finish(t[i]) == &t[i]);
}

/* ---- masks ---- */

static bool blocked(int sig)
{
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	return sigismember(&mask, sig);
}

static bool first_turn, second_turn;

static void masked_main(void)
{
	struct fibre *f = begun;
	sigset_t set;

	first_turn = blocked(SIGUSR1) && !blocked(SIGUSR2);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	swapcontext(&f->here, &f->back);
	second_turn = !blocked(SIGUSR1) && blocked(SIGUSR2);
}

static void *swap_masks(void *arg)
{
	struct fibre f;
	sigset_t set, none;

	if (!fibre_make(&f, 0))
		return NULL;
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	getcontext(&f.here);
	f.here.uc_stack.ss_sp = f.stack;
	f.here.uc_stack.ss_size = STACK;
	f.here.uc_link = &f.back;
	makecontext(&f.here, masked_main, 0);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	begun = &f;
	EXPECT_EQ(swapcontext(&f.back, &f.here), 0);
	EXPECT(!blocked(SIGUSR1) && !blocked(SIGUSR2));
	usleep(1000);
	EXPECT(!blocked(SIGUSR1) && !blocked(SIGUSR2));
	EXPECT(sigismember(&f.here.uc_sigmask, SIGUSR2));
	EXPECT(!sigismember(&f.back.uc_sigmask, SIGUSR1));
	EXPECT_EQ(swapcontext(&f.back, &f.here), 0);
	EXPECT(first_turn && second_turn);
	fibre_drop(&f);
	return arg;
}

static void each_context_has_the_mask_it_had(void)
{
	pthread_t t = start(swap_masks, &t);

	EXPECT(finish(t) == &t);
}

static atomic_int handled;

static void count(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
}

/* What was held back by one context's mask comes with another's. */
static void *swap_to_who_lets_it_in(void *arg)
{
	static volatile bool again;
	static ucontext_t open_to_all;
	sigset_t set;

	again = false;
	getcontext(&open_to_all);
	if (again)
		return atomic_load(&handled) == 1 ? arg : NULL;
	again = true;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_kill(pthread_self(), SIGUSR1);
	EXPECT_EQ(atomic_load(&handled), 0);
	setcontext(&open_to_all);
	return NULL;
}

static void a_signal_comes_with_the_context_that_lets_it_in(void)
{
	struct sigaction act = {.sa_handler = count};
	pthread_t t;

	atomic_store(&handled, 0);
	sigaction(SIGUSR1, &act, NULL);
	t = start(swap_to_who_lets_it_in, &t);
	EXPECT(finish(t) == &t);
}

static const struct expect_case cases[] = {
	CASE(a_wait_goes_on_on_the_stack_where_it_began),
	CASE(each_context_has_the_mask_it_had),
	CASE(a_signal_comes_with_the_context_that_lets_it_in),
};

int main(int argc, char **argv)
{
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
