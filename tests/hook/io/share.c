/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* share.c - one descriptor, several threads.
 *
 * Readiness comes once for many who wait: if one wake-up is spent on a thread
 * that leaves something behind, somebody else must get the next. And a thread
 * that waits holds what it waits on: closing the number, or giving it to
 * something else, changes nothing for it, as the kernel has it. */
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "io.h"

#define MANY 16

/* ---- several readers, several writers ---- */

static void each_of_many_readers_gets_one_of_as_many_bytes(void)
{
	static const char bytes[MANY + 1] = "abcdefghijklmnop";
	struct caller c[MANY] = {0};
	int fd[2], sum = 0;

	if (!EXPECT_OK(pipe(fd)))
		return;
	for (int i = 0; i < MANY; i++) {
		c[i].size = 1;
		call_in_thread(&c[i], call_read, fd[0]);
	}
	EXPECT_EQ(write(fd[1], bytes, MANY), MANY);
	for (int i = 0; i < MANY; i++) {
		EXPECT_EQ(call_ended(&c[i]), 1);
		sum += c[i].bytes[0];
	}
	EXPECT_EQ(sum, MANY * 'a' + MANY * (MANY - 1) / 2);
	close_pair(fd);
}

static void the_end_of_a_pipe_wakes_all_who_read_it(void)
{
	struct caller c[MANY] = {0};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	for (int i = 0; i < MANY; i++)
		call_in_thread(&c[i], call_read, fd[0]);
	close(fd[1]);
	for (int i = 0; i < MANY; i++)
		EXPECT_EQ(call_ended(&c[i]), 0);
	close(fd[0]);
}

static void shutdown_wakes_all_who_read_a_socket(void)
{
	struct caller c[MANY] = {0};
	int fd[2];

	if (!tcp_pair(fd))
		return;
	for (int i = 0; i < MANY; i++)
		call_in_thread(&c[i], call_recv, fd[0]);
	EXPECT_OK(shutdown(fd[0], SHUT_RD));
	for (int i = 0; i < MANY; i++)
		EXPECT_EQ(call_ended(&c[i]), 0);
	close_pair(fd);
}

/* Records of four bytes: a pipe gives them whole to whoever asks for four. */
#define RECORDS 20000

static int record_pipe[2];
static atomic_long record_sum, record_count;

static void *read_records(void *arg)
{
	uint32_t record;
	ssize_t n;

	while ((n = read(record_pipe[0], &record, 4)) == 4) {
		atomic_fetch_add(&record_sum, record);
		atomic_fetch_add(&record_count, 1);
	}
	return n == 0 ? arg : NULL;
}

static void *write_records(void *arg)
{
	for (uint32_t i = 0; i < RECORDS / 4; i++)
		if (write(record_pipe[1], &i, 4) != 4)
			return NULL;
	return arg;
}

static void every_record_is_read_once_by_one_of_many_readers(void)
{
	pthread_t readers[MANY], writers[4];
	const long each = RECORDS / 4;

	if (!EXPECT_OK(pipe(record_pipe)))
		return;
	/* A small pipe: writers wait as much as readers do. */
	EXPECT_OK(fcntl(record_pipe[0], F_SETPIPE_SZ, 4096));
	for (int i = 0; i < MANY; i++)
		readers[i] = start(read_records, &record_sum);
	for (int i = 0; i < 4; i++)
		writers[i] = start(write_records, &record_sum);
	for (int i = 0; i < 4; i++)
		EXPECT(finish(writers[i]) == &record_sum);
	close(record_pipe[1]);
	for (int i = 0; i < MANY; i++)
		EXPECT(finish(readers[i]) == &record_sum);
	EXPECT_EQ(atomic_load(&record_count), RECORDS);
	EXPECT_EQ(atomic_load(&record_sum), 4 * each * (each - 1) / 2);
	close(record_pipe[0]);
}

static int datagrams[2];
static atomic_long whole, broken;

static void *read_datagrams(void *arg)
{
	unsigned char bytes[256];
	ssize_t n;

	while ((n = recv(datagrams[0], bytes, sizeof(bytes), 0)) > 1) {
		bool good = n == bytes[0];

		for (ssize_t i = 0; i < n; i++)
			good = good && bytes[i] == bytes[0];
		atomic_fetch_add(good ? &whole : &broken, 1);
	}
	return n == 1 ? arg : NULL;
}

static void *write_datagrams(void *arg)
{
	unsigned char bytes[256];

	for (int i = 0; i < 2000; i++) {
		int size = 2 + i % 200;

		memset(bytes, size, size);
		if (send(datagrams[1], bytes, size, 0) != size)
			return NULL;
	}
	return arg;
}

static void many_readers_of_datagrams_each_get_whole_ones(void)
{
	pthread_t readers[8], writers[2];

	if (!datagram_pair(datagrams))
		return;
	for (int i = 0; i < 8; i++)
		readers[i] = start(read_datagrams, &whole);
	for (int i = 0; i < 2; i++)
		writers[i] = start(write_datagrams, &whole);
	for (int i = 0; i < 2; i++)
		EXPECT(finish(writers[i]) == &whole);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(send(datagrams[1], "!", 1, 0), 1);
	for (int i = 0; i < 8; i++)
		EXPECT(finish(readers[i]) == &whole);
	EXPECT_EQ(atomic_load(&whole), 4000);
	EXPECT_EQ(atomic_load(&broken), 0);
	close_pair(datagrams);
}

/* Writes of up to PIPE_BUF are not mixed with others. */
static void *write_lines(void *arg)
{
	char line[200];

	memset(line, (int)(intptr_t)arg, sizeof(line));
	for (int i = 0; i < 500; i++)
		if (write(record_pipe[1], line, sizeof(line)) != sizeof(line))
			return NULL;
	return arg;
}

static void small_writes_of_many_threads_to_a_full_pipe_stay_whole(void)
{
	pthread_t writers[8];
	char line[200];
	int mixed = 0, lines = 0;

	if (!EXPECT_OK(pipe(record_pipe)))
		return;
	EXPECT_OK(fcntl(record_pipe[0], F_SETPIPE_SZ, 4096));
	for (intptr_t i = 0; i < 8; i++)
		writers[i] = start(write_lines, (void *)('a' + i));
	for (; lines < 8 * 500; lines++) {
		if (!read_all(record_pipe[0], line, sizeof(line)))
			break;
		for (size_t i = 1; i < sizeof(line); i++)
			mixed += line[i] != line[0];
	}
	for (intptr_t i = 0; i < 8; i++)
		EXPECT(finish(writers[i]) == (void *)('a' + i));
	EXPECT_EQ(lines, 8 * 500);
	EXPECT_EQ(mixed, 0);
	close_pair(record_pipe);
}

static long call_send_big(struct caller *c)
{
	size_t size = 1 << 20;
	char *bytes = calloc(1, size);
	long n = send(c->fd, bytes, size, 0);

	free(bytes);
	return n;
}

static void one_thread_reads_a_socket_that_another_waits_to_write(void)
{
	struct caller reads = {0}, writes = {0};
	static char sink[1 << 20];
	int fd[2];

	if (!stream_pair(fd))
		return;
	call_in_thread(&reads, call_recv, fd[0]);
	call_in_thread(&writes, call_send_big, fd[0]);
	EXPECT(!atomic_load(&reads.ended) && !atomic_load(&writes.ended));
	EXPECT_EQ(send(fd[1], "hello", 5, 0), 5);
	EXPECT_EQ(call_ended(&reads), 5);
	EXPECT(!atomic_load(&writes.ended));
	EXPECT(read_all(fd[1], sink, sizeof(sink)));
	EXPECT_EQ(call_ended(&writes), sizeof(sink));
	close_pair(fd);
}

static void threads_on_two_duplicates_of_one_socket_both_wake(void)
{
	struct caller a = {0}, b = {0};
	int fd[2], again;

	if (!stream_pair(fd) || !EXPECT_OK(again = dup(fd[0])))
		return;
	a.size = b.size = 1;
	call_in_thread(&a, call_recv, fd[0]);
	call_in_thread(&b, call_recv, again);
	EXPECT_EQ(send(fd[1], "xy", 2, 0), 2);
	EXPECT_EQ(call_ended(&a), 1);
	EXPECT_EQ(call_ended(&b), 1);
	EXPECT_EQ(a.bytes[0] + b.bytes[0], 'x' + 'y');
	close_pair(fd);
	close(again);
}

static long call_poll_in(struct caller *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN, .revents = 0};
	int n = poll(&p, 1, -1);

	return n == 1 ? p.revents : -1;
}

static void one_thread_polls_what_another_reads(void)
{
	struct caller polls = {0}, reads = {0};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	call_in_thread(&polls, call_poll_in, fd[0]);
	call_in_thread(&reads, call_read, fd[0]);
	/* The reader may take it before the other has looked: so one more. */
	EXPECT_EQ(write(fd[1], "1", 1), 1);
	EXPECT(call_ended(&reads) >= 1);
	EXPECT_EQ(write(fd[1], "2", 1), 1);
	EXPECT_EQ(call_ended(&polls), POLLIN);
	close_pair(fd);
}

static void a_semaphore_eventfd_lets_one_reader_go_for_each_count(void)
{
	struct caller c[MANY] = {0};
	int fd = eventfd(0, EFD_SEMAPHORE), n = 0;
	uint64_t some = MANY / 2;

	if (!EXPECT_OK(fd))
		return;
	for (int i = 0; i < MANY; i++)
		call_in_thread(&c[i], call_read, fd);
	EXPECT_EQ(write(fd, &some, 8), 8);
	WAIT_UNTIL(({
		n = 0;
		for (int i = 0; i < MANY; i++)
			n += atomic_load(&c[i].ended);
		n >= MANY / 2;
	}));
	settle();
	n = 0;
	for (int i = 0; i < MANY; i++)
		n += atomic_load(&c[i].ended);
	EXPECT_EQ(n, MANY / 2);
	EXPECT_EQ(write(fd, &some, 8), 8);
	for (int i = 0; i < MANY; i++)
		EXPECT_EQ(call_ended(&c[i]), 8);
	close(fd);
}

/* ---- one listener ---- */

#define CLIENTS 200

static int listener;
static struct sockaddr_in listener_at;
static atomic_int served;

static void *accept_and_answer(void *arg)
{
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		uint32_t number = 0;
		bool good = read_all(fd, &number, 4);

		number++;
		good = good && number && write(fd, &number, 4) == 4;
		close(fd);
		if (!good)
			break;
		atomic_fetch_add(&served, 1);
	}
	return errno == EINVAL ? arg : NULL;
}

static void *be_client(void *arg)
{
	uint32_t number = (uint32_t)(uintptr_t)arg, answer = 0;
	int fd = connect_to(&listener_at);
	bool good = fd >= 0 && write(fd, &number, 4) == 4 &&
		    read_all(fd, &answer, 4) && answer == number + 1 &&
		    read(fd, &answer, 1) == 0;

	close(fd);
	return good ? arg : NULL;
}

static void every_client_of_many_accepting_threads_is_answered_once(void)
{
	pthread_t acceptors[MANY], clients[CLIENTS];

	if ((listener = listen_at(&listener_at, CLIENTS)) < 0)
		return;
	for (int i = 0; i < MANY; i++)
		acceptors[i] = start(accept_and_answer, &served);
	for (intptr_t i = 0; i < CLIENTS; i++)
		clients[i] = start(be_client, (void *)(i + 1000));
	for (intptr_t i = 0; i < CLIENTS; i++)
		EXPECT(finish(clients[i]) == (void *)(i + 1000));
	WAIT_UNTIL(atomic_load(&served) == CLIENTS);
	/* A listener that is shut down lets all go, with EINVAL. */
	EXPECT_OK(shutdown(listener, SHUT_RDWR));
	for (int i = 0; i < MANY; i++)
		EXPECT(finish(acceptors[i]) == &served);
	EXPECT_EQ(atomic_load(&served), CLIENTS);
	close(listener);
}

/* ---- a number is closed or changes hands while a thread waits ---- */

static void who_reads_a_pipe_that_is_closed_meanwhile_gets_its_data(void)
{
	struct caller c = {0};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	call_in_thread(&c, call_read, fd[0]);
	EXPECT_OK(close(fd[0]));
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(fd[1], "late", 4), 4);
	EXPECT_EQ(call_ended(&c), 4);
	EXPECT(memcmp(c.bytes, "late", 4) == 0);
	/* and with the wait went the last to hold it */
	EXPECT_ERR(write(fd[1], "x", 1), EPIPE);
	close(fd[1]);
}

static void who_receives_on_a_socket_closed_meanwhile_gets_its_data(void)
{
	struct caller c = {0};
	int fd[2];

	if (!tcp_pair(fd))
		return;
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_OK(close(fd[0]));
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "late", 4, 0), 4);
	EXPECT_EQ(call_ended(&c), 4);
	EXPECT(memcmp(c.bytes, "late", 4) == 0);
	close(fd[1]);
}

static void a_reused_number_is_not_read_for_who_waited_on_the_old(void)
{
	struct caller c = {0};
	int old[2], young[2];
	char byte = 0;

	if (!EXPECT_OK(pipe(old)))
		return;
	call_in_thread(&c, call_read, old[0]);
	EXPECT_OK(close(old[0]));
	if (!EXPECT_OK(pipe(young)) || !EXPECT_EQ(young[0], old[0]))
		return;
	EXPECT_EQ(write(young[1], "n", 1), 1);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(old[1], "o", 1), 1);
	EXPECT_EQ(call_ended(&c), 1);
	EXPECT_EQ(c.bytes[0], 'o');
	EXPECT_EQ(read(young[0], &byte, 1), 1);
	EXPECT_EQ(byte, 'n');
	close(old[1]);
	close_pair(young);
}

static void dup2_over_a_number_leaves_who_waits_on_the_old(void)
{
	struct caller c = {0}, d = {0};
	int old[2], young[2];

	if (!stream_pair(old) || !stream_pair(young))
		return;
	call_in_thread(&c, call_recv, old[0]);
	EXPECT_EQ(dup2(young[0], old[0]), old[0]);
	call_in_thread(&d, call_recv, old[0]);
	EXPECT_EQ(send(young[1], "new", 3, 0), 3);
	EXPECT_EQ(call_ended(&d), 3);
	EXPECT(memcmp(d.bytes, "new", 3) == 0);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(old[1], "old", 3, 0), 3);
	EXPECT_EQ(call_ended(&c), 3);
	EXPECT(memcmp(c.bytes, "old", 3) == 0);
	close_pair(young);
	close_pair(old);
}

/* The old description had data waiting, and was registered wherever
 * readiness is registered; the new one behind the number must be seen. */
static void a_number_that_waited_before_waits_as_well_after_reuse(void)
{
	for (int i = 0; i < 200; i++) {
		struct caller c = {0};
		int fd[2];

		if (!(i % 2 ? stream_pair(fd) : EXPECT_OK(pipe(fd))))
			return;
		c.call = call_read;
		c.fd = fd[0];
		c.thread = start(caller_runs, &c);
		WAIT_UNTIL(atomic_load(&c.begun));
		if (i % 3)
			sched_yield();
		EXPECT_EQ(write(fd[1], &i, sizeof(i)), sizeof(i));
		EXPECT_EQ(call_ended(&c), sizeof(i));
		EXPECT(memcmp(c.bytes, &i, sizeof(i)) == 0);
		if (i % 5 == 0)
			EXPECT_EQ(write(fd[1], "unread", 6), 6);
		close_pair(fd);
	}
}

static void who_accepts_on_a_closed_listener_gets_the_next_caller(void)
{
	struct caller c = {0};
	struct sockaddr_in at;
	int fd = listen_at(&at, 4), client;

	if (fd < 0)
		return;
	call_in_thread(&c, call_accept, fd);
	EXPECT_OK(close(fd));
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT((client = connect_to(&at)) >= 0);
	EXPECT(call_ended(&c) >= 0);
	EXPECT_EQ(send((int)c.ret, "hi", 2, 0), 2);
	EXPECT_EQ(recv(client, c.bytes, 8, 0), 2);
	close(client);
	close((int)c.ret);
}

static void a_closed_duplicate_leaves_the_other_as_it_was(void)
{
	struct caller c = {0};
	int fd[2], again;

	if (!stream_pair(fd) || !EXPECT_OK(again = dup(fd[0])))
		return;
	call_in_thread(&c, call_recv, again);
	EXPECT_OK(close(fd[0]));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	call_in_thread(&c, call_recv, again);
	EXPECT_OK(close(fd[1]));
	EXPECT_EQ(call_ended(&c), 0);
	close(again);
}

static void close_range_spares_what_lies_outside_it(void)
{
	struct caller c = {0};
	int fd[2], high;

	if (!stream_pair(fd) ||
	    !EXPECT_OK(high = fcntl(fd[0], F_DUPFD, 200)))
		return;
	for (int i = 0; i < 20; i++)
		EXPECT_OK(dup2(fd[0], 220 + i));
	call_in_thread(&c, call_recv, high);
	EXPECT_OK(close_range(220, 239, 0));
	for (int i = 0; i < 20; i++)
		EXPECT_ERR(fcntl(220 + i, F_GETFD), EBADF);
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	close_pair(fd);
	close(high);
}

/* A program that closes all it knows nothing of, as daemons do, goes on. */
static void all_else_can_be_closed_and_threads_still_wait(void *arg)
{
	struct caller c = {0};
	int fd[2];

	(void)arg;
	EXPECT_OK(close_range(3, ~0u, 0));
	if (!EXPECT_OK(pipe(fd)))
		return;
	EXPECT_EQ(fd[0], 3);
	EXPECT_EQ(fd[1], 4);
	call_in_thread(&c, call_read, fd[0]);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(call_ended(&c), 1);
	nap_us(1000);
}

static void a_child_may_close_every_descriptor_and_go_on(void)
{
	expect_child(all_else_can_be_closed_and_threads_still_wait, NULL);
}

/* The numbers a program gets are the lowest free: nothing else takes them. */
static void new_descriptors_get_the_lowest_free_numbers(void)
{
	struct caller c = {0};
	int fd[2], next[2], low;

	if (!EXPECT_OK(pipe(fd)))
		return;
	low = fd[0] < fd[1] ? fd[0] : fd[1];
	call_in_thread(&c, call_read, fd[0]);
	if (!EXPECT_OK(pipe(next)))
		return;
	EXPECT(next[0] > low && next[1] == next[0] + 1);
	close_pair(next);
	EXPECT_EQ(dup(fd[1]), next[0]);
	close(next[0]);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(call_ended(&c), 1);
	close_pair(fd);
}

/* ---- descriptors of its own ---- */

/* Looks in vain at what it has itself behind that number. */
static void *look_elsewhere(void *arg)
{
	int fd = *(int *)arg, empty[2];
	struct pollfd p = {fd, POLLIN, 0};
	char byte;

	if (!EXPECT_OK(unshare(CLONE_FILES)) || !EXPECT_OK(pipe(empty)))
		return NULL;
	EXPECT_EQ(dup2(empty[0], fd), fd);
	EXPECT_EQ(poll(&p, 1, 0), 0);
	EXPECT_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	EXPECT_ERR(read(fd, &byte, 1), EAGAIN);
	EXPECT_EQ(write(empty[1], "m", 1), 1);
	EXPECT_EQ(poll(&p, 1, -1), 1);
	EXPECT_EQ(read(fd, &byte, 1), 1);
	EXPECT_EQ(byte, 'm');
	return arg;
}

/* The last: from here on nothing is known of any descriptor. */
static void who_has_descriptors_of_its_own_tells_nothing_of_others(void)
{
	struct caller c = {.size = 1};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	/* Two come at once, and one is left. */
	call_in_thread(&c, call_read, fd[0]);
	EXPECT_EQ(write(fd[1], "ab", 2), 2);
	EXPECT_EQ(call_ended(&c), 1);
	EXPECT(finish(start(look_elsewhere, &fd[0])) == &fd[0]);
	call_in_thread(&c, call_read, fd[0]);
	EXPECT_EQ(call_ended(&c), 1);
	EXPECT_EQ(c.bytes[0], 'b');
	close_pair(fd);
}

/* ---- what one sets while another asks ---- */

#define RACES 600

static int raced[2];
static _Atomic int begun, changed;

static void *change_what_is_read(void *arg)
{
	struct timeval soon = {0, 1000};

	for (int i = 1; i <= RACES; i++) {
		while (atomic_load(&begun) < i)
			sched_yield();
		for (volatile int k = i * 7 % 200; k > 0; k--)
			;
		if (i % 2 == 0)
			EXPECT_OK(fcntl(raced[0], F_SETFL, O_NONBLOCK));
		else
			EXPECT_OK(setsockopt(raced[0], SOL_SOCKET, SO_RCVTIMEO,
					     &soon, sizeof(soon)));
		EXPECT_EQ(write(raced[1], "x", 1), 1);
		atomic_store(&changed, i);
	}
	return arg;
}

/* Each socket is new: what is asked about it only once is asked just then. */
static void who_reads_while_another_sets_how_long_keeps_to_it(void)
{
	pthread_t t;
	char c[8];

	atomic_store(&begun, 0);
	atomic_store(&changed, 0);
	if (!EXPECT_EQ(pthread_create(&t, NULL, change_what_is_read, NULL), 0))
		return;
	for (int i = 1; i <= RACES; i++) {
		if (!EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, raced)))
			exit(1);
		if (i % 2 == 0)
			EXPECT_EQ(write(raced[1], "12345678", 8), 8);
		atomic_store(&begun, i);
		for (volatile int k = i * 3 % 200; k > 0; k--)
			;
		read(raced[0], c, sizeof(c));
		while (atomic_load(&changed) < i)
			sched_yield();
		while (recv(raced[0], c, sizeof(c), MSG_DONTWAIT) > 0)
			;
		EXPECT_ERR(read(raced[0], c, sizeof(c)), EAGAIN);
		close_pair(raced);
	}
	pthread_join(t, NULL);
}

static const struct expect_case cases[] = {
	CASE(each_of_many_readers_gets_one_of_as_many_bytes),
	CASE(the_end_of_a_pipe_wakes_all_who_read_it),
	CASE(shutdown_wakes_all_who_read_a_socket),
	CASE(every_record_is_read_once_by_one_of_many_readers),
	CASE(many_readers_of_datagrams_each_get_whole_ones),
	CASE(small_writes_of_many_threads_to_a_full_pipe_stay_whole),
	CASE(one_thread_reads_a_socket_that_another_waits_to_write),
	CASE(threads_on_two_duplicates_of_one_socket_both_wake),
	CASE(one_thread_polls_what_another_reads),
	CASE(a_semaphore_eventfd_lets_one_reader_go_for_each_count),
	CASE(every_client_of_many_accepting_threads_is_answered_once),
	CASE(who_reads_a_pipe_that_is_closed_meanwhile_gets_its_data),
	CASE(who_receives_on_a_socket_closed_meanwhile_gets_its_data),
	CASE(a_reused_number_is_not_read_for_who_waited_on_the_old),
	CASE(dup2_over_a_number_leaves_who_waits_on_the_old),
	CASE(a_number_that_waited_before_waits_as_well_after_reuse),
	CASE(who_accepts_on_a_closed_listener_gets_the_next_caller),
	CASE(a_closed_duplicate_leaves_the_other_as_it_was),
	CASE(close_range_spares_what_lies_outside_it),
	CASE(a_child_may_close_every_descriptor_and_go_on),
	CASE(new_descriptors_get_the_lowest_free_numbers),
	CASE(who_has_descriptors_of_its_own_tells_nothing_of_others),
	CASE(who_reads_while_another_sets_how_long_keeps_to_it),
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
