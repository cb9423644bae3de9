/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Who waits for which descriptor: with epoll as it is, or with io_uring where
 * UNIT_POLLER says so; and with a provider of our own that says what we want when we
 * want it. */
#include "event/poller.h"
#include "base/sys.h"
#include "coro/wait.h"
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>

static struct coro c[8];

/* A waiter of c[i] for fd. */
static struct poller_waiter waiter(int i, int fd, uint32_t events)
{
	return (struct poller_waiter){
		.coro = &c[i], .ticket = wait_open(&c[i]), .fd = fd,
		.asked = fd, .events = events,
	};
}

static int add(struct poller_waiter *w)
{
	bool dry;
	uint32_t in = poller_sample(w->fd, POLLER_IN, &dry);
	uint32_t out = poller_sample(w->fd, POLLER_OUT, &dry);

	return poller_add(w, in, out);
}

/* One poll that does not wait; how many were claimed. */
static int look(void)
{
	struct coro_list ready = { 0 };

	check(poller_poll(0, NULL, &ready) >= 0);
	return (int)ready.n;
}

static bool by_ring(void)
{
	const char *name = getenv("UNIT_POLLER");

	return name && strcmp(name, "io_uring") == 0;
}

static void prepare(int fds[2])
{
	if (by_ring())
		poller_use(&poller_uring);
	check_eq(poller_start(), 0);
	check(poller_started());
	if (by_ring() && strcmp(poller_name(), "io_uring") != 0)
		skip("io_uring cannot be had here");
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

static void say(int fd)
{
	check_eq(write(fd, "x", 1), 1);
}

static void hear(int fd)
{
	char room[100];

	check(read(fd, room, sizeof(room)) > 0);
}

Test(poller, what_happens_later_wakes_who_waits)
{
	struct poller_waiter w;
	int fds[2];

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	check_eq(look(), 0);
	say(fds[1]);
	check_eq(look(), 1);
	check_eq(wait_result(&c[0]), WAIT_WOKEN);
	check(w.revents & EPOLLIN);
	check(w.sure);
	check(!list_linked(&w.link));
	/* It is told once. */
	check_eq(look(), 0);
}

Test(poller, what_happened_before_the_first_wait_wakes_too)
{
	struct poller_waiter w;
	int fds[2];

	prepare(fds);
	say(fds[1]);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	check_eq(look(), 1);
	check(w.revents & EPOLLIN);
}

Test(poller, an_edge_after_the_sample_keeps_one_from_sleeping)
{
	struct poller_waiter first, w;
	uint32_t in, out;
	bool dry;
	int fds[2];

	prepare(fds);
	first = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&first), 0);
	in = poller_sample(fds[0], POLLER_IN, &dry);
	out = poller_sample(fds[0], POLLER_OUT, &dry);
	say(fds[1]);
	check_eq(look(), 1);
	w = waiter(1, fds[0], EPOLLIN);
	check_eq(poller_add(&w, in, out), 1);
	check(!list_linked(&w.link));
	/* With a sample that is newer it sleeps. */
	in = poller_sample(fds[0], POLLER_IN, &dry);
	check_eq(poller_add(&w, in, out), 0);
	check_eq(look(), 0);
	check_eq(wait_result(&c[1]), WAIT_OPEN);
	poller_del(&w);
	/* Who has none is older than any edge. */
	check_eq(poller_add(&w, POLLER_NO_SAMPLE, POLLER_NO_SAMPLE), 1);
}

Test(poller, a_try_in_vain_is_remembered_until_the_next_edge)
{
	struct poller_waiter w;
	uint32_t in;
	bool dry;
	int fds[2];

	prepare(fds);
	poller_sample(fds[0], POLLER_IN, &dry);
	check(!dry);
	/* Nobody tells of edges before it is registered. */
	poller_set_dry(fds[0], POLLER_IN, 0);
	poller_sample(fds[0], POLLER_IN, &dry);
	check(!dry);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	look();		/* writable: an edge of its own */
	in = poller_sample(fds[0], POLLER_IN, &dry);
	check(!dry);
	poller_set_dry(fds[0], POLLER_IN, in);
	poller_sample(fds[0], POLLER_IN, &dry);
	check(dry);
	poller_sample(fds[0], POLLER_OUT, &dry);
	check(!dry);
	say(fds[1]);
	check_eq(look(), 1);
	check(poller_sample(fds[0], POLLER_IN, &dry) != in);
	check(!dry);
}

Test(poller, each_direction_wakes_its_own)
{
	struct poller_waiter r, w, p;
	char much[4096] = { 0 };
	int fds[2];

	prepare(fds);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (write(fds[0], much, sizeof(much)) > 0)
		;
	r = waiter(0, fds[0], EPOLLIN | EPOLLRDHUP);
	w = waiter(1, fds[0], EPOLLOUT);
	p = waiter(2, fds[0], EPOLLPRI);
	check_eq(add(&r), 0);
	check_eq(add(&w), 0);
	check_eq(add(&p), 0);
	check_eq(look(), 0);
	say(fds[1]);
	check_eq(look(), 1);
	check_eq(wait_result(&c[0]), WAIT_WOKEN);
	check_eq(wait_result(&c[1]), WAIT_OPEN);
	check_eq(wait_result(&c[2]), WAIT_OPEN);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (read(fds[1], much, sizeof(much)) > 0)
		;
	check_eq(look(), 1);
	check_eq(wait_result(&c[1]), WAIT_WOKEN);
	check(w.revents & EPOLLOUT);
	check_eq(wait_result(&c[2]), WAIT_OPEN);
	/* An end is everybody's. */
	close(fds[1]);
	check_eq(look(), 1);
	check_eq(wait_result(&c[2]), WAIT_WOKEN);
	check(p.revents & EPOLLHUP);
}

Test(poller, all_who_wait_for_one_direction_are_woken)
{
	struct poller_waiter w[5];
	int fds[2];

	prepare(fds);
	for (int i = 0; i < 5; i++) {
		w[i] = waiter(i, fds[0], EPOLLIN);
		check_eq(add(&w[i]), 0);
	}
	say(fds[1]);
	check_eq(look(), 5);
}

Test(poller, who_was_claimed_otherwise_is_not_made_ready_twice)
{
	struct poller_waiter w;
	int fds[2];

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	check(wait_claim(&c[0], w.ticket, WAIT_TIMED_OUT));
	say(fds[1]);
	check_eq(look(), 0);
	poller_del(&w);
	check_eq(wait_result(&c[0]), WAIT_TIMED_OUT);
}

Test(poller, who_takes_himself_off_is_not_woken)
{
	struct poller_waiter w;
	int fds[2];

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	poller_del(&w);
	poller_del(&w);
	say(fds[1]);
	check_eq(look(), 0);
	check_eq(wait_result(&c[0]), WAIT_OPEN);
}

Test(poller, what_cannot_be_waited_for_is_said_to_be_so)
{
	struct poller_waiter w;
	int fds[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	prepare(fds);
	check(file >= 0);
	w = waiter(0, file, EPOLLIN);
	check_eq(add(&w), -EPERM);
	w = waiter(0, 1 << 19, EPOLLIN);
	check_eq(add(&w), -EBADF);
	w = waiter(0, 1 << 30, EPOLLIN);
	check(add(&w) < 0);
}

Test(poller, a_number_that_is_used_again_is_registered_again)
{
	struct coro_list ready = { 0 };
	struct poller_waiter w;
	int fds[2], again[2];

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	poller_del(&w);
	say(fds[1]);
	poller_forget(fds[0], &ready);
	check_eq(ready.n, 0);
	close(fds[0]);
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, again), 0);
	check_eq(again[0], fds[0]);
	w = waiter(0, again[0], EPOLLIN);
	check_eq(add(&w), 0);
	/* The old one's data is nothing to it. */
	check_eq(look(), 0);
	say(again[1]);
	check_eq(look(), 1);
}

Test(poller, who_waits_while_it_is_closed_waits_on_for_what_it_began_with)
{
	struct coro_list ready = { 0 };
	struct poller_waiter w[3];
	int fds[2], other[2];
	char x;

	prepare(fds);
	for (int i = 0; i < 3; i++) {
		w[i] = waiter(i, fds[0], EPOLLIN);
		check_eq(add(&w[i]), 0);
	}
	poller_forget(fds[0], &ready);
	check_eq(ready.n, 0);
	close(fds[0]);
	for (int i = 0; i < 3; i++)
		check(w[i].fd != fds[0] && w[i].fd == w[0].fd && w[i].fd >= 3);
	/* Somebody else gets the number, and data. */
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	check_eq(other[0], fds[0]);
	say(other[1]);
	check_eq(look(), 0);
	say(fds[1]);
	check_eq(look(), 3);
	check_eq(read(w[0].fd, &x, 1), 1);
	/* The last one out closes it. */
	for (int i = 0; i < 3; i++) {
		check(fcntl(w[0].fd, F_GETFD) >= 0);
		poller_release(&w[i], fds[0]);
	}
	check(fcntl(w[0].fd, F_GETFD) == -1 && errno == EBADF);
	/* And the peer has seen the end of it. */
	check_eq(read(fds[1], &x, 1), 0);
}

Test(poller, who_gives_up_after_it_was_closed_is_found_where_it_went)
{
	struct coro_list ready = { 0 };
	struct poller_waiter w;
	int fds[2];

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	poller_forget(fds[0], &ready);
	close(fds[0]);
	poller_del(&w);
	poller_release(&w, fds[0]);
	check(fcntl(w.fd, F_GETFD) == -1);
	check_eq(look(), 0);
	check_eq(wait_result(&c[0]), WAIT_OPEN);
}

Test(poller, who_comes_between_the_last_look_and_the_close_looks_again)
{
	struct coro_list ready = { 0 };
	struct poller_waiter w, next;
	int fds[2], other[2];

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	poller_del(&w);
	poller_forget(fds[0], &ready);
	/* Its own try was before. */
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	close(fds[0]);
	poller_renew(fds[0], &ready);
	check_eq(ready.n, 1);
	check(ready.head == &c[0] && !w.sure && w.fd == fds[0]);
	/* And the number, used again, is heard of. */
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	check_eq(other[0], fds[0]);
	next = waiter(1, other[0], EPOLLIN);
	check_eq(add(&next), 0);
	say(other[1]);
	check_eq(look(), 1);
}

Test(poller, renewing_takes_nothing_from_who_waits_for_the_new)
{
	struct coro_list ready = { 0 };
	struct poller_waiter w;
	int fds[2];

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	poller_renew(fds[0], &ready);
	check_eq(ready.n, 1);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	check_eq(look(), 0);
	say(fds[1]);
	check_eq(look(), 1);
	check(w.sure);
}

Test(poller, what_cannot_be_duplicated_is_told_to_who_waits)
{
	struct coro_list ready = { 0 };
	struct poller_waiter w;
	int fds[2];

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	close(fds[0]);
	poller_forget(fds[0], &ready);
	check_eq(ready.n, 1);
	check(ready.head == &c[0]);
	check(w.revents & EPOLLERR);
	check_eq(w.fd, fds[0]);
}

Test(poller, without_a_descriptor_left_who_waits_goes_on_above_the_limit)
{
	struct rlimit lim;
	struct coro_list ready = { 0 };
	struct poller_waiter w;
	int fds[2], highest = 0;

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	check_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
	lim.rlim_cur = 30;
	check_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	while (highest >= 0)
		highest = dup(0);
	poller_forget(fds[0], &ready);
	check_eq(ready.n, 0);
	check(w.fd >= 30 && poller_owns(w.fd));
	close(fds[0]);
	say(fds[1]);
	check_eq(look(), 1);
	hear(w.fd);
	poller_release(&w, fds[0]);
	check(!poller_owns(w.fd) && fcntl(w.fd, F_GETFD) == -1);
}

Test(poller, its_own_descriptors_are_out_of_the_programs_way)
{
	struct rlimit lim, now;
	int fds[2], mine = 0;

	check(!poller_owns(3));
	check_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
	lim.rlim_cur = 512;
	check_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	prepare(fds);
	for (int fd = 0; fd < 1024; fd++)
		if (poller_owns(fd)) {
			mine++;
			check(lim.rlim_max > 600 ? fd >= 512 : fd > 400);
			check_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
		}
	check_eq(mine, by_ring() ? 3 : 2);
	check(!poller_owns(-1));
	check(fds[0] < 20);
	check_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
	check_eq(now.rlim_cur, lim.rlim_cur);
	check_eq(now.rlim_max, lim.rlim_max);
	poller_stop();
	for (int fd = 400; fd < 1024; fd++)
		check(!poller_owns(fd) && fcntl(fd, F_GETFD) == -1);
}

/* They are there where the hard limit leaves no room above. */
Test(poller, its_own_descriptors_move_when_the_program_names_their_numbers)
{
	struct poller_waiter w;
	int fds[2], mine[3], n = 0;

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	for (int fd = 0; fd < 65536 && n < 3; fd++)
		if (poller_owns(fd))
			mine[n++] = fd;
	check_eq(n, by_ring() ? 3 : 2);
	for (int i = 0; i < n; i++) {
		check_eq(poller_vacate(mine[i]), 0);
		check(!poller_owns(mine[i]));
		close(mine[i]);
	}
	check_eq(poller_vacate(fds[0]), -EBADF);
	say(fds[1]);
	check_eq(look(), 1);
	check(w.revents & EPOLLIN);
}

static _Atomic int polled;

static void *wait_for_events(void *arg)
{
	struct coro_list ready = { 0 };

	(void)arg;
	for (int i = 0; i < 50; i++) {
		poller_poll(COGO_FOREVER, NULL, &ready);
		check_eq(ready.n, 0);
		polled++;
	}
	return NULL;
}

Test(poller, a_wait_is_interrupted_even_before_it_begins)
{
	pthread_t t;
	int fds[2];

	prepare(fds);
	check_eq(pthread_create(&t, NULL, wait_for_events, NULL), 0);
	/* Each interrupt ends one wait, the present or the next. */
	for (int i = 0; i < 50; i++) {
		poller_interrupt();
		wait_until(polled > i);
	}
	pthread_join(t, NULL);
}

Test(poller, a_wait_ends_at_its_deadline_and_not_before)
{
	struct coro_list ready = { 0 };
	int fds[2];

	prepare(fds);
	for (cogo_time span = 1000; span < 10000000; span *= 3) {
		cogo_time until = sys_now() + span;

		poller_poll(until, NULL, &ready);
		check(sys_now() >= until);
	}
	/* One that has passed is no wait at all, nor an error. */
	check(poller_poll(1, NULL, &ready) >= 0);
}

Test(poller, a_child_of_a_fork_begins_with_nothing)
{
	struct poller_waiter w;
	int fds[2], status;
	pid_t pid;

	prepare(fds);
	w = waiter(0, fds[0], EPOLLIN);
	check_eq(add(&w), 0);
	pid = fork();
	if (pid == 0) {
		struct poller_waiter mine;

		alarm(UNIT_CAP_SECONDS);
		poller_fork_child();
		check(!poller_started());
		check(!poller_owns(fds[0]));
		check_eq(poller_start(), 0);
		mine = waiter(1, fds[0], EPOLLIN);
		check_eq(add(&mine), 0);
		hear(fds[0]);
		_exit(0);
	}
	/* What the child does to its instance does nothing to ours. */
	say(fds[1]);
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	say(fds[1]);
	check_eq(look(), 1);
}

/* ---- whole operations ---- */

/* To receive n bytes there, for c[i], whose wait it is to end. */
static int receive(struct poller_op *op, int i, int fd, void *buf, size_t n)
{
	struct poller_job job = { .what = POLLER_RECV, .fd = fd, .dir = POLLER_IN,
				  .at = buf, .n = n, .in_vain = true };

	op->coro = &c[i];
	op->ticket = wait_open(&c[i]);
	return poller_op_start(op, &job);
}

static void prepare_ops(int fds[2])
{
	prepare(fds);
	if (!poller_does_ops())
		skip("of io_uring alone");
}

/* How many polls make ready until it is done. */
static int look_until_done(struct poller_op *op)
{
	int n = 0;

	wait_until((n += look(), atomic_load(&op->ticket) == 0));
	return n;
}

Test(poller, without_a_ring_nothing_is_done_as_a_whole)
{
	struct poller_op op;
	int fds[2];
	char x;

	prepare(fds);
	check(poller_does_ops() == by_ring());
	if (!by_ring())
		check_eq(receive(&op, 0, fds[0], &x, 1), -EAGAIN);
}

Test(poller, an_operation_is_done_when_there_is_something)
{
	struct poller_op op;
	char buf[8] = { 0 };
	int fds[2];

	prepare_ops(fds);
	check_eq(receive(&op, 0, fds[0], buf, sizeof(buf)), 0);
	check_eq(look(), 0);
	check_eq(poller_taken, 0);
	check_eq(wait_result(&c[0]), WAIT_OPEN);
	say(fds[1]);
	check_eq(look_until_done(&op), 1);
	check_eq(wait_result(&c[0]), WAIT_WOKEN);
	check_eq(op.result, 1);
	check_eq(buf[0], 'x');
	/* And the end of a stream is something. */
	poller_op_end(&op, false);
	close(fds[1]);
	check_eq(receive(&op, 0, fds[0], buf, sizeof(buf)), 0);
	check_eq(look_until_done(&op), 1);
	check_eq(op.result, 0);
}

Test(poller, one_operation_at_a_time_is_under_way_in_a_direction)
{
	struct poller_op first, second;
	char a, b;
	int fds[2];

	prepare_ops(fds);
	check_eq(receive(&first, 0, fds[0], &a, 1), 0);
	check_eq(receive(&second, 1, fds[0], &b, 1), -EBUSY);
	say(fds[1]);
	check_eq(look_until_done(&first), 1);
	check_eq(receive(&second, 1, fds[0], &b, 1), -EBUSY);
	check(!poller_hopes(fds[0]));
	poller_op_end(&first, true);
	check(poller_hopes(fds[0]));
	check_eq(receive(&second, 1, fds[0], &b, 1), 0);
	say(fds[1]);
	check_eq(look_until_done(&second), 1);
}

static int nameless_file(void)
{
	char name[] = "/tmp/test_poller.XXXXXX";
	int file = mkstemp(name);

	check(file >= 0);
	unlink(name);
	return file;
}

/* What ends by itself has the wait that nobody breaks off. */
static void begin_at_disk(struct poller_op *op, int i, const struct poller_job *job)
{
	op->coro = &c[i];
	op->ticket = wait_open_closed(&c[i]);
	check_eq(poller_op_start(op, job), 0);
}

static void end_at_disk(struct poller_op *op, int result)
{
	look_until_done(op);
	poller_op_end(op, false);
	check_eq(op->result, result);
	check_eq(wait_result(op->coro), WAIT_WOKEN);
}

Test(poller, a_file_is_read_by_many_at_once)
{
	static const char text[] = "what is at its place";
	struct poller_op ops[3];
	char got[3][4];
	int fds[2], file;

	prepare_ops(fds);
	file = nameless_file();
	check_eq(write(file, text, sizeof(text)), sizeof(text));
	for (int i = 0; i < 3; i++) {
		struct poller_job job = {
			.what = POLLER_READ_AT, .fd = file, .dir = POLLER_IN,
			.at = got[i], .n = 4, .offset = 5 * i,
		};

		begin_at_disk(&ops[i], i, &job);
	}
	for (int i = 0; i < 3; i++) {
		end_at_disk(&ops[i], 4);
		check(memcmp(got[i], text + 5 * i, 4) == 0);
	}
	/* Where the file stands has nothing to do with it. */
	check_eq(lseek(file, 0, SEEK_CUR), sizeof(text));
}

Test(poller, a_file_is_written_by_many_at_once_and_synced)
{
	static char text[] = "abcdefghi";
	struct poller_op ops[3], sync;
	char got[9];
	int fds[2], file;

	prepare_ops(fds);
	file = nameless_file();
	for (int i = 0; i < 3; i++) {
		struct poller_job job = {
			.what = POLLER_WRITE_AT, .fd = file, .dir = POLLER_OUT,
			.at = text + 3 * i, .n = 3, .offset = 3 * i,
		};

		begin_at_disk(&ops[i], i, &job);
	}
	for (int i = 0; i < 3; i++)
		end_at_disk(&ops[i], 3);
	for (unsigned data = 0; data < 2; data++) {
		struct poller_job job = { .what = POLLER_FSYNC, .fd = file,
					  .flags = data };

		begin_at_disk(&sync, 0, &job);
		end_at_disk(&sync, 0);
	}
	check_eq(pread(file, got, 9, 0), 9);
	check(memcmp(got, text, 9) == 0);
	check_eq(lseek(file, 0, SEEK_CUR), 0);
}

static void do_all(struct poller_op *op, const struct poller_job *job)
{
	op->coro = &c[0];
	op->ticket = wait_open(&c[0]);
	check_eq(poller_op_start(op, job), 0);
	look_until_done(op);
	poller_op_end(op, false);
}

Test(poller, a_message_goes_and_comes_in_pieces)
{
	struct poller_op op;
	int fds[2], s[2];
	char ab[2] = { 'a', 'b' }, cde[3] = { 'c', 'd', 'e' }, got[5] = { 0 };
	struct iovec from[2] = { { ab, 2 }, { cde, 3 } };
	struct iovec to[2] = { { got, 1 }, { got + 1, 4 } };
	struct msghdr out = { .msg_iov = from, .msg_iovlen = 2 };
	struct msghdr in = { .msg_iov = to, .msg_iovlen = 2 };
	struct poller_job send = { .what = POLLER_SENDMSG, .dir = POLLER_OUT,
				   .at = &out };
	struct poller_job recv = { .what = POLLER_RECVMSG, .dir = POLLER_IN,
				   .at = &in, .in_vain = true };
	struct poller_job read = { .what = POLLER_READV, .dir = POLLER_IN,
				   .at = to, .n = 2, .in_vain = true };

	prepare_ops(fds);
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	send.fd = s[0];
	recv.fd = read.fd = s[1];
	for (int i = 0; i < 2; i++) {
		do_all(&op, &send);
		check_eq(op.result, 5);
		memset(got, 0, sizeof(got));
		do_all(&op, i ? &read : &recv);
		check_eq(op.result, 5);
		check(memcmp(got, "abcde", 5) == 0);
	}
}

Test(poller, a_canceled_operation_takes_nothing_and_says_so)
{
	struct poller_op op;
	char buf[8];
	int fds[2];

	prepare_ops(fds);
	check_eq(receive(&op, 0, fds[0], buf, sizeof(buf)), 0);
	check_eq(look(), 0);
	check(wait_claim(&c[0], op.ticket, WAIT_TIMED_OUT));
	poller_op_cancel(&op);
	/* It is nobody's wait any more. */
	check_eq(look_until_done(&op), 0);
	check_eq(op.result, -ECANCELED);
	poller_op_end(&op, false);
	say(fds[1]);
	hear(fds[0]);
	/* One that had not begun. */
	check_eq(receive(&op, 0, fds[0], buf, sizeof(buf)), 0);
	check(wait_claim(&c[0], op.ticket, WAIT_TIMED_OUT));
	poller_op_cancel(&op);
	check_eq(look_until_done(&op), 0);
	check_eq(op.result, -EAGAIN);
	poller_op_end(&op, false);
}

Test(poller, a_cancellation_that_comes_too_late_takes_nothing_back)
{
	struct poller_op op;
	char buf[8];
	int fds[2];

	prepare_ops(fds);
	say(fds[1]);
	check_eq(receive(&op, 0, fds[0], buf, sizeof(buf)), 0);
	poller_submit();
	check(wait_claim(&c[0], op.ticket, WAIT_INTERRUPTED));
	poller_op_cancel(&op);
	check_eq(look_until_done(&op), 0);
	check_eq(op.result, 1);
	check_eq(buf[0], 'x');
}

Test(poller, the_closed_wait_is_ended_where_the_open_one_was_ended_otherwise)
{
	struct poller_op op;
	uint64_t first, closed;
	char buf[8];
	int fds[2];

	prepare_ops(fds);
	check_eq(receive(&op, 0, fds[0], buf, sizeof(buf)), 0);
	check_eq(look(), 0);
	first = op.ticket;
	check(wait_claim(&c[0], first, WAIT_TIMED_OUT));
	closed = wait_open_closed(&c[0]);
	/* Nobody from outside. */
	check(!wait_claim_any(&c[0], WAIT_INTERRUPTED));
	op.ticket = closed;
	poller_op_cancel(&op);
	check_eq(look_until_done(&op), 1);
	check_eq(wait_result(&c[0]), WAIT_WOKEN);
}

/* It is closed, and its number is that of a new socket. */
static void come_after(int fd, int ret_pair[2])
{
	close(fd);
	check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ret_pair), 0);
	check_eq(ret_pair[0], fd);
}

Test(poller, what_has_begun_goes_on_when_its_number_is_closed)
{
	struct coro_list ready = { 0 };
	struct poller_op op;
	int fds[2], other[2];
	char buf[8];

	prepare_ops(fds);
	check_eq(receive(&op, 0, fds[0], buf, sizeof(buf)), 0);
	check_eq(look(), 0);
	poller_forget(fds[0], &ready);
	check_eq(ready.n, 0);
	come_after(fds[0], other);
	check_eq(write(other[1], "new", 3), 3);
	check_eq(look(), 0);
	say(fds[1]);
	check_eq(look_until_done(&op), 1);
	check_eq(op.result, 1);
	check_eq(buf[0], 'x');
	/* The new one is free for its own. */
	poller_op_end(&op, true);
	check(!poller_hopes(other[0]));
	check_eq(receive(&op, 0, other[0], buf, sizeof(buf)), 0);
	check_eq(look_until_done(&op), 1);
	check_eq(op.result, 3);
}

Test(poller, what_has_not_begun_when_its_number_is_closed_looks_again)
{
	struct coro_list ready = { 0 };
	struct poller_op op;
	int fds[2], other[2];
	char buf[8];

	prepare_ops(fds);
	check_eq(receive(&op, 0, fds[0], buf, sizeof(buf)), 0);
	poller_forget(fds[0], &ready);
	come_after(fds[0], other);
	say(other[1]);
	check_eq(look_until_done(&op), 1);
	check_eq(op.result, -EAGAIN);
	poller_op_end(&op, false);
	hear(other[0]);
}

/* More than the kernel's queue holds, and more than it has room for when they are
 * done. */
#define MANY 9000

Test(poller, no_operation_is_lost_where_there_are_more_than_fit)
{
	static struct poller_op ops[MANY];
	struct rlimit lim = { MANY + 2000, MANY + 2000 };
	struct coro_list ready = { 0 };
	int fds[2], done = 0, taken = 0;
	static char buf[MANY];

	if (setrlimit(RLIMIT_NOFILE, &lim) != 0)
		skip("the limit of descriptors is too low here");
	prepare_ops(fds);
	for (int i = 0; i < MANY; i++) {
		int fd = dup(fds[0]);

		check(fd >= 0);
		taken += receive(&ops[i], 0, fd, &buf[i], 1) == 0;
	}
	check_eq(taken, MANY);
	close(fds[1]);
	for (time_t end = time(NULL) + UNIT_CAP_SECONDS; done < MANY;) {
		check(time(NULL) < end);
		check(poller_poll(0, NULL, &ready) >= 0);
		done = 0;
		for (int i = 0; i < MANY; i++)
			done += atomic_load(&ops[i].ticket) == 0;
	}
	for (int i = 0; i < MANY; i++)
		check_eq(ops[i].result, 0);
}

static void *poll_till_done(void *arg)
{
	struct poller_op *op = arg;
	struct coro_list ready = { 0 };

	while (atomic_load(&op->ticket))
		poller_poll(COGO_FOREVER, NULL, &ready);
	check_eq(ready.n, 1);
	return NULL;
}

Test(poller, who_waits_for_events_hears_of_what_another_has_submitted)
{
	struct poller_op op;
	pthread_t t;
	int fds[2];
	char x;

	prepare_ops(fds);
	check_eq(receive(&op, 0, fds[0], &x, 1), 0);
	poller_submit();
	check_eq(pthread_create(&t, NULL, poll_till_done, &op), 0);
	say(fds[1]);
	/* Its submitter has to come by for it to go on. */
	while (atomic_load(&op.ticket))
		unit_nap();
	pthread_join(t, NULL);
	check_eq(op.result, 1);
}

static void *submit_and_compute(void *arg)
{
	struct poller_op *op = arg;

	poller_submit();
	atomic_store(&polled, 1);
	while (atomic_load(&op->ticket))
		;
	return NULL;
}

Test(poller, a_submitter_that_computes_holds_nothing_up)
{
	struct poller_op op;
	pthread_t t;
	int fds[2];
	char x;

	prepare_ops(fds);
	check_eq(receive(&op, 0, fds[0], &x, 1), 0);
	check_eq(pthread_create(&t, NULL, submit_and_compute, &op), 0);
	wait_until(polled);
	say(fds[1]);
	look_until_done(&op);
	check_eq(op.result, 1);
	pthread_join(t, NULL);
}

static void *submit_and_end(void *arg)
{
	poller_submit();
	return arg;
}

/* At its end, or when there is news that it would have to go on with. */
Test(poller, what_a_thread_that_has_ended_had_submitted_ends_and_takes_nothing)
{
	struct poller_op op;
	pthread_t t;
	int fds[2];
	char x;

	prepare_ops(fds);
	check_eq(receive(&op, 0, fds[0], &x, 1), 0);
	check_eq(pthread_create(&t, NULL, submit_and_end, NULL), 0);
	pthread_join(t, NULL);
	say(fds[1]);
	check_eq(look_until_done(&op), 1);
	check_eq(op.result, -ECANCELED);
	hear(fds[0]);
}

/* A provider of our own. */

static struct poller_event next_event;
static int next_n, arm_result;
static uint64_t armed_data;
static void (*during)(void);

static int fake_open(void)
{
	return 0;
}

static int fake_arm(int fd, uint64_t data)
{
	(void)fd;
	armed_data = data;
	return arm_result;
}

static void fake_disarm(int fd)
{
	(void)fd;
}

static int fake_poll(cogo_time deadline, const uint64_t *sigmask,
		     struct poller_event *ret, int room)
{
	(void)deadline;
	(void)sigmask;
	check(room > 0);
	if (during)
		during();
	ret[0] = next_event;
	return next_n;
}

static void fake_nothing(void)
{
}

static bool fake_owns(int fd)
{
	(void)fd;
	return false;
}

static const struct poller_ops fake = {
	.name = "fake", .open = fake_open, .arm = fake_arm,
	.disarm = fake_disarm, .poll = fake_poll, .interrupt = fake_nothing,
	.close = fake_nothing, .owns = fake_owns,
};

static void prepare_fake(void)
{
	poller_use(&fake);
	check_eq(poller_start(), 0);
}

static int event(uint64_t data, uint32_t events)
{
	struct coro_list ready = { 0 };

	next_event.data = data;
	next_event.events = events;
	next_n = 1;
	check_eq(poller_poll(0, NULL, &ready), 1);
	next_n = 0;
	return (int)ready.n;
}

/* ---- where the provider cannot be had ---- */

static int refused;

static int open_unless_refused(void)
{
	return refused;
}

static void prepare_refused(void)
{
	static struct poller_ops reluctant;

	reluctant = fake;
	reluctant.open = open_unless_refused;
	refused = -EMFILE;
	poller_use(&reluctant);
	check_eq(poller_start(), 0);
	check(poller_started());
}

static void *poll_for_ever(void *arg)
{
	struct coro_list ready = { 0 };

	check_eq(poller_poll(COGO_FOREVER, NULL, &ready), 0);
	return arg;
}

Test(poller, without_a_provider_a_poll_ends_in_time_or_when_interrupted)
{
	struct coro_list ready = { 0 };
	cogo_time until = sys_now() + 1000000;
	struct poller_waiter w;
	pthread_t t;

	prepare_refused();
	w = waiter(0, 5, EPOLLIN);
	/* As where there is no room for a registration. */
	check_eq(add(&w), -ENOSPC);
	check_eq(poller_poll(0, NULL, &ready), 0);
	check_eq(poller_poll(until, NULL, &ready), 0);
	check(sys_now() >= until);
	/* One that comes before the poll counts. */
	for (int i = 0; i < 100; i++) {
		check_eq(pthread_create(&t, NULL, poll_for_ever, NULL), 0);
		poller_interrupt();
		pthread_join(t, NULL);
	}
}

Test(poller, a_provider_is_used_as_soon_as_it_can_be_had)
{
	struct coro_list ready = { 0 };
	struct poller_waiter w;
	pthread_t t;

	prepare_refused();
	w = waiter(0, 5, EPOLLIN);
	check_eq(add(&w), -ENOSPC);
	check_eq(pthread_create(&t, NULL, poll_for_ever, NULL), 0);
	refused = 0;
	w = waiter(0, 5, EPOLLIN);
	check_eq(add(&w), 0);
	/* Who polls elsewhere is called back. */
	pthread_join(t, NULL);
	next_n = 1;
	next_event = (struct poller_event){ armed_data, EPOLLIN, 0 };
	check_eq(poller_poll(COGO_FOREVER, NULL, &ready), 1);
	check_eq(ready.n, 1);
}

Test(poller, events_of_a_number_that_was_closed_are_dropped)
{
	struct coro_list ready = { 0 };
	struct poller_waiter w;
	uint64_t stale;
	uint32_t in;
	bool dry;

	prepare_fake();
	w = waiter(0, 5, EPOLLIN);
	check_eq(add(&w), 0);
	stale = armed_data;
	poller_del(&w);
	poller_forget(5, &ready);
	w = waiter(0, 5, EPOLLIN);
	check_eq(add(&w), 0);
	check(armed_data != stale);
	in = poller_sample(5, POLLER_IN, &dry);
	check_eq(event(stale, EPOLLIN | EPOLLHUP), 0);
	check_eq(poller_sample(5, POLLER_IN, &dry), in);
	check_eq(wait_result(&c[0]), WAIT_OPEN);
	check_eq(event(armed_data, EPOLLIN), 1);
	/* Nor does one of a number that nobody knows do anything. */
	check_eq(event((uint64_t)7 << 32 | 3000000, EPOLLIN), 0);
}

static struct poller_waiter late;

static void come_late(void)
{
	late = waiter(1, 5, EPOLLIN);
	check_eq(add(&late), 0);
}

Test(poller, an_event_older_than_the_wait_is_not_sure)
{
	struct poller_waiter early;

	prepare_fake();
	early = waiter(0, 5, EPOLLIN);
	check_eq(add(&early), 0);
	/* The poll has begun, and may have seen the event, before the second
	 * one came. */
	during = come_late;
	check_eq(event(armed_data, EPOLLIN), 2);
	during = NULL;
	check(early.sure);
	check(!late.sure);
	check_eq(late.revents, EPOLLIN);
	come_late();
	check_eq(event(armed_data, EPOLLIN), 1);
	check(late.sure);
}

Test(poller, a_descriptor_that_was_refused_is_tried_again)
{
	struct poller_waiter w;

	prepare_fake();
	arm_result = -ENOSPC;
	w = waiter(0, 5, EPOLLIN);
	check_eq(add(&w), -ENOSPC);
	check(!list_linked(&w.link));
	arm_result = 0;
	check_eq(add(&w), 0);
	check_eq(event(armed_data, EPOLLIN), 1);
}

/* Everything at once: readers, a writer who closes and opens again. */
#define READERS 4
#define ROUNDS 1000
static _Atomic int at;		/* the descriptor of the day */
static _Atomic bool over;
static _Atomic uint64_t ready_of[8];	/* the wait that the poller ended */

static void *poll_on(void *arg)
{
	struct coro_list ready = { 0 };
	struct coro *got;

	(void)arg;
	while (!atomic_load(&over)) {
		poller_poll(sys_now() + 1000000, NULL, &ready);
		while ((got = coro_list_pop(&ready)))
			ready_of[got - c] = got->wait;
	}
	return NULL;
}

static void *wait_on(void *arg)
{
	int i = (int)(intptr_t)arg;

	while (!atomic_load(&over)) {
		struct poller_waiter w = waiter(i, atomic_load(&at), EPOLLIN);
		uint64_t mine = (w.ticket & ~(uint64_t)WAIT_MASK) | WAIT_WOKEN;
		int r = add(&w);

		if (r == 0) {
			for (int k = 0; k < 20 && ready_of[i] != mine; k++)
				unit_nap();
			if (wait_claim(&c[i], w.ticket, WAIT_TIMED_OUT))
				poller_del(&w);
			else
				wait_until(ready_of[i] == mine);
			check(!list_linked(&w.link));
			poller_release(&w, w.asked);
		} else {
			wait_claim(&c[i], w.ticket, WAIT_CANCELED);
		}
	}
	return NULL;
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(poller, closing_under_many_waiters_leaves_nothing_behind, .timeout = 180)
{
	struct rlimit lim = { 1024, 1024 };
	struct coro_list ready = { 0 };
	pthread_t t[READERS], p;
	int fds[2], before;

	check_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	prepare(fds);
	before = open_descriptors();
	at = fds[0];
	check_eq(pthread_create(&p, NULL, poll_on, NULL), 0);
	for (intptr_t i = 0; i < READERS; i++)
		check_eq(pthread_create(&t[i], NULL, wait_on, (void *)i), 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct coro *got;

		say(fds[1]);
		if (i % 3 == 0)
			unit_nap();
		poller_forget(fds[0], &ready);
		while ((got = coro_list_pop(&ready)))
			ready_of[got - c] = got->wait;
		close(fds[0]);
		poller_renew(fds[0], &ready);
		while ((got = coro_list_pop(&ready)))
			ready_of[got - c] = got->wait;
		close(fds[1]);
		check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		at = fds[0];
	}
	atomic_store(&over, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(t[i], NULL);
	pthread_join(p, NULL);
	check_eq(open_descriptors(), before);
}
