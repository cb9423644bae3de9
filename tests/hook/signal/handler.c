/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* handler.c - what handlers may do, and what they are called with.
 *
 * Servers stop by handlers that post a semaphore or write to a pipe that the
 * main loop polls; interpreters jump out of them; fault handlers run on
 * stacks of their own. Each of it while other threads use the very same
 * calls, so that the handler comes in the middle of them. */
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>

#include "../../support/expect.h"

static atomic_int handled;

static void handle_by(int sig, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	EXPECT_OK(sigaction(sig, &action, NULL));
}

static void handle_info_by(int sig, void (*handler)(int, siginfo_t *, void *),
			   int flags)
{
	struct sigaction action = {.sa_sigaction = handler,
				   .sa_flags = flags | SA_SIGINFO};

	EXPECT_OK(sigaction(sig, &action, NULL));
}

/* ---- to stop a server ---- */

static sem_t stop_sem;
static int stop_pipe[2];

static void post(int sig)
{
	(void)sig;
	sem_post(&stop_sem);
	atomic_fetch_add(&handled, 1);
}

static void write_byte(int sig)
{
	int kept = errno;
	char c = (char)sig;

	if (write(stop_pipe[1], &c, 1) == 1)
		atomic_fetch_add(&handled, 1);
	errno = kept;
}

static void wait_by_sem(void *arg)
{
	(void)arg;
	sem_init(&stop_sem, 0, 0);
	handle_by(SIGTERM, post, SA_RESTART);
	for (int i = 0; i < 50; i++) {
		EXPECT_OK(kill(getpid(), SIGTERM));
		while (sem_wait(&stop_sem))
			EXPECT_EQ(errno, EINTR);
	}
	EXPECT_EQ(atomic_load(&handled), 50);
}

static void a_handler_may_post_what_its_thread_waits_for(void)
{
	expect_child(wait_by_sem, NULL);
}

static void wait_by_pipe(void *arg)
{
	(void)arg;
	EXPECT_OK(pipe(stop_pipe));
	handle_by(SIGTERM, write_byte, SA_RESTART);
	for (int i = 0; i < 50; i++) {
		struct pollfd p = {stop_pipe[0], POLLIN, 0};
		char c = 0;

		EXPECT_OK(kill(getpid(), SIGTERM));
		while (poll(&p, 1, -1) != 1)
			EXPECT_EQ(errno, EINTR);
		EXPECT_EQ(read(stop_pipe[0], &c, 1), 1);
		EXPECT_EQ(c, SIGTERM);
	}
	EXPECT_EQ(atomic_load(&handled), 50);
}

static void a_handler_may_write_to_what_its_thread_polls(void)
{
	expect_child(wait_by_pipe, NULL);
}

/* The whole of a server's stop: workers at work on locks, conditions, pipes
 * and sleeps; a signal from outside; one byte or post; all join and exit. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool stopping;
static long worked;

static void *work(void *arg)
{
	int *fd = arg;
	char c = 'x';

	for (int i = 0;; i++) {
		pthread_mutex_lock(&mutex);
		worked++;
		if (stopping) {
			pthread_mutex_unlock(&mutex);
			return arg;
		}
		pthread_cond_signal(&cond);
		pthread_mutex_unlock(&mutex);
		while (write(fd[1], &c, 1) != 1 && errno == EINTR)
			;
		while (read(fd[0], &c, 1) != 1 && errno == EINTR)
			;
		free(malloc(100 + i % 1000));
		if (i % 16 == 0)
			nap_us(50);
		sem_post(&stop_sem); /* the handler's own, and others' */
		while (sem_wait(&stop_sem))
			;
	}
}

static void *wait_for_work(void *arg)
{
	long seen = 0;

	pthread_mutex_lock(&mutex);
	while (!stopping) {
		pthread_cond_wait(&cond, &mutex);
		seen++;
	}
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void serve(int asks)
{
	pthread_t workers[6], waiters[2];
	int fd[2];
	char c;

	sem_init(&stop_sem, 0, 0);
	EXPECT_OK(pipe(stop_pipe));
	EXPECT_OK(pipe(fd));
	handle_by(SIGTERM, write_byte, SA_RESTART);
	handle_by(SIGUSR1, post, SA_RESTART);
	for (int i = 0; i < 6; i++)
		workers[i] = start(work, fd);
	for (int i = 0; i < 2; i++)
		waiters[i] = start(wait_for_work, fd);
	EXPECT_EQ(write(asks, "r", 1), 1); /* ready */
	while (read(stop_pipe[0], &c, 1) != 1)
		EXPECT_EQ(errno, EINTR);
	pthread_mutex_lock(&mutex);
	stopping = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < 6; i++)
		EXPECT(finish(workers[i]) == fd);
	for (int i = 0; i < 2; i++)
		EXPECT(finish(waiters[i]) == fd);
	EXPECT(worked > 0);
}

static void a_busy_server_stops_when_it_is_told(void)
{
	for (int i = 0; i < 10; i++) {
		int fd[2];
		pid_t pid;
		char c;

		EXPECT_OK(pipe(fd));
		pid = fork();
		if (pid == 0) {
			expect_now.case_failed = 0;
			alarm(100);
			serve(fd[1]);
			_exit(expect_now.case_failed ? 1 : 42);
		}
		close(fd[1]);
		EXPECT_EQ(read(fd[0], &c, 1), 1);
		for (int k = 0; k < 100; k++) {
			EXPECT_OK(kill(pid, SIGUSR1));
			nap_us(100);
		}
		EXPECT_OK(kill(pid, SIGTERM));
		EXPECT_EQ(status_of(pid), 42 << 8);
		close(fd[0]);
	}
}

static void default_action(void *arg)
{
	pthread_t t[4];
	int fd[2];

	sem_init(&stop_sem, 0, 0);
	EXPECT_OK(pipe(fd));
	for (int i = 0; i < 4; i++)
		t[i] = start(work, fd);
	EXPECT_EQ(write(*(int *)arg, "r", 1), 1);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

static void a_busy_server_without_a_handler_dies_of_the_signal(void)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGKILL, SIGALRM};

	for (int i = 0; i < 4; i++) {
		int fd[2];
		pid_t pid;
		char c;

		EXPECT_OK(pipe(fd));
		pid = fork();
		if (pid == 0) {
			alarm(100);
			default_action(&fd[1]);
			_exit(1);
		}
		EXPECT_EQ(read(fd[0], &c, 1), 1);
		EXPECT_OK(kill(pid, signals[i]));
		EXPECT_EQ(status_of(pid), signals[i]);
		close(fd[0]);
		close(fd[1]);
	}
}

/* ---- what a handler is told ---- */

static siginfo_t told;
static atomic_bool context_is_there;

static void note_info(int sig, siginfo_t *info, void *context)
{
	told = *info;
	atomic_store(&context_is_there, context != NULL);
	EXPECT_EQ(sig, info->si_signo);
	atomic_fetch_add(&handled, 1);
}

static void sends_and_is_told(void *arg)
{
	union sigval value = {.sival_ptr = &handled};
	struct itimerval soon = {.it_value = {0, 1000}};
	pid_t pid;

	(void)arg;
	handle_info_by(SIGUSR1, note_info, 0);
	handle_info_by(SIGALRM, note_info, 0);
	handle_info_by(SIGCHLD, note_info, 0);
	atomic_store(&handled, 0);
	EXPECT_OK(kill(getpid(), SIGUSR1));
	WAIT_UNTIL(atomic_load(&handled) == 1);
	EXPECT_EQ(told.si_code, SI_USER);
	EXPECT_EQ(told.si_pid, getpid());
	EXPECT_EQ(told.si_uid, getuid());
	EXPECT(atomic_load(&context_is_there));
	EXPECT_OK(sigqueue(getpid(), SIGUSR1, value));
	WAIT_UNTIL(atomic_load(&handled) == 2);
	EXPECT_EQ(told.si_code, SI_QUEUE);
	EXPECT(told.si_value.sival_ptr == &handled);
	EXPECT_OK(setitimer(ITIMER_REAL, &soon, NULL));
	WAIT_UNTIL(atomic_load(&handled) == 3);
	EXPECT_EQ(told.si_signo, SIGALRM);
	EXPECT_EQ(told.si_code, SI_KERNEL);
	pid = fork();
	if (pid == 0)
		_exit(5);
	WAIT_UNTIL(atomic_load(&handled) == 4);
	EXPECT_EQ(told.si_signo, SIGCHLD);
	EXPECT_EQ(told.si_code, CLD_EXITED);
	EXPECT_EQ(told.si_pid, pid);
	EXPECT_EQ(told.si_status, 5);
	EXPECT_EQ(status_of(pid), 5 << 8);
}

static void a_handler_is_told_who_sent_it_and_what(void)
{
	expect_child(sends_and_is_told, NULL);
}

static void resets(void *arg)
{
	struct sigaction seen;

	(void)arg;
	handle_by(SIGUSR1, post, SA_RESETHAND);
	sem_init(&stop_sem, 0, 0);
	EXPECT_OK(sigaction(SIGUSR1, NULL, &seen));
	EXPECT(seen.sa_handler == post);
	EXPECT(seen.sa_flags & (int)SA_RESETHAND);
	raise(SIGUSR1);
	EXPECT_OK(sigaction(SIGUSR1, NULL, &seen));
	EXPECT(seen.sa_handler == SIG_DFL);
	/* what is asked for is what was set, of each kind */
	handle_info_by(SIGUSR1, note_info, SA_RESTART);
	EXPECT_OK(sigaction(SIGUSR1, NULL, &seen));
	EXPECT(seen.sa_sigaction == note_info);
	EXPECT_EQ(seen.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER),
		  SA_SIGINFO | SA_RESTART);
	EXPECT(signal(SIGUSR1, SIG_IGN) == (void (*)(int))(void (*)(void))note_info);
	EXPECT(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
	EXPECT_ERR(sigaction(SIGKILL, &seen, NULL), EINVAL);
	EXPECT_ERR(sigaction(999, NULL, &seen), EINVAL);
	EXPECT_ERR(sigaction(0, NULL, &seen), EINVAL);
	EXPECT(signal(SIGSTOP, SIG_IGN) == SIG_ERR);
}

static void what_was_set_is_what_is_seen(void)
{
	expect_child(resets, NULL);
}

/* ---- where it runs ---- */

static __thread char *own_stack_low, *own_stack_high;
static atomic_bool was_on_own_stack;

static void look_where(int sig)
{
	char *here = __builtin_frame_address(0);

	(void)sig;
	atomic_store(&was_on_own_stack,
		     here > own_stack_low && here < own_stack_high);
	atomic_fetch_add(&handled, 1);
}

static void *have_own_stack(void *arg)
{
	stack_t stack = {.ss_size = 64 << 10}, seen;

	stack.ss_sp = malloc(stack.ss_size);
	own_stack_low = stack.ss_sp;
	own_stack_high = own_stack_low + stack.ss_size;
	EXPECT_OK(sigaltstack(NULL, &seen));
	EXPECT_EQ(seen.ss_flags, SS_DISABLE); /* not inherited */
	EXPECT_OK(sigaltstack(&stack, NULL));
	for (int i = 0; i < 20; i++) {
		nap_us(100);
		EXPECT_OK(sigaltstack(NULL, &seen));
		EXPECT(seen.ss_sp == stack.ss_sp &&
		       seen.ss_size == stack.ss_size && seen.ss_flags == 0);
		EXPECT_EQ(raise(SIGUSR2), 0);
		EXPECT(atomic_load(&was_on_own_stack));
		EXPECT_EQ(raise(SIGUSR1), 0);
		EXPECT(!atomic_load(&was_on_own_stack));
	}
	stack.ss_flags = SS_DISABLE;
	EXPECT_OK(sigaltstack(&stack, NULL));
	free(stack.ss_sp);
	return arg;
}

static void a_handler_runs_on_the_stack_its_thread_gave_it(void)
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	handle_by(SIGUSR1, look_where, 0);
	handle_by(SIGUSR2, look_where, SA_ONSTACK);
	for (int i = 0; i < 5; i++)
		finish(start(have_own_stack, NULL));
	signal(SIGUSR1, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
}

/* ---- faults ---- */

static __thread sigjmp_buf jump;
static __thread void *fault_at;

static void jump_out(int sig, siginfo_t *info, void *context)
{
	(void)context;
	fault_at = info->si_addr;
	siglongjmp(jump, sig);
}

static void *fault_and_go_on(void *arg)
{
	volatile int *nowhere = (volatile int *)(intptr_t)(0x1000 +
							   (intptr_t)arg * 16);
	volatile int seven = 7, zero = 0; /* 1 / zero needs no division */

	for (volatile int i = 0; i < 50; i++) {
		if (sigsetjmp(jump, 1) == 0) {
			*nowhere = 1;
			return NULL;
		}
		if (fault_at != (void *)nowhere)
			return NULL;
		sched_yield();
		nap_us(10);
#if defined(__x86_64__)
		if (sigsetjmp(jump, 1) == 0) {
			zero = seven / zero;
			return NULL;
		}
#endif
	}
	(void)seven;
	(void)zero;
	return arg;
}

static void a_thread_may_survive_its_own_faults(void)
{
	if (SHARES_STORAGE) {
		SKIP(NO_STORAGE);
		return;
	}
	pthread_t t[8];

	handle_info_by(SIGSEGV, jump_out, 0);
	handle_info_by(SIGFPE, jump_out, 0);
	for (intptr_t i = 0; i < 8; i++)
		t[i] = start(fault_and_go_on, (void *)(i + 1));
	for (intptr_t i = 0; i < 8; i++)
		EXPECT(finish(t[i]) == (void *)(i + 1));
	signal(SIGSEGV, SIG_DFL);
	signal(SIGFPE, SIG_DFL);
}

/* Handlers that wait, so that their threads go on where they may, and then faults in
 * several threads at a time, each of whose handlers lets it go on where it was. */
#define WAIT_IN_HANDLERS 20

static void wait_a_little(int sig)
{
	(void)sig;
	for (int i = 0; i < 3; i++)
		nap_us(200);
}

static void *nap_until_told(void *arg)
{
	while (!atomic_load((atomic_bool *)arg))
		nap_us(100);
	return arg;
}

struct faulty {
	char *page;
	long faults, strange;
};

static struct faulty faulty[8];

static void open_page(int sig, siginfo_t *info, void *uctx)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)4095);

	(void)uctx;
	for (int i = 0; i < 8; i++)
		if (faulty[i].page == page)
			faulty[i].faults++;
	for (volatile int i = 0; i < 5000; i++)
		;
	if (sig != SIGSEGV ||
	    page != (char *)((uintptr_t)info->si_addr & ~(uintptr_t)4095) ||
	    mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0)
		_exit(99);
}

static void *fault_and_look(void *arg)
{
	struct faulty *f = arg;
	stack_t stack = {.ss_size = 64 << 10};

	stack.ss_sp = malloc(stack.ss_size);
	EXPECT_OK(sigaltstack(&stack, NULL));
	for (int i = 0; i < 500; i++) {
		mprotect(f->page, 4096, PROT_NONE);
		*(volatile char *)f->page = (char)i;
		f->strange += f->page[0] != (char)i || f->faults != i + 1;
	}
	stack.ss_flags = SS_DISABLE;
	EXPECT_OK(sigaltstack(&stack, NULL));
	free(stack.ss_sp);
	return arg;
}

static void who_waited_in_a_handler_leaves_the_stacks_of_others_alone(void)
{
	pthread_t t[WAIT_IN_HANDLERS];
	atomic_bool over = false;

	handle_by(SIGUSR1, wait_a_little, 0);
	for (int i = 0; i < WAIT_IN_HANDLERS; i++)
		t[i] = start(nap_until_told, &over);
	for (int turn = 0; turn < 30; turn++) {
		for (int i = 0; i < WAIT_IN_HANDLERS; i++)
			pthread_kill(t[i], SIGUSR1);
		nap_us(2000);
	}
	atomic_store(&over, true);
	for (int i = 0; i < WAIT_IN_HANDLERS; i++)
		finish(t[i]);

	handle_info_by(SIGSEGV, open_page, SA_ONSTACK);
	for (int i = 0; i < 8; i++) {
		faulty[i].page = mmap(NULL, 4096, PROT_NONE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		faulty[i].faults = 0;
	}
	for (int i = 0; i < 8; i++)
		t[i] = start(fault_and_look, &faulty[i]);
	for (int i = 0; i < 8; i++) {
		EXPECT(finish(t[i]) == &faulty[i]);
		EXPECT_EQ(faulty[i].faults, 500);
		EXPECT_EQ(faulty[i].strange, 0);
		munmap(faulty[i].page, 4096);
	}
	signal(SIGSEGV, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
}

/* A program with its own overflow handler, on the stack it gave it. */
static volatile int bottomless = 1;

__attribute__((noinline)) static int fall(int depth)
{
	volatile char frame[1000];

	frame[0] = (char)depth;
	return bottomless ? fall(depth + 1) + frame[0] : 0;
}

static void *overflow_and_go_on(void *arg)
{
	stack_t stack = {.ss_size = 64 << 10};

	stack.ss_sp = malloc(stack.ss_size);
	EXPECT_OK(sigaltstack(&stack, NULL));
	for (volatile int i = 0; i < 3; i++) {
		if (sigsetjmp(jump, 1) == 0)
			return fall(0) ? NULL : arg;
		nap_us(100);
	}
	stack.ss_flags = SS_DISABLE;
	sigaltstack(&stack, NULL);
	free(stack.ss_sp);
	return arg;
}

static void a_thread_may_survive_its_overflow_on_its_own_stack(void)
{
	handle_info_by(SIGSEGV, jump_out, SA_ONSTACK);
	for (int i = 0; i < 3; i++)
		EXPECT(finish(start(overflow_and_go_on, &handled)) == &handled);
	signal(SIGSEGV, SIG_DFL);
}

/* ---- children ---- */

static atomic_int reaped;

static void reap(int sig)
{
	int kept = errno;

	(void)sig;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		atomic_fetch_add(&reaped, 1);
	errno = kept;
}

static void *stay_busy(void *arg)
{
	while (!atomic_load((atomic_bool *)arg)) {
		pthread_mutex_lock(&mutex);
		worked++;
		pthread_mutex_unlock(&mutex);
		sched_yield();
	}
	return arg;
}

static void forks_and_reaps(void *arg)
{
	atomic_bool stop = false;
	pthread_t t[3];

	(void)arg;
	handle_by(SIGCHLD, reap, SA_RESTART | SA_NOCLDSTOP);
	for (int i = 0; i < 3; i++)
		t[i] = start(stay_busy, &stop);
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		EXPECT_OK(pid);
	}
	WAIT_UNTIL(atomic_load(&reaped) == 50);
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		finish(t[i]);
	/* and when nobody wants to know, nobody is told */
	signal(SIGCHLD, SIG_IGN);
	if (fork() == 0)
		_exit(0);
	EXPECT_ERR(waitpid(-1, NULL, 0), ECHILD);
}

static void a_handler_may_reap_children(void)
{
	expect_child(forks_and_reaps, NULL);
}

/* ---- timers ---- */

static void count_ticks(int sig)
{
	(void)sig;
	atomic_fetch_add(&handled, 1);
}

static void ticks_while_it_works(void *arg)
{
	struct itimerval every = {{0, 1000}, {0, 1000}}, none = {0};
	atomic_bool stop = false;
	pthread_t t[3];
	int n;

	(void)arg;
	handle_by(SIGALRM, count_ticks, SA_RESTART);
	for (int i = 0; i < 3; i++)
		t[i] = start(stay_busy, &stop);
	atomic_store(&handled, 0);
	EXPECT_OK(setitimer(ITIMER_REAL, &every, NULL));
	WAIT_UNTIL(atomic_load(&handled) >= 100);
	EXPECT_OK(setitimer(ITIMER_REAL, &none, NULL));
	settle();
	n = atomic_load(&handled);
	settle();
	EXPECT_EQ(atomic_load(&handled), n);
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		finish(t[i]);
	EXPECT_EQ(alarm(100), 0);
	EXPECT(alarm(0) > 90);
}

static void timers_tick_while_threads_work(void)
{
	expect_child(ticks_while_it_works, NULL);
}

static const struct expect_case cases[] = {
	CASE(a_handler_may_post_what_its_thread_waits_for),
	CASE_IN_MAIN(a_handler_may_post_what_its_thread_waits_for),
	CASE(a_handler_may_write_to_what_its_thread_polls),
	CASE_IN_MAIN(a_handler_may_write_to_what_its_thread_polls),
	CASE(a_busy_server_stops_when_it_is_told),
	CASE_IN_MAIN(a_busy_server_stops_when_it_is_told),
	CASE(a_busy_server_without_a_handler_dies_of_the_signal),
	CASE_IN_MAIN(a_handler_is_told_who_sent_it_and_what),
	CASE(a_handler_is_told_who_sent_it_and_what),
	CASE_IN_MAIN(what_was_set_is_what_is_seen),
	CASE(a_handler_runs_on_the_stack_its_thread_gave_it),
	CASE(a_thread_may_survive_its_own_faults),
	CASE(who_waited_in_a_handler_leaves_the_stacks_of_others_alone),
	CASE(a_thread_may_survive_its_overflow_on_its_own_stack),
	CASE(a_handler_may_reap_children),
	CASE_IN_MAIN(a_handler_may_reap_children),
	CASE(timers_tick_while_threads_work),
};
EXPECT_MAIN(cases)
