/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* born.c - descriptors that libc makes in its own way, and those that take the
 * place of others.
 *
 * A number that was a pipe, and was closed where nobody saw it, is now something
 * else: what was known of the pipe must not be believed of it. */
#include <netdb.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <utmp.h>

#include "io.h"

static long call_poll(struct caller *c)
{
	struct pollfd p = {c->fd, POLLIN, 0};

	return poll(&p, 1, -1) == 1 ? p.revents : -1;
}

/* Waits for a byte on a pipe of which the reading end has the lowest number
 * that is free, and closes both where no library sees it. Once more if a lower
 * one was taken just then: who looks whether a thread sleeps needs one to read
 * that with, for a moment. */
static bool leave_a_trace(int ret_fd[2])
{
	long lowest;

	do {
		struct caller c = {.size = 1};

		if (!EXPECT_OK(pipe(ret_fd)))
			return false;
		call_in_thread(&c, call_read, ret_fd[0]);
		EXPECT_EQ(write(ret_fd[1], "t", 1), 1);
		EXPECT_EQ(call_ended(&c), 1);
		rawsys(SYS_close, ret_fd[0], 0, 0);
		rawsys(SYS_close, ret_fd[1], 0, 0);
		lowest = rawsys(SYS_dup, STDOUT_FILENO, 0, 0);
		rawsys(SYS_close, lowest, 0, 0);
	} while (lowest < ret_fd[0]);
	return true;
}

static void who_waits_for_a_new_terminal_is_told(void)
{
	struct caller c = {0};
	int was[2], master, slave;

	if (!leave_a_trace(was) ||
	    !EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)))
		return;
	EXPECT_EQ(master, was[0]);
	EXPECT_EQ(slave, was[1]);
	call_in_thread(&c, call_read, slave);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(master, "line\n", 5), 5);
	EXPECT_EQ(call_ended(&c), 5);
	call_in_thread(&c, call_poll, master);
	EXPECT(call_ended(&c) & POLLIN); /* the echo */
	close_pair((int[2]){master, slave});
}

static void who_waits_for_the_master_of_terminals_is_told(void)
{
	struct caller c = {0};
	int was[2], master, slave;

	if (!leave_a_trace(was) || !EXPECT_OK(master = getpt()))
		return;
	EXPECT_EQ(master, was[0]);
	EXPECT_OK(grantpt(master));
	EXPECT_OK(unlockpt(master));
	EXPECT_OK(slave = open(ptsname(master), O_RDWR | O_NOCTTY));
	call_in_thread(&c, call_poll, master);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(slave, "x", 1), 1);
	EXPECT_EQ(call_ended(&c), POLLIN);
	close_pair((int[2]){master, slave});
}

static void who_waits_for_a_signal_on_a_descriptor_is_told(void)
{
	struct signalfd_siginfo info;
	struct caller c = {0};
	sigset_t set, more, old;
	int was[2], fd;

	/* In main, whose mask everybody inherits: it stays pending then. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	more = set;
	sigaddset(&more, SIGUSR2);
	EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &more, &old), 0);
	if (!leave_a_trace(was) ||
	    !EXPECT_OK(fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)))
		return;
	EXPECT_EQ(fd, was[0]);
	EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	EXPECT_ERR(read(fd, &info, sizeof(info)), EAGAIN);
	call_in_thread(&c, call_poll, fd);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
	EXPECT_EQ(call_ended(&c), POLLIN);
	EXPECT_EQ(read(fd, &info, sizeof(info)), sizeof(info));
	EXPECT_EQ(info.ssi_signo, SIGUSR1);
	/* A second mask for the same descriptor makes no other. */
	EXPECT_EQ(signalfd(fd, &more, SFD_NONBLOCK), fd);
	call_in_thread(&c, call_poll, fd);
	EXPECT_EQ(kill(getpid(), SIGUSR2), 0);
	EXPECT_EQ(call_ended(&c), POLLIN);
	EXPECT_EQ(read(fd, &info, sizeof(info)), sizeof(info));
	EXPECT_EQ(info.ssi_signo, SIGUSR2);
	close(fd);
	EXPECT_ERR(signalfd(fd, &set, 0), EBADF);
	EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
}

static void who_waits_for_news_of_a_file_system_is_told(void)
{
	struct caller c = {0};
	int was[2], fd, file;
	char path[64];

	if (!leave_a_trace(was))
		return;
	fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY);
	if (fd < 0) {
		SKIP("fanotify is for root");
		return;
	}
	EXPECT_EQ(fd, was[0]);
	snprintf(path, sizeof(path), "/tmp/born.%d", (int)getpid());
	EXPECT_OK(file = open(path, O_CREAT | O_RDWR, 0600));
	if (fanotify_mark(fd, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, path) == 0) {
		call_in_thread(&c, call_poll, fd);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(write(file, "m", 1), 1);
		EXPECT_EQ(call_ended(&c), POLLIN);
	}
	close_pair((int[2]){fd, file});
	unlink(path);
}

static void who_waits_at_a_reserved_port_is_told(void)
{
	int port = IPPORT_RESERVED - 1, was[2], fd, other;
	struct sockaddr_in at = {.sin_family = AF_INET};
	struct caller c = {0};

	for (int i = 0; i < 2; i++) {
		if (!leave_a_trace(was))
			return;
		fd = i ? rresvport_af(&port, AF_INET) : rresvport(&port);
		if (fd < 0) {
			SKIP("reserved ports are for root");
			return;
		}
		EXPECT_EQ(fd, was[0]);
		EXPECT_OK(listen(fd, 1));
		call_in_thread(&c, call_accept, fd);
		EXPECT(!atomic_load(&c.ended));
		at.sin_port = htons((uint16_t)port);
		at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		EXPECT((other = connect_to(&at)) >= 0);
		EXPECT(call_ended(&c) >= 0);
		close((int)c.ret);
		close_pair((int[2]){fd, other});
		port--;
	}
}

/* ---- in the place of others ---- */

static void log_in(void *arg)
{
	struct caller c = {0};
	int master, slave, fd[2];

	(void)arg;
	/* Somebody waits for what was standard input. */
	if (!EXPECT_OK(pipe(fd)) || !EXPECT_OK(dup2(fd[0], 0)) ||
	    !EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)))
		return;
	call_in_thread(&c, call_read, 0);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_OK(login_tty(slave));
	EXPECT_ERR(fcntl(slave, F_GETFD), EBADF);
	EXPECT(isatty(0) && isatty(1) && isatty(2));
	EXPECT_EQ(write(fd[1], "old", 3), 3);
	EXPECT_EQ(call_ended(&c), 3);
	memset(c.bytes, 0, sizeof(c.bytes));
	call_in_thread(&c, call_read, 0);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(master, "new\n", 4), 4);
	EXPECT_EQ(call_ended(&c), 4);
	EXPECT_STR(c.bytes, "new\n");
	EXPECT_ERR(login_tty(fd[1]), ENOTTY);
	EXPECT(isatty(0));
}

static void a_login_puts_a_terminal_in_the_place_of_what_was_waited_for(void)
{
	expect_child(log_in, NULL);
}

/* ---- told by the kernel, whoever made the call ---- */

static long call_epoll(struct caller *c)
{
	struct epoll_event e;

	return epoll_wait(c->fd, &e, 1, -1) == 1 ? (long)e.events : -1;
}

static void who_waits_for_a_set_hears_of_what_is_put_into_it(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	struct caller c = {0};
	int set = epoll_create1(0), fd[2];

	if (!EXPECT_OK(set) || !EXPECT_OK(pipe(fd)))
		return;
	EXPECT_EQ(write(fd[1], "e", 1), 1);
	call_in_thread(&c, call_epoll, set);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &e));
	EXPECT_EQ(call_ended(&c), EPOLLIN);
	e.events = EPOLLPRI;
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_MOD, fd[0], &e));
	call_in_thread(&c, call_epoll, set);
	EXPECT(!atomic_load(&c.ended));
	e.events = EPOLLIN;
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_MOD, fd[0], &e));
	EXPECT_EQ(call_ended(&c), EPOLLIN);
	EXPECT_ERR(epoll_ctl(set, EPOLL_CTL_ADD, fd[0], &e), EEXIST);
	close_pair(fd);
	close(set);
}

static void who_waits_for_a_timer_hears_of_it_when_it_is_set(void)
{
	struct itimerspec never = {{0, 0}, {1000000, 0}}, soon = {{0, 0}, {0, 1}};
	struct itimerspec left;
	struct caller c = {.size = 8};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (!EXPECT_OK(fd))
		return;
	EXPECT_OK(timerfd_settime(fd, 0, &never, NULL));
	call_in_thread(&c, call_read, fd);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_OK(timerfd_gettime(fd, &left));
	EXPECT(left.it_value.tv_sec > 900000);
	EXPECT_OK(timerfd_settime(fd, 0, &soon, NULL));
	EXPECT_EQ(call_ended(&c), 8);
	EXPECT_EQ(*(uint64_t *)c.bytes, 1);
	close(fd);
}

static void who_waits_hears_of_a_shutdown(void)
{
	struct sockaddr_in at;
	struct caller c = {0}, a = {0};
	int pair[2], listener = listen_at(&at, 1);

	if (!stream_pair(pair) || listener < 0)
		return;
	call_in_thread(&c, call_recv, pair[0]);
	call_in_thread(&a, call_accept, listener);
	EXPECT(!atomic_load(&c.ended) && !atomic_load(&a.ended));
	EXPECT_OK(shutdown(pair[0], SHUT_RD));
	EXPECT_EQ(call_ended(&c), 0);
	EXPECT_OK(shutdown(listener, SHUT_RDWR));
	EXPECT_EQ(call_ended(&a), -1);
	EXPECT_EQ(a.err, EINVAL);
	close_pair(pair);
	close(listener);
}

static const struct expect_case cases[] = {
	CASE(who_waits_for_a_new_terminal_is_told),
	CASE(who_waits_for_the_master_of_terminals_is_told),
	CASE_IN_MAIN(who_waits_for_a_signal_on_a_descriptor_is_told),
	CASE(who_waits_for_news_of_a_file_system_is_told),
	CASE(who_waits_at_a_reserved_port_is_told),
	CASE(a_login_puts_a_terminal_in_the_place_of_what_was_waited_for),
	CASE(who_waits_for_a_set_hears_of_what_is_put_into_it),
	CASE(who_waits_for_a_timer_hears_of_it_when_it_is_set),
	CASE(who_waits_hears_of_a_shutdown),
};

EXPECT_MAIN(cases)
