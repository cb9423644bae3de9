/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tls_c.c - what is a thread's own stays its own, in C.
 *
 *   tls_c [THREADS [ROUNDS]]
 *
 * All threads are alive at once. In each round a thread writes a value that
 * no other writes, in no other round, into everything that is thread-local,
 * goes away, comes back perhaps elsewhere, and looks: errno by value and by
 * address, as the compiler remembers it, as it is found afresh, and as a
 * library finds it; variables of the program and of a library; a pthread key;
 * the lock of a FILE, taken twice, whose owner libc knows by the thread alone;
 * and memory that its malloc cache gave it. At the end each key destructor has
 * run once for each thread. */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "away.h"
#include "tls_lib.h"

#define STACK (256 << 10)

static int threads = 500;
static int rounds = 1000;

static __thread long own = 7;
static __thread char own_text[64];
static __thread long own_aligned __attribute__((aligned(64)));

static pthread_key_t key;
static atomic_int destroyed;
static atomic_long mismatches;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static int arrived; /* under gate */

static int *(*volatile fresh_errno)(void) = __errno_location;

static bool same(bool good, int who, int round, const char *what)
{
	if (good)
		return true;
	if (atomic_fetch_add(&mismatches, 1) < 20)
		fprintf(stderr, "thread %d, round %d: %s\n", who, round, what);
	return false;
}

#define SAME(cond) same((cond), who, round, #cond)

/* Nobody goes on before all are there. */
static void arrive(void)
{
	pthread_mutex_lock(&gate);
	if (++arrived == threads)
		pthread_cond_broadcast(&opened);
	while (arrived < threads)
		pthread_cond_wait(&opened, &gate);
	pthread_mutex_unlock(&gate);
}

static void destroy(void *value)
{
	free(value);
	atomic_fetch_add(&destroyed, 1);
}

/* errno first: everything after it may change it. */
static bool check_errno(int who, int round, const int *where)
{
	errno = 100000 + who + round;
	SAME(AWAY(who, round));
	return SAME(errno == 100000 + who + round) && SAME(&errno == where) &&
	       SAME(fresh_errno() == where) && SAME(tls_lib_errno() == where);
}

static bool check_variables(int who, int round, const long *where)
{
	long value = who * 10000L + round;
	char text[64];

	snprintf(text, sizeof(text), "%d/%d", who, round);
	own = value;
	own_aligned = ~value;
	strcpy(own_text, text);
	tls_lib_set(value);
	SAME(AWAY(who, round + 1));
	return SAME(own == value) && SAME(own_aligned == ~value) &&
	       SAME((uintptr_t)&own_aligned % 64 == 0) &&
	       SAME(strcmp(own_text, text) == 0) && SAME(tls_lib_has(value)) &&
	       SAME(&tls_lib_visible == where) &&
	       SAME(tls_lib_visible == value + 1);
}

static bool check_key(int who, int round, long *value)
{
	*value = who * 10000L + round;
	SAME(pthread_setspecific(key, value) == 0);
	SAME(AWAY(who, round + 2));
	return SAME(pthread_getspecific(key) == value) &&
	       SAME(*value == who * 10000L + round);
}

/* Held across two absences, by whoever holds it: us. */
static bool check_stdio_lock(int who, int round, FILE *file)
{
	flockfile(file);
	SAME(AWAY(who, round));
	SAME(ftrylockfile(file) == 0);
	SAME(AWAY(who, round + 1));
	SAME(fprintf(file, "%d\n", round) > 0);
	funlockfile(file);
	funlockfile(file);
	return true;
}

static bool check_memory(int who, int round)
{
	long *some = malloc(64);

	some[0] = some[7] = who ^ round;
	SAME(AWAY(who, round));
	SAME(some[0] == (who ^ round) && some[7] == some[0]);
	free(some);
	return true;
}

static void *live(void *arg)
{
	char sink[4096]; /* more than all rounds print */
	int who = (int)(intptr_t)arg;
	int round = -1;
	const int *where_errno = &errno;
	const long *where_visible = &tls_lib_visible;
	long *value = malloc(sizeof(*value));
	FILE *file = fmemopen(sink, sizeof(sink), "w");

	SAME(own == 7 && own_text[0] == 0 && own_aligned == 0);
	SAME(tls_lib_is_fresh());
	SAME(pthread_getspecific(key) == NULL);
	if (!file || !value)
		return NULL;
	setvbuf(file, NULL, _IONBF, 0);
	arrive();
	for (round = 0; round < rounds; round++) {
		check_errno(who, round, where_errno);
		check_variables(who, round, where_visible);
		if (round % 4 == 0)
			check_key(who, round, value);
		if (round % 16 == 0 && round < 8000)
			check_stdio_lock(who, round, file);
		if (round % 8 == 0)
			check_memory(who, round);
	}
	pthread_setspecific(key, value);
	fclose(file);
	return arg;
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	pthread_t *all;
	int bad = 0;

	if (argc > 1)
		threads = atoi(argv[1]);
	if (argc > 2)
		rounds = atoi(argv[2]);
	all = calloc(threads, sizeof(*all));
	away_init(threads);
	pthread_key_create(&key, destroy);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	for (int i = 0; i < threads; i++) {
		int err = pthread_create(&all[i], &attr, live,
					 (void *)(intptr_t)(i + 1));

		if (err) {
			fprintf(stderr, "thread %d: %s\n", i, strerror(err));
			return 2;
		}
	}
	for (int i = 0; i < threads; i++) {
		void *result;

		pthread_join(all[i], &result);
		bad += result != (void *)(intptr_t)(i + 1);
	}
	if (bad || destroyed != threads)
		fprintf(stderr, "%d threads failed, %d destructors ran\n", bad,
			destroyed);
	printf("%d threads, %d rounds: %ld mismatches\n", threads, rounds,
	       atomic_load(&mismatches));
	return bad || destroyed != threads || mismatches ? 1 : 0;
}
