/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* readiness.c - poll, select and epoll: what they say, and when they give up.
 *
 * A wait for time may last longer than asked, never shorter; its lower bound
 * is exact and its upper one generous. 300 microseconds are neither none nor a
 * millisecond nor for ever, in whatever unit the call counts. */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>

#include "io.h"

#define SHORT_NS 300000LL

/* ---- time ---- */

static bool lasted(long long from, long long least)
{
	long long took = now_ns(CLOCK_MONOTONIC) - from;

	return EXPECT(took >= least) && EXPECT(took < 30000000000LL);
}

static void no_sleep_ends_early(void)
{
	struct timespec t = {0, SHORT_NS};
	struct timeval v;
	long long from;

	for (int i = 0; i < 20; i++) {
		from = now_ns(CLOCK_MONOTONIC);
		EXPECT_OK(nanosleep(&t, NULL));
		lasted(from, SHORT_NS);
		from = now_ns(CLOCK_MONOTONIC);
		EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL), 0);
		lasted(from, SHORT_NS);
		from = now_ns(CLOCK_MONOTONIC);
		EXPECT_OK(usleep(SHORT_NS / 1000));
		lasted(from, SHORT_NS);
		from = now_ns(CLOCK_MONOTONIC);
		EXPECT_EQ(ppoll(NULL, 0, &t, NULL), 0);
		lasted(from, SHORT_NS);
		from = now_ns(CLOCK_MONOTONIC);
		v = (struct timeval){0, SHORT_NS / 1000};
		EXPECT_EQ(select(0, NULL, NULL, NULL, &v), 0);
		lasted(from, SHORT_NS);
		from = now_ns(CLOCK_MONOTONIC);
		EXPECT_EQ(pselect(0, NULL, NULL, NULL, &t, NULL), 0);
		lasted(from, SHORT_NS);
		from = now_ns(CLOCK_MONOTONIC);
		EXPECT_EQ(poll(NULL, 0, 1), 0);
		lasted(from, 1000000);
	}
}

/* A hundred of them, were each a millisecond or more, would be easy to tell
 * from a hundred that are not; but a busy machine is slow too. So the fastest
 * of them is looked at. */
static void a_sleep_of_300_us_is_not_one_of_a_millisecond(void)
{
	struct timespec t = {0, SHORT_NS};
	long long best = 1000000000LL;

	for (int i = 0; i < 2000 && best >= 950000; i++) {
		long long took = -now_ns(CLOCK_MONOTONIC);

		nanosleep(&t, NULL);
		took += now_ns(CLOCK_MONOTONIC);
		best = took < best ? took : best;
	}
	EXPECT(best < 950000);
}

static void timeouts_with_nothing_ready_end_in_time(void)
{
	struct timespec t = {0, SHORT_NS};
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(0), fd[2];
	struct pollfd p;
	fd_set reads;
	long long from;

	if (!EXPECT_OK(pipe(fd)) || !EXPECT_OK(set) ||
	    !EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &event)))
		return;
	p = (struct pollfd){fd[0], POLLIN, 7};
	from = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(ppoll(&p, 1, &t, NULL), 0);
	EXPECT_EQ(p.revents, 0);
	lasted(from, SHORT_NS);
	from = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(poll(&p, 1, 20), 0);
	lasted(from, 20000000);
	FD_ZERO(&reads);
	FD_SET(fd[0], &reads);
	from = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(pselect(fd[0] + 1, &reads, NULL, NULL, &t, NULL), 0);
	EXPECT(!FD_ISSET(fd[0], &reads));
	lasted(from, SHORT_NS);
	from = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(epoll_wait(set, &event, 1, 20), 0);
	lasted(from, 20000000);
#ifdef SYS_epoll_pwait2
	from = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(epoll_pwait2(set, &event, 1, &t, NULL), 0);
	lasted(from, SHORT_NS);
#endif
	/* A timeout of none does not wait, and still tells the truth. */
	EXPECT_EQ(poll(&p, 1, 0), 0);
	EXPECT_EQ(epoll_wait(set, &event, 1, 0), 0);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(poll(&p, 1, 0), 1);
	EXPECT_EQ(epoll_wait(set, &event, 1, 0), 1);
	close_pair(fd);
	close(set);
}

static void sleeping_until_a_time_that_is_past_does_not_sleep(void)
{
	struct timespec past = {1, 0};

	EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL), 0);
	EXPECT_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL), 0);
	past.tv_sec = 0;
	EXPECT_OK(nanosleep(&past, NULL));
	EXPECT_OK(usleep(0));
	EXPECT_EQ(sleep(0), 0);
	EXPECT_EQ(poll(NULL, 0, 0), 0);
}

static void sleeping_until_a_time_to_come_reaches_it(void)
{
	struct timespec due = in_ms(CLOCK_MONOTONIC, 20);

	EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL), 0);
	EXPECT(now_ns(CLOCK_MONOTONIC) >=
	       due.tv_sec * 1000000000LL + due.tv_nsec);
	due = in_ms(CLOCK_REALTIME, 20);
	EXPECT_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL), 0);
	EXPECT(now_ns(CLOCK_REALTIME) >= due.tv_sec * 1000000000LL + due.tv_nsec);
}

static void times_that_are_none_are_refused(void)
{
	struct timespec bad = {0, 1000000000}, before = {-1, 0};
	struct timeval negative = {-1, 0};

	EXPECT_ERR(nanosleep(&bad, NULL), EINVAL);
	EXPECT_ERR(nanosleep(&before, NULL), EINVAL);
	EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL), EINVAL);
	EXPECT_EQ(clock_nanosleep(99, 0, &bad, NULL), EINVAL);
	EXPECT_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &bad, NULL), EINVAL);
	EXPECT_ERR(ppoll(NULL, 0, &bad, NULL), EINVAL);
	EXPECT_ERR(ppoll(NULL, 0, &before, NULL), EINVAL);
	EXPECT_ERR(pselect(0, NULL, NULL, NULL, &bad, NULL), EINVAL);
	EXPECT_ERR(select(0, NULL, NULL, NULL, &negative), EINVAL);
	EXPECT_ERR(select(-1, NULL, NULL, NULL, NULL), EINVAL);
}

/* Far timeouts are counted in units that must not wrap. */
static long call_poll_long(struct caller *c)
{
	struct pollfd p = {c->fd, POLLIN, 0};

	return poll(&p, 1, 0x7fffffff);
}

static long call_ppoll_endless(struct caller *c)
{
	struct timespec t = {0x7fffffffffffffff, 999999999};
	struct pollfd p = {c->fd, POLLIN, 0};

	return ppoll(&p, 1, &t, NULL);
}

static long call_select_endless(struct caller *c)
{
	struct timeval t = {0x3fffffffffff, 999999};
	fd_set reads;

	FD_ZERO(&reads);
	FD_SET(c->fd, &reads);
	return select(c->fd + 1, &reads, NULL, NULL, &t);
}

static void far_timeouts_wait_as_long_as_it_takes(void)
{
	static long (*const calls[])(struct caller *) = {
		call_poll_long, call_ppoll_endless, call_select_endless};
	struct caller c[3] = {0};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	for (int i = 0; i < 3; i++)
		call_in_thread(&c[i], calls[i], fd[0]);
	nap_us(100000);
	for (int i = 0; i < 3; i++)
		EXPECT(!atomic_load(&c[i].ended));
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(call_ended(&c[i]), 1);
	close_pair(fd);
}

#define SLEEPERS 100

static void *sleep_in_turn(void *arg)
{
	long long from = now_ns(CLOCK_MONOTONIC);
	long ms = 1 + (intptr_t)arg * 37 % 60;

	nap_us(ms * 1000);
	return now_ns(CLOCK_MONOTONIC) - from >= ms * 1000000 ? arg : NULL;
}

static void many_sleepers_each_sleep_long_enough(void)
{
	pthread_t t[SLEEPERS];

	for (intptr_t i = 0; i < SLEEPERS; i++)
		t[i] = start(sleep_in_turn, (void *)(i + 1));
	for (intptr_t i = 0; i < SLEEPERS; i++)
		EXPECT(finish(t[i]) == (void *)(i + 1));
}

/* ---- what is said ---- */

static short poll_once(int fd, short events)
{
	struct pollfd p = {fd, events, 0};

	return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

static void poll_tells_hangups_and_errors_unasked(void)
{
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	EXPECT_EQ(poll_once(fd[0], POLLIN), 0);
	EXPECT_EQ(poll_once(fd[1], POLLOUT), POLLOUT);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	close(fd[1]);
	EXPECT_EQ(poll_once(fd[0], POLLIN), POLLIN | POLLHUP);
	EXPECT_EQ(poll_once(fd[0], 0), POLLHUP);
	close(fd[0]);
	if (!EXPECT_OK(pipe(fd)))
		return;
	close(fd[0]);
	EXPECT_EQ(poll_once(fd[1], POLLOUT), POLLOUT | POLLERR);
	EXPECT_EQ(poll_once(fd[1], 0), POLLERR);
	close(fd[1]);
	if (!tcp_pair(fd))
		return;
	EXPECT_OK(shutdown(fd[1], SHUT_WR));
	WAIT_UNTIL(poll_once(fd[0], POLLIN));
	EXPECT_EQ(poll_once(fd[0], POLLIN | POLLRDHUP | POLLOUT),
		  POLLIN | POLLRDHUP | POLLOUT);
	EXPECT_OK(shutdown(fd[0], SHUT_WR));
	WAIT_UNTIL(poll_once(fd[0], 0) & POLLHUP);
	close_pair(fd);
}

static long call_poll_nothing(struct caller *c)
{
	struct pollfd p = {c->fd, 0, 0};
	int n = poll(&p, 1, -1);

	return n == 1 ? p.revents : -1;
}

static void a_wait_for_nothing_ends_with_a_hangup(void)
{
	struct caller c = {0};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	call_in_thread(&c, call_poll_nothing, fd[0]);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	settle();
	EXPECT(!atomic_load(&c.ended));
	close(fd[1]);
	EXPECT_EQ(call_ended(&c), POLLHUP);
	close(fd[0]);
}

/* ---- after a read in vain ---- */

static ssize_t read_in_vain(int fd, bool by_flag)
{
	char bytes[64];
	ssize_t n;

	if (by_flag)
		return recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	EXPECT_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	n = read(fd, bytes, sizeof(bytes));
	EXPECT_OK(fcntl(fd, F_SETFL, 0));
	return n;
}

static long call_poll(struct caller *c)
{
	struct pollfd p = {c->fd, (short)c->size, 0};

	return poll(&p, 1, -1) == 1 ? p.revents : -1;
}

enum news { A_BYTE, AN_URGENT_ONE, THE_END };

static void tell(int fd, enum news what)
{
	switch (what) {
	case A_BYTE:
		EXPECT_EQ(send(fd, "b", 1, 0), 1);
		break;
	case AN_URGENT_ONE:
		EXPECT_EQ(send(fd, "u", 1, MSG_OOB), 1);
		break;
	case THE_END:
		EXPECT_OK(shutdown(fd, SHUT_WR));
		break;
	}
}

static long told_of(enum news what, short events, bool by_flag, bool before)
{
	struct caller c = {.size = POLLIN};
	int fd[2];

	if (!tcp_pair(fd))
		return -1;
	/* Known to the runtime by a wait, and empty again. */
	call_in_thread(&c, call_poll, fd[0]);
	tell(fd[1], A_BYTE);
	EXPECT_EQ(call_ended(&c), POLLIN);
	EXPECT_EQ(recv(fd[0], c.bytes, sizeof(c.bytes), 0), 1);
	EXPECT_ERR(read_in_vain(fd[0], by_flag), EAGAIN);
	c.size = (size_t)events;
	if (before)
		tell(fd[1], what);
	call_in_thread(&c, call_poll, fd[0]);
	if (!before)
		tell(fd[1], what);
	call_ended(&c);
	close_pair(fd);
	return c.ret;
}

static void poll_after_a_read_in_vain_hears_of_all_that_comes(void)
{
	for (int i = 0; i < 4; i++) {
		bool by_flag = i & 1, before = i & 2;

		EXPECT_EQ(told_of(A_BYTE, POLLIN, by_flag, before), POLLIN);
		EXPECT_EQ(told_of(A_BYTE, POLLIN | POLLPRI, by_flag, before),
			  POLLIN);
		EXPECT_EQ(told_of(AN_URGENT_ONE, POLLIN | POLLPRI, by_flag, before),
			  POLLPRI);
		EXPECT_EQ(told_of(AN_URGENT_ONE, POLLPRI, by_flag, before),
			  POLLPRI);
		EXPECT_EQ(told_of(THE_END, POLLIN | POLLRDHUP, by_flag, before),
			  POLLIN | POLLRDHUP);
		EXPECT_EQ(told_of(THE_END, POLLRDHUP, by_flag, before), POLLRDHUP);
	}
}

/* It is not read, and there is nothing else to be. */
static void what_is_urgent_is_told_as_often_as_it_is_asked_for(void)
{
	struct caller c = {.size = POLLIN | POLLPRI};
	int fd[2];

	if (!tcp_pair(fd))
		return;
	call_in_thread(&c, call_poll, fd[0]);
	tell(fd[1], AN_URGENT_ONE);
	EXPECT_EQ(call_ended(&c), POLLPRI);
	EXPECT_EQ(poll_once(fd[0], POLLIN), 0);
	EXPECT_EQ(call_poll(&c), POLLPRI);
	EXPECT_EQ(call_poll(&c), POLLPRI);
	close_pair(fd);
}

/* One of a thousand descriptors, and it is the last. */
#define MANY_FDS 400

static int many_fds[MANY_FDS][2];

static long call_poll_many(struct caller *c)
{
	struct pollfd p[MANY_FDS];
	int n;

	(void)c;
	for (int i = 0; i < MANY_FDS; i++)
		p[i] = (struct pollfd){many_fds[i][0], POLLIN, 0};
	n = poll(p, MANY_FDS, -1);
	for (int i = 0; i < MANY_FDS; i++)
		if (n > 0 && p[i].revents)
			return n * 10000 + i;
	return -1;
}

static void poll_sees_the_last_of_many(void)
{
	struct caller c[3] = {0};

	for (int i = 0; i < MANY_FDS; i++)
		if (!EXPECT_OK(pipe(many_fds[i])))
			return;
	for (int i = 0; i < 3; i++)
		call_in_thread(&c[i], call_poll_many, -1);
	EXPECT_EQ(write(many_fds[MANY_FDS - 1][1], "x", 1), 1);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(call_ended(&c[i]), 10000 + MANY_FDS - 1);
	for (int i = 0; i < MANY_FDS; i++)
		close_pair(many_fds[i]);
}

static long call_select_three(struct caller *c)
{
	int *fd = c->with;
	fd_set sets[3];
	int top = 0, n;

	for (int i = 0; i < 3; i++) {
		FD_ZERO(&sets[i]);
		FD_SET(fd[i], &sets[i]);
		top = fd[i] > top ? fd[i] : top;
	}
	n = select(top + 1, &sets[0], &sets[1], &sets[2], NULL);
	return n * 10 + (FD_ISSET(fd[0], &sets[0]) ? 1 : 0) +
	       (FD_ISSET(fd[1], &sets[1]) ? 2 : 0) +
	       (FD_ISSET(fd[2], &sets[2]) ? 4 : 0);
}

/* One to read, one to write that is full, one for urgent data. */
static void select_tells_its_three_sets_apart(void)
{
	static char page[4096];
	struct caller c = {0};
	int in[2], full[2], urgent[2], fds[3];

	for (int round = 0; round < 3; round++) {
		if (!stream_pair(in) || !stream_pair(full) || !tcp_pair(urgent))
			return;
		while (send(full[0], page, sizeof(page), MSG_DONTWAIT) > 0)
			;
		fds[0] = in[0];
		fds[1] = full[0];
		fds[2] = urgent[0];
		c.with = fds;
		call_in_thread(&c, call_select_three, -1);
		EXPECT(!atomic_load(&c.ended));
		if (round == 0)
			EXPECT_EQ(send(in[1], "x", 1, 0), 1);
		if (round == 1)
			while (recv(full[1], page, sizeof(page), MSG_DONTWAIT) > 0)
				;
		if (round == 2)
			EXPECT_EQ(send(urgent[1], "!", 1, MSG_OOB), 1);
		EXPECT_EQ(call_ended(&c), 10 + (1 << round));
		close_pair(in);
		close_pair(full);
		close_pair(urgent);
	}
}

/* ---- epoll ---- */

static int epoll_of(int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};
	int set = epoll_create1(EPOLL_CLOEXEC);

	EXPECT_OK(set);
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
	return set;
}

static long call_epoll(struct caller *c)
{
	struct epoll_event event[4];
	int n = epoll_wait(c->fd, event, 4, -1);

	return n == 1 ? (long)event[0].events : -n;
}

/* Each of the waiters gets one event of a one-shot, once it is armed again. */
static void a_oneshot_event_goes_to_one_of_many_who_wait(void)
{
	struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT};
	struct caller c[8] = {0};
	int fd[2], set, ended = 0;

	if (!EXPECT_OK(pipe(fd)))
		return;
	set = epoll_of(fd[0], EPOLLIN | EPOLLONESHOT);
	for (int i = 0; i < 8; i++)
		call_in_thread(&c[i], call_epoll, set);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	for (int want = 1; want <= 8; want++) {
		WAIT_UNTIL(({
			ended = 0;
			for (int i = 0; i < 8; i++)
				ended += atomic_load(&c[i].ended);
			ended >= want;
		}));
		nap_us(2000);
		EXPECT_EQ(ended, want);
		EXPECT_OK(epoll_ctl(set, EPOLL_CTL_MOD, fd[0], &again));
	}
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(call_ended(&c[i]), EPOLLIN);
	close_pair(fd);
	close(set);
}

static void an_edge_is_told_once(void)
{
	struct epoll_event event;
	int fd[2], set;
	char two[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	set = epoll_of(fd[0], EPOLLIN | EPOLLET);
	EXPECT_EQ(write(fd[1], "ab", 2), 2);
	EXPECT_EQ(epoll_wait(set, &event, 1, -1), 1);
	EXPECT_EQ(epoll_wait(set, &event, 1, 10), 0);
	EXPECT_EQ(read(fd[0], two, 1), 1);
	EXPECT_EQ(epoll_wait(set, &event, 1, 10), 0);
	EXPECT_EQ(write(fd[1], "c", 1), 1);
	EXPECT_EQ(epoll_wait(set, &event, 1, -1), 1);
	close_pair(fd);
	close(set);
}

static void who_waits_sees_what_is_added_meanwhile(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct caller c = {0};
	int fd[2], other[2], set;

	if (!EXPECT_OK(pipe(fd)) || !EXPECT_OK(pipe(other)))
		return;
	set = epoll_of(fd[0], EPOLLIN);
	call_in_thread(&c, call_epoll, set);
	EXPECT_EQ(write(other[1], "x", 1), 1);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, other[0], &event));
	EXPECT_EQ(call_ended(&c), EPOLLIN);
	close_pair(fd);
	close_pair(other);
	close(set);
}

static void an_epoll_is_itself_ready_when_one_of_its_own_is(void)
{
	struct caller by_poll = {0}, by_epoll = {0};
	int fd[2], inner, outer;

	if (!EXPECT_OK(pipe(fd)))
		return;
	inner = epoll_of(fd[0], EPOLLIN);
	outer = epoll_of(inner, EPOLLIN);
	call_in_thread(&by_epoll, call_epoll, outer);
	call_in_thread(&by_poll, call_poll_long, inner);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(call_ended(&by_epoll), EPOLLIN);
	EXPECT_EQ(call_ended(&by_poll), 1);
	close_pair(fd);
	close(inner);
	close(outer);
}

static void a_closed_descriptor_leaves_an_epoll(void)
{
	struct epoll_event event;
	int fd[2], set;

	if (!stream_pair(fd))
		return;
	set = epoll_of(fd[0], EPOLLIN);
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(epoll_wait(set, &event, 1, -1), 1);
	close(fd[0]);
	EXPECT_EQ(epoll_wait(set, &event, 1, 10), 0);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_DEL, fd[0], NULL), EBADF);
	close(fd[1]);
	close(set);
}

/* A program's own epoll over what its own threads wait on: both work. */
static void a_descriptor_in_an_epoll_can_be_waited_on_too(void)
{
	struct caller waits = {0}, reads = {0};
	int fd[2], set;

	if (!tcp_pair(fd))
		return;
	set = epoll_of(fd[0], EPOLLIN | EPOLLET);
	reads.size = 1;
	call_in_thread(&waits, call_epoll, set);
	call_in_thread(&reads, call_recv, fd[0]);
	EXPECT_EQ(send(fd[1], "xy", 2, 0), 2);
	EXPECT_EQ(call_ended(&waits), EPOLLIN);
	EXPECT_EQ(call_ended(&reads), 1);
	EXPECT_EQ(recv(fd[0], reads.bytes, 8, 0), 1);
	call_in_thread(&reads, call_recv, fd[0]);
	EXPECT_EQ(send(fd[1], "z", 1, 0), 1);
	EXPECT_EQ(call_ended(&reads), 1);
	close_pair(fd);
	close(set);
}

static void epoll_refuses_what_it_must(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	volatile int fewer_than_none = -1; /* compilers would warn */
	int fd[2], set;

	if (!EXPECT_OK(pipe(fd)))
		return;
	set = epoll_of(fd[0], EPOLLIN);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &event), EEXIST);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_MOD, fd[1], &event), ENOENT);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_DEL, fd[1], &event), ENOENT);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_ADD, set, &event), EINVAL);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_ADD, 997, &event), EBADF);
	EXPECT_ERR(epoll_wait(set, &event, 0, 0), EINVAL);
	EXPECT_ERR(epoll_wait(set, &event, fewer_than_none, 0), EINVAL);
	EXPECT_ERR(epoll_wait(fd[0], &event, 1, 0), EINVAL);
	EXPECT_ERR(epoll_wait(997, &event, 1, 0), EBADF);
	close_pair(fd);
	close(set);
}

/* ---- descriptors that are clocks and counters ---- */

static void a_periodic_timerfd_counts_what_was_not_read(void)
{
	struct itimerspec every = {{0, 2000000}, {0, 2000000}};
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t times = 0, sum = 0;
	long long from = now_ns(CLOCK_MONOTONIC);

	if (!EXPECT_OK(fd) || !EXPECT_OK(timerfd_settime(fd, 0, &every, NULL)))
		return;
	while (sum < 10) {
		if (!EXPECT_EQ(read(fd, &times, 8), 8) || !EXPECT(times > 0))
			return;
		sum += times;
		if (sum > 4 && sum < 8)
			nap_us(7000);
	}
	lasted(from, (long long)sum * 2000000);
	close(fd);
}

static long call_write_one(struct caller *c)
{
	uint64_t one = 1;

	return write(c->fd, &one, 8);
}

static void a_full_eventfd_lets_a_writer_wait(void)
{
	struct caller c = {0};
	uint64_t most = 0xfffffffffffffffe, value = 0;
	int fd = eventfd(0, 0);

	if (!EXPECT_OK(fd) || !EXPECT_EQ(write(fd, &most, 8), 8))
		return;
	call_in_thread(&c, call_write_one, fd);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(read(fd, &value, 8), 8);
	EXPECT(value == most);
	EXPECT_EQ(call_ended(&c), 8);
	EXPECT_EQ(read(fd, &value, 8), 8);
	EXPECT_EQ(value, 1);
	EXPECT_ERR(read(fd, &value, 4), EINVAL);
	close(fd);
}

static const struct expect_case cases[] = {
	CASE(no_sleep_ends_early),
	CASE(a_sleep_of_300_us_is_not_one_of_a_millisecond),
	CASE(timeouts_with_nothing_ready_end_in_time),
	CASE(sleeping_until_a_time_that_is_past_does_not_sleep),
	CASE(sleeping_until_a_time_to_come_reaches_it),
	CASE(times_that_are_none_are_refused),
	CASE(far_timeouts_wait_as_long_as_it_takes),
	CASE(many_sleepers_each_sleep_long_enough),
	CASE(poll_tells_hangups_and_errors_unasked),
	CASE(a_wait_for_nothing_ends_with_a_hangup),
	CASE(poll_after_a_read_in_vain_hears_of_all_that_comes),
	CASE(what_is_urgent_is_told_as_often_as_it_is_asked_for),
	CASE(poll_sees_the_last_of_many),
	CASE(select_tells_its_three_sets_apart),
	CASE(a_oneshot_event_goes_to_one_of_many_who_wait),
	CASE(an_edge_is_told_once),
	CASE(who_waits_sees_what_is_added_meanwhile),
	CASE(an_epoll_is_itself_ready_when_one_of_its_own_is),
	CASE(a_closed_descriptor_leaves_an_epoll),
	CASE(a_descriptor_in_an_epoll_can_be_waited_on_too),
	CASE(epoll_refuses_what_it_must),
	CASE(a_periodic_timerfd_counts_what_was_not_read),
	CASE(a_full_eventfd_lets_a_writer_wait),
};
EXPECT_MAIN(cases)
