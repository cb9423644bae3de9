/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* full.c - every descriptor is taken.
 *
 * A server meets its limit one day: then each call says so as libc has it, and
 * at once; who waits, sleeps, starts a thread or closes something is not
 * touched by it; and all goes on when a descriptor is free again. The numbers
 * below the limit are the program's, all of them.
 *
 * Each case is a child with a limit of its own. */
#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "io.h"

#define LIMIT 100

static int taken[LIMIT], ntaken;

static bool set_limit(rlim_t n)
{
	struct rlimit limit;

	if (!EXPECT_OK(getrlimit(RLIMIT_NOFILE, &limit)))
		return false;
	limit.rlim_cur = n;
	return EXPECT_OK(setrlimit(RLIMIT_NOFILE, &limit));
}

static void take_all(void)
{
	int fd;

	while ((fd = dup(1)) >= 0)
		taken[ntaken++] = fd;
	EXPECT_EQ(errno, EMFILE);
}

static void free_some(int n)
{
	while (n-- > 0)
		EXPECT_OK(close(taken[--ntaken]));
}

/* ---- numbers ---- */

static void count_numbers(void *arg)
{
	struct caller c = {0};
	int fd[2], free = 0, got = 0;

	(void)arg;
	if (!set_limit(LIMIT) || !EXPECT_OK(pipe(fd)))
		return;
	/* Somebody waits: whatever that needs is there. */
	call_in_thread(&c, call_read, fd[0]);
	for (int i = 0; i < LIMIT; i++)
		free += fcntl(i, F_GETFD) == -1;
	while (dup(1) >= 0)
		got++;
	EXPECT_EQ(errno, EMFILE);
	EXPECT_EQ(got, free);
	for (int i = 0; i < LIMIT; i++)
		EXPECT_OK(fcntl(i, F_GETFD));
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(call_ended(&c), 1);
}

static void every_number_below_the_limit_can_be_had(void)
{
	expect_child(count_numbers, NULL);
}

/* Each that is not in use may be asked for by dup2, and is then what it was
 * made; those that were in use stay. */
static void name_numbers(void *arg)
{
	struct caller c = {0}, moved = {0};
	int fd[2], other[2], late[2], high = (int)(intptr_t)arg, bad = 0;
	bool was[2048];

	if (!set_limit(high) || !EXPECT_OK(pipe(fd)) || !EXPECT_OK(pipe(other)) ||
	    !EXPECT_OK(pipe(late)))
		return;
	call_in_thread(&c, call_read, fd[0]);
	/* This one waits on for what has no number any more. */
	call_in_thread(&moved, call_read, other[0]);
	EXPECT_OK(close(other[0]));
	for (int i = 0; i < high; i++)
		was[i] = i == fd[0] || i == fd[1] || i == other[1] ||
			 i == late[0] || i == late[1] || i < 3;
	for (int i = 0; i < high; i++)
		if (!was[i])
			bad += dup2(late[0], i) != i;
	EXPECT_EQ(bad, 0);
	for (int i = 0; i < high; i++)
		bad += fcntl(i, F_GETFD) == -1;
	EXPECT_EQ(bad, 0);
	for (int i = 0; i < high; i++)
		if (!was[i])
			bad += close(i) != 0;
	EXPECT_EQ(bad, 0);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(call_ended(&c), 1);
	EXPECT_EQ(write(other[1], "moved", 5), 5);
	EXPECT_EQ(call_ended(&moved), 5);
	/* and everybody can wait for something new */
	call_in_thread(&c, call_read, late[0]);
	EXPECT_EQ(write(late[1], "late", 4), 4);
	EXPECT_EQ(call_ended(&c), 4);
}

static void every_number_can_be_named_while_threads_wait(void)
{
	expect_child(name_numbers, (void *)100);
	expect_child(name_numbers, (void *)1100);
}

/* As daemons do, one by one and all at once: who waits on what was closed
 * before is not touched by it. */
static void close_all(void *arg)
{
	struct caller c = {0};
	int fd[2], keep;

	if (!EXPECT_OK(pipe(fd)))
		return;
	EXPECT_OK(keep = fcntl(fd[1], F_DUPFD, 3));
	EXPECT_EQ(dup2(keep, 2), 2);
	call_in_thread(&c, call_read, fd[0]);
	EXPECT_OK(close(fd[0]));
	if (arg)
		EXPECT_OK(close_range(3, ~0u, 0));
	else
		for (int i = 3; i < 1024; i++)
			close(i);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(2, "late", 4), 4);
	EXPECT_EQ(call_ended(&c), 4);
}

static void who_waits_on_what_has_no_number_outlives_closing_all(void)
{
	expect_child(close_all, NULL);
	expect_child(close_all, (void *)1);
}

/* ---- each call says so ---- */

static bool pass(int fd, int passed)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec part = {(void *)"p", 1};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &passed, sizeof(int));
	return sendmsg(fd, &msg, 0) == 1;
}

static int passed_flags(int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	char byte;
	struct iovec part = {&byte, 1};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room)};

	EXPECT_EQ(recvmsg(fd, &msg, 0), 1);
	EXPECT_EQ(byte, 'p');
	EXPECT(CMSG_FIRSTHDR(&msg) == NULL);
	return msg.msg_flags & MSG_CTRUNC;
}

static void ask_each(void *arg)
{
	struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	struct sockaddr_in at;
	struct sockaddr_un un;
	sigset_t set;
	int idle = listen_at(&at, 4), busy = listen_at(&at, 4), client, two[2];
	int quick = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char name[32] = "/tmp/full.XXXXXX";
	FILE *f;
	DIR *d;
	void *l;

	(void)arg;
	un = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "\0full"};
	snprintf(un.sun_path + 1, 40, "full-%d", (int)getpid());
	EXPECT_OK(bind(quick, (struct sockaddr *)&un, sizeof(un)));
	EXPECT_OK(listen(quick, 1));
	sigemptyset(&set);
	if (!EXPECT((client = connect_to(&at)) >= 0) || !stream_pair(two) ||
	    !set_limit(LIMIT))
		return;
	EXPECT(pass(two[0], 1));
	take_all();
	/* Whether or not somebody has come, and whether or not it would wait. */
	EXPECT_ERR(accept(busy, NULL, NULL), EMFILE);
	EXPECT_ERR(accept4(idle, NULL, NULL, SOCK_CLOEXEC), EMFILE);
	EXPECT_ERR(accept(quick, NULL, NULL), EMFILE);
	EXPECT_ERR(open("/dev/null", O_RDONLY), EMFILE);
	EXPECT_ERR(openat(AT_FDCWD, "/", O_DIRECTORY), EMFILE);
	EXPECT_ERR(creat(name, 0600), EMFILE);
	EXPECT_ERR(mkstemp(name), EMFILE);
	EXPECT_ERR(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
	EXPECT_ERR(socketpair(AF_UNIX, SOCK_STREAM, 0, two + 0), EMFILE);
	EXPECT_ERR(pipe((int[2]){0, 0}), EMFILE);
	EXPECT_ERR(dup(1), EMFILE);
	EXPECT_ERR(fcntl(1, F_DUPFD, 0), EMFILE);
	EXPECT_ERR(fcntl(1, F_DUPFD_CLOEXEC, 50), EMFILE);
	EXPECT_ERR(fcntl(1, F_DUPFD, LIMIT), EINVAL);
	EXPECT_ERR(dup2(1, LIMIT), EBADF);
	EXPECT_ERR(dup3(1, LIMIT, O_CLOEXEC), EBADF);
	EXPECT_EQ(dup2(1, taken[0]), taken[0]);
	EXPECT_ERR(epoll_create1(0), EMFILE);
	EXPECT_ERR(eventfd(0, 0), EMFILE);
	EXPECT_ERR(timerfd_create(CLOCK_MONOTONIC, 0), EMFILE);
	EXPECT_ERR(signalfd(-1, &set, 0), EMFILE);
	EXPECT_ERR(inotify_init1(0), EMFILE);
	EXPECT_ERR(memfd_create("full", 0), EMFILE);
	errno = 0;
	EXPECT((f = fopen("/dev/null", "r")) == NULL && errno == EMFILE);
	errno = 0;
	EXPECT((f = tmpfile()) == NULL && errno == EMFILE);
	errno = 0;
	EXPECT((f = popen("true", "r")) == NULL && errno == EMFILE);
	errno = 0;
	EXPECT((d = opendir("/")) == NULL && errno == EMFILE);
	EXPECT((l = dlopen("libcogo-is-not.so", RTLD_NOW)) == NULL);
	EXPECT(sem_open("/cogo-full", O_CREAT, 0600, 0) == SEM_FAILED &&
	       errno == EMFILE);
	errno = 0;
	EXPECT_EQ(getaddrinfo("127.0.0.1", "80", &hints, &found), 0);
	freeaddrinfo(found);
	EXPECT_EQ(passed_flags(two[1]), MSG_CTRUNC);
	/* And when some are free again, it is as before. */
	free_some(3);
	EXPECT_OK(accept(busy, NULL, NULL));
	EXPECT_OK(pipe(two));
	EXPECT_ERR(dup(1), EMFILE);
	close(client);
}

static void each_call_says_that_none_is_free(void)
{
	expect_child(ask_each, NULL);
}

/* ---- what needs none goes on ---- */

static void *naps(void *arg)
{
	nap_us(2000);
	return arg;
}

static long call_poll(struct caller *c)
{
	struct pollfd p = {c->fd, POLLIN, 0};

	return poll(&p, 1, -1) == 1 ? p.revents : -1;
}

static long call_epoll(struct caller *c)
{
	struct epoll_event e;

	return epoll_wait(c->fd, &e, 1, -1) == 1 ? (long)e.events : -1;
}

static atomic_bool computing;

static void *computes(void *arg)
{
	while (atomic_load(&computing))
		;
	return arg;
}

static void *takes_its_turn(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
	return arg;
}

/* Threads that have not waited before, on descriptors that nobody has waited
 * for before, and some that compute and never wait. */
static void go_on_without(void *arg)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct caller c[4] = {0};
	int in[2], by_poll[2], by_epoll[2], sock[2], set;
	pthread_t t[20], busy[3];
	atomic_int turns = 0;

	if (!arg && !set_limit(LIMIT))
		return;
	if (!arg) {
		if (!EXPECT_OK(pipe(in)) || !EXPECT_OK(pipe(by_poll)) ||
		    !EXPECT_OK(pipe(by_epoll)) || !stream_pair(sock) ||
		    !EXPECT_OK(set = epoll_create1(0)))
			return;
		take_all();
	} else {
		/* all was made and taken before the fork */
		memcpy(in, (int *)arg, sizeof(in));
		memcpy(by_poll, (int *)arg + 2, sizeof(in));
		memcpy(by_epoll, (int *)arg + 4, sizeof(in));
		memcpy(sock, (int *)arg + 6, sizeof(in));
		set = ((int *)arg)[8];
	}
	EXPECT_ERR(dup(1), EMFILE);
	EXPECT_OK(epoll_ctl(set, EPOLL_CTL_ADD, by_epoll[0], &event));
	atomic_store(&computing, true);
	for (int i = 0; i < 3; i++)
		busy[i] = start(computes, &computing);
	for (int i = 0; i < 20; i++)
		t[i] = start(i % 2 ? naps : takes_its_turn, &turns);
	call_in_thread(&c[0], call_read, in[0]);
	call_in_thread(&c[1], call_poll, by_poll[0]);
	call_in_thread(&c[2], call_epoll, set);
	call_in_thread(&c[3], call_recv, sock[0]);
	for (int i = 0; i < 20; i++)
		EXPECT(finish(t[i]) == &turns);
	EXPECT_EQ(atomic_load(&turns), 10);
	EXPECT_EQ(write(in[1], "x", 1), 1);
	EXPECT_EQ(write(by_poll[1], "x", 1), 1);
	EXPECT_EQ(write(by_epoll[1], "x", 1), 1);
	EXPECT_EQ(write(sock[1], "x", 1), 1);
	EXPECT_EQ(call_ended(&c[0]), 1);
	EXPECT_EQ(call_ended(&c[1]), POLLIN);
	EXPECT_EQ(call_ended(&c[2]), EPOLLIN);
	EXPECT_EQ(call_ended(&c[3]), 1);
	atomic_store(&computing, false);
	for (int i = 0; i < 3; i++)
		EXPECT(finish(busy[i]) == &computing);
	EXPECT_ERR(dup(1), EMFILE);
}

static void threads_start_sleep_and_wait_with_none_free(void)
{
	expect_child(go_on_without, NULL);
}

static void fork_without(void *arg)
{
	int fd[9];

	(void)arg;
	if (!set_limit(LIMIT))
		return;
	for (int i = 0; i < 3; i++)
		if (!EXPECT_OK(pipe(fd + 2 * i)))
			return;
	if (!stream_pair(fd + 6) || !EXPECT_OK(fd[8] = epoll_create1(0)))
		return;
	take_all();
	expect_child(go_on_without, fd);
}

static void a_child_of_one_that_has_none_free_goes_on_too(void)
{
	expect_child(fork_without, NULL);
}

/* Whatever becomes of the number, who waits keeps what it waits for. */
static void close_without(void *arg)
{
	struct caller c[3] = {0};
	int fd[2], sock[2], other[2];

	(void)arg;
	if (!set_limit(LIMIT) || !EXPECT_OK(pipe(fd)) || !stream_pair(sock) ||
	    !EXPECT_OK(pipe(other)))
		return;
	take_all();
	call_in_thread(&c[0], call_read, fd[0]);
	call_in_thread(&c[1], call_recv, sock[0]);
	call_in_thread(&c[2], call_read, other[0]);
	EXPECT_OK(close(fd[0]));
	EXPECT_EQ(dup(sock[1]), fd[0]);
	EXPECT_EQ(dup2(other[1], sock[0]), sock[0]);
	EXPECT_OK(close(other[0]));
	settle();
	for (int i = 0; i < 3; i++)
		EXPECT(!atomic_load(&c[i].ended));
	EXPECT_EQ(write(fd[1], "1", 1), 1);
	EXPECT_EQ(write(sock[1], "22", 2), 2);
	EXPECT_EQ(write(other[1], "333", 3), 3);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(call_ended(&c[i]), i + 1);
}

static void who_waits_on_what_is_closed_waits_on_with_none_free(void)
{
	expect_child(close_without, NULL);
}

/* ---- a server at its limit ---- */

#define CALLERS 40

static int server;
static struct sockaddr_in server_at;
static atomic_int answered, refused;

static void *answers(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char byte;

	if (read(fd, &byte, 1) == 1)
		write_all(fd, &byte, 1);
	nap_us(3000);
	close(fd);
	atomic_fetch_add(&answered, 1);
	return NULL;
}

/* The classic: one descriptor is kept for the moment at which there is none,
 * to take the caller, who would stay in the queue otherwise, and tell him. */
static void *serves(void *arg)
{
	int spare = open("/dev/null", O_RDONLY), fd;
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (;;) {
		fd = accept(server, NULL, NULL);
		if (fd < 0 && errno == EMFILE) {
			close(spare);
			fd = accept(server, NULL, NULL);
			if (fd >= 0) {
				write_all(fd, "!", 1);
				close(fd);
				atomic_fetch_add(&refused, 1);
			}
			spare = open("/dev/null", O_RDONLY);
			continue;
		}
		if (fd < 0)
			break;
		EXPECT_EQ(pthread_create(&t, &attr, answers, (void *)(intptr_t)fd),
			  0);
	}
	close(spare);
	return errno == EINVAL ? arg : NULL;
}

static void be_callers(int ready)
{
	int bad = 0;

	for (int round = 0; round < 5; round++) {
		int fd[CALLERS];

		for (int i = 0; i < CALLERS; i++)
			fd[i] = connect_to(&server_at);
		for (int i = 0; i < CALLERS; i++)
			bad += fd[i] < 0 || send(fd[i], "?", 1, MSG_NOSIGNAL) < 0;
		for (int i = 0; i < CALLERS; i++) {
			char byte = 0;
			ssize_t n = read(fd[i], &byte, 1);

			/* or a reset, which overtakes the refusal */
			bad += n == 1 && byte != '?' && byte != '!';
			close(fd[i]);
		}
	}
	write_all(ready, bad ? "b" : "g", 1);
}

static void serve_without(void *arg)
{
	pthread_t t;
	int done[2];
	char byte = 0;
	pid_t pid;

	(void)arg;
	server = listen_at(&server_at, CALLERS);
	if (server < 0 || !EXPECT_OK(pipe(done)))
		return;
	pid = fork();
	if (pid == 0) {
		alarm(EXPECT_WAIT_SECONDS);
		be_callers(done[1]);
		_exit(0);
	}
	if (!EXPECT_OK(pid) || !set_limit(LIMIT))
		return;
	take_all();
	free_some(9);
	t = start(serves, &answered);
	EXPECT_EQ(read(done[0], &byte, 1), 1);
	EXPECT_EQ(byte, 'g');
	EXPECT_EQ(status_of(pid), 0);
	WAIT_UNTIL(atomic_load(&answered) + atomic_load(&refused) == 5 * CALLERS);
	EXPECT(atomic_load(&answered) > 0);
	EXPECT_OK(shutdown(server, SHUT_RDWR));
	EXPECT(finish(t) == &answered);
}

static void a_server_at_its_limit_answers_or_refuses_everybody(void)
{
	expect_child(serve_without, NULL);
}

static const struct expect_case cases[] = {
	CASE(every_number_below_the_limit_can_be_had),
	CASE(every_number_can_be_named_while_threads_wait),
	CASE(who_waits_on_what_has_no_number_outlives_closing_all),
	CASE(each_call_says_that_none_is_free),
	CASE(threads_start_sleep_and_wait_with_none_free),
	CASE(a_child_of_one_that_has_none_free_goes_on_too),
	CASE(who_waits_on_what_is_closed_waits_on_with_none_free),
	CASE(a_server_at_its_limit_answers_or_refuses_everybody),
};

EXPECT_MAIN(cases)
