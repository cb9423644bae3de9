/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sets.c - many descriptors at once: a program's own event loops.
 *
 * A server with a loop per thread, or many threads on one set, is where each
 * rule of epoll counts: what is told once and what again, to how many, in which
 * turn; sets within sets; what becomes of what is closed, moved or shared. */
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/timerfd.h>

#include "io.h"

static bool put(int set, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.fd = fd};

	return EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
}

static bool more_descriptors(rlim_t n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_max < n)
		return false;
	if (limit.rlim_cur < n)
		limit.rlim_cur = n;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* ---- many descriptors, many threads ---- */

#define PIPES 1000
#define LOOPS 4
#define TOKENS 20000

static int pipes[PIPES][2];
static int sets[LOOPS];
static atomic_long heard, told;
static atomic_bool over;

enum how { LEVEL, EDGE, ONESHOT, BY_POLL };
static enum how how;

/* Takes what is there, and hands each byte on to another pipe, until enough
 * have gone round. */
static void hand_on(int fd)
{
	char bytes[64];
	ssize_t n;

	while ((n = read(fd, bytes, how == LEVEL ? 1 : sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			long k = atomic_fetch_add(&heard, 1);

			if (k + 1 >= TOKENS)
				atomic_store(&over, true);
			EXPECT_EQ(write(pipes[(k * 7919) % PIPES][1], "t", 1), 1);
		}
		if (how == LEVEL)
			break;
	}
}

static void *loops(void *arg)
{
	int set = *(int *)arg;
	struct epoll_event e[8];

	while (!atomic_load(&over)) {
		int n = epoll_wait(set, e, 8, 100);

		atomic_fetch_add(&told, n);
		for (int i = 0; i < n; i++) {
			hand_on(e[i].data.fd);
			if (how == ONESHOT) {
				e[i].events = EPOLLIN | EPOLLONESHOT;
				EXPECT_OK(epoll_ctl(set, EPOLL_CTL_MOD,
						    e[i].data.fd, &e[i]));
			}
		}
	}
	return arg;
}

static void *polls(void *arg)
{
	struct pollfd *p = calloc(PIPES, sizeof(*p));

	for (int i = 0; i < PIPES; i++)
		p[i] = (struct pollfd){pipes[i][0], POLLIN, 0};
	while (!atomic_load(&over)) {
		int n = poll(p, PIPES, 100), seen = 0;

		for (int i = 0; i < PIPES && n > 0; i++)
			if (p[i].revents) {
				EXPECT_EQ(p[i].revents, POLLIN);
				seen++;
				hand_on(p[i].fd);
			}
		EXPECT_EQ(seen, n);
	}
	free(p);
	return arg;
}

static void tokens_go_round(enum how which, int threads, bool one_set)
{
	pthread_t t[8];
	int nsets = one_set ? 1 : LOOPS;

	how = which;
	atomic_store(&heard, 0);
	atomic_store(&told, 0);
	atomic_store(&over, false);
	for (int i = 0; i < nsets; i++)
		EXPECT_OK(sets[i] = epoll_create1(0));
	for (int i = 0; i < PIPES; i++) {
		if (!EXPECT_OK(pipe2(pipes[i], O_NONBLOCK)))
			return;
		if (which != BY_POLL)
			put(sets[i % nsets], pipes[i][0],
			    which == EDGE ? EPOLLIN | EPOLLET :
			    which == ONESHOT ? EPOLLIN | EPOLLONESHOT : EPOLLIN);
	}
	for (int i = 0; i < threads; i++)
		t[i] = start(which == BY_POLL ? polls : loops, &sets[i % nsets]);
	for (int i = 0; i < 50; i++)
		EXPECT_EQ(write(pipes[i * 17 % PIPES][1], "t", 1), 1);
	WAIT_UNTIL(atomic_load(&over));
	for (int i = 0; i < threads; i++)
		EXPECT(finish(t[i]) == &sets[i % nsets]);
	for (int i = 0; i < PIPES; i++)
		close_pair(pipes[i]);
	for (int i = 0; i < nsets; i++)
		close(sets[i]);
}

static void no_event_is_lost_in_loops_over_a_thousand_pipes(void)
{
	if (!more_descriptors(2 * PIPES + 100)) {
		SKIP("not enough descriptors");
		return;
	}
	tokens_go_round(LEVEL, LOOPS, false);
	tokens_go_round(EDGE, LOOPS, false);
	tokens_go_round(ONESHOT, LOOPS, false);
}

static void no_event_is_lost_where_threads_share_one_set(void)
{
	if (!more_descriptors(2 * PIPES + 100)) {
		SKIP("not enough descriptors");
		return;
	}
	tokens_go_round(LEVEL, 8, true);
	tokens_go_round(EDGE, 8, true);
	tokens_go_round(ONESHOT, 8, true);
}

static void no_event_is_lost_where_threads_poll_a_thousand_pipes(void)
{
	if (!more_descriptors(2 * PIPES + 100)) {
		SKIP("not enough descriptors");
		return;
	}
	how = BY_POLL;
	tokens_go_round(BY_POLL, 3, true);
}

/* ---- one-shots, rearmed by whoever comes ---- */

static int oneshot_set, oneshot_fd[2];
static atomic_int inside, most;
static atomic_long served;

static void *serves_in_turn(void *arg)
{
	struct epoll_event e;
	char byte;

	for (;;) {
		if (epoll_wait(oneshot_set, &e, 1, -1) != 1)
			return NULL;
		if (atomic_fetch_add(&inside, 1) > 0)
			atomic_fetch_add(&most, 1);
		if (read(oneshot_fd[0], &byte, 1) != 1)
			return NULL;
		atomic_fetch_sub(&inside, 1);
		e.events = EPOLLIN | EPOLLONESHOT;
		if (epoll_ctl(oneshot_set, EPOLL_CTL_MOD, oneshot_fd[0], &e))
			return NULL;
		if (byte == '!')
			return arg;
		atomic_fetch_add(&served, 1);
	}
}

static void a_oneshot_is_with_one_thread_at_a_time(void)
{
	pthread_t t[6];

	if (!stream_pair(oneshot_fd))
		return;
	oneshot_set = epoll_create1(0);
	put(oneshot_set, oneshot_fd[0], EPOLLIN | EPOLLONESHOT);
	for (int i = 0; i < 6; i++)
		t[i] = start(serves_in_turn, &served);
	for (int i = 0; i < 3000; i++)
		EXPECT_EQ(send(oneshot_fd[1], "x", 1, 0), 1);
	WAIT_UNTIL(atomic_load(&served) == 3000);
	for (int i = 0; i < 6; i++)
		EXPECT_EQ(send(oneshot_fd[1], "!", 1, 0), 1);
	for (int i = 0; i < 6; i++)
		EXPECT(finish(t[i]) == &served);
	EXPECT_EQ(atomic_load(&most), 0);
	close_pair(oneshot_fd);
	close(oneshot_set);
}

/* ---- one listener in many sets ---- */

static int shared_listener;
static atomic_int taken, woken;

static void *takes_callers(void *arg)
{
	int set = epoll_create1(0), fd;
	struct epoll_event e;

	put(set, shared_listener, EPOLLIN | EPOLLEXCLUSIVE);
	for (;;) {
		if (epoll_wait(set, &e, 1, -1) != 1)
			return NULL;
		atomic_fetch_add(&woken, 1);
		fd = accept(shared_listener, NULL, NULL);
		if (fd < 0 && errno == EINVAL)
			break;
		if (fd < 0) {
			EXPECT_EQ(errno, EAGAIN);
			continue;
		}
		atomic_fetch_add(&taken, 1);
		close(fd);
	}
	close(set);
	return arg;
}

static void every_caller_is_taken_by_one_of_many_exclusive_sets(void)
{
	struct sockaddr_in at;
	pthread_t t[6];

	shared_listener = listen_at(&at, 64);
	EXPECT_OK(fcntl(shared_listener, F_SETFL, O_RDWR | O_NONBLOCK));
	for (int i = 0; i < 6; i++)
		t[i] = start(takes_callers, &taken);
	settle();
	for (int i = 1; i <= 50; i++) {
		int fd = connect_to(&at);

		EXPECT(fd >= 0);
		WAIT_UNTIL(atomic_load(&taken) == i);
		close(fd);
	}
	EXPECT(atomic_load(&woken) >= 50);
	EXPECT_OK(shutdown(shared_listener, SHUT_RDWR));
	for (int i = 0; i < 6; i++)
		EXPECT(finish(t[i]) == &taken);
	close(shared_listener);
}

/* ---- turns ---- */

static void a_small_answer_takes_all_that_are_ready_in_turn(void)
{
	int fd[12][2], set = epoll_create1(0), times[12] = {0};
	struct epoll_event e[5];

	for (int i = 0; i < 12; i++) {
		struct epoll_event of = {.events = EPOLLIN, .data.u32 = (uint32_t)i};

		if (!EXPECT_OK(pipe(fd[i])))
			return;
		EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, fd[i][0], &of));
		EXPECT_EQ(write(fd[i][1], "r", 1), 1);
	}
	/* level: all stay ready, and each comes again only after the others */
	for (int k = 0; k < 12; k++) {
		EXPECT_EQ(epoll_wait(set, e, 5, -1), 5);
		for (int i = 0; i < 5; i++)
			times[e[i].data.u32]++;
	}
	for (int i = 0; i < 12; i++)
		EXPECT_EQ(times[i], 5);
	for (int i = 0; i < 12; i++)
		close_pair(fd[i]);
	close(set);
}

/* ---- sets in sets, and what becomes of their members ---- */

static long call_epoll(struct caller *c)
{
	struct epoll_event e = {0};
	int n = epoll_wait(c->fd, &e, 1, -1);

	return n == 1 ? (long)e.data.fd : -2;
}

static long call_poll(struct caller *c)
{
	struct pollfd p = {c->fd, (short)c->size, 0};
	int n = poll(&p, 1, -1);

	return n == 1 ? p.revents : -2;
}

static long call_select(struct caller *c)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(c->fd, &set);
	return select(c->fd + 1, &set, NULL, NULL, NULL) * 10 +
	       (FD_ISSET(c->fd, &set) ? 1 : 0);
}

static void news_goes_up_through_four_sets(void)
{
	for (int i = 0; i < 6; i++) {
		struct caller c[3] = {{0}, {.size = POLLIN}, {0}};
		struct epoll_event e;
		int fd[2], set[4];
		uint32_t edge = i % 2 ? EPOLLET : 0;

		if (!stream_pair(fd))
			return;
		for (int k = 0; k < 4; k++) {
			EXPECT_OK(set[k] = epoll_create1(0));
			put(set[k], k ? set[k - 1] : fd[0], EPOLLIN | edge);
		}
		call_in_thread(&c[0], call_epoll, set[3]);
		call_in_thread(&c[1], call_poll, set[1]);
		call_in_thread(&c[2], call_select, set[2]);
		EXPECT(!atomic_load(&c[0].ended));
		EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
		EXPECT_EQ(call_ended(&c[0]), set[2]);
		EXPECT_EQ(call_ended(&c[1]), POLLIN);
		EXPECT_EQ(call_ended(&c[2]), 11);
		EXPECT_EQ(epoll_wait(set[0], &e, 1, 0), 1);
		EXPECT_ERR(epoll_ctl(set[0], EPOLL_CTL_ADD, set[3], &e), ELOOP);
		for (int k = 0; k < 4; k++)
			close(set[k]);
		close_pair(fd);
	}
}

/* A set holds the description: the number may be closed, or be another's. */
static void a_set_tells_of_what_lives_on_under_another_number(void)
{
	struct caller c = {0};
	struct epoll_event e;
	int fd[2], again, set = epoll_create1(0);

	if (!stream_pair(fd) || !EXPECT_OK(again = dup(fd[0])))
		return;
	put(set, fd[0], EPOLLIN);
	call_in_thread(&c, call_epoll, set);
	EXPECT_OK(close(fd[0]));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), fd[0]);
	EXPECT_EQ(epoll_wait(set, &e, 1, 0), 1);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_DEL, fd[0], &e), EBADF);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_MOD, again, &e), ENOENT);
	/* It goes with the last of its numbers. */
	EXPECT_OK(close(again));
	EXPECT_EQ(epoll_wait(set, &e, 1, 0), 0);
	close(fd[1]);
	close(set);
}

static void who_waits_for_a_set_that_is_closed_waits_on(void)
{
	for (int i = 0; i < 3; i++) {
		static long (*const calls[])(struct caller *) = {
			call_epoll, call_poll, call_epoll};
		struct caller c = {.size = POLLIN};
		int fd[2], set = epoll_create1(0), other = -1;

		if (!stream_pair(fd))
			return;
		put(set, fd[0], EPOLLIN);
		call_in_thread(&c, calls[i], set);
		if (i == 1) {
			/* poll looks at numbers again when it wakes */
			EXPECT_OK(other = dup(set));
			EXPECT_OK(close(set));
			EXPECT_EQ(dup2(other, set), set);
		} else if (i == 2) {
			EXPECT_OK(other = epoll_create1(0));
			EXPECT_EQ(dup2(other, set), set);
		} else {
			EXPECT_OK(close(set));
		}
		settle();
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
		EXPECT_EQ(call_ended(&c), i == 1 ? POLLIN : fd[0]);
		close_pair(fd);
		if (i)
			close(set);
		if (other >= 0)
			close(other);
	}
}

static long call_ctl_later(struct caller *c)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = 77};

	return epoll_ctl(c->fd, EPOLL_CTL_MOD, (int)c->size, &e);
}

/* A member is taken out, put in and changed while others wait. */
static void what_waits_for_a_set_sees_its_changes(void)
{
	struct epoll_event e = {.events = EPOLLOUT, .data.fd = 5};
	struct caller c = {0}, d = {0};
	int fd[2], set = epoll_create1(0);

	if (!stream_pair(fd))
		return;
	put(set, fd[0], EPOLLIN);
	call_in_thread(&c, call_epoll, set);
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_DEL, fd[0], NULL));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	settle();
	EXPECT(!atomic_load(&c.ended));
	/* It is there already when it comes in. */
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &e));
	EXPECT_EQ(call_ended(&c), 5);
	e.events = EPOLLPRI;
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_MOD, fd[0], &e));
	call_in_thread(&c, call_epoll, set);
	EXPECT(!atomic_load(&c.ended));
	d.size = (size_t)fd[0];
	call_in_thread(&d, call_ctl_later, set);
	EXPECT_EQ(call_ended(&d), 0);
	EXPECT_EQ(call_ended(&c), 77);
	close_pair(fd);
	close(set);
}

/* ---- what poll says ---- */

static void numbers_that_are_none_are_told_or_passed_over(void)
{
	struct pollfd p[4] = {{-1, POLLIN, 7}, {-77, POLLOUT, 7}, {990, POLLIN, 7},
			      {-1, POLLIN, 7}};
	struct timespec none = {0, 0};
	int fd[2];

	EXPECT_EQ(poll(p, 2, 1), 0);
	EXPECT(p[0].revents == 0 && p[1].revents == 0);
	EXPECT_EQ(poll(p, 4, -1), 1);
	EXPECT(p[0].revents == 0 && p[3].revents == 0);
	EXPECT_EQ(p[2].revents, POLLNVAL);
	EXPECT_EQ(ppoll(p, 3, &none, NULL), 1);
	if (!EXPECT_OK(pipe(fd)))
		return;
	p[0] = (struct pollfd){fd[0], POLLIN, 0};
	p[1] = (struct pollfd){fd[0], POLLIN, 0};
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(poll(p, 2, -1), 2);
	close_pair(fd);
}

static void each_kind_of_news_is_told_as_what_it_is(void)
{
	static const short asked[] = {
		POLLRDHUP, POLLIN | POLLRDHUP, POLLPRI, POLLRDBAND | POLLPRI,
		POLLRDNORM, POLLWRNORM, 0,
	};

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		struct caller c = {.size = (size_t)asked[i]};
		int fd[2];

		if (!tcp_pair(fd))
			return;
		call_in_thread(&c, call_poll, fd[0]);
		if (asked[i] != POLLWRNORM)
			EXPECT(!atomic_load(&c.ended));
		if (asked[i] & POLLRDHUP)
			EXPECT_OK(shutdown(fd[1], SHUT_WR));
		else if (asked[i] & POLLPRI)
			EXPECT_EQ(send(fd[1], "!", 1, MSG_OOB), 1);
		else if (asked[i] & POLLRDNORM)
			EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
		else if (!asked[i]) {
			struct linger now = {1, 0};

			EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
			settle();
			EXPECT(!atomic_load(&c.ended));
			EXPECT_OK(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &now,
					     sizeof(now)));
			close(fd[1]);
		}
		EXPECT_EQ(call_ended(&c), asked[i] ? asked[i] & ~POLLRDBAND
						   : POLLHUP | POLLERR);
		close(fd[0]);
		if (asked[i])
			close(fd[1]);
	}
}

static void files_are_always_ready(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	char name[] = "/tmp/sets.XXXXXX";
	int fd = mkstemp(name), set = epoll_create1(0), dir = open("/", O_RDONLY);
	struct pollfd p[3] = {{fd, POLLIN | POLLOUT, 0}, {dir, POLLIN, 0},
			      {fd, POLLPRI, 0}};
	struct timespec soon = {0, 1000000};
	fd_set r, w, x;

	unlink(name);
	EXPECT_EQ(poll(p, 2, -1), 2);
	EXPECT_EQ(p[0].revents, POLLIN | POLLOUT);
	EXPECT_EQ(p[1].revents, POLLIN);
	EXPECT_EQ(ppoll(p + 2, 1, &soon, NULL), 0);
	FD_ZERO(&r);
	FD_ZERO(&x);
	FD_SET(fd, &r);
	FD_SET(fd, &x);
	w = r;
	EXPECT_EQ(select(fd + 1, &r, &w, &x, NULL), 2);
	EXPECT(FD_ISSET(fd, &r) && FD_ISSET(fd, &w) && !FD_ISSET(fd, &x));
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), EPERM);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_ADD, dir, &e), EPERM);
	close(fd);
	close(dir);
	close(set);
}

/* The last number that fits, and one beyond in a larger set. */
static void select_sees_numbers_at_its_edge(void)
{
	static unsigned long large[4096 / sizeof(long)];
	struct timeval soon = {0, 1000};
	struct caller c = {0};
	fd_set set;
	int fd[2], edge, beyond;

	if (!more_descriptors(1200)) {
		SKIP("not enough descriptors");
		return;
	}
	if (!stream_pair(fd) || !EXPECT_OK(edge = dup2(fd[0], FD_SETSIZE - 1)) ||
	    !EXPECT_OK(beyond = dup2(fd[0], FD_SETSIZE + 100)))
		return;
	call_in_thread(&c, call_select, edge);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 11);
	large[beyond / 64] |= 1UL << (beyond % 64);
	EXPECT_EQ(select(beyond + 1, (fd_set *)large, NULL, NULL, NULL), 1);
	EXPECT(large[beyond / 64] >> (beyond % 64) & 1);
	/* Those that are not asked for are not looked at, */
	FD_ZERO(&set);
	FD_SET(900, &set);
	EXPECT_EQ(select(900, &set, NULL, NULL, &soon), 0);
	/* and what is no descriptor is refused. */
	FD_ZERO(&set);
	FD_SET(900, &set);
	EXPECT_ERR(select(901, &set, NULL, NULL, NULL), EBADF);
	EXPECT(FD_ISSET(900, &set));
	close_pair(fd);
	close(edge);
	close(beyond);
}

static void sets_that_are_no_memory_are_refused(void)
{
	fd_set *volatile nowhere = (fd_set *)8;
	struct epoll_event *volatile no_events = (struct epoll_event *)8;
	struct epoll_event e = {.events = EPOLLIN};
	struct timeval none = {0, 0};
	int fd[2], set = epoll_create1(0);

	if (!stream_pair(fd))
		return;
	EXPECT_ERR(select(1, nowhere, NULL, NULL, &none), EFAULT);
	EXPECT_ERR(select(1, NULL, NULL, nowhere, NULL), EFAULT);
	EXPECT_EQ(select(0, nowhere, NULL, NULL, &none), 0);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], no_events), EFAULT);
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &e));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_ERR(epoll_wait(set, no_events, 1, -1), EFAULT);
	EXPECT_EQ(epoll_wait(set, &e, 1, -1), 1);
	close_pair(fd);
	close(set);
}

/* ---- masks and times ---- */

static atomic_int handled;

static void note(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
}

static long wait_with_mask(struct caller *c)
{
	struct timespec long_time = {60, 0};
	struct pollfd p = {c->fd, POLLIN, 0};
	struct epoll_event e;
	sigset_t all, none;
	fd_set set;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &all, NULL), 0);
	FD_ZERO(&set);
	FD_SET(c->fd, &set);
	switch (c->size) {
	case 0:
		r = ppoll(&p, 1, &long_time, &none);
		break;
	case 1:
		r = pselect(c->fd + 1, &set, NULL, NULL, &long_time, &none);
		break;
	case 2:
		r = epoll_pwait((int)(intptr_t)c->with, &e, 1, 60000, &none);
		break;
	default:
		r = epoll_pwait2((int)(intptr_t)c->with, &e, 1, &long_time, &none);
		break;
	}
	return r;
}

static void a_wait_with_a_mask_is_ended_by_what_it_lets_in(void)
{
	struct sigaction act = {.sa_handler = note, .sa_flags = SA_RESTART};
	int fd[2], set = epoll_create1(0);

	EXPECT_OK(sigaction(SIGUSR1, &act, NULL));
	if (!stream_pair(fd))
		return;
	put(set, fd[0], EPOLLIN);
	for (size_t i = 0; i < 8; i++) {
		struct caller c = {.size = i % 4, .with = (void *)(intptr_t)set};

		atomic_store(&handled, 0);
		call_in_thread(&c, wait_with_mask, fd[0]);
		EXPECT(!atomic_load(&c.ended));
		if (i < 4) {
			EXPECT_EQ(pthread_kill(c.thread, SIGUSR1), 0);
			EXPECT_EQ(call_ended(&c), -1);
			EXPECT_EQ(c.err, EINTR);
			EXPECT_EQ(atomic_load(&handled), 1);
		} else {
			EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
			EXPECT_EQ(call_ended(&c), 1);
			EXPECT_EQ(recv(fd[0], c.bytes, 8, 0), 1);
			EXPECT_EQ(atomic_load(&handled), 0);
		}
	}
	close_pair(fd);
	close(set);
}

/* In nanoseconds, and in millions of seconds. */
static void a_timeout_is_as_long_as_it_says(void)
{
	struct timespec short_time = {0, 700000}, far = {0x7fffffffffff, 999999999};
	struct timespec bad = {0, 1000000000}, none = {0, 0};
	int fd[2], set = epoll_create1(0);
	struct epoll_event e;
	long long from;

	if (!stream_pair(fd))
		return;
	put(set, fd[0], EPOLLIN);
	from = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(epoll_pwait2(set, &e, 1, &short_time, NULL), 0);
	EXPECT(now_ns(CLOCK_MONOTONIC) - from >= 700000);
	EXPECT_EQ(epoll_pwait2(set, &e, 1, &none, NULL), 0);
	EXPECT_ERR(epoll_pwait2(set, &e, 1, &bad, NULL), EINVAL);
	EXPECT_ERR(epoll_pwait2(set, &e, 0, &short_time, NULL), EINVAL);
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(epoll_pwait2(set, &e, 1, &far, NULL), 1);
	EXPECT_EQ(epoll_wait(set, &e, 1, -5), 1);
	close_pair(fd);
	close(set);
}

/* ---- files that tell of changes ---- */

static void watch_the_mounts(void *arg)
{
	struct caller c = {.size = POLLPRI};
	struct pollfd p = {.events = POLLPRI};
	int fd[2], set = epoll_create1(0);
	char bytes[4096];

	(void)arg;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		_exit(77);
	for (int i = 0; i < 2; i++) {
		EXPECT_OK(fd[i] = open("/proc/self/mounts", O_RDONLY));
		while (read(fd[i], bytes, sizeof(bytes)) > 0)
			;
	}
	p.fd = fd[0];
	put(set, fd[1], EPOLLPRI | EPOLLET);
	for (int i = 0; i < 4; i++) {
		/* Waited for, in two ways, or found later. */
		if (i % 2 == 0)
			call_in_thread(&c, i ? call_epoll : call_poll,
				       i ? set : fd[0]);
		else
			settle();
		EXPECT(i || !atomic_load(&c.ended));
		if (i % 2 ? umount("/mnt") : mount("none", "/mnt", "tmpfs", 0, NULL))
			_exit(77);
		settle();
		if (i == 0)
			EXPECT_EQ(call_ended(&c), POLLPRI | POLLERR);
		else if (i == 2)
			EXPECT_EQ(call_ended(&c), fd[1]);
		if (i)
			EXPECT_EQ(poll(&p, 1, 0), 1);
		EXPECT_EQ(poll(&p, 1, 0), 0);
	}
}

static void a_change_of_the_mounts_is_told(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		expect_now.case_failed = 0;
		alarm(2 * EXPECT_WAIT_SECONDS);
		watch_the_mounts(NULL);
		_exit(expect_now.case_failed ? 1 : 0);
	}
	status = status_of(pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("no mounting here");
	else
		EXPECT_EQ(status, 0);
}

static const struct expect_case cases[] = {
	CASE(no_event_is_lost_in_loops_over_a_thousand_pipes),
	CASE(no_event_is_lost_where_threads_share_one_set),
	CASE(no_event_is_lost_where_threads_poll_a_thousand_pipes),
	CASE(a_oneshot_is_with_one_thread_at_a_time),
	CASE(every_caller_is_taken_by_one_of_many_exclusive_sets),
	CASE(a_small_answer_takes_all_that_are_ready_in_turn),
	CASE(news_goes_up_through_four_sets),
	CASE(a_set_tells_of_what_lives_on_under_another_number),
	CASE(who_waits_for_a_set_that_is_closed_waits_on),
	CASE(what_waits_for_a_set_sees_its_changes),
	CASE(numbers_that_are_none_are_told_or_passed_over),
	CASE(each_kind_of_news_is_told_as_what_it_is),
	CASE(files_are_always_ready),
	CASE(select_sees_numbers_at_its_edge),
	CASE(sets_that_are_no_memory_are_refused),
	CASE(a_wait_with_a_mask_is_ended_by_what_it_lets_in),
	CASE(a_timeout_is_as_long_as_it_says),
	CASE(a_change_of_the_mounts_is_told),
};

EXPECT_MAIN(cases)
