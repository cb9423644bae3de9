/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* partner.c - descriptors shared with a process that knows nothing of us.
 *
 * What fcntl and setsockopt say of a descriptor belongs to its description,
 * and so to everybody who has it: a shell's terminal, an inherited listener,
 * the pipes of a pipeline. A partner, which is this program executed again and
 * plainly, has the same descriptions and looks at their flags all the time,
 * while threads of ours wait on them in every way: it must never see one
 * change. And what the partner changes is seen by the next call, not by one
 * that waits already, as the kernel has it.
 *
 *   partner --partner BOARD	is the partner, with its board at that number */
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <termios.h>

#include "io.h"

extern char **environ;

#define SHARED 16

/* What belongs to a description, as the partner first saw it. */
struct settings {
	int flags, lowat;
	struct timeval rcv, snd;
};

enum { WATCH, SET, CLEAR, SET_CLEAR, LEAVE };

/* In memory that both have. */
struct board {
	int fd[SHARED], n;	/* the same numbers in both */
	atomic_int command, which, done;
	atomic_long looks, changes;
	int seen, wanted, at;	/* of the first that changed */
};

static struct board *board;

/* ---- the partner's side ---- */

static void look(int fd, struct settings *ret)
{
	socklen_t size = sizeof(ret->rcv);

	memset(ret, 0, sizeof(*ret));
	ret->flags = fcntl(fd, F_GETFL);
	getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &ret->rcv, &size);
	size = sizeof(ret->snd);
	getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &ret->snd, &size);
	size = sizeof(ret->lowat);
	getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &ret->lowat, &size);
}

static void change(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

static int be_partner(int number)
{
	struct settings first[SHARED], now;
	int command;

	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED,
		     number, 0);
	if (board == MAP_FAILED)
		return 3;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(3 * EXPECT_WAIT_SECONDS);
	for (int i = 0; i < board->n; i++)
		look(board->fd[i], &first[i]);
	while ((command = atomic_load(&board->command)) != LEAVE) {
		int fd = atomic_load(&board->which);

		if (command == SET || command == CLEAR)
			change(fd, command == SET);
		if (command == SET_CLEAR)
			for (int i = 0; i < 2; i++)
				change(fd, i == 0);
		if (command != WATCH) {
			atomic_store(&board->command, WATCH);
			atomic_fetch_add(&board->done, 1);
			continue;
		}
		for (int i = 0; i < board->n; i++) {
			look(board->fd[i], &now);
			if (memcmp(&now, &first[i], sizeof(now)) == 0)
				continue;
			if (atomic_fetch_add(&board->changes, 1))
				continue;
			board->at = i;
			board->seen = now.flags;
			board->wanted = first[i].flags;
		}
		atomic_fetch_add(&board->looks, 1);
	}
	return 0;
}

/* ---- ours ---- */

/* The same environment without what would make it one of us. */
static char **plain_environment(void)
{
	static char *plain[512] = {"COGO_DISABLE=1"};
	int n = 1;

	for (char **e = environ; *e && n < 511; e++)
		if (strncmp(*e, "LD_PRELOAD=", 11) && strncmp(*e, "COGO_", 5))
			plain[n++] = *e;
	plain[n] = NULL;
	return plain;
}

struct partner {
	pid_t pid;
	int memory;
};

/* By fork and exec, or as libc does it. */
static bool begin(struct partner *p, bool spawned, const int *fd, int n)
{
	char number[16], *argv[] = {"partner", "--partner", number, NULL};

	p->memory = memfd_create("board", 0);
	if (!EXPECT_OK(p->memory) ||
	    !EXPECT_OK(ftruncate(p->memory, sizeof(*board))))
		return false;
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED,
		     p->memory, 0);
	if (!EXPECT(board != MAP_FAILED))
		return false;
	memcpy(board->fd, fd, n * sizeof(*fd));
	board->n = n;
	snprintf(number, sizeof(number), "%d", p->memory);
	if (spawned)
		return EXPECT_EQ(posix_spawn(&p->pid, "/proc/self/exe", NULL, NULL,
					     argv, plain_environment()), 0);
	p->pid = fork();
	if (p->pid == 0) {
		execve("/proc/self/exe", argv, plain_environment());
		_exit(127);
	}
	return EXPECT_OK(p->pid);
}

static void tell(int command, int fd)
{
	int before = atomic_load(&board->done);

	atomic_store(&board->which, fd);
	atomic_store(&board->command, command);
	WAIT_UNTIL(atomic_load(&board->done) > before);
}

static void end(struct partner *p)
{
	atomic_store(&board->command, LEAVE);
	EXPECT_EQ(status_of(p->pid), 0);
	munmap(board, sizeof(*board));
	close(p->memory);
}

/* ---- nothing changes ---- */

static atomic_bool enough;

struct stream {
	int in, out;
	char kind;
	atomic_long moved;
};

static void *puts_bytes(void *arg)
{
	struct stream *s = arg;
	size_t size = s->kind == 'e' ? 8 : 3000;
	uint64_t bytes[3000 / 8] = {1};

	while (!atomic_load(&enough)) {
		struct pollfd p = {s->out, POLLOUT, 0};

		if (s->kind == 'p' && poll(&p, 1, 10) != 1)
			continue;
		if (write(s->out, bytes, size) <= 0)
			return NULL;
		if (s->kind == 'e')
			nap_us(100);
	}
	return arg;
}

static void *gets_bytes(void *arg)
{
	struct stream *s = arg;
	char bytes[1000];

	for (;;) {
		struct pollfd p = {s->in, POLLIN, 0};
		ssize_t n;

		/* Some wait in the call, some before it. */
		if (s->kind == 'p' && poll(&p, 1, 10) != 1)
			continue;
		n = read(s->in, bytes, sizeof(bytes));
		if (n <= 0)
			return NULL;
		atomic_fetch_add(&s->moved, n);
	}
}

static void *fills_by_sendfile(void *arg)
{
	struct stream *s = arg;
	int file = memfd_create("fill", 0);

	EXPECT_OK(ftruncate(file, 100000));
	while (!atomic_load(&enough)) {
		off_t at = 0;

		if (sendfile(s->out, file, &at, 100000) <= 0)
			return NULL;
	}
	close(file);
	return arg;
}

static void *drains_by_splice(void *arg)
{
	struct stream *s = arg;
	int null = open("/dev/null", O_WRONLY), through[2];

	if (!EXPECT_OK(pipe(through)))
		return NULL;
	for (;;) {
		ssize_t n = splice(s->in, NULL, through[1], NULL, 4000, 0);

		if (n <= 0 || splice(through[0], NULL, null, NULL, n, 0) != n)
			return NULL;
		atomic_fetch_add(&s->moved, n);
	}
}

static int shared_listener;
static struct sockaddr_in shared_at;
static atomic_long connections;

static void *accepts(void *arg)
{
	int fd;

	while ((fd = accept(shared_listener, NULL, NULL)) >= 0)
		close(fd);
	return errno == EINVAL ? arg : NULL;
}

static void *connects(void *arg)
{
	while (!atomic_load(&enough)) {
		int fd = connect_to(&shared_at);

		if (fd < 0)
			return NULL;
		close(fd);
		atomic_fetch_add(&connections, 1);
	}
	return arg;
}

static bool raw_terminal(int *ret_master, int *ret_slave)
{
	struct termios how;

	if (!EXPECT_OK(openpty(ret_master, ret_slave, NULL, NULL, NULL)) ||
	    !EXPECT_OK(tcgetattr(*ret_slave, &how)))
		return false;
	cfmakeraw(&how);
	return EXPECT_OK(tcsetattr(*ret_slave, TCSANOW, &how));
}

enum { KINDS = 7 };

static void nobody_sees_a_flag_change(bool spawned)
{
	static const char names[KINDS + 1] = "tusdpef";
	struct stream s[KINDS] = {0};
	pthread_t t[2 * KINDS], a[2], c[2];
	struct partner p;
	int fd[SHARED], n = 0, pair[2];

	for (int i = 0; i < KINDS; i++) {
		bool good = names[i] == 't' || names[i] == 's' ? tcp_pair(pair) :
			    names[i] == 'u' ? stream_pair(pair) :
			    names[i] == 'd' ? raw_terminal(&pair[0], &pair[1]) :
			    names[i] == 'e' ? EXPECT_OK(pair[0] = eventfd(0, 0)) :
			    EXPECT_OK(pipe(pair));

		if (!good)
			return;
		if (names[i] == 'e')
			pair[1] = pair[0];
		s[i] = (struct stream){.in = pair[0], .out = pair[1],
				       .kind = names[i]};
		fd[n++] = pair[0];
		if (names[i] != 'e')
			fd[n++] = pair[1];
	}
	shared_listener = listen_at(&shared_at, 64);
	fd[n++] = shared_listener;
	atomic_store(&enough, false);
	atomic_store(&connections, 0);
	if (shared_listener < 0 || !begin(&p, spawned, fd, n))
		return;
	for (int i = 0; i < KINDS; i++) {
		t[2 * i] = start(names[i] == 's' || names[i] == 'f'
				 ? drains_by_splice : gets_bytes, &s[i]);
		t[2 * i + 1] = start(names[i] == 's' || names[i] == 'f'
				     ? fills_by_sendfile : puts_bytes, &s[i]);
	}
	for (int i = 0; i < 2; i++) {
		a[i] = start(accepts, &connections);
		c[i] = start(connects, &connections);
	}
	WAIT_UNTIL(atomic_load(&board->looks) > 300);
	for (int i = 0; i < KINDS; i++)
		WAIT_UNTIL(atomic_load(&s[i].moved) > (names[i] == 'e' ? 40 : 30000));
	WAIT_UNTIL(atomic_load(&connections) > 50);
	EXPECT_EQ(atomic_load(&board->changes), 0);
	EXPECT_EQ(board->seen, board->wanted);
	EXPECT_EQ(board->at, 0);
	atomic_store(&enough, true);
	for (int i = 0; i < 2; i++)
		finish(c[i]);
	EXPECT_OK(shutdown(shared_listener, SHUT_RDWR));
	for (int i = 0; i < 2; i++)
		EXPECT(finish(a[i]) == &connections);
	for (int i = 0; i < KINDS; i++)
		EXPECT(finish(t[2 * i + 1]) == &s[i]);
	/* Readers wait for what never comes now. */
	for (int i = 0; i < KINDS; i++) {
		EXPECT_EQ(pthread_cancel(t[2 * i]), 0);
		EXPECT(finish(t[2 * i]) == PTHREAD_CANCELED);
	}
	EXPECT_EQ(atomic_load(&board->changes), 0);
	end(&p);
	for (int i = 0; i < n; i++)
		close(fd[i]);
}

static void no_flag_changes_while_threads_wait_on_what_a_child_shares(void)
{
	nobody_sees_a_flag_change(false);
}

static void no_flag_changes_while_threads_wait_on_what_a_spawned_one_shares(void)
{
	nobody_sees_a_flag_change(true);
}

/* ---- the partner changes something ---- */

struct kind {
	const char *name;
	long (*call)(struct caller *);
	int in, out;
};

static bool one_of_each(struct kind *k, struct sockaddr_in *ret_at)
{
	int pair[2];

	for (int i = 0; i < 7; i++) {
		bool good;

		k[i].call = i == 0 ? call_recv : i == 5 ? call_accept : call_read;
		switch (i) {
		case 0:
			good = tcp_pair(pair);
			break;
		case 1:
			good = stream_pair(pair);
			break;
		case 2:
			good = datagram_pair(pair);
			break;
		case 3:
			good = EXPECT_OK(pipe(pair));
			break;
		case 4:
			good = raw_terminal(&pair[0], &pair[1]);
			break;
		case 5:
			pair[1] = pair[0] = listen_at(ret_at, 4);
			good = pair[0] >= 0;
			break;
		default:
			pair[1] = pair[0] = eventfd(0, 0);
			good = EXPECT_OK(pair[0]);
			break;
		}
		if (!good)
			return false;
		k[i].in = pair[0];
		k[i].out = pair[1];
	}
	return true;
}

/* What makes whoever waits there go on. */
static void give(const struct kind *k, const struct sockaddr_in *at)
{
	uint64_t one = 1;
	int fd;

	if (k->call == call_accept) {
		EXPECT((fd = connect_to(at)) >= 0);
		close(fd);
	} else {
		EXPECT_EQ(write(k->out, &one, 8), 8);
	}
}

static void the_partners_flag_is_for_the_next_call(bool spawned)
{
	struct kind k[7];
	struct sockaddr_in at;
	struct partner p;
	int fd[SHARED];

	if (!one_of_each(k, &at))
		return;
	for (int i = 0; i < 7; i++)
		fd[i] = k[i].in;
	if (!begin(&p, spawned, fd, 7))
		return;
	for (int i = spawned ? 4 : 0; i < 7; i++) {
		struct caller c = {0};

		/* Waiting already: it waits on. */
		call_in_thread(&c, k[i].call, k[i].in);
		tell(SET, k[i].in);
		settle();
		EXPECT(!atomic_load(&c.ended));
		give(&k[i], &at);
		EXPECT(call_ended(&c) > 0);
		/* The next does not. */
		call_in_thread(&c, k[i].call, k[i].in);
		EXPECT_EQ(call_ended(&c), -1);
		EXPECT_EQ(c.err, EAGAIN);
		EXPECT(fcntl(k[i].in, F_GETFL) & O_NONBLOCK);
		/* And the one after the flag has gone again does. */
		tell(CLEAR, k[i].in);
		EXPECT(!(fcntl(k[i].in, F_GETFL) & O_NONBLOCK));
		call_in_thread(&c, k[i].call, k[i].in);
		EXPECT(!atomic_load(&c.ended));
		give(&k[i], &at);
		EXPECT(call_ended(&c) > 0);
		/* On and off again, many times, harms nobody who waits. */
		call_in_thread(&c, k[i].call, k[i].in);
		for (int n = 0; n < 10; n++)
			tell(SET_CLEAR, k[i].in);
		EXPECT(!atomic_load(&c.ended));
		give(&k[i], &at);
		EXPECT(call_ended(&c) > 0);
	}
	end(&p);
	for (int i = 0; i < 7; i++) {
		close(k[i].in);
		if (k[i].out != k[i].in)
			close(k[i].out);
	}
}

static void a_childs_nonblocking_flag_is_for_the_next_call(void)
{
	the_partners_flag_is_for_the_next_call(false);
}

static void a_spawned_ones_nonblocking_flag_is_for_the_next_call(void)
{
	the_partners_flag_is_for_the_next_call(true);
}

/* Sockets look at the flag when the call begins, and never again: of several
 * who wait for one message, all but one have been woken for nothing, and wait
 * on. (A pipe wakes only as many as it can serve.) */
static void who_was_woken_for_nothing_waits_on_whatever_the_flag(void)
{
	for (int kind = 0; kind < 3; kind++) {
		struct caller c[4] = {0};
		struct partner p;
		int fd[2], ended = 0;

		if (!(kind == 0 ? tcp_pair(fd) :
		      kind == 1 ? stream_pair(fd) : datagram_pair(fd)) ||
		    !begin(&p, kind & 1, fd, 1))
			return;
		for (int i = 0; i < 4; i++) {
			c[i].size = 1;
			call_in_thread(&c[i], call_recv, fd[0]);
		}
		tell(SET, fd[0]);
		for (int want = 1; want <= 4; want++) {
			EXPECT_EQ(send(fd[1], "w", 1, 0), 1);
			WAIT_UNTIL(({
				ended = 0;
				for (int i = 0; i < 4; i++)
					ended += atomic_load(&c[i].ended);
				ended >= want;
			}));
			settle();
			ended = 0;
			for (int i = 0; i < 4; i++)
				ended += atomic_load(&c[i].ended);
			EXPECT_EQ(ended, want);
		}
		for (int i = 0; i < 4; i++)
			EXPECT_EQ(call_ended(&c[i]), 1);
		end(&p);
		close_pair(fd);
	}
}

/* Who gets a descriptor of ours in a message has its description from then on:
 * here it is somebody in this process, of whom the library hears nothing. */
static void a_flag_set_by_whom_a_descriptor_was_passed_to_is_seen(void)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	char byte = 'p';
	struct iovec part = {&byte, 1};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1,
			     .msg_control = control.room,
			     .msg_controllen = sizeof(control.room)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
	struct caller c = {0};
	int fd[2], over[2], passed;

	if (!stream_pair(fd) || !stream_pair(over))
		return;
	EXPECT_ERR(recv(fd[0], c.bytes, 1, MSG_DONTWAIT), EAGAIN);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd[0], sizeof(int));
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(sendmsg(over[0], &msg, 0), 1);
	EXPECT_EQ(rawsys(SYS_recvmsg, over[1], (long)&msg, 0), 1);
	memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	EXPECT_EQ(rawsys(SYS_fcntl, passed, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	settle();
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	call_in_thread(&c, call_recv, fd[0]);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, EAGAIN);
	close_pair(fd);
	close_pair(over);
	close(passed);
}

static const struct expect_case cases[] = {
	CASE(no_flag_changes_while_threads_wait_on_what_a_child_shares),
	CASE(no_flag_changes_while_threads_wait_on_what_a_spawned_one_shares),
	CASE(a_childs_nonblocking_flag_is_for_the_next_call),
	CASE(a_spawned_ones_nonblocking_flag_is_for_the_next_call),
	CASE(who_was_woken_for_nothing_waits_on_whatever_the_flag),
	CASE(a_flag_set_by_whom_a_descriptor_was_passed_to_is_seen),
};

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--partner") == 0)
		return be_partner(atoi(argv[2]));
	signal(SIGPIPE, SIG_IGN);
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
