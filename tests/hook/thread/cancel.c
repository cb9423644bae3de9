/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cancel.c - a thread is asked to end, at every place where it may be.
 *
 * One table of calls that are cancellation points. Each is tried three ways:
 * cancelled while it waits, entered with the request already there, and with
 * cancellation disabled, when it must wait on. What a call has already taken,
 * a byte, a token, a wake-up, it must not take along into the end. */
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio_ext.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <threads.h>

#include "../../support/expect.h"

/* ---- the table ---- */

/* What the points wait on: nothing ever comes, and nothing has room. */
static int empty_pipe[2], full_pipe[2], empty_stream[2], full_stream[2];
static int listener, empty_epoll, message_queue, locked_file;
static mqd_t posix_queue;
static sem_t empty_sem;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static mtx_t c11_mutex;
static cnd_t c11_cond;
static pthread_t endless;
static pid_t child;

static char bytes[65536];

static void by_read(void)
{
	read(empty_pipe[0], bytes, 1);
}

static void by_readv(void)
{
	struct iovec part = {bytes, 1};

	readv(empty_pipe[0], &part, 1);
}

static void by_write(void)
{
	write(full_pipe[1], bytes, 4096);
}

static void by_writev(void)
{
	struct iovec part = {bytes, 4096};

	writev(full_pipe[1], &part, 1);
}

static void by_recv(void)
{
	recv(empty_stream[0], bytes, 1, 0);
}

static void by_recvfrom(void)
{
	recvfrom(empty_stream[0], bytes, 1, 0, NULL, NULL);
}

static void by_recvmsg(void)
{
	struct iovec part = {bytes, 1};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

	recvmsg(empty_stream[0], &msg, 0);
}

static void by_send(void)
{
	send(full_stream[0], bytes, sizeof(bytes), 0);
}

static void by_accept(void)
{
	accept(listener, NULL, NULL);
}

static void by_connect(void)
{
	struct sockaddr_un name;
	socklen_t size = sizeof(name);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	getsockname(listener, (struct sockaddr *)&name, &size);
	connect(fd, (struct sockaddr *)&name, size);
}

static void by_poll(void)
{
	struct pollfd p = {empty_pipe[0], POLLIN, 0};

	poll(&p, 1, -1);
}

static void by_ppoll(void)
{
	ppoll(NULL, 0, NULL, NULL);
}

static void by_select(void)
{
	fd_set reads;

	FD_ZERO(&reads);
	FD_SET(empty_pipe[0], &reads);
	select(empty_pipe[0] + 1, &reads, NULL, NULL, NULL);
}

static void by_pselect(void)
{
	pselect(0, NULL, NULL, NULL, NULL, NULL);
}

static void by_epoll_wait(void)
{
	struct epoll_event event;

	epoll_wait(empty_epoll, &event, 1, -1);
}

static void by_nanosleep(void)
{
	struct timespec hour = {3600, 0};

	nanosleep(&hour, NULL);
}

static void by_clock_nanosleep(void)
{
	struct timespec hour = {3600, 0};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, NULL);
}

static void by_usleep(void)
{
	usleep(3600000000u);
}

static void by_sleep(void)
{
	sleep(3600);
}

static void by_pause(void)
{
	pause();
}

static void by_sigsuspend(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigsuspend(&none);
}

static void by_sigwait(void)
{
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigwait(&set, &sig);
}

static void by_sigtimedwait(void)
{
	struct timespec hour = {3600, 0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigtimedwait(&set, NULL, &hour);
}

static void by_sem_wait(void)
{
	sem_wait(&empty_sem);
}

static void by_sem_timedwait(void)
{
	struct timespec far = in_ms(CLOCK_REALTIME, 3600000);

	sem_timedwait(&empty_sem, &far);
}

static void unlock(void *arg)
{
	pthread_mutex_unlock(arg);
}

static void by_cond_wait(void)
{
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push(unlock, &mutex);
	for (;;)
		pthread_cond_wait(&cond, &mutex);
	pthread_cleanup_pop(1);
}

static void by_cond_timedwait(void)
{
	struct timespec far = in_ms(CLOCK_REALTIME, 3600000);

	pthread_mutex_lock(&mutex);
	pthread_cleanup_push(unlock, &mutex);
	for (;;)
		pthread_cond_timedwait(&cond, &mutex, &far);
	pthread_cleanup_pop(1);
}

static void unlock_c11(void *arg)
{
	mtx_unlock(arg);
}

static void by_cnd_wait(void)
{
	mtx_lock(&c11_mutex);
	pthread_cleanup_push(unlock_c11, &c11_mutex);
	for (;;)
		cnd_wait(&c11_cond, &c11_mutex);
	pthread_cleanup_pop(1);
}

static void by_thrd_sleep(void)
{
	struct timespec hour = {3600, 0};

	thrd_sleep(&hour, NULL);
}

static void by_join(void)
{
	pthread_join(endless, NULL);
}

static void by_timedjoin(void)
{
	struct timespec far = in_ms(CLOCK_REALTIME, 3600000);

	pthread_timedjoin_np(endless, NULL, &far);
}

static void by_waitpid(void)
{
	waitpid(child, NULL, 0);
}

static void by_setlkw(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	fcntl(locked_file, F_OFD_SETLKW, &whole);
}

static void by_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} letter;

	msgrcv(message_queue, &letter, sizeof(letter.text), 0, 0);
}

static void by_mq_receive(void)
{
	mq_receive(posix_queue, bytes, 64, NULL);
}

/* No point that POSIX insists on, but they wait like the others. */
static FILE *empty_stream_of_libcs, *full_stream_of_libcs;

static void by_fgets(void)
{
	fgets(bytes, 64, empty_stream_of_libcs);
}

static void by_fread(void)
{
	fread(bytes, 1, 64, empty_stream_of_libcs);
}

static void by_getline(void)
{
	char *line = NULL;
	size_t room = 0;

	getline(&line, &room, empty_stream_of_libcs);
}

static void by_fprintf(void)
{
	fprintf(full_stream_of_libcs, "%s", "more");
	fflush(full_stream_of_libcs);
}

static void by_testcancel(void)
{
	for (;;) {
		pthread_testcancel();
		sched_yield();
	}
}

static const struct point {
	const char *name;
	void (*call)(void);
} points[] = {
	{"read", by_read},
	{"readv", by_readv},
	{"write", by_write},
	{"writev", by_writev},
	{"recv", by_recv},
	{"recvfrom", by_recvfrom},
	{"recvmsg", by_recvmsg},
	{"send", by_send},
	{"accept", by_accept},
	{"connect", by_connect},
	{"poll", by_poll},
	{"ppoll", by_ppoll},
	{"select", by_select},
	{"pselect", by_pselect},
	{"epoll_wait", by_epoll_wait},
	{"nanosleep", by_nanosleep},
	{"clock_nanosleep", by_clock_nanosleep},
	{"usleep", by_usleep},
	{"sleep", by_sleep},
	{"thrd_sleep", by_thrd_sleep},
	{"pause", by_pause},
	{"sigsuspend", by_sigsuspend},
	{"sigwait", by_sigwait},
	{"sigtimedwait", by_sigtimedwait},
	{"sem_wait", by_sem_wait},
	{"sem_timedwait", by_sem_timedwait},
	{"pthread_cond_wait", by_cond_wait},
	{"pthread_cond_timedwait", by_cond_timedwait},
	{"cnd_wait", by_cnd_wait},
	{"pthread_join", by_join},
	{"pthread_timedjoin_np", by_timedjoin},
	{"waitpid", by_waitpid},
	{"fcntl F_OFD_SETLKW", by_setlkw},
	{"msgrcv", by_msgrcv},
	{"mq_receive", by_mq_receive},
	{"fgets", by_fgets},
	{"fread", by_fread},
	{"getline", by_getline},
	{"fprintf", by_fprintf},
	{"pthread_testcancel", by_testcancel},
};
#define POINTS (sizeof(points) / sizeof(points[0]))

static void *end_when_told(void *arg)
{
	sem_wait(arg);
	return NULL;
}

static sem_t tell_endless;

static bool set_up(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 64};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char path[] = "/tmp/cancel.XXXXXX";
	int file;

	if (!EXPECT_OK(pipe(empty_pipe)) || !EXPECT_OK(pipe(full_pipe)) ||
	    !EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, empty_stream)) ||
	    !EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, full_stream)))
		return false;
	for (int i = 0; i < 65536 / 4096; i++)
		EXPECT_EQ(write(full_pipe[1], bytes, 4096), 4096);
	while (send(full_stream[0], bytes, 4096, MSG_DONTWAIT) > 0)
		;

	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	/* without a name: the kernel makes one */
	EXPECT_OK(bind(listener, (struct sockaddr *)&name, sizeof(sa_family_t)));
	EXPECT_OK(listen(listener, 0));

	EXPECT(empty_stream_of_libcs = fdopen(empty_pipe[0], "r"));
	EXPECT(full_stream_of_libcs = fdopen(full_pipe[1], "w"));

	empty_epoll = epoll_create1(0);
	EXPECT_OK(message_queue = msgget(IPC_PRIVATE, 0600));
	snprintf(bytes, 64, "/cancel.%d", (int)getpid());
	posix_queue = mq_open(bytes, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	EXPECT(posix_queue != (mqd_t)-1);
	mq_unlink(bytes);
	file = mkstemp(path);
	EXPECT_OK(locked_file = open(path, O_RDWR));
	unlink(path);
	EXPECT_OK(fcntl(file, F_OFD_SETLK, &whole));

	EXPECT_OK(sem_init(&empty_sem, 0, 0));
	EXPECT_OK(sem_init(&tell_endless, 0, 0));
	mtx_init(&c11_mutex, mtx_plain);
	cnd_init(&c11_cond);
	endless = start(end_when_told, &tell_endless);
	child = fork();
	if (child == 0) {
		alarm(300);
		for (;;)
			pause();
	}
	return EXPECT_OK(child);
}

static void take_down(void)
{
	kill(child, SIGKILL);
	status_of(child);
	msgctl(message_queue, IPC_RMID, NULL);
	__fpurge(full_stream_of_libcs); /* or exit would wait to write it */
	sem_post(&tell_endless);
	finish(endless);
}

/* accept needs an empty queue, connect a full one. */
static int queued = -1;

static void fill_listener(bool full)
{
	struct sockaddr_un name;
	socklen_t size = sizeof(name);

	if (full && queued == -1) {
		getsockname(listener, (struct sockaddr *)&name, &size);
		queued = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		EXPECT_OK(connect(queued, (struct sockaddr *)&name, size));
	} else if (!full && queued != -1) {
		close(accept(listener, NULL, NULL));
		close(queued);
		queued = -1;
	}
}

struct victim {
	const struct point *point;
	sem_t may_enter;
	bool wait_to_enter;
	bool robust; /* holds this meanwhile */
	pthread_mutex_t mutex;
	atomic_bool begun;
	atomic_int cleaned;
	atomic_bool returned;
};

static void note_cleaned(void *arg)
{
	struct victim *v = arg;

	atomic_fetch_add(&v->cleaned, 1);
}

static void lock_robust(pthread_mutex_t *m)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	EXPECT_EQ(pthread_mutex_init(m, &attr), 0);
	EXPECT_EQ(pthread_mutex_lock(m), 0);
}

static void *wait_at_point(void *arg)
{
	struct victim *v = arg;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	if (v->robust)
		lock_robust(&v->mutex);
	atomic_store(&v->begun, true);
	if (v->wait_to_enter)
		sem_wait(&v->may_enter);
	pthread_cleanup_push(note_cleaned, v);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	v->point->call();
	atomic_store(&v->returned, true);
	pthread_cleanup_pop(0);
	return arg;
}

/* One that does not end is left where it is, so that the rest of the table is
 * tried too. */
static void cancel_at(const struct point *point, bool before, bool robust)
{
	struct victim *v = calloc(1, sizeof(*v));
	struct timespec due;
	void *ret = NULL;
	pthread_t t;

	expect_enter(point->name);
	fill_listener(point->call == by_connect);
	v->point = point;
	v->wait_to_enter = before;
	v->robust = robust;
	sem_init(&v->may_enter, 0, 0);
	t = start(wait_at_point, v);
	WAIT_UNTIL(atomic_load(&v->begun));
	if (!before)
		settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	if (before)
		sem_post(&v->may_enter);
	due = in_ms(CLOCK_REALTIME, 20000);
	if (pthread_timedjoin_np(t, &ret, &due)) {
		expect_say("%s, cancelled %s: waits on\n", point->name,
			   before ? "before" : "while it waits");
		EXPECT(!"the point is a cancellation point");
		return;
	}
	if (ret != PTHREAD_CANCELED || atomic_load(&v->returned) ||
	    atomic_load(&v->cleaned) != 1) {
		expect_say("%s, cancelled %s: %s, %d cleanups\n", point->name,
			   before ? "before" : "while it waits",
			   atomic_load(&v->returned) ? "returned" : "ended",
			   atomic_load(&v->cleaned));
		EXPECT(!"the point is a cancellation point");
	}
	free(v);
}

static void every_point_ends_a_thread_that_waits_there(void)
{
	if (!set_up())
		return;
	for (size_t i = 0; i < POINTS; i++)
		cancel_at(&points[i], false, false);
	fill_listener(false);
	take_down();
}

static void every_point_ends_a_thread_that_comes_with_the_request(void)
{
	if (!set_up())
		return;
	for (size_t i = 0; i < POINTS; i++)
		cancel_at(&points[i], true, false);
	fill_listener(false);
	take_down();
}

static void a_robust_mutex_keeps_nobody_from_being_cancelled(void)
{
	if (!set_up())
		return;
	for (size_t i = 0; i < POINTS; i++)
		cancel_at(&points[i], false, true);
	fill_listener(false);
	take_down();
}

/* The request comes at any moment: before the call, on the way into it, in it. */
static void *enter_and_wait(void *arg)
{
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	((const struct point *)arg)->call();
	return (void *)(intptr_t)errno;
}

static void no_request_is_lost_wherever_it_falls(void)
{
	/* CANCEL_STEP=1: every moment of them; CANCEL_POINT: at that one. */
	int step = getenv("CANCEL_STEP") ? atoi(getenv("CANCEL_STEP")) : 3;
	const char *only = getenv("CANCEL_POINT");

	if (!set_up())
		return;
	for (size_t i = 0; i < POINTS; i++) {
		if (only && strcmp(only, points[i].name))
			continue;
		expect_enter(points[i].name);
		fill_listener(points[i].call == by_connect);
		for (int k = 0; k < 100; k += step) {
			pthread_t t = start(enter_and_wait, (void *)&points[i]);
			void *ended;

			for (int n = 0; n < k % 4; n++)
				sched_yield();
			for (volatile int n = 0; n < k * 50; n++)
				;
			EXPECT_EQ(pthread_cancel(t), 0);
			ended = finish(t);
			if (!EXPECT(ended == PTHREAD_CANCELED))
				expect_say("%s, moment %d: it returned, errno %d\n",
					   points[i].name, k,
					   (int)(intptr_t)ended);
		}
	}
	fill_listener(false);
	take_down();
}

static int count_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static void a_cancelled_wait_leaves_no_descriptor_behind(void)
{
	int before = 0;

	if (!set_up())
		return;
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < POINTS; i++)
			/* which makes one of its own */
			if (points[i].call != by_connect)
				cancel_at(&points[i], false, false);
		if (round == 0)
			before = count_descriptors();
	}
	EXPECT_EQ(count_descriptors(), before);
	/* and what a cancelled wait waited for can be waited for again */
	kill(child, SIGKILL);
	EXPECT_EQ(status_of(child), SIGKILL);
	child = fork();
	if (child == 0)
		_exit(0);
	take_down();
}

/* ---- disabled, and not a point ---- */

struct waiter {
	int fd;
	atomic_int stage;
	ssize_t n;
};

static void *read_uncancelled(void *arg)
{
	struct waiter *w = arg;
	int old;
	char c;

	EXPECT_EQ(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old), 0);
	EXPECT_EQ(old, PTHREAD_CANCEL_ENABLE);
	EXPECT_EQ(pthread_setcancelstate(77, &old), EINVAL);
	EXPECT_EQ(pthread_setcanceltype(77, &old), EINVAL);
	EXPECT_EQ(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old), 0);
	EXPECT_EQ(old, PTHREAD_CANCEL_DEFERRED);
	atomic_store(&w->stage, 1);
	w->n = read(w->fd, &c, 1);
	pthread_testcancel();
	atomic_store(&w->stage, 2);
	EXPECT_EQ(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old), 0);
	EXPECT_EQ(old, PTHREAD_CANCEL_DISABLE);
	pthread_testcancel();
	return arg;
}

static void who_has_disabled_it_waits_on_and_ends_later(void)
{
	struct waiter w = {0};
	pthread_t t;
	int fd[2];

	if (!EXPECT_OK(pipe(fd)))
		return;
	w.fd = fd[0];
	t = start(read_uncancelled, &w);
	WAIT_UNTIL(atomic_load(&w.stage) == 1);
	settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	settle();
	EXPECT_EQ(atomic_load(&w.stage), 1);
	EXPECT_EQ(write(fd[1], "x", 1), 1);
	EXPECT(finish(t) == PTHREAD_CANCELED);
	EXPECT_EQ(w.n, 1);
	EXPECT_EQ(atomic_load(&w.stage), 2);
	close(fd[0]);
	close(fd[1]);
}

static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;

static void *wait_for_locks(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->stage, 1);
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	pthread_rwlock_rdlock(&rwlock);
	pthread_rwlock_unlock(&rwlock);
	pthread_barrier_wait(&barrier);
	atomic_store(&w->stage, 2);
	pthread_testcancel();
	return arg;
}

static void waiting_for_a_lock_is_not_a_cancellation_point(void)
{
	struct waiter w = {0};
	pthread_t t;

	pthread_barrier_init(&barrier, NULL, 2);
	pthread_mutex_lock(&mutex);
	pthread_rwlock_wrlock(&rwlock);
	t = start(wait_for_locks, &w);
	WAIT_UNTIL(atomic_load(&w.stage) == 1);
	settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	settle();
	pthread_mutex_unlock(&mutex);
	settle();
	pthread_rwlock_unlock(&rwlock);
	settle();
	EXPECT_EQ(atomic_load(&w.stage), 1);
	pthread_barrier_wait(&barrier);
	EXPECT(finish(t) == PTHREAD_CANCELED);
	EXPECT_EQ(atomic_load(&w.stage), 2);
	pthread_barrier_destroy(&barrier);
}

/* ---- the end itself ---- */

static atomic_int trail;

static void note(void *arg)
{
	/* decimal digits, in the order of calls */
	atomic_store(&trail, atomic_load(&trail) * 10 + (int)(intptr_t)arg);
}

static void wait_then_note(void *arg)
{
	nap_us(1000);
	sched_yield();
	note(arg);
}

static void *push_and_pop(void *arg)
{
	pthread_cleanup_push(note, (void *)1);
	pthread_cleanup_push(note, (void *)2);
	pthread_cleanup_pop(1);
	pthread_cleanup_push(note, (void *)3);
	pthread_cleanup_pop(0);
	pthread_cleanup_push(wait_then_note, (void *)4);
	pthread_cleanup_push(note, (void *)5);
	if (arg)
		pthread_exit(arg);
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cleanups_run_last_first_and_may_wait(void)
{
	pthread_t t;

	atomic_store(&trail, 0);
	t = start(push_and_pop, NULL);
	settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	EXPECT(finish(t) == PTHREAD_CANCELED);
	EXPECT_EQ(atomic_load(&trail), 2541);
	atomic_store(&trail, 0);
	EXPECT(finish(start(push_and_pop, &trail)) == &trail);
	EXPECT_EQ(atomic_load(&trail), 2541);
}

static atomic_bool has_mutex;

static void sees_mutex_held(void *arg)
{
	atomic_store(&has_mutex, true);
	settle();
	atomic_store(&has_mutex, false);
	pthread_mutex_unlock(arg);
}

static void *wait_with_mutex(void *arg)
{
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push(sees_mutex_held, &mutex);
	atomic_store((atomic_bool *)arg, true);
	for (;;)
		pthread_cond_wait(&cond, &mutex);
	pthread_cleanup_pop(0);
	return NULL;
}

static void a_cancelled_cond_wait_has_its_mutex_again(void)
{
	atomic_bool begun = false;
	pthread_t t = start(wait_with_mutex, &begun);

	WAIT_UNTIL(atomic_load(&begun));
	pthread_mutex_lock(&mutex);
	EXPECT_EQ(pthread_cancel(t), 0);
	settle();
	EXPECT(!atomic_load(&has_mutex)); /* it must wait for us first */
	pthread_mutex_unlock(&mutex);
	WAIT_UNTIL(atomic_load(&has_mutex));
	EXPECT_EQ(pthread_mutex_trylock(&mutex), EBUSY);
	EXPECT(finish(t) == PTHREAD_CANCELED);
	EXPECT_EQ(pthread_mutex_trylock(&mutex), 0);
	pthread_mutex_unlock(&mutex);
}

static void *return_at_once(void *arg)
{
	return arg;
}

static void cancelling_who_has_ended_changes_nothing(void)
{
	pthread_t t = start(return_at_once, &trail);

	settle();
	EXPECT_EQ(pthread_cancel(t), 0);
	EXPECT(finish(t) == &trail);
}

static void *cancel_oneself(void *arg)
{
	EXPECT_EQ(pthread_cancel(pthread_self()), 0);
	atomic_store(&trail, 1);
	pthread_testcancel();
	atomic_store(&trail, 2);
	return arg;
}

static void who_cancels_itself_ends_at_the_next_point(void)
{
	atomic_store(&trail, 0);
	EXPECT(finish(start(cancel_oneself, NULL)) == PTHREAD_CANCELED);
	EXPECT_EQ(atomic_load(&trail), 1);
}

static atomic_bool spinning;

static void *spin(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	atomic_store(&spinning, true);
	for (;;)
		;
	return arg;
}

static void an_asynchronous_thread_ends_while_it_computes(void)
{
	pthread_t t = start(spin, NULL);

	WAIT_UNTIL(atomic_load(&spinning));
	EXPECT_EQ(pthread_cancel(t), 0);
	EXPECT(finish(t) == PTHREAD_CANCELED);
}

static void *yield_for_ever(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		sched_yield(); /* no point of its own */
	return arg;
}

static void an_asynchronous_thread_ends_wherever_it_is(void)
{
	for (int i = 0; i < 200; i++) {
		pthread_t t = start(yield_for_ever, NULL);

		for (int k = 0; k < i % 5; k++)
			sched_yield();
		for (volatile int n = 0; n < i * 50; n++)
			;
		EXPECT_EQ(pthread_cancel(t), 0);
		EXPECT(finish(t) == PTHREAD_CANCELED);
	}
}

static void *cancel_oneself_at_once(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_cancel(pthread_self());
	return arg;
}

static void an_asynchronous_thread_cancels_itself_at_once(void)
{
	EXPECT(finish(start(cancel_oneself_at_once, NULL)) == PTHREAD_CANCELED);
}

static void *join_endless(void *arg)
{
	by_join();
	return arg;
}

static void a_joined_thread_outlives_its_cancelled_joiner(void)
{
	sem_t tell;
	pthread_t joiner;

	sem_init(&tell, 0, 0);
	endless = start(end_when_told, &tell);
	joiner = start(join_endless, NULL);
	settle();
	EXPECT_EQ(pthread_cancel(joiner), 0);
	EXPECT(finish(joiner) == PTHREAD_CANCELED);
	sem_post(&tell);
	EXPECT(finish(endless) == NULL);
}

static atomic_int detached_cleaned;

static void count_detached(void *arg)
{
	(void)arg;
	atomic_fetch_add(&detached_cleaned, 1);
}

static void *wait_detached(void *arg)
{
	pthread_detach(pthread_self());
	pthread_cleanup_push(count_detached, NULL);
	atomic_fetch_add((atomic_int *)arg, 1);
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	return NULL;
}

static void a_detached_thread_can_be_cancelled(void)
{
	static atomic_int begun;
	pthread_t t[20];

	for (int i = 0; i < 20; i++)
		t[i] = start(wait_detached, &begun);
	WAIT_UNTIL(atomic_load(&begun) == 20);
	for (int i = 0; i < 20; i++)
		EXPECT_EQ(pthread_cancel(t[i]), 0);
	WAIT_UNTIL(atomic_load(&detached_cleaned) == 20);
}

/* ---- nothing is lost ---- */

static void *read_one(void *arg)
{
	char c;

	return read(*(int *)arg, &c, 1) == 1 ? arg : NULL;
}

/* Either the thread ended and the byte is there, or it has the byte. glibc
 * up to 2.40 can take a byte into the end, when the request comes between the
 * system call and the way back from it; STRICT_CANCEL=1 says that here none
 * may be lost. */
static void a_byte_is_either_read_or_left(void)
{
	int fd[2], ended = 0, lost = 0;

	if (!EXPECT_OK(pipe(fd)))
		return;
	for (int i = 0; i < 500; i++) {
		struct pollfd p = {fd[0], POLLIN, 0};
		pthread_t t = start(read_one, &fd[0]);
		char c;

		for (int k = 0; k < i % 7; k++)
			sched_yield();
		if (i % 2) {
			EXPECT_EQ(write(fd[1], "x", 1), 1);
			EXPECT_EQ(pthread_cancel(t), 0);
		} else {
			EXPECT_EQ(pthread_cancel(t), 0);
			EXPECT_EQ(write(fd[1], "x", 1), 1);
		}
		if (finish(t) == PTHREAD_CANCELED) {
			ended++;
			if (poll(&p, 1, 0) == 1)
				EXPECT_EQ(read(fd[0], &c, 1), 1);
			else
				lost++;
		} else {
			EXPECT_EQ(poll(&p, 1, 0), 0);
		}
	}
	EXPECT(ended > 0);
	if (expect_env("STRICT_CANCEL", 0))
		EXPECT_EQ(lost, 0);
	close(fd[0]);
	close(fd[1]);
}

static void *take_one(void *arg)
{
	sem_wait(arg);
	return arg;
}

static void a_token_is_either_taken_or_left(void)
{
	sem_t sem;
	int value;

	sem_init(&sem, 0, 0);
	for (int i = 0; i < 1000; i++) {
		pthread_t t = start(take_one, &sem);

		for (int k = 0; k < i % 7; k++)
			sched_yield();
		if (i % 2) {
			EXPECT_OK(sem_post(&sem));
			EXPECT_EQ(pthread_cancel(t), 0);
		} else {
			EXPECT_EQ(pthread_cancel(t), 0);
			EXPECT_OK(sem_post(&sem));
		}
		if (finish(t) == PTHREAD_CANCELED)
			EXPECT_OK(sem_trywait(&sem));
		EXPECT_OK(sem_getvalue(&sem, &value));
		EXPECT_EQ(value, 0);
	}
}

static int wanted, gotten;

static void *want(void *arg)
{
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push(unlock, &mutex);
	while (wanted == 0)
		pthread_cond_wait(&cond, &mutex);
	wanted--;
	gotten++;
	pthread_cleanup_pop(1);
	return arg;
}

/* One of two waiters is cancelled as the signal comes: if the signal was
 * meant for it, the other must have it. */
static void a_signal_to_a_cancelled_waiter_reaches_the_other(void)
{
	for (int i = 0; i < 300; i++) {
		pthread_t a = start(want, NULL), b = start(want, NULL);
		int before = gotten;

		if (i % 3)
			nap_us(200);
		pthread_mutex_lock(&mutex);
		wanted = 1;
		pthread_cond_signal(&cond);
		if (i % 2)
			EXPECT_EQ(pthread_cancel(a), 0);
		pthread_mutex_unlock(&mutex);
		if (i % 2 == 0)
			EXPECT_EQ(pthread_cancel(a), 0);
		finish(a);
		/* a took it, or b does; then b is let go. */
		if (!WAIT_UNTIL(({
			    pthread_mutex_lock(&mutex);
			    bool done = gotten == before + 1;
			    pthread_mutex_unlock(&mutex);
			    done;
		    })))
			return;
		pthread_mutex_lock(&mutex);
		wanted++;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mutex);
		finish(b);
		wanted = 0;
	}
}

static const struct expect_case cases[] = {
	CASE(every_point_ends_a_thread_that_waits_there),
	CASE(every_point_ends_a_thread_that_comes_with_the_request),
	CASE(a_robust_mutex_keeps_nobody_from_being_cancelled),
	CASE(no_request_is_lost_wherever_it_falls),
	CASE(a_cancelled_wait_leaves_no_descriptor_behind),
	CASE(who_has_disabled_it_waits_on_and_ends_later),
	CASE(waiting_for_a_lock_is_not_a_cancellation_point),
	CASE(cleanups_run_last_first_and_may_wait),
	CASE(a_cancelled_cond_wait_has_its_mutex_again),
	CASE(cancelling_who_has_ended_changes_nothing),
	CASE(who_cancels_itself_ends_at_the_next_point),
	CASE(an_asynchronous_thread_ends_while_it_computes),
	CASE(an_asynchronous_thread_ends_wherever_it_is),
	CASE(an_asynchronous_thread_cancels_itself_at_once),
	CASE(a_joined_thread_outlives_its_cancelled_joiner),
	CASE(a_detached_thread_can_be_cancelled),
	CASE(a_byte_is_either_read_or_left),
	CASE(a_token_is_either_taken_or_left),
	CASE(a_signal_to_a_cancelled_waiter_reaches_the_other),
};
EXPECT_MAIN(cases)
