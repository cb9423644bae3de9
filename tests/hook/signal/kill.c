/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* kill.c - a signal to a thread that waits: what the handler sees, and what
 * becomes of the wait.
 *
 * A table of waits: without SA_RESTART each ends with EINTR; with it some
 * begin again and some end all the same, as signal(7) has it and Linux does
 * it. A signal is sent until the wait has ended, so that one that came before
 * the thread waited costs nothing but a nap. */
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <linux/futex.h>

#include "../../support/expect.h"

static atomic_int handled;
static pthread_t handled_by;
static siginfo_t handled_info;

static void handle(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	handled_by = pthread_self();
	handled_info = *info;
	atomic_fetch_add(&handled, 1);
}

static void handle_with(int flags)
{
	struct sigaction action = {.sa_sigaction = handle,
				   .sa_flags = SA_SIGINFO | flags};

	EXPECT_OK(sigaction(SIGUSR1, &action, NULL));
	EXPECT_OK(sigaction(SIGRTMIN, &action, NULL));
}

/* ---- the table ---- */

static int empty_pipe[2], full_pipe[2], empty_stream[2], timed_stream[2];
static int full_stream[2], listener, empty_epoll, message_queue, locked_file;
static mqd_t posix_queue;
static sem_t empty_sem;
static char fifo[64];
static char bytes[65536];
static uint32_t word;
static pid_t child;

static long by_read(void)
{
	return read(empty_pipe[0], bytes, 1);
}

static long by_write(void)
{
	return write(full_pipe[1], bytes, 4096);
}

static long by_recv(void)
{
	return recv(empty_stream[0], bytes, 1, 0);
}

static long by_recv_timed(void)
{
	return recv(timed_stream[0], bytes, 1, 0);
}

static long by_send(void)
{
	return send(full_stream[0], bytes, 4096, 0);
}

static long by_accept(void)
{
	return accept(listener, NULL, NULL);
}

static long by_open_fifo(void)
{
	return open(fifo, O_RDONLY);
}

static long by_flock(void)
{
	return flock(locked_file, LOCK_EX);
}

static long by_setlkw(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(locked_file, F_OFD_SETLKW, &whole);
}

static long by_waitpid(void)
{
	return waitpid(child, NULL, 0);
}

static long by_sem_wait(void)
{
	return sem_wait(&empty_sem);
}

static long by_sem_timedwait(void)
{
	struct timespec far = in_ms(CLOCK_REALTIME, 3600000);

	return sem_timedwait(&empty_sem, &far);
}

static long by_futex(void)
{
	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
}

static long by_mq_receive(void)
{
	return mq_receive(posix_queue, bytes, 64, NULL);
}

static long by_msgrcv(void)
{
	struct {
		long type;
		char text[8];
	} letter;

	return msgrcv(message_queue, &letter, sizeof(letter.text), 0, 0);
}

static long by_poll(void)
{
	struct pollfd p = {empty_pipe[0], POLLIN, 0};

	return poll(&p, 1, -1);
}

static long by_ppoll(void)
{
	struct timespec hour = {3600, 0};

	return ppoll(NULL, 0, &hour, NULL);
}

static long by_select(void)
{
	fd_set reads;

	FD_ZERO(&reads);
	FD_SET(empty_pipe[0], &reads);
	return select(empty_pipe[0] + 1, &reads, NULL, NULL, NULL);
}

static long by_pselect(void)
{
	return pselect(0, NULL, NULL, NULL, NULL, NULL);
}

static long by_epoll_wait(void)
{
	struct epoll_event event;

	return epoll_wait(empty_epoll, &event, 1, -1);
}

static long by_nanosleep(void)
{
	struct timespec hour = {3600, 0};

	return nanosleep(&hour, NULL);
}

static long by_clock_nanosleep(void)
{
	struct timespec far = in_ms(CLOCK_MONOTONIC, 3600000);
	int err = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &far, NULL);

	errno = err;
	return err ? -1 : 0;
}

static long by_usleep(void)
{
	return usleep(3600000000u);
}

static long by_pause(void)
{
	return pause();
}

static long by_sigsuspend(void)
{
	sigset_t none;

	sigemptyset(&none);
	return sigsuspend(&none);
}

static long by_sigtimedwait(void)
{
	struct timespec hour = {3600, 0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &hour);
}

static const struct wait_entry {
	const char *name;
	long (*wait)(void);
	bool restarts;
} waits[] = {
	{"read", by_read, true},
	{"write", by_write, true},
	{"recv", by_recv, true},
	{"recv with SO_RCVTIMEO", by_recv_timed, false},
	{"send", by_send, true},
	{"accept", by_accept, true},
	{"open of a FIFO", by_open_fifo, true},
	{"flock", by_flock, true},
	{"fcntl F_OFD_SETLKW", by_setlkw, true},
	{"waitpid", by_waitpid, true},
	{"sem_wait", by_sem_wait, true},
	{"sem_timedwait", by_sem_timedwait, false},
	{"futex", by_futex, true},
	{"mq_receive", by_mq_receive, true},
	{"msgrcv", by_msgrcv, false},
	{"poll", by_poll, false},
	{"ppoll", by_ppoll, false},
	{"select", by_select, false},
	{"pselect", by_pselect, false},
	{"epoll_wait", by_epoll_wait, false},
	{"nanosleep", by_nanosleep, false},
	{"clock_nanosleep", by_clock_nanosleep, false},
	{"usleep", by_usleep, false},
	{"pause", by_pause, false},
	{"sigsuspend", by_sigsuspend, false},
	{"sigtimedwait", by_sigtimedwait, false},
};
#define WAITS (sizeof(waits) / sizeof(waits[0]))

static void set_up(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 64};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	struct timeval hour = {3600, 0};
	char path[] = "/tmp/kill.XXXXXX";
	int file;

	EXPECT_OK(pipe(empty_pipe));
	EXPECT_OK(pipe(full_pipe));
	for (int i = 0; i < 65536 / 4096; i++)
		EXPECT_EQ(write(full_pipe[1], bytes, 4096), 4096);
	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, empty_stream));
	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, timed_stream));
	EXPECT_OK(setsockopt(timed_stream[0], SOL_SOCKET, SO_RCVTIMEO, &hour,
			     sizeof(hour)));
	EXPECT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, full_stream));
	while (send(full_stream[0], bytes, 4096, MSG_DONTWAIT) > 0)
		;
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	EXPECT_OK(bind(listener, (struct sockaddr *)&name, sizeof(sa_family_t)));
	EXPECT_OK(listen(listener, 4));
	empty_epoll = epoll_create1(0);
	EXPECT_OK(message_queue = msgget(IPC_PRIVATE, 0600));
	snprintf(bytes, 64, "/kill.%d", (int)getpid());
	posix_queue = mq_open(bytes, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	EXPECT(posix_queue != (mqd_t)-1);
	mq_unlink(bytes);
	file = mkstemp(path);
	EXPECT_OK(locked_file = open(path, O_RDWR));
	unlink(path);
	EXPECT_OK(fcntl(file, F_OFD_SETLK, &whole));
	EXPECT_OK(flock(file, LOCK_EX));
	EXPECT_OK(sem_init(&empty_sem, 0, 0));
	snprintf(fifo, sizeof(fifo), "/tmp/kill.%d.fifo", (int)getpid());
	unlink(fifo);
	EXPECT_OK(mkfifo(fifo, 0600));
	child = fork();
	if (child == 0) {
		alarm(300);
		for (;;)
			pause();
	}
}

static void take_down(void)
{
	kill(child, SIGKILL);
	status_of(child);
	msgctl(message_queue, IPC_RMID, NULL);
	unlink(fifo);
}

struct waiter {
	const struct wait_entry *entry;
	pthread_t thread;
	atomic_bool begun, ended;
	long ret;
	int err;
};

static void *wait_for_it(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->begun, true);
	errno = 0;
	w->ret = w->entry->wait();
	w->err = errno;
	atomic_store(&w->ended, true);
	return arg;
}

/* Until it has ended; each signal was handled by it and nobody else. A wait
 * that goes on is left, so that the rest of the table is tried too. */
static bool interrupt(struct waiter *w)
{
	for (int i = 0; i < 100 && !atomic_load(&w->ended); i++) {
		int before = atomic_load(&handled);

		if (!EXPECT_EQ(pthread_kill(w->thread, SIGUSR1), 0))
			return false;
		for (int k = 0; k < 100 && atomic_load(&handled) == before; k++)
			settle();
		if (!EXPECT(atomic_load(&handled) > before))
			return false;
		EXPECT(pthread_equal(handled_by, w->thread));
		EXPECT_EQ(handled_info.si_signo, SIGUSR1);
		EXPECT_EQ(handled_info.si_code, SI_TKILL);
		EXPECT_EQ(handled_info.si_pid, getpid());
		settle();
	}
	return atomic_load(&w->ended);
}

static void end_it(struct waiter *w)
{
	bool ended = interrupt(w);

	if (!ended || w->ret != -1 || w->err != EINTR) {
		expect_say("%s: %s, gave %ld, errno %d\n", w->entry->name,
			   ended ? "ended" : "waits on", w->ret, w->err);
		EXPECT(!"a handled signal ends the wait with EINTR");
	}
	if (ended) {
		finish(w->thread);
		free(w);
	}
}

static struct waiter *begin(const struct wait_entry *entry)
{
	struct waiter *w = calloc(1, sizeof(*w));

	w->entry = entry;
	expect_enter(entry->name);
	w->thread = start(wait_for_it, w);
	WAIT_UNTIL(atomic_load(&w->begun));
	settle();
	return w;
}

static void every_wait_ends_with_eintr(void)
{
	set_up();
	handle_with(0);
	for (size_t i = 0; i < WAITS; i++)
		end_it(begin(&waits[i]));
	take_down();
}

static void with_sa_restart_some_waits_begin_again(void)
{
	set_up();
	for (size_t i = 0; i < WAITS; i++) {
		struct waiter *w;

		handle_with(SA_RESTART);
		w = begin(&waits[i]);
		if (!waits[i].restarts) {
			end_it(w);
			continue;
		}
		for (int k = 0; k < 3; k++)
			EXPECT_EQ(pthread_kill(w->thread, SIGUSR1), 0);
		settle();
		if (atomic_load(&w->ended)) {
			expect_say("%s: gave %ld, errno %d\n", waits[i].name,
				   w->ret, w->err);
			EXPECT(!"the wait begins again");
			finish(w->thread);
			free(w);
			continue;
		}
		handle_with(0);
		end_it(w);
	}
	take_down();
}

/* What is blocked or ignored disturbs nobody. */
static void signals_that_are_ignored_or_blocked_end_no_wait(void)
{
	sigset_t set;

	set_up();
	handle_with(0);
	signal(SIGUSR2, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	for (size_t i = 0; i < WAITS; i++) {
		struct waiter *w;

		if (waits[i].wait == by_sigsuspend ||
		    waits[i].wait == by_sigtimedwait)
			continue;
		EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
		w = begin(&waits[i]);
		EXPECT_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
		EXPECT_EQ(pthread_kill(w->thread, SIGUSR2), 0);
		EXPECT_EQ(pthread_kill(w->thread, SIGRTMIN), 0);
		settle();
		EXPECT(!atomic_load(&w->ended));
		end_it(w);
	}
	signal(SIGUSR2, SIG_DFL);
	take_down();
}

/* ---- remainders ---- */

static struct timespec rest;

static void *sleep_with_rest(void *arg)
{
	struct timespec t = {100, 0};

	rest = (struct timespec){0, 0};
	return nanosleep(&t, &rest) == -1 && errno == EINTR ? arg : NULL;
}

static unsigned left;

static void *sleep_and_tell(void *arg)
{
	left = sleep(100);
	return arg;
}

static void *select_with_rest(void *arg)
{
	struct timeval t = {100, 0};
	int ret = select(0, NULL, NULL, NULL, &t);

	rest.tv_sec = t.tv_sec;
	return ret == -1 && errno == EINTR ? arg : NULL;
}

static void signal_until_ended(pthread_t t, void *want)
{
	void *ret = NULL;

	for (int i = 0; i < 100; i++) {
		settle();
		EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
		settle();
		if (pthread_tryjoin_np(t, &ret) == 0) {
			EXPECT(ret == want);
			return;
		}
	}
	EXPECT(!"the sleep ends");
}

static void an_interrupted_sleep_tells_what_was_left(void)
{
	handle_with(0);
	signal_until_ended(start(sleep_with_rest, &rest), &rest);
	EXPECT(rest.tv_sec < 100 && rest.tv_sec >= 10);
	signal_until_ended(start(sleep_and_tell, &rest), &rest);
	EXPECT(left <= 100 && left >= 10);
	signal_until_ended(start(select_with_rest, &rest), &rest);
	EXPECT(rest.tv_sec < 100 && rest.tv_sec >= 10);
}

/* ---- pthread calls know no EINTR ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_t joinee;
static bool go;

static long lock_mutex(void)
{
	int err = pthread_mutex_lock(&mutex);

	return err ? err : pthread_mutex_unlock(&mutex);
}

static long lock_for_reading(void)
{
	int err = pthread_rwlock_rdlock(&rwlock);

	return err ? err : pthread_rwlock_unlock(&rwlock);
}

static long lock_for_writing(void)
{
	int err = pthread_rwlock_wrlock(&rwlock);

	return err ? err : pthread_rwlock_unlock(&rwlock);
}

static long wait_cond(void)
{
	int err = 0;

	pthread_mutex_lock(&mutex);
	while (!go && err == 0)
		err = pthread_cond_wait(&cond, &mutex);
	pthread_mutex_unlock(&mutex);
	return err;
}

static long meet(void)
{
	int ret = pthread_barrier_wait(&barrier);

	return ret == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : ret;
}

static long join_it(void)
{
	return pthread_join(joinee, NULL);
}

static void *pause_until_gone(void *arg)
{
	while (!atomic_load((atomic_bool *)arg))
		nap_us(1000);
	return NULL;
}

static const struct wait_entry patient[] = {
	{"pthread_mutex_lock", lock_mutex, true},
	{"pthread_rwlock_rdlock", lock_for_reading, true},
	{"pthread_rwlock_wrlock", lock_for_writing, true},
	{"pthread_cond_wait", wait_cond, true},
	{"pthread_barrier_wait", meet, true},
	{"pthread_join", join_it, true},
};

static void no_pthread_call_ends_for_a_signal(void)
{
	atomic_bool gone = false;
	struct waiter *w;

	handle_with(0);
	pthread_barrier_init(&barrier, NULL, 2);
	joinee = start(pause_until_gone, &gone);
	pthread_mutex_lock(&mutex);
	pthread_rwlock_wrlock(&rwlock);
	for (size_t i = 0; i < sizeof(patient) / sizeof(patient[0]); i++) {
		if (patient[i].wait == wait_cond)
			pthread_mutex_unlock(&mutex);
		w = begin(&patient[i]);
		for (int k = 0; k < 5; k++) {
			int before = atomic_load(&handled);

			EXPECT_EQ(pthread_kill(w->thread, SIGUSR1), 0);
			/* the handler runs at once, not when the wait is over */
			WAIT_UNTIL(atomic_load(&handled) > before);
			EXPECT(pthread_equal(handled_by, w->thread));
		}
		EXPECT(!atomic_load(&w->ended));
		if (patient[i].wait == lock_mutex)
			pthread_mutex_unlock(&mutex);
		else if (patient[i].wait == lock_for_reading ||
			 patient[i].wait == lock_for_writing)
			pthread_rwlock_unlock(&rwlock);
		else if (patient[i].wait == meet)
			pthread_barrier_wait(&barrier);
		else if (patient[i].wait == join_it)
			atomic_store(&gone, true);
		if (patient[i].wait == wait_cond) {
			pthread_mutex_lock(&mutex);
			go = true;
			pthread_cond_signal(&cond);
			pthread_mutex_unlock(&mutex);
		}
		finish(w->thread);
		EXPECT_EQ(w->ret, 0);
		free(w);
		if (patient[i].wait == lock_mutex)
			pthread_mutex_lock(&mutex);
		else if (patient[i].wait == lock_for_reading)
			pthread_rwlock_wrlock(&rwlock);
	}
	pthread_barrier_destroy(&barrier);
}

/* ---- to whom ---- */

static atomic_bool stop;

static void *compute(void *arg)
{
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
	return arg;
}

static void a_computing_thread_is_interrupted(void)
{
	pthread_t t[3];

	handle_with(0);
	for (int i = 0; i < 3; i++)
		t[i] = start(compute, &stop);
	for (int i = 0; i < 30; i++) {
		int before = atomic_load(&handled);

		EXPECT_EQ(pthread_kill(t[i % 3], SIGUSR1), 0);
		WAIT_UNTIL(atomic_load(&handled) > before);
		EXPECT(pthread_equal(handled_by, t[i % 3]));
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		finish(t[i]);
}

static void *raise_it(void *arg)
{
	int before = atomic_load(&handled);

	EXPECT_EQ(raise(SIGUSR1), 0);
	/* it has been handled, here, before raise returned */
	EXPECT_EQ(atomic_load(&handled), before + 1);
	EXPECT(pthread_equal(handled_by, pthread_self()));
	EXPECT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
	EXPECT_EQ(atomic_load(&handled), before + 2);
	EXPECT(pthread_equal(handled_by, pthread_self()));
	return arg;
}

static void who_raises_a_signal_handles_it(void)
{
	handle_with(0);
	raise_it(NULL);
	for (int i = 0; i < 5; i++)
		finish(start(raise_it, NULL));
}

static void *nap_long(void *arg)
{
	WAIT_UNTIL(atomic_load((atomic_bool *)arg));
	return arg;
}

static void signal_none_asks_and_nonsense_is_refused(void)
{
	atomic_bool gone = false;
	pthread_t t = start(nap_long, &gone);

	EXPECT_EQ(pthread_kill(t, 0), 0);
	EXPECT_EQ(pthread_kill(t, 999), EINVAL);
	EXPECT_EQ(pthread_kill(t, -1), EINVAL);
	atomic_store(&gone, true);
	settle();
	EXPECT_EQ(pthread_kill(t, 0), 0); /* ended and not joined: still 0 */
	EXPECT_EQ(pthread_kill(t, SIGUSR1), 0);
	finish(t);
}

static atomic_long values;

static void add_value(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	atomic_fetch_add(&values, info->si_value.sival_int);
	if (info->si_code == SI_QUEUE)
		atomic_fetch_add(&handled, 1);
}

/* Real-time signals queue: each is handled, with its value. */
static void queued_signals_are_each_handled_with_their_value(void)
{
	struct sigaction action = {.sa_sigaction = add_value,
				   .sa_flags = SA_SIGINFO};
	atomic_bool gone = false;
	pthread_t t = start(nap_long, &gone);

	EXPECT_OK(sigaction(SIGRTMIN + 1, &action, NULL));
	atomic_store(&handled, 0);
	for (int i = 1; i <= 200; i++) {
		union sigval value = {.sival_int = i};

		EXPECT_EQ(pthread_sigqueue(t, SIGRTMIN + 1, value), 0);
	}
	WAIT_UNTIL(atomic_load(&handled) == 200);
	EXPECT_EQ(atomic_load(&values), 200 * 201 / 2);
	atomic_store(&gone, true);
	finish(t);
}

static void handle_and_spoil_errno(int sig)
{
	(void)sig;
	errno = 12345;
	atomic_fetch_add(&handled, 1);
}

/* The kernel restores all but errno: a handler that spoils it spoils it, in
 * its own thread and in no other. */
static void *keep_errno(void *arg)
{
	for (int i = 0; i < 300; i++) {
		errno = 77;
		sched_yield();
		if (errno != 77)
			return NULL;
		nap_us(10);
	}
	return arg;
}

static void a_handler_changes_the_errno_of_its_own_thread_only(void)
{
	atomic_bool gone = false;
	pthread_t target = start(nap_long, &gone), others[4];

	signal(SIGUSR2, handle_and_spoil_errno);
	for (int i = 0; i < 4; i++)
		others[i] = start(keep_errno, &gone);
	for (int i = 0; i < 100; i++) {
		EXPECT_EQ(pthread_kill(target, SIGUSR2), 0);
		nap_us(100);
	}
	for (int i = 0; i < 4; i++)
		EXPECT(finish(others[i]) == &gone);
	atomic_store(&gone, true);
	finish(target);
	signal(SIGUSR2, SIG_DFL);
}

static const struct expect_case cases[] = {
	CASE(every_wait_ends_with_eintr),
	CASE(with_sa_restart_some_waits_begin_again),
	CASE(signals_that_are_ignored_or_blocked_end_no_wait),
	CASE(an_interrupted_sleep_tells_what_was_left),
	CASE(no_pthread_call_ends_for_a_signal),
	CASE(a_computing_thread_is_interrupted),
	CASE(who_raises_a_signal_handles_it),
	CASE_IN_MAIN(who_raises_a_signal_handles_it),
	CASE(signal_none_asks_and_nonsense_is_refused),
	CASE(queued_signals_are_each_handled_with_their_value),
	CASE(a_handler_changes_the_errno_of_its_own_thread_only),
};
EXPECT_MAIN(cases)
