/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* stall.c - whatever some threads do, the others go on.
 *
 * Four threads compute without end and without a call; two sit in fgets on a
 * pipe, inside libc, where nothing in front of it sees the wait; one sits in
 * the kernel by a bare system call instruction, which nobody sees. On two
 * workers that is seven stuck threads. Meanwhile a ticker must tick, an echo
 * server and its client must exchange messages, and new threads must be made,
 * run and joined, each some number of times. Counts are asserted, not times:
 * what stalls never reaches its count.
 *
 * Then the seven are let go, and each must end with the right result. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../../support/expect.h"

#define COMPUTERS 4
#define SITTERS 2

#define TICKS 300
#define ECHOES 1000
#define NEWCOMERS 200

static atomic_bool stop;      /* the computers look at it, and make no call */
static atomic_int computing;
static atomic_int ticks, echoes, newcomers;

static void *compute(void *arg)
{
	uint64_t x = (uintptr_t)arg;

	atomic_fetch_add(&computing, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		x = x * 6364136223846793005u + 1442695040888963407u;
	return x ? arg : NULL;
}

struct sitter {
	pthread_t thread;
	int pipe[2];
	atomic_bool begun;
};

static void *sit_in_fgets(void *arg)
{
	struct sitter *s = arg;
	FILE *from = fdopen(s->pipe[0], "r");
	char line[64];

	atomic_store(&s->begun, true);
	if (!from || !fgets(line, sizeof(line), from) ||
	    strcmp(line, "go home\n") != 0)
		arg = NULL;
	if (from)
		fclose(from);
	return arg;
}

static void *sit_in_kernel(void *arg)
{
	struct sitter *s = arg;
	char line[64];
	long n;

	atomic_store(&s->begun, true);
	n = rawsys(SYS_read, s->pipe[0], line, sizeof(line));
	return n == 8 && memcmp(line, "go home\n", 8) == 0 ? arg : NULL;
}

static void *tick(void *arg)
{
	while (atomic_load(&ticks) < TICKS) {
		nap_us(1000);
		atomic_fetch_add(&ticks, 1);
	}
	return arg;
}

static void *serve(void *arg)
{
	int fd = accept((int)(intptr_t)arg, NULL, NULL);
	char text[64];
	ssize_t n;

	while ((n = recv(fd, text, sizeof(text), 0)) > 0)
		if (send(fd, text, n, 0) != n)
			break;
	close(fd);
	return n == 0 ? arg : NULL;
}

static bool call(int fd, int i)
{
	char said[32], heard[32];
	int size = snprintf(said, sizeof(said), "message %d", i) + 1;
	int n = 0;

	if (send(fd, said, size, 0) != size)
		return false;
	while (n < size) {
		ssize_t got = recv(fd, heard + n, size - n, 0);

		if (got <= 0)
			return false;
		n += got;
	}
	return memcmp(said, heard, size) == 0;
}

static void *call_server(void *arg)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, arg, sizeof(struct sockaddr_in)) != 0)
		return NULL;
	for (int i = 0; i < ECHOES; i++) {
		if (!call(fd, i))
			return NULL;
		atomic_fetch_add(&echoes, 1);
	}
	close(fd);
	return arg;
}

static void *come_and_go(void *arg)
{
	sched_yield();
	return arg;
}

/* In waves of eight, each wave joined before the next comes. */
static void *make_threads(void *arg)
{
	for (int wave = 0; wave < NEWCOMERS / 8; wave++) {
		pthread_t t[8];

		for (intptr_t i = 0; i < 8; i++)
			t[i] = start(come_and_go, (void *)(i + 1));
		for (intptr_t i = 0; i < 8; i++) {
			if (finish(t[i]) != (void *)(i + 1))
				return NULL;
			atomic_fetch_add(&newcomers, 1);
		}
	}
	return arg;
}

static struct sitter sitters[SITTERS + 1]; /* the last without libc */
static pthread_t computers[COMPUTERS];

static bool begin_to_block(void)
{
	for (int i = 0; i <= SITTERS; i++) {
		if (!EXPECT_OK(pipe(sitters[i].pipe)))
			return false;
		sitters[i].thread = start(i < SITTERS ? sit_in_fgets :
							sit_in_kernel,
					  &sitters[i]);
	}
	for (intptr_t i = 0; i < COMPUTERS; i++)
		computers[i] = start(compute, (void *)(i + 1));
	for (int i = 0; i <= SITTERS; i++)
		if (!WAIT_UNTIL(atomic_load(&sitters[i].begun)))
			return false;
	return WAIT_UNTIL(atomic_load(&computing) == COMPUTERS);
}

static void let_go(void)
{
	atomic_store(&stop, true);
	for (int i = 0; i <= SITTERS; i++) {
		EXPECT_EQ(write(sitters[i].pipe[1], "go home\n", 8), 8);
		EXPECT(finish(sitters[i].thread) == &sitters[i]);
	}
	for (intptr_t i = 0; i < COMPUTERS; i++)
		EXPECT(finish(computers[i]) == (void *)(i + 1));
}

static void nothing_stalls(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t size = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t ticker, server, client, maker;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (!EXPECT_OK(bind(listener, (struct sockaddr *)&at, size)) ||
	    !EXPECT_OK(listen(listener, 8)) ||
	    !EXPECT_OK(getsockname(listener, (struct sockaddr *)&at, &size)))
		return;
	if (!begin_to_block())
		return;

	ticker = start(tick, &ticks);
	server = start(serve, (void *)(intptr_t)listener);
	client = start(call_server, &at);
	maker = start(make_threads, &newcomers);

	EXPECT(finish(ticker) == &ticks);
	EXPECT(finish(client) == &at);
	EXPECT(finish(server) == (void *)(intptr_t)listener);
	EXPECT(finish(maker) == &newcomers);
	EXPECT_EQ(atomic_load(&ticks), TICKS);
	EXPECT_EQ(atomic_load(&echoes), ECHOES);
	EXPECT_EQ(atomic_load(&newcomers), NEWCOMERS);
	EXPECT_EQ(atomic_load(&computing), COMPUTERS);

	let_go();
	close(listener);
}

/* Spinning on a flag that another thread sets, more spinners than workers,
 * and the one who sets it starts last. */
static atomic_bool flag;

static void *spin_until_set(void *arg)
{
	while (!atomic_load_explicit(&flag, memory_order_acquire))
		;
	return arg;
}

static void *set_flag(void *arg)
{
	atomic_store_explicit(&flag, true, memory_order_release);
	return arg;
}

static void spinners_do_not_keep_out_who_would_end_their_spinning(void)
{
	pthread_t spinners[6], setter;

	for (int i = 0; i < 6; i++)
		spinners[i] = start(spin_until_set, &flag);
	setter = start(set_flag, &flag);
	for (int i = 0; i < 6; i++)
		EXPECT(finish(spinners[i]) == &flag);
	EXPECT(finish(setter) == &flag);
}

/* The polite kind yields; the others must come to their turn. */
static atomic_bool second_flag;

static void *yield_until_set(void *arg)
{
	while (!atomic_load(&second_flag))
		sched_yield();
	return arg;
}

static void *set_after_sleep(void *arg)
{
	nap_us(20000);
	atomic_store(&second_flag, true);
	return arg;
}

static void yielders_starve_neither_timers_nor_new_threads(void)
{
	pthread_t yielders[8], setter;

	for (int i = 0; i < 8; i++)
		yielders[i] = start(yield_until_set, &flag);
	setter = start(set_after_sleep, &flag);
	for (int i = 0; i < 8; i++)
		EXPECT(finish(yielders[i]) == &flag);
	EXPECT(finish(setter) == &flag);
}

/* The only one that a worker has, while others wait in the queue for everybody:
 * those that main starts. One more each time, so that whatever a worker counts
 * between two looks at that queue is once even and once odd. */
static void a_lone_yielder_lets_others_begin(void)
{
	pthread_t yielder;

	atomic_store(&second_flag, false);
	yielder = start(yield_until_set, &flag);
	for (int i = 0; i < 200; i++) {
		pthread_t t[5];
		int n = i % 5 + 1;

		for (int k = 0; k < n; k++)
			t[k] = start(set_flag, &t[k]);
		for (int k = 0; k < n; k++)
			EXPECT(finish(t[k]) == &t[k]);
	}
	atomic_store(&second_flag, true);
	EXPECT(finish(yielder) == &flag);
}

/* A holder in libc's own lock, asleep, and more who want it than workers. */
static FILE *shared;
static atomic_int wanting;

static void *want_file(void *arg)
{
	atomic_fetch_add(&wanting, 1);
	flockfile(shared);
	funlockfile(shared);
	return arg;
}

static void waiters_inside_libc_do_not_keep_out_the_holder(void)
{
	pthread_t t[6];

	if (!EXPECT(shared = fopen("/dev/null", "w")))
		return;
	flockfile(shared);
	for (int i = 0; i < 6; i++)
		t[i] = start(want_file, &flag);
	WAIT_UNTIL(atomic_load(&wanting) == 6);
	nap_us(20000);
	funlockfile(shared);
	for (int i = 0; i < 6; i++)
		EXPECT(finish(t[i]) == &flag);
	fclose(shared);
}

/* All sleep, and for long: one in the kernel for a lock of another process, one
 * for a word of it. The first then computes until the second has it. */
static void *tell_the_word(void *from)
{
	char byte;

	if (read(*(int *)from, &byte, 1) != 1)
		return NULL;
	atomic_store(&second_flag, true);
	return from;
}

/* The naps decide how long the others sleep, and not whether they go on. */
static bool hold_then_say(int file, int to)
{
	if (flock(file, LOCK_EX) != 0 || write(to, "h", 1) != 1)
		return false;
	nap_us(400000);
	if (flock(file, LOCK_UN) != 0)
		return false;
	nap_us(50000);
	return write(to, "s", 1) == 1;
}

static void who_computes_after_a_long_sleep_does_not_keep_out_the_rest(void)
{
	char name[] = "/tmp/stall-XXXXXX", byte;
	int file = mkstemp(name), say[2], status;
	pthread_t listener;
	pid_t holder;

	if (!EXPECT_OK(file) || !EXPECT_OK(unlink(name)) || !EXPECT_OK(pipe(say)))
		return;
	atomic_store(&second_flag, false);
	/* A lock is the open file's, which a child would share. */
	holder = fork();
	if (holder == 0) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
		_exit(!hold_then_say(open(name, O_RDWR), say[1]));
	}
	if (!EXPECT_OK(holder))
		return;
	close(say[1]);
	EXPECT_EQ(read(say[0], &byte, 1), 1);
	listener = start(tell_the_word, &say[0]);
	EXPECT_OK(flock(file, LOCK_EX));
	while (!atomic_load_explicit(&second_flag, memory_order_relaxed))
		;
	EXPECT(finish(listener) == &say[0]);
	EXPECT_EQ(waitpid(holder, &status, 0), holder);
	EXPECT_EQ(status, 0);
	close(say[0]);
	close(file);
}

static const struct expect_case cases[] = {
	CASE(nothing_stalls),
	CASE(spinners_do_not_keep_out_who_would_end_their_spinning),
	CASE(yielders_starve_neither_timers_nor_new_threads),
	CASE_IN_MAIN(a_lone_yielder_lets_others_begin),
	CASE(waiters_inside_libc_do_not_keep_out_the_holder),
	CASE(who_computes_after_a_long_sleep_does_not_keep_out_the_rest),
};
EXPECT_MAIN(cases)
