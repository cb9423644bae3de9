/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* signals.c - signals at random to threads that do all kinds of things.
 *
 * Threads sleep, read, lock, wait, compute, raise, and block and unblock. Others
 * send them queued signals, of three sorts:
 *
 *	TO_ONE		to a certain thread, numbered: handled by it and nobody
 *			else, each, and in their order
 *	TO_ALL		to the process: handled by somebody who does not block it
 *	AWAITED		blocked by all: to the process, and to two threads that
 *			wait for them; fetched, each, by one it was meant for
 *
 * and a standard one besides, to disturb. Whoever handles one has the mask of the
 * handler; whoever comes back from one has his own. Run bare and as coroutines;
 * some threads are kernel_*, to be bound. Argument: the seed. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS	 16
#define KERNEL	 4	/* of them */
#define WAITERS	 2
#define SENDERS	 3
#define SENDS	 40000	/* by each */
#define FLYING	 200	/* sent and not yet handled */
#define TO_ONE	 (SIGRTMIN + 1)
#define TO_ALL	 (SIGRTMIN + 2)
#define AWAITED	 (SIGRTMIN + 3)
#define DISTURB	 SIGUSR1

static uint64_t seed;
static atomic_long failures;

static void check(bool good, int line, const char *text)
{
	char say[160];
	int n;

	if (good || atomic_fetch_add(&failures, 1) > 20)
		return;
	n = snprintf(say, sizeof(say), "signals.c:%d: not so: %s\n", line, text);
	while (write(1, say, (size_t)n) < 0 && errno == EINTR)
		;
}
#define CHECK(cond) check((cond) ? true : false, __LINE__, #cond)

static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static unsigned below(uint64_t *state, unsigned n)
{
	return (unsigned)(next(state) >> 33) % n;
}

/* ---- what each thread knows of itself ---- */

static _Thread_local int index_of_me = -1;
static _Thread_local int blocked[NSIG];	/* by me, when no handler runs */
static _Thread_local int raised;
static _Thread_local uint32_t last[SENDERS];

static pthread_t workers[WORKERS], waiters[WAITERS];
static atomic_long sent, handled, disturbed;
static atomic_long sent_to_all, handled_to_all, sum_sent, sum_handled;
static atomic_bool stop;
static atomic_int up;	/* who know their index */

static bool blocks(int sig)
{
	sigset_t set;

	pthread_sigmask(SIG_BLOCK, NULL, &set);
	return sigismember(&set, sig) == 1;
}

/* To whom, from whom, the how manieth; each fits a signal's value. */
static int letter(int to, int from, uint32_t number)
{
	return (int)((uint32_t)to << 24 | (uint32_t)from << 20 | number);
}

static void on_one(int sig, siginfo_t *info, void *context)
{
	uint32_t v = (uint32_t)info->si_value.sival_int;
	int from = v >> 20 & 15, kept = errno;

	(void)context;
	CHECK((int)(v >> 24) == index_of_me);
	CHECK(info->si_code == SI_QUEUE);
	CHECK(!blocked[sig]);
	CHECK((v & 0xfffff) > last[from]);
	last[from] = v & 0xfffff;
	CHECK(blocks(TO_ONE) && blocks(TO_ALL) && blocks(DISTURB));
	atomic_fetch_add(&handled, 1);
	errno = kept;
}

static void on_all(int sig, siginfo_t *info, void *context)
{
	int kept = errno;

	(void)context;
	CHECK(index_of_me >= 0 && index_of_me < WORKERS);
	CHECK(!blocked[sig]);
	CHECK(blocks(TO_ALL) && !blocks(SIGUSR2));
	atomic_fetch_add(&sum_handled, info->si_value.sival_int);
	atomic_fetch_add(&handled_to_all, 1);
	atomic_fetch_add(&handled, 1);
	errno = kept;
}

static void on_disturb(int sig)
{
	CHECK(!blocked[sig]);
	raised++;
	atomic_fetch_add(&disturbed, 1);
}

/* ---- what they do ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static long counted, counts;

static void nap_us(long us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

static struct timespec in_us(long us)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += us * 1000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	return t;
}

static void lock_and_wait(uint64_t *dice)
{
	struct timespec due = in_us(500);
	int r;

	CHECK(pthread_mutex_lock(&mutex) == 0);
	counted++;
	if (below(dice, 2)) {
		r = pthread_cond_timedwait(&cond, &mutex, &due);
		CHECK(r == 0 || r == ETIMEDOUT);
	} else {
		CHECK(pthread_cond_signal(&cond) == 0);
	}
	counts++;
	CHECK(pthread_mutex_unlock(&mutex) == 0);
}

static void block_for_a_while(uint64_t *dice)
{
	int sig = below(dice, 2) ? TO_ONE : TO_ALL;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	blocked[sig] = 1;
	nap_us(below(dice, 200));
	CHECK(blocks(sig) && blocks(AWAITED) && !blocks(DISTURB));
	blocked[sig] = 0;
	CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
	CHECK(!blocks(sig));
}

static void wait_masked(uint64_t *dice)
{
	struct timespec span = { 0, 1000 * below(dice, 800) };
	sigset_t set;

	pthread_sigmask(SIG_BLOCK, NULL, &set);
	if (below(dice, 2)) {
		sigaddset(&set, TO_ONE);
		CHECK(ppoll(NULL, 0, &span, &set) == 0 || errno == EINTR);
	} else {
		/* blocked all around, and let in by the wait alone */
		sigset_t inner = set, outer = set;

		sigaddset(&outer, TO_ONE);
		pthread_sigmask(SIG_SETMASK, &outer, NULL);
		CHECK(ppoll(NULL, 0, &span, &inner) == 0 || errno == EINTR);
		CHECK(blocks(TO_ONE));
		pthread_sigmask(SIG_SETMASK, &set, NULL);
	}
	CHECK(!blocks(TO_ONE) && !blocks(TO_ALL) && blocks(AWAITED));
}

static void pass_a_byte(int *fd, uint64_t *dice)
{
	struct pollfd p = { fd[0], POLLIN, 0 };
	char c = (char)below(dice, 256), back = 0;

	while (write(fd[1], &c, 1) != 1)
		CHECK(errno == EINTR);
	if (below(dice, 2))
		while (poll(&p, 1, -1) != 1)
			CHECK(errno == EINTR);
	while (read(fd[0], &back, 1) != 1)
		CHECK(errno == EINTR);
	CHECK(back == c);
}

static void raise_it(void)
{
	int before = raised;

	CHECK(raise(DISTURB) == 0);
	CHECK(raised > before);
}

static void compute(uint64_t *dice)
{
	uint64_t a = next(dice), b = a;

	for (unsigned n = below(dice, 200) * 100; n; n--) {
		uint64_t x = next(&a);

		if (x != next(&b))
			CHECK(!"registers are as they were");
	}
}

static void work(int i)
{
	uint64_t dice = seed + 1000 + (uint64_t)i;
	struct timespec due;
	int fd[2];

	index_of_me = i;
	atomic_fetch_add(&up, 1);
	CHECK(pipe(fd) == 0);
	while (!atomic_load(&stop)) {
		switch (below(&dice, 9)) {
		case 0:
			nap_us(below(&dice, 300));
			break;
		case 1:
			pass_a_byte(fd, &dice);
			break;
		case 2:
			lock_and_wait(&dice);
			break;
		case 3:
			due = in_us(below(&dice, 500));
			CHECK(sem_timedwait(&sem, &due) == 0 ||
			      errno == ETIMEDOUT || errno == EINTR);
			break;
		case 4:
			compute(&dice);
			break;
		case 5:
			block_for_a_while(&dice);
			break;
		case 6:
			wait_masked(&dice);
			break;
		case 7:
			raise_it();
			break;
		default:
			sem_post(&sem);
			sched_yield();
		}
	}
	close(fd[0]);
	close(fd[1]);
}

static void *coroutine_work(void *arg)
{
	work((int)(intptr_t)arg);
	return arg;
}

void *kernel_work(void *arg);

void *kernel_work(void *arg)
{
	work((int)(intptr_t)arg);
	return arg;
}

static void *wait_for_some(void *arg)
{
	int me = (int)(intptr_t)arg;
	struct timespec brief = { 0, 20000000 };
	siginfo_t info;
	sigset_t set;

	index_of_me = WORKERS + me;
	atomic_fetch_add(&up, 1);
	sigemptyset(&set);
	sigaddset(&set, AWAITED);
	for (;;) {
		int sig = sigtimedwait(&set, &info, &brief);
		int to;

		if (sig < 0) {
			CHECK(errno == EAGAIN || errno == EINTR);
			if (atomic_load(&stop))
				return arg;
			continue;
		}
		to = info.si_value.sival_int >> 24;
		CHECK(sig == AWAITED);
		CHECK(to == 0 || to == 1 + me);
		atomic_fetch_add(&sum_handled, info.si_value.sival_int & 0xfffff);
		atomic_fetch_add(&handled, 1);
	}
}

/* ---- who sends ---- */

static int send_one(int from, uint64_t *dice, uint32_t *numbers)
{
	union sigval v;
	int to, r;

	switch (below(dice, 6)) {
	case 0:
		v.sival_int = (int)below(dice, 1000);
		r = sigqueue(getpid(), TO_ALL, v);
		if (r == 0)
			atomic_fetch_add(&sent_to_all, 1);
		break;
	case 1:
		v.sival_int = (int)below(dice, 1000);
		r = sigqueue(getpid(), AWAITED, v);
		break;
	case 2:
		to = (int)below(dice, WAITERS);
		v.sival_int = (1 + to) << 24 | (int)below(dice, 1000);
		r = pthread_sigqueue(waiters[to], AWAITED, v);
		break;
	case 3:
		CHECK(pthread_kill(workers[below(dice, WORKERS)], DISTURB) == 0);
		return 1;
	default:
		to = (int)below(dice, WORKERS);
		v.sival_int = letter(to, from, numbers[to] + 1);
		r = pthread_sigqueue(workers[to], TO_ONE, v);
		if (r == 0)
			numbers[to]++;
		if (r == 0)
			atomic_fetch_add(&sent, 1);
		return r == 0;
	}
	if (r == 0) {
		atomic_fetch_add(&sum_sent, v.sival_int & 0xfffff);
		atomic_fetch_add(&sent, 1);
	}
	return r == 0;
}

static void *send_all(void *arg)
{
	int me = (int)(intptr_t)arg;
	uint64_t dice = seed + 2000 + (uint64_t)me;
	uint32_t numbers[WORKERS] = { 0 };

	for (int i = 0; i < SENDS;) {
		while (atomic_load(&sent) - atomic_load(&handled) > FLYING)
			nap_us(20);
		i += send_one(me, &dice, numbers);
		if (below(&dice, 50) == 0)
			nap_us(below(&dice, 500));
	}
	return arg;
}

static void set_up(void)
{
	struct sigaction one = { .sa_sigaction = on_one, .sa_flags = SA_SIGINFO },
			 all = { .sa_sigaction = on_all,
				 .sa_flags = SA_SIGINFO | SA_RESTART },
			 disturb = { .sa_handler = on_disturb };
	sigset_t set;

	sigaddset(&one.sa_mask, TO_ALL);
	sigaddset(&one.sa_mask, DISTURB);
	sigaction(TO_ONE, &one, NULL);
	sigaction(TO_ALL, &all, NULL);
	sigaction(DISTURB, &disturb, NULL);
	sigemptyset(&set);
	sigaddset(&set, AWAITED);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sem_init(&sem, 0, 0);
}

int main(int argc, char **argv)
{
	pthread_t senders[SENDERS];
	struct timespec now;
	sigset_t set;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = argc > 1 ? strtoull(argv[1], NULL, 0)
			: (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	alarm(250);
	set_up();
	for (intptr_t i = 0; i < WORKERS; i++)
		CHECK(pthread_create(&workers[i], NULL,
				     i < KERNEL ? kernel_work : coroutine_work,
				     (void *)i) == 0);
	/* From here on what is sent to the process is the workers'. */
	sigemptyset(&set);
	sigaddset(&set, TO_ONE);
	sigaddset(&set, TO_ALL);
	sigaddset(&set, DISTURB);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (intptr_t i = 0; i < WAITERS; i++)
		CHECK(pthread_create(&waiters[i], NULL, wait_for_some,
				     (void *)i) == 0);
	while (atomic_load(&up) < WORKERS + WAITERS)
		nap_us(1000);
	for (intptr_t i = 0; i < SENDERS; i++)
		CHECK(pthread_create(&senders[i], NULL, send_all, (void *)i) == 0);
	for (int i = 0; i < SENDERS; i++)
		pthread_join(senders[i], NULL);
	for (int i = 0; i < 30000 && atomic_load(&handled) < atomic_load(&sent); i++)
		nap_us(2000);
	atomic_store(&stop, true);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i], NULL);
	for (int i = 0; i < WAITERS; i++)
		pthread_join(waiters[i], NULL);
	CHECK(handled == sent);
	CHECK(handled_to_all == sent_to_all);
	CHECK(sum_handled == sum_sent);
	CHECK(counted == counts);
	CHECK(disturbed > 0);
	printf("%ld sent, %ld handled, %ld to all of %ld, %ld failures\n",
	       (long)sent, (long)handled, (long)handled_to_all,
	       (long)sent_to_all, (long)failures);
	return failures ? 1 : 0;
}
