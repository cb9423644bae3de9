/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fd.c - signals that are read from a descriptor.
 *
 * A signalfd shows whoever looks what is pending for the process, and for the
 * thread that looks: so of what is sent to one thread, that thread hears, in
 * whatever way it waits, and no other. */
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>

#include "../../support/expect.h"
#include <fcntl.h>
#include <stdatomic.h>

static sigset_t set_of(int a, int b)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, a);
	if (b)
		sigaddset(&set, b);
	return set;
}

enum way { READ, READ_ALL, POLL, POLL_MANY, SELECT, EPOLL, EPOLL_EDGE, WAYS };

/* One that waits for news of signals that it blocks. */
struct listener {
	pthread_t thread;
	enum way way;
	int fd;
	atomic_bool begun, ended;
	bool later;		/* it waits until it is told to look */
	atomic_bool look;
	int n;
	struct signalfd_siginfo info[8];
};

static bool wait_for_news(struct listener *l)
{
	struct pollfd p[20];
	struct epoll_event e = {.events = EPOLLIN};
	fd_set reads;
	int set, n = 1;

	switch (l->way) {
	case POLL:
	case POLL_MANY:
		for (int i = 0; i < 20; i++)
			p[i] = (struct pollfd){-1, POLLIN, 0};
		n = l->way == POLL ? 1 : 20;
		p[n - 1].fd = l->fd;
		return EXPECT_EQ(poll(p, n, -1), 1) &&
		       EXPECT_EQ(p[n - 1].revents, POLLIN) &&
		       EXPECT_EQ(poll(p, n, 0), 1);
	case SELECT:
		FD_ZERO(&reads);
		FD_SET(l->fd, &reads);
		return EXPECT_EQ(select(l->fd + 1, &reads, NULL, NULL, NULL), 1);
	case EPOLL_EDGE:
		e.events |= EPOLLET;
		/* fall through */
	case EPOLL:
		set = epoll_create1(0);
		EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, l->fd, &e));
		n = epoll_wait(set, &e, 1, -1);
		close(set);
		return EXPECT_EQ(n, 1) && EXPECT_EQ(e.events, EPOLLIN);
	default:
		return true;
	}
}

static void *listens(void *arg)
{
	struct listener *l = arg;
	sigset_t set = set_of(SIGUSR1, SIGRTMIN + 1);
	ssize_t r;

	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	atomic_store(&l->begun, true);
	if (l->later)
		WAIT_UNTIL(atomic_load(&l->look));
	if (wait_for_news(l)) {
		r = read(l->fd, l->info, l->way == READ_ALL ? sizeof(l->info)
							    : sizeof(l->info[0]));
		EXPECT(r > 0 && r % sizeof(l->info[0]) == 0);
		l->n = (int)(r / (ssize_t)sizeof(l->info[0]));
	}
	atomic_store(&l->ended, true);
	return arg;
}

static void begin(struct listener *l)
{
	l->thread = start(listens, l);
	WAIT_UNTIL(atomic_load(&l->begun));
	settle();
	EXPECT(!atomic_load(&l->ended));
}

static int signals_here(void)
{
	sigset_t set = set_of(SIGUSR1, SIGRTMIN + 1);
	int fd = signalfd(-1, &set, SFD_CLOEXEC);

	EXPECT_OK(fd);
	return fd;
}

static void who_waits_in_any_way_hears_of_what_is_its_own(void)
{
	int fd = signals_here();

	for (int way = 0; way < WAYS; way++) {
		struct listener l = {.way = way, .fd = fd};

		begin(&l);
		EXPECT_EQ(pthread_kill(l.thread, SIGUSR1), 0);
		EXPECT(finish(l.thread) == &l);
		EXPECT_EQ(l.n, 1);
		EXPECT_EQ(l.info[0].ssi_signo, SIGUSR1);
		EXPECT_EQ(l.info[0].ssi_code, SI_TKILL);
		EXPECT_EQ(l.info[0].ssi_pid, getpid());
		EXPECT_EQ(l.info[0].ssi_uid, getuid());
	}
	close(fd);
}

static void who_looks_later_finds_what_is_its_own(void)
{
	int fd = signals_here();

	for (int way = 0; way < WAYS; way++) {
		struct listener l = {.way = way, .fd = fd, .later = true};

		begin(&l);
		EXPECT_EQ(pthread_kill(l.thread, SIGUSR1), 0);
		EXPECT_EQ(pthread_kill(l.thread, SIGUSR1), 0);
		atomic_store(&l.look, true);
		EXPECT(finish(l.thread) == &l);
		EXPECT_EQ(l.n, 1);
		EXPECT_EQ(l.info[0].ssi_signo, SIGUSR1);
	}
	close(fd);
}

static void queued_signals_come_in_order_with_their_values(void)
{
	struct listener l = {.way = READ_ALL, .fd = signals_here(), .later = true};

	begin(&l);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(pthread_sigqueue(l.thread, SIGRTMIN + 1,
					   (union sigval){.sival_int = 100 + i}), 0);
	EXPECT_EQ(pthread_kill(l.thread, SIGUSR1), 0);
	atomic_store(&l.look, true);
	EXPECT(finish(l.thread) == &l);
	EXPECT_EQ(l.n, 5);
	EXPECT_EQ(l.info[0].ssi_signo, SIGUSR1);
	for (int i = 0; i < 4; i++) {
		EXPECT_EQ(l.info[i + 1].ssi_signo, SIGRTMIN + 1);
		EXPECT_EQ(l.info[i + 1].ssi_code, SI_QUEUE);
		EXPECT_EQ(l.info[i + 1].ssi_int, 100 + i);
	}
	close(l.fd);
}

static void each_of_many_hears_of_its_own_and_of_no_others(void)
{
	struct listener l[WAYS] = {0};
	int fd = signals_here(), ended;

	for (int i = 0; i < WAYS; i++) {
		l[i].way = i;
		l[i].fd = fd;
		begin(&l[i]);
	}
	for (int i = WAYS - 1; i >= 0; i--) {
		EXPECT_EQ(pthread_sigqueue(l[i].thread, SIGRTMIN + 1,
					   (union sigval){.sival_int = i}), 0);
		EXPECT(finish(l[i].thread) == &l[i]);
		EXPECT_EQ(l[i].n, 1);
		EXPECT_EQ(l[i].info[0].ssi_int, i);
		settle();
		ended = 0;
		for (int k = 0; k < i; k++)
			ended += atomic_load(&l[k].ended);
		EXPECT_EQ(ended, 0);
	}
	close(fd);
}

/* What is looked at and not read stays pending, as it is. */
static void *looks_only(void *arg)
{
	struct listener *l = arg;
	sigset_t set = set_of(SIGUSR1, SIGRTMIN + 1), pending;
	struct timespec none = {0, 0};
	struct pollfd p = {l->fd, POLLIN, 0};
	siginfo_t info;

	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(pthread_sigqueue(pthread_self(), SIGRTMIN + 1,
					   (union sigval){.sival_int = i}), 0);
	EXPECT_EQ(raise(SIGUSR1), 0);
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(poll(&p, 1, 0), 1);
	EXPECT_EQ(sigpending(&pending), 0);
	EXPECT_EQ(sigismember(&pending, SIGUSR1), 1);
	EXPECT_EQ(sigismember(&pending, SIGRTMIN + 1), 1);
	EXPECT_EQ(sigtimedwait(&set, &info, &none), SIGUSR1);
	/* and so does what a read had no room for */
	EXPECT_EQ(read(l->fd, l->info, 2 * sizeof(l->info[0])),
		  2 * sizeof(l->info[0]));
	EXPECT_EQ(l->info[1].ssi_int, 1);
	EXPECT_EQ(poll(&p, 1, 0), 1);
	EXPECT_EQ(sigtimedwait(&set, &info, &none), SIGRTMIN + 1);
	EXPECT_EQ(info.si_value.sival_int, 2);
	EXPECT_EQ(poll(&p, 1, 0), 0);
	EXPECT_ERR(read(l->fd, l->info, 7), EINVAL);
	return arg;
}

static void what_is_not_read_stays_pending(void)
{
	struct listener l = {.fd = signals_here()};

	EXPECT(finish(start(looks_only, &l)) == &l);
	close(l.fd);
}

/* One for the thread and one for the process, whoever reads. */
static void *reads_both(void *arg)
{
	struct listener *l = arg;
	sigset_t set = set_of(SIGUSR1, SIGRTMIN + 1);

	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
	EXPECT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
	for (int i = 0; i < 2; i++)
		EXPECT_EQ(read(l->fd, &l->info[i], sizeof(l->info[0])),
			  sizeof(l->info[0]));
	EXPECT_EQ(l->info[0].ssi_code, SI_TKILL);
	EXPECT_EQ(l->info[1].ssi_code, SI_USER);
	EXPECT_OK(fcntl(l->fd, F_SETFL, O_NONBLOCK));
	EXPECT_ERR(read(l->fd, &l->info[0], sizeof(l->info[0])), EAGAIN);
	return arg;
}

static void a_threads_own_come_before_the_processs(void)
{
	struct listener l = {.fd = signals_here()};
	sigset_t set = set_of(SIGUSR1, SIGRTMIN + 1), old;

	/* In main, or it would take what is the process's. */
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
	EXPECT(finish(start(reads_both, &l)) == &l);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
	close(l.fd);
}

/* A signal that no descriptor asked for here is about ends no wait, and a
 * duplicate tells what the first does. */
static void only_what_a_descriptor_is_for_is_told(void)
{
	sigset_t other = set_of(SIGUSR2, 0), narrow = set_of(SIGUSR1, 0);
	int all = signals_here(), fd = signalfd(-1, &narrow, 0);

	for (int way = 0; way < WAYS; way++) {
		struct listener l = {.way = way};

		EXPECT_OK(l.fd = dup(fd));
		begin(&l);
		EXPECT_EQ(pthread_sigqueue(l.thread, SIGRTMIN + 1,
					   (union sigval){.sival_int = 1}), 0);
		settle();
		EXPECT(!atomic_load(&l.ended));
		EXPECT_EQ(pthread_kill(l.thread, SIGUSR1), 0);
		EXPECT(finish(l.thread) == &l);
		EXPECT_EQ(l.info[0].ssi_signo, SIGUSR1);
		close(l.fd);
	}
	EXPECT_EQ(signalfd(fd, &other, 0), fd);
	close(fd);
	close(all);
}

/* ---- many, at once ---- */

#define MANY 40
#define EACH 50

static void *counts(void *arg)
{
	struct listener *l = arg;
	sigset_t set = set_of(SIGRTMIN + 1, 0);
	struct signalfd_siginfo info[3];

	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
	atomic_store(&l->begun, true);
	while (l->n < EACH) {
		struct pollfd p = {l->fd, POLLIN, 0};
		ssize_t r;

		if (l->n % 3 == 0)
			EXPECT_EQ(poll(&p, 1, -1), 1);
		r = read(l->fd, info, sizeof(info));
		if (!EXPECT(r > 0))
			break;
		for (size_t i = 0; i < r / sizeof(info[0]); i++)
			EXPECT_EQ(info[i].ssi_int, l->n++);
	}
	return arg;
}

static void none_is_lost_or_told_to_another_where_many_read(void)
{
	static struct listener l[MANY];
	int fd = signals_here();

	for (int i = 0; i < MANY; i++) {
		l[i].fd = fd;
		l[i].thread = start(counts, &l[i]);
	}
	for (int i = 0; i < MANY; i++)
		WAIT_UNTIL(atomic_load(&l[i].begun));
	for (int k = 0; k < EACH; k++)
		for (int i = 0; i < MANY; i++)
			while (pthread_sigqueue(l[i].thread, SIGRTMIN + 1,
						(union sigval){.sival_int = k}) ==
			       EAGAIN)
				sched_yield();
	for (int i = 0; i < MANY; i++) {
		EXPECT(finish(l[i].thread) == &l[i]);
		EXPECT_EQ(l[i].n, EACH);
	}
	close(fd);
}

static const struct expect_case cases[] = {
	CASE(who_waits_in_any_way_hears_of_what_is_its_own),
	CASE(who_looks_later_finds_what_is_its_own),
	CASE(queued_signals_come_in_order_with_their_values),
	CASE(each_of_many_hears_of_its_own_and_of_no_others),
	CASE(what_is_not_read_stays_pending),
	CASE_IN_MAIN(a_threads_own_come_before_the_processs),
	CASE(only_what_a_descriptor_is_for_is_told),
	CASE(none_is_lost_or_told_to_another_where_many_read),
};

EXPECT_MAIN(cases)
