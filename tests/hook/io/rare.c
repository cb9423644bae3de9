/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* rare.c - what else the kernel does for the holder of a descriptor.
 *
 * It sends signals to a process or to one thread, lends and takes back, knows
 * who waits for whom, and keeps some things per kernel thread, which a program
 * takes for its own. */
#include <aio.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <mqueue.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <termios.h>

#include "io.h"

static char directory[64];

static const char *path_of(const char *name)
{
	static __thread char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

/* ---- signals about descriptors ---- */

static atomic_int handled, handled_in, handled_fd;
static atomic_long handled_band;

static void note(int sig, siginfo_t *info, void *context)
{
	(void)context;
	atomic_store(&handled_in, gettid());
	atomic_store(&handled_fd, info->si_fd);
	atomic_store(&handled_band, info->si_band);
	atomic_store(&handled, sig);
}

static void handle(int sig)
{
	struct sigaction act = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};

	atomic_store(&handled, 0);
	EXPECT_OK(sigaction(sig, &act, NULL));
}

struct owner {
	pthread_t thread;
	int fd;
	atomic_int tid;
	atomic_bool over;
};

static void *is_told(void *arg)
{
	struct owner *o = arg;
	struct f_owner_ex me = {.type = F_OWNER_TID, .pid = gettid()};

	EXPECT_OK(fcntl(o->fd, F_SETOWN_EX, &me));
	EXPECT_EQ(gettid(), me.pid);
	atomic_store(&o->tid, me.pid);
	while (!atomic_load(&o->over))
		nap_us(1000);
	return arg;
}

/* A descriptor's owner may be one thread: it and no other is told, main least
 * of all. */
static void news_of_a_descriptor_goes_to_the_thread_that_owns_it(void)
{
	struct f_owner_ex seen, nobody = {.type = F_OWNER_TID, .pid = 4194303};
	int sig = SIGRTMIN + 3, pair[3][2];
	struct owner o[3] = {0};

	handle(sig);
	for (int i = 0; i < 3; i++) {
		if (!stream_pair(pair[i]))
			return;
		EXPECT_OK(fcntl(pair[i][0], F_SETSIG, sig));
		o[i].fd = pair[i][0];
		o[i].thread = start(is_told, &o[i]);
		WAIT_UNTIL(atomic_load(&o[i].tid));
	}
	for (int i = 2; i >= 0; i--) {
		int tid = atomic_load(&o[i].tid);

		EXPECT_OK(fcntl(o[i].fd, F_GETOWN_EX, &seen));
		EXPECT_EQ(seen.type, F_OWNER_TID);
		EXPECT_EQ(seen.pid, tid);
		EXPECT_OK(fcntl(o[i].fd, F_SETFL, O_RDWR | O_ASYNC));
		for (int k = 0; k < 10; k++) {
			char byte;

			atomic_store(&handled, 0);
			EXPECT_EQ(send(pair[i][1], "x", 1, 0), 1);
			WAIT_UNTIL(atomic_load(&handled) == sig);
			EXPECT_EQ(atomic_load(&handled_in), tid);
			EXPECT_EQ(atomic_load(&handled_fd), o[i].fd);
			EXPECT(atomic_load(&handled_band) & POLLIN);
			EXPECT_EQ(recv(o[i].fd, &byte, 1, 0), 1);
		}
		EXPECT_OK(fcntl(o[i].fd, F_SETFL, O_RDWR));
	}
	EXPECT_ERR(fcntl(o[0].fd, F_SETOWN_EX, &nobody), ESRCH);
	for (int i = 0; i < 3; i++) {
		atomic_store(&o[i].over, true);
		EXPECT(finish(o[i].thread) == &o[i]);
		close_pair(pair[i]);
	}
}

static void news_of_a_descriptor_goes_to_the_process_that_owns_it(void)
{
	int fd[2], on = 1;

	if (!stream_pair(fd))
		return;
	handle(SIGIO);
	EXPECT_OK(fcntl(fd[0], F_SETOWN, getpid()));
	EXPECT_EQ(fcntl(fd[0], F_GETOWN), getpid());
	EXPECT_OK(ioctl(fd[0], FIOASYNC, &on));
	EXPECT(fcntl(fd[0], F_GETFL) & O_ASYNC);
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	WAIT_UNTIL(atomic_load(&handled) == SIGIO);
	close_pair(fd);
}

static void a_change_of_a_directory_is_told_by_a_signal(void)
{
	int dir = open(directory, O_RDONLY), file, sig = SIGRTMIN + 4;

	handle(sig);
	EXPECT_OK(fcntl(dir, F_SETSIG, sig));
	EXPECT_OK(fcntl(dir, F_NOTIFY, DN_CREATE));
	EXPECT_OK(file = open(path_of("told"), O_CREAT | O_WRONLY, 0600));
	WAIT_UNTIL(atomic_load(&handled) == sig);
	EXPECT_EQ(atomic_load(&handled_fd), dir);
	close(file);
	close(dir);
	unlink(path_of("told"));
}

static void a_message_in_an_empty_queue_is_told(void)
{
	struct mq_attr how = {.mq_maxmsg = 2, .mq_msgsize = 8};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL,
				 .sigev_signo = SIGUSR2};
	char name[32];
	mqd_t q;

	snprintf(name, sizeof(name), "/cogo-rare-%d", (int)getpid());
	q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &how);
	if (q == (mqd_t)-1) {
		SKIP("no queues of messages here");
		return;
	}
	mq_unlink(name);
	handle(SIGUSR2);
	EXPECT_OK(mq_notify(q, &event));
	EXPECT_ERR(mq_notify(q, &event), EBUSY);
	EXPECT_OK(mq_send(q, "m", 1, 0));
	WAIT_UNTIL(atomic_load(&handled) == SIGUSR2);
	mq_close(q);
}

/* ---- locks ---- */

static struct flock lock_of(short type, off_t at)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = at,
			      .l_len = 1};
}

static long call_lock(struct caller *c)
{
	struct flock l = lock_of(F_WRLCK, (off_t)c->size);

	return fcntl(c->fd, F_SETLKW, &l);
}

static long call_ofd_lock(struct caller *c)
{
	struct flock l = lock_of(F_WRLCK, 0);

	return fcntl(c->fd, F_OFD_SETLKW, &l);
}

static void none(int sig)
{
	(void)sig;
}

/* Of two processes that each want what the other has, one is told. */
static void a_deadlock_over_a_file_is_told(void)
{
	int fd = open(path_of("lock"), O_CREAT | O_RDWR, 0600), to[2], from[2];
	struct sigaction act = {.sa_handler = none};
	struct flock l = lock_of(F_WRLCK, 0);
	struct caller c = {.size = 1}, again = {0};
	char byte;
	pid_t pid;

	if (!EXPECT_OK(fd) || !EXPECT_OK(pipe(to)) || !EXPECT_OK(pipe(from)))
		return;
	EXPECT_OK(fcntl(fd, F_SETLK, &l));
	pid = fork();
	if (pid == 0) {
		alarm(EXPECT_WAIT_SECONDS);
		l = lock_of(F_WRLCK, 1);
		if (fcntl(fd, F_SETLK, &l) || write(from[1], "1", 1) != 1 ||
		    read(to[0], &byte, 1) != 1)
			_exit(1);
		/* the other side waits for ours now */
		l = lock_of(F_WRLCK, 0);
		if (fcntl(fd, F_SETLKW, &l) != -1 || errno != EDEADLK)
			_exit(2);
		if (write(from[1], "2", 1) != 1 || read(to[0], &byte, 1) != 1)
			_exit(3);
		_exit(0);
	}
	EXPECT_EQ(read(from[0], &byte, 1), 1);
	call_in_thread(&c, call_lock, fd);
	EXPECT(!atomic_load(&c.ended));
	/* What the process has, each of its threads has. */
	call_in_thread(&again, call_lock, fd);
	EXPECT_EQ(call_ended(&again), 0);
	EXPECT_EQ(write(to[1], "1", 1), 1);
	EXPECT_EQ(read(from[0], &byte, 1), 1);
	/* A signal ends the wait for a lock. */
	EXPECT_OK(sigaction(SIGUSR1, &act, NULL));
	EXPECT_EQ(pthread_kill(c.thread, SIGUSR1), 0);
	EXPECT_EQ(call_ended(&c), -1);
	EXPECT_EQ(c.err, EINTR);
	call_in_thread(&c, call_lock, fd);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(to[1], "2", 1), 1);
	EXPECT_EQ(status_of(pid), 0);
	EXPECT_EQ(call_ended(&c), 0);
	close_pair(to);
	close_pair(from);
	close(fd);
	unlink(path_of("lock"));
}

/* Closing any descriptor of a file gives up the process's locks on it. */
static void a_lock_goes_with_the_first_descriptor_that_is_closed(void)
{
	int fd = open(path_of("lock"), O_CREAT | O_RDWR, 0600), status;
	struct flock l = lock_of(F_WRLCK, 0);

	EXPECT_OK(fcntl(fd, F_SETLK, &l));
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			l = lock_of(F_WRLCK, 0);
			_exit(fcntl(fd, F_SETLK, &l) ? errno : 0);
		}
		status = status_of(pid);
		EXPECT_EQ(WEXITSTATUS(status), i ? 0 : EAGAIN);
		close(open(path_of("lock"), O_RDONLY));
	}
	close(fd);
	unlink(path_of("lock"));
}

static void locks_of_descriptions_are_between_threads(void)
{
	int a = open(path_of("lock"), O_CREAT | O_RDWR, 0600);
	int b = open(path_of("lock"), O_RDWR);
	struct flock l = lock_of(F_WRLCK, 0);
	struct caller c = {0};

	EXPECT_OK(fcntl(a, F_OFD_SETLK, &l));
	EXPECT_ERR(fcntl(b, F_OFD_SETLK, &l), EAGAIN);
	call_in_thread(&c, call_ofd_lock, b);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_OK(close(a));
	EXPECT_EQ(call_ended(&c), 0);
	close(b);
	unlink(path_of("lock"));
}

static long call_open(struct caller *c)
{
	(void)c;
	return open(path_of("lease"), O_WRONLY);
}

static void who_opens_what_is_leased_waits_until_it_is_given_back(void)
{
	int fd = open(path_of("lease"), O_CREAT | O_RDONLY, 0600), to[2], from[2];
	struct caller c = {0};
	char byte;
	pid_t pid;

	if (!EXPECT_OK(fd) || !EXPECT_OK(pipe(to)) || !EXPECT_OK(pipe(from)))
		return;
	close(fd);
	pid = fork();
	if (pid == 0) {
		alarm(EXPECT_WAIT_SECONDS);
		fd = open(path_of("lease"), O_RDONLY);
		signal(SIGIO, SIG_IGN);
		if (fcntl(fd, F_SETLEASE, F_RDLCK) || write(from[1], "1", 1) != 1)
			_exit(77);
		if (read(to[0], &byte, 1) != 1 || fcntl(fd, F_SETLEASE, F_UNLCK))
			_exit(1);
		_exit(0);
	}
	close(from[1]);
	if (read(from[0], &byte, 1) != 1) {
		SKIP("no leases here");
		status_of(pid);
	} else {
		EXPECT_ERR(open(path_of("lease"), O_WRONLY | O_NONBLOCK),
			   EWOULDBLOCK);
		call_in_thread(&c, call_open, -1);
		EXPECT(!atomic_load(&c.ended));
		EXPECT_EQ(write(to[1], "1", 1), 1);
		EXPECT(call_ended(&c) >= 0);
		close((int)c.ret);
		EXPECT_EQ(status_of(pid), 0);
	}
	close_pair(to);
	close(from[0]);
	unlink(path_of("lease"));
}

/* ---- descriptors that are less than others, or more ---- */

static void what_is_only_a_path_is_refused(void)
{
	int fd = open(directory, O_PATH), file, dir;
	struct pollfd p = {fd, POLLIN, 0};
	char byte;

	EXPECT_ERR(read(fd, &byte, 1), EBADF);
	EXPECT_ERR(write(fd, &byte, 1), EBADF);
	EXPECT_ERR(fcntl(fd, F_SETFL, O_NONBLOCK), EBADF);
	EXPECT_EQ(poll(&p, 1, 0), 1);
	EXPECT_EQ(p.revents, POLLNVAL);
	EXPECT_OK(file = openat(fd, "file", O_CREAT | O_RDWR, 0600));
	EXPECT_OK(unlinkat(fd, "file", 0));
	EXPECT_OK(dir = openat(fd, ".", O_RDONLY | O_DIRECTORY));
	close(file);
	file = open(directory, O_TMPFILE | O_RDWR, 0600);
	if (file >= 0) {
		EXPECT_EQ(write(file, "t", 1), 1);
		EXPECT_EQ(pread(file, &byte, 1, 0), 1);
		close(file);
	}
	close(fd);
	close(dir);
}

static void what_is_sealed_is_refused(void)
{
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING);

	EXPECT_EQ(write(fd, "kept", 4), 4);
	EXPECT_OK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK));
	EXPECT_ERR(write(fd, "more", 4), EPERM);
	EXPECT_ERR(ftruncate(fd, 1), EPERM);
	EXPECT_EQ(pwrite(fd, "gone", 4, 0), 4);
	EXPECT_OK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_ERR(pwrite(fd, "kept", 4, 0), EPERM);
	EXPECT_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE);
	close(fd);
}

static void a_descriptor_taken_by_a_process_descriptor_can_be_waited_on(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0), fd[2], taken;
	struct caller c = {0};

	if (!stream_pair(fd) || !EXPECT_OK(pidfd))
		return;
	taken = (int)syscall(SYS_pidfd_getfd, pidfd, fd[0], 0);
	if (!EXPECT_OK(taken))
		return;
	EXPECT_OK(close(fd[0]));
	call_in_thread(&c, call_recv, taken);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(send(fd[1], "x", 1, 0), 1);
	EXPECT_EQ(call_ended(&c), 1);
	close(fd[1]);
	close(taken);
	close(pidfd);
}

/* ---- terminals ---- */

/* In the background: who reads is stopped, or told if that may not be. */
static void read_in_the_background(void *arg)
{
	int master, slave, status;
	char byte;
	pid_t pid;

	(void)arg;
	if (!EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)))
		return;
	if (!EXPECT_OK(setsid()) || !EXPECT_OK(ioctl(slave, TIOCSCTTY, 0)))
		return;
	for (int i = 0; i < 3; i++) {
		pid = fork();
		if (pid == 0) {
			struct caller c = {0};

			alarm(EXPECT_WAIT_SECONDS);
			setpgid(0, 0);
			signal(SIGTTIN, i == 0 ? SIG_IGN : SIG_DFL);
			if (i == 1) {
				sigset_t set;

				sigemptyset(&set);
				sigaddset(&set, SIGTTIN);
				pthread_sigmask(SIG_BLOCK, &set, NULL);
			}
			c.call = call_read;
			c.fd = slave;
			c.thread = start(caller_runs, &c);
			call_ended(&c);
			_exit(c.ret == -1 && c.err == EIO ? 5 : 6);
		}
		EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
		if (i < 2) {
			EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 5);
		} else {
			EXPECT(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
			kill(pid, SIGKILL);
			status_of(pid);
		}
	}
	EXPECT_EQ(write(master, "f\n", 2), 2);
	EXPECT_EQ(read(slave, &byte, 1), 1);
}

static void who_reads_in_the_background_is_stopped_or_told(void)
{
	expect_child(read_in_the_background, NULL);
}

static void *hears_of_the_hangup(void *arg)
{
	struct caller *c = arg;

	atomic_store(&c->begun, true);
	c->ret = read(c->fd, c->bytes, 8);
	c->err = errno;
	return NULL;
}

static void lose_the_terminal(void *arg)
{
	struct caller c = {0};
	int master, slave;

	(void)arg;
	handle(SIGHUP);
	if (!EXPECT_OK(openpty(&master, &slave, NULL, NULL, NULL)) ||
	    !EXPECT_OK(setsid()) || !EXPECT_OK(ioctl(slave, TIOCSCTTY, 0)))
		return;
	c.fd = open("/dev/tty", O_RDWR);
	if (!EXPECT_OK(c.fd))
		return;
	c.thread = start(hears_of_the_hangup, &c);
	WAIT_UNTIL(atomic_load(&c.begun));
	settle();
	close(master);
	finish(c.thread);
	/* whichever comes first: the end, or the signal's handler */
	EXPECT(c.ret == 0 || (c.ret == -1 && (c.err == EIO || c.err == EINTR)));
	WAIT_UNTIL(atomic_load(&handled) == SIGHUP);
	EXPECT(read(c.fd, c.bytes, 8) <= 0);
}

static void who_loses_its_terminal_is_told(void)
{
	expect_child(lose_the_terminal, NULL);
}

/* ---- clocks ---- */

static void a_timer_until_a_time_of_day_is_waited_for(void)
{
	struct itimerspec at = {{0, 0}, in_ms(CLOCK_REALTIME, 20)};
	struct caller c = {.size = 8};
	int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
	uint64_t n = 0;

	EXPECT_OK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL));
	call_in_thread(&c, call_read, fd);
	EXPECT_EQ(call_ended(&c), 8);
	memcpy(&n, c.bytes, 8);
	EXPECT_EQ(n, 1);
	EXPECT(now_ns(CLOCK_REALTIME) >=
	       at.it_value.tv_sec * 1000000000LL + at.it_value.tv_nsec);
	close(fd);
}

/* ---- asynchronously ---- */

static void what_was_begun_by_aio_is_waited_for(void)
{
	struct aiocb a = {0};
	const struct aiocb *list[1] = {&a};
	char got[8];
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	a.aio_fildes = fd[0];
	a.aio_buf = got;
	a.aio_nbytes = sizeof(got);
	EXPECT_OK(aio_read(&a));
	settle();
	EXPECT_EQ(aio_error(&a), EINPROGRESS);
	EXPECT_EQ(write(fd[1], "aio", 3), 3);
	while (aio_error(&a) == EINPROGRESS)
		EXPECT_OK(aio_suspend(list, 1, NULL));
	EXPECT_EQ(aio_return(&a), 3);
	close_pair(fd);
}

static long call_getevents(struct caller *c)
{
	struct io_event e;

	return syscall(SYS_io_getevents, *(aio_context_t *)c->with, 1, 1, &e, NULL);
}

static void what_was_given_to_the_kernel_is_waited_for(void)
{
	aio_context_t context = 0;
	struct iocb poll_it = {.aio_lio_opcode = IOCB_CMD_POLL, .aio_buf = POLLIN};
	struct iocb *list[1] = {&poll_it};
	struct caller c = {.with = &context};
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	poll_it.aio_fildes = (uint32_t)fd[0];
	if (syscall(SYS_io_setup, 4, &context) ||
	    syscall(SYS_io_submit, context, 1, list) != 1) {
		SKIP("no asynchronous polling here");
		return;
	}
	call_in_thread(&c, call_getevents, -1);
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT_EQ(call_ended(&c), 1);
	syscall(SYS_io_destroy, context);
	close_pair(fd);
}

/* A ring of the thread's own: some are for one thread alone, and work is done
 * by the thread that asked for it. */
struct ring {
	int fd;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
};

static bool make_ring(struct ring *r, unsigned flags)
{
	size_t sq, cq;

	memset(r, 0, sizeof(*r));
	r->p.flags = flags;
	r->fd = (int)syscall(SYS_io_uring_setup, 8, &r->p);
	if (r->fd < 0)
		return false;
	sq = r->p.sq_off.array + r->p.sq_entries * sizeof(unsigned);
	cq = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->sq = mmap(NULL, sq, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		     r->fd, IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, cq, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		     r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, r->p.sq_entries * sizeof(struct io_uring_sqe),
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
		       IORING_OFF_SQES);
	return r->sq != MAP_FAILED && r->cq != MAP_FAILED && r->sqes != MAP_FAILED;
}

static int ring_read(struct ring *r, int fd, void *to, unsigned size)
{
	unsigned *tail = (unsigned *)(r->sq + r->p.sq_off.tail);
	unsigned mask = *(unsigned *)(r->sq + r->p.sq_off.ring_mask), at = *tail & mask;
	struct io_uring_sqe *s = &r->sqes[at];

	memset(s, 0, sizeof(*s));
	s->opcode = IORING_OP_READ;
	s->fd = fd;
	s->addr = (uint64_t)(uintptr_t)to;
	s->len = size;
	((unsigned *)(r->sq + r->p.sq_off.array))[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return (int)syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0);
}

static int ring_wait(struct ring *r)
{
	unsigned *head = (unsigned *)(r->cq + r->p.cq_off.head);
	unsigned mask = *(unsigned *)(r->cq + r->p.cq_off.ring_mask);
	struct io_uring_cqe *c;
	long n;

	while (__atomic_load_n((unsigned *)(r->cq + r->p.cq_off.tail),
			       __ATOMIC_ACQUIRE) == *head) {
		n = syscall(SYS_io_uring_enter, r->fd, 0, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0);
		if (n < 0 && errno != EINTR)
			return -errno;
	}
	c = (struct io_uring_cqe *)(r->cq + r->p.cq_off.cqes) + (*head & mask);
	n = c->res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return (int)n;
}

struct ringer {
	pthread_t thread;
	unsigned flags;
	int fd[2];
	atomic_int asked;
	bool none;
};

static void *rings(void *arg)
{
	struct ringer *g = arg;
	struct ring r;
	char got[8];

	if (!make_ring(&r, g->flags)) {
		g->none = true;
		atomic_store(&g->asked, 1000);
		return arg;
	}
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(ring_read(&r, g->fd[0], got, 8), 1);
		atomic_fetch_add(&g->asked, 1);
		/* as good a moment as any to go on somewhere else */
		nap_us(200);
		EXPECT_EQ(ring_wait(&r), 3);
	}
	close(r.fd);
	return arg;
}

static void rings_of_threads_of_their_own_are_waited_for(void)
{
	static const unsigned kinds[] = {
		0, IORING_SETUP_SINGLE_ISSUER,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN,
	};
	struct ringer g[8] = {0};
	bool skipped = false;

	for (int i = 0; i < 8; i++) {
		if (!EXPECT_OK(pipe(g[i].fd)))
			return;
		g[i].flags = kinds[i % 4];
		g[i].thread = start(rings, &g[i]);
	}
	for (int k = 1; k <= 20; k++)
		for (int i = 0; i < 8; i++) {
			WAIT_UNTIL(atomic_load(&g[i].asked) >= k);
			if ((i + k) % 3)
				nap_us(300);
			EXPECT_EQ(write(g[i].fd[1], "own", 3), 3);
		}
	for (int i = 0; i < 8; i++) {
		EXPECT(finish(g[i].thread) == &g[i]);
		skipped = skipped || g[i].none;
		close_pair(g[i].fd);
	}
	if (skipped)
		SKIP("not every kind of ring here");
}

/* ---- what is kept per kernel thread ---- */

static int common[2];
static atomic_int stage;

static void *keeps_to_itself(void *arg)
{
	char byte = 0;
	int fd[2];

	EXPECT_OK(close_range((unsigned)common[0], (unsigned)common[1],
			      CLOSE_RANGE_UNSHARE));
	EXPECT_ERR(fcntl(common[0], F_GETFD), EBADF);
	atomic_store(&stage, 1);
	/* The same numbers, and something else behind them. */
	if (EXPECT_OK(pipe(fd)) && EXPECT_EQ(fd[0], common[0])) {
		EXPECT_EQ(write(fd[1], "own", 3), 3);
		EXPECT_EQ(read(fd[0], &byte, 1), 1);
		EXPECT_EQ(byte, 'o');
	}
	WAIT_UNTIL(atomic_load(&stage) == 2);
	EXPECT_EQ(read(fd[0], &byte, 1), 1);
	EXPECT_EQ(byte, 'w');
	return arg;
}

static void keep_apart(void *arg)
{
	struct caller c = {0};
	pthread_t t;

	(void)arg;
	if (!EXPECT_OK(pipe(common)))
		return;
	call_in_thread(&c, call_read, common[0]);
	t = start(keeps_to_itself, &stage);
	WAIT_UNTIL(atomic_load(&stage) == 1);
	for (int i = 0; i < 20; i++) {
		sched_yield();
		EXPECT_OK(fcntl(common[0], F_GETFD));
		nap_us(100);
	}
	EXPECT(!atomic_load(&c.ended));
	EXPECT_EQ(write(common[1], "all", 3), 3);
	EXPECT_EQ(call_ended(&c), 3);
	EXPECT(memcmp(c.bytes, "all", 3) == 0);
	atomic_store(&stage, 2);
	EXPECT(finish(t) == &stage);
}

static void who_has_descriptors_of_its_own_takes_none_from_others(void)
{
	expect_child(keep_apart, NULL);
}

static void memory_of_a_process_is_read_by_another_way(void)
{
	char from[8] = "memory", to[8] = "";
	struct iovec here = {to, 7}, there = {from, 7};

	EXPECT_EQ(process_vm_readv(getpid(), &here, 1, &there, 1, 0), 7);
	EXPECT_STR(to, "memory");
}

static const struct expect_case cases[] = {
	CASE(news_of_a_descriptor_goes_to_the_thread_that_owns_it),
	CASE(news_of_a_descriptor_goes_to_the_process_that_owns_it),
	CASE(a_change_of_a_directory_is_told_by_a_signal),
	CASE(a_message_in_an_empty_queue_is_told),
	CASE(a_deadlock_over_a_file_is_told),
	CASE(a_lock_goes_with_the_first_descriptor_that_is_closed),
	CASE(locks_of_descriptions_are_between_threads),
	CASE(who_opens_what_is_leased_waits_until_it_is_given_back),
	CASE(what_is_only_a_path_is_refused),
	CASE(what_is_sealed_is_refused),
	CASE(a_descriptor_taken_by_a_process_descriptor_can_be_waited_on),
	CASE(who_reads_in_the_background_is_stopped_or_told),
	CASE(who_loses_its_terminal_is_told),
	CASE(a_timer_until_a_time_of_day_is_waited_for),
	CASE(what_was_begun_by_aio_is_waited_for),
	CASE(what_was_given_to_the_kernel_is_waited_for),
	CASE(rings_of_threads_of_their_own_are_waited_for),
	CASE(who_has_descriptors_of_its_own_takes_none_from_others),
	CASE(memory_of_a_process_is_read_by_another_way),
};

int main(int argc, char **argv)
{
	int ret;

	signal(SIGPIPE, SIG_IGN);
	snprintf(directory, sizeof(directory), "/tmp/rare.XXXXXX");
	if (!mkdtemp(directory))
		return 2;
	ret = expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
	rmdir(directory);
	return ret;
}
