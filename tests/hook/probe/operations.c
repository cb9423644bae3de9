/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* operations.c - does the ticker tick while another thread blocks?
 *
 * One thread performs the operation; another, the ticker, sleeps 10 ms again
 * and again and counts. What the operation waits for is done by the ticker
 * itself, once it has ticked TICKS times since the operation began. So
 * nothing is measured: where the operation holds up the ticker, its wait
 * never ends, and the runner says that it stalled. An operation that ends by
 * itself, a sleep, is repeated until the ticker got its ticks within one; it
 * must get them some time.
 *
 * A third thread is told of every tick, over a socket. It waits there from the
 * beginning, and what the kernel does for it then may disturb who sleeps in the
 * kernel: it must not be heard of.
 *
 *   op NAME cooperative right
 *
 * Anything else is a failure, and stderr has the reason. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "probe.h"

#define TICKS 10      /* the ticker's, before it releases */
#define SLEEP_TICKS 3 /* within an operation that is itself a sleep */
#define SLEEP_ROUNDS 20

#define WRONG 1       /* exit status of a child, or'ed */
#define UNCOOPERATIVE 2

static const struct operation *op;
static atomic_int ticks;
static int tells[2];
static atomic_int told;
static atomic_bool held;     /* hold is done, the operation may begin */
static atomic_bool begun;
static atomic_bool ended;
static atomic_bool early;    /* the operation ended before its release */
static atomic_int verdict;

static const struct operation *const tables[] = {
	reading_operations, writing_operations, waiting_operations,
	process_operations, lock_operations,	name_operations,
};

/* The tables end with an entry without a name. */
static const struct operation *nth(size_t i)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct operation *o = tables[t]; o->name; o++)
			if (i-- == 0)
				return o;
	return NULL;
}

static const char *name_of(size_t i)
{
	return nth(i)->name;
}

static void tick(void)
{
	char byte = 0;

	probe_nap_ms(10);
	atomic_fetch_add(&ticks, 1);
	if (send(tells[0], &byte, 1, 0) != 1)
		atomic_fetch_or(&verdict, WRONG);
}

static void *listener(void *arg)
{
	char byte;

	(void)arg;
	atomic_fetch_add(&told, 1);
	while (recv(tells[1], &byte, 1, 0) == 1)
		atomic_fetch_add(&told, 1);
	return NULL;
}

static void *ticker(void *arg)
{
	(void)arg;
	if (op->hold && !op->hold())
		atomic_fetch_or(&verdict, WRONG);
	atomic_store(&held, true);
	while (!atomic_load(&begun))
		probe_nap_ms(1);
	if (op->release) {
		for (int i = 0; i < TICKS; i++)
			tick();
		atomic_store(&early, atomic_load(&ended));
		if (!op->release())
			atomic_fetch_or(&verdict, WRONG);
	}
	while (!atomic_load(&ended))
		tick();
	return NULL;
}

static void run_released(void)
{
	atomic_store(&begun, true);
	if (!op->run())
		atomic_fetch_or(&verdict, WRONG);
	atomic_store(&ended, true);
}

static void run_sleep(void)
{
	int round = 0;
	int before;

	atomic_store(&begun, true);
	do {
		before = atomic_load(&ticks);
		if (!op->run()) {
			atomic_fetch_or(&verdict, WRONG);
			break;
		}
	} while (atomic_load(&ticks) - before < SLEEP_TICKS &&
		 ++round < SLEEP_ROUNDS);
	if (round == SLEEP_ROUNDS)
		atomic_fetch_or(&verdict, UNCOOPERATIVE);
	atomic_store(&ended, true);
}

static void *performer(void *arg)
{
	(void)arg;
	while (!atomic_load(&held))
		probe_nap_ms(1);
	if (op->release)
		run_released();
	else
		run_sleep();
	return NULL;
}

static int perform(size_t i)
{
	pthread_t listens, performs, ticks_on;

	op = nth(i);
	if (op->prepare && !op->prepare())
		return WRONG;
	if (!probe_socketpair(SOCK_STREAM, tells) ||
	    pthread_create(&listens, NULL, listener, NULL))
		return WRONG;
	while (!atomic_load(&told))
		probe_nap_ms(1);
	if (pthread_create(&ticks_on, NULL, ticker, NULL) ||
	    pthread_create(&performs, NULL, performer, NULL))
		return WRONG;
	pthread_join(performs, NULL);
	pthread_join(ticks_on, NULL);
	shutdown(tells[0], SHUT_WR);
	pthread_join(listens, NULL);
	if (atomic_load(&told) != atomic_load(&ticks) + 1) {
		fprintf(stderr, "%s: of %d ticks %d were told\n", op->name,
			atomic_load(&ticks), atomic_load(&told) - 1);
		atomic_fetch_or(&verdict, WRONG);
	}
	if (atomic_load(&early)) {
		fprintf(stderr, "%s: ended before its release\n", op->name);
		atomic_fetch_or(&verdict, WRONG);
	}
	return atomic_load(&verdict);
}

static void say(const char *name, int status, bool hung)
{
	if (hung)
		printf("op %s STALLED\n", name);
	else if (WIFSIGNALED(status))
		printf("op %s DIED of signal %d\n", name, WTERMSIG(status));
	else if (WEXITSTATUS(status) > (WRONG | UNCOOPERATIVE))
		printf("op %s EXITED with %d\n", name, WEXITSTATUS(status));
	else
		printf("op %s %s %s\n", name,
		       WEXITSTATUS(status) & UNCOOPERATIVE ? "UNCOOPERATIVE" :
							     "cooperative",
		       WEXITSTATUS(status) & WRONG ? "WRONG" : "right");
}

int main(int argc, char **argv)
{
	struct probe_table table = {0, name_of, perform, say};

	while (nth(table.count))
		table.count++;
	signal(SIGPIPE, SIG_IGN);
	return probe_run(argc, argv, &table, "cooperative and right");
}
