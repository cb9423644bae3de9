/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* company.c - starting in odd company: without an environment, without descriptors,
 * in narrow limits, as somebody's init, under a filter of system calls. Each case
 * runs this program once more, as `--act NAME`, in a process of its own; that one
 * says by its status at which line it gave up. */
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "../support/expect.h"

extern char **environ;

#define NOBODY 65534

/* There may be no descriptor to say it on. */
#define MUST(cond)                                                             \
	do {                                                                   \
		if (!(cond))                                                   \
			give_up(__LINE__, #cond);                              \
	} while (0)

static void give_up(int line, const char *text)
{
	dprintf(2, "company.c:%d: not so: %s (%s)\n", line, text,
		strerror(errno));
	_exit(3 + line % 250);
}

/* ---- before main, and before libc ---- */

static int before_libc;

static void prepare(void) {}

/* A sanitizer begins here: nothing has an environment yet. */
static void at_preinit(int argc, char **argv, char **env)
{
	static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;

	(void)argc;
	(void)argv;
	(void)env;
	before_libc = pthread_mutex_lock(&m) == 0 &&
		      pthread_mutex_unlock(&m) == 0 &&
		      pthread_atfork(prepare, NULL, NULL) == 0;
}

__attribute__((section(".preinit_array"), used)) static void (
	*const preinit)(int, char **, char **) = at_preinit;

/* ---- what threads are good for ---- */

#define MANY 8

struct work {
	pthread_mutex_t m;
	pthread_cond_t c;
	int there;
	int sum;
};

static void *work_one(void *arg)
{
	struct work *w = arg;
	int fd[2], n = 0;
	char *p = malloc(2000);

	MUST(p != NULL);
	memset(p, 1, 2000);
	pthread_mutex_lock(&w->m);
	w->there++;
	pthread_cond_broadcast(&w->c);
	while (w->there < MANY)
		pthread_cond_wait(&w->c, &w->m);
	pthread_mutex_unlock(&w->m);
	nap_us(500);
	pthread_mutex_lock(&w->m);
	/* Descriptors may be few: one pair at a time. */
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0) {
		MUST(write(fd[0], p, 1) == 1 && read(fd[1], p, 1) == 1);
		close(fd[0]);
		close(fd[1]);
		n = *p;
	}
	w->sum += n;
	pthread_mutex_unlock(&w->m);
	free(p);
	return NULL;
}

/* Threads that meet, sleep, talk and end; how many had a pair to talk over. */
static int work(void)
{
	struct work w = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
	pthread_t t[MANY];

	for (int i = 0; i < MANY; i++)
		MUST(pthread_create(&t[i], NULL, work_one, &w) == 0);
	for (int i = 0; i < MANY; i++)
		MUST(pthread_join(t[i], NULL) == 0);
	return w.sum;
}

/* ---- the environment ---- */

static void in_no_environment(void)
{
	MUST(clearenv() == 0);
	MUST(work() == MANY);
	MUST(getenv("PATH") == NULL);
	environ = NULL;
	MUST(work() == MANY);
	MUST(status_of(fork() ?: (work(), _exit(7), 0)) >> 8 == 7);
}

static void in_an_environment_of_its_own(void)
{
	char text[] = "HOME=/nowhere", *mine[] = {text, NULL};
	pid_t pid;

	environ = mine;
	MUST(work() == MANY);
	MUST(putenv((char *)"ONE=1") == 0 && putenv(text) == 0);
	MUST(unsetenv("HOME") == 0);
	/* exec with what is left: nothing of ours, and a static string. */
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "test $ONE = 1 && test -z \"$HOME\"",
		      NULL);
		_exit(1);
	}
	MUST(status_of(pid) == 0);
	MUST(work() == MANY);
}

/* ---- descriptors ---- */

static void close_each(void)
{
	for (int fd = 3; fd < 1100; fd++)
		close(fd);
}

static void close_by_closefrom(void) { closefrom(3); }
static void close_by_range(void) { MUST(close_range(3, ~0u, 0) == 0); }

static void without_descriptors(void (*all)(void))
{
	int fd[64];

	all();
	/* As a daemon does that looks for the first that is free. */
	MUST(open("/dev/null", O_RDWR) == 3);
	MUST(work() == MANY);
	all();
	for (int i = 0; i < 64; i++)
		MUST((fd[i] = open("/dev/null", O_RDWR)) == 3 + i);
	MUST(work() == MANY);
	all();
	close(0);
	close(1);
	close(2);
	MUST(work() == MANY);
	MUST(open("/dev/null", O_RDWR) == 0);
	MUST(fcntl(fd[5], F_GETFD) == -1 && errno == EBADF);
}

static void with_each_closed(void) { without_descriptors(close_each); }
static void with_closefrom(void) { without_descriptors(close_by_closefrom); }
static void with_close_range(void) { without_descriptors(close_by_range); }

/* ---- daemons ---- */

static void as_a_daemon(bool threads_before)
{
	int fd[2];
	char c = 0;
	pid_t pid;

	if (threads_before)
		MUST(work() == MANY);
	MUST(pipe(fd) == 0);
	pid = fork();
	if (pid == 0) {
		MUST(daemon(0, 0) == 0);
		MUST(work() == MANY);
		MUST(getppid() != pid && getsid(0) != getpid() + 1);
		_exit(write(fd[1], "d", 1) != 1);
	}
	close(fd[1]);
	MUST(status_of(pid) == 0);
	MUST(read(fd[0], &c, 1) == 1 && c == 'd');
}

static void as_a_daemon_at_once(void) { as_a_daemon(false); }
static void as_a_daemon_after_threads(void) { as_a_daemon(true); }

static void *detach(void *arg)
{
	int *fd = arg;

	if (fork() == 0) {
		MUST(setsid() == getpid());
		if (fork() != 0)
			_exit(0);
		_exit(work() != MANY || write(fd[1], "d", 1) != 1);
	}
	MUST(status_of(-1) == 0);
	return NULL;
}

static void forked_twice_in_a_thread(void)
{
	int fd[2];
	char c = 0;

	MUST(pipe(fd) == 0);
	finish(start(detach, fd));
	close(fd[1]);
	MUST(read(fd[0], &c, 1) == 1 && c == 'd');
}

/* The first process of namespaces of its own: orphans come to it, a signal that it
 * does not handle does nothing, and not even the loopback network is up. */
static void live_as_init(void)
{
	int n = 0;

	MUST(getpid() == 1);
	MUST(work() == MANY);
	if (fork() == 0) {
		if (fork() == 0)
			_exit(work() != MANY);
		_exit(0);
	}
	while (wait(NULL) > 0)
		n++;
	MUST(n == 2);
	MUST(kill(getpid(), SIGTERM) == 0);
	MUST(work() == MANY);
}

static void as_init(void)
{
	pid_t pid;

	if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET) != 0)
		_exit(2);
	pid = fork();
	if (pid == 0) {
		live_as_init();
		_exit(0);
	}
	MUST(status_of(pid) == 0);
}

/* ---- limits ---- */

static void limit(int what, rlim_t n)
{
	struct rlimit l = {n, n};

	MUST(setrlimit(what, &l) == 0);
}

static void in_few_descriptors(void)
{
	int fd[40], n = 0;

	for (int i = 0; i < 40; i++)
		MUST((fd[i] = open("/dev/null", O_RDONLY)) >= 0);
	/* Below what is open already: those stay, and new ones are refused. */
	limit(RLIMIT_NOFILE, 16);
	MUST(work() == 0);
	MUST(open("/dev/null", O_RDONLY) == -1 && errno == EMFILE);
	for (int i = 0; i < 40; i++)
		close(fd[i]);
	MUST(work() == MANY);
	while (open("/dev/null", O_RDONLY) >= 0)
		n++;
	MUST(errno == EMFILE && n >= 10);
	MUST(work() == 0);
}

static void in_few_descriptors_from_the_beginning(void)
{
	limit(RLIMIT_NOFILE, 16);
	MUST(work() == MANY);
	MUST(work() == MANY);
}

static void in_little_address_space(void)
{
	/* Room for what malloc reserves for each arena, and lets go again. */
	limit(RLIMIT_AS, 600l << 20);
	MUST(work() == MANY);
}

static void in_little_data(void)
{
	limit(RLIMIT_DATA, 128l << 20);
	MUST(work() == MANY);
}

static void in_little_locked_memory(void)
{
	limit(RLIMIT_MEMLOCK, 0);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_RTTIME, 100000);
	limit(RLIMIT_SIGPENDING, 4);
	limit(RLIMIT_MSGQUEUE, 0);
	MUST(work() == MANY);
}

static void in_locked_memory(void)
{
	if (mlockall(MCL_FUTURE) != 0)
		_exit(2);
	MUST(work() == MANY);
}

static volatile sig_atomic_t overtime;

static void note_overtime(int sig)
{
	(void)sig;
	overtime = 1;
}

static void in_little_time(void)
{
	struct rlimit l = {1, 4};

	signal(SIGXCPU, note_overtime);
	MUST(setrlimit(RLIMIT_CPU, &l) == 0);
	MUST(work() == MANY);
	while (!overtime)
		;
	MUST(work() == MANY);
}

static char self_path[512];

static void again(const char *act)
{
	execl(self_path, "company", "--act", act, NULL);
	MUST(!"exec");
}

static void only_work(void) { MUST(work() == MANY); }

static void on_small_stacks(void)
{
	limit(RLIMIT_STACK, 64 << 10);
	again("only_work");
}

static void on_unlimited_stacks(void)
{
	limit(RLIMIT_STACK, RLIM_INFINITY);
	again("only_work");
}

/* ---- privileges ---- */

static void with_fewer_privileges(void)
{
	MUST(work() == MANY);
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (getuid() == 0) {
		gid_t none = NOBODY;

		MUST(setgroups(1, &none) == 0);
		MUST(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	}
	MUST(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	MUST(work() == MANY);
	MUST(status_of(fork() ?: (_exit(work() != MANY), 0)) == 0);
}

/* No kernel thread can be made but the one that there is. */
static void *nothing(void *arg) { return arg; }

static void as_a_user_without_threads(void)
{
	pthread_t t;
	int r;

	if (getuid() != 0)
		_exit(2);
	limit(RLIMIT_NPROC, 1);
	/* Nobody else may be that user. */
	MUST(setgid(54321) == 0 && setuid(54321) == 0);
	r = pthread_create(&t, NULL, nothing, NULL);
	MUST(r == EAGAIN || (r == 0 && pthread_join(t, NULL) == 0));
	/* And it is not the worse for it. */
	MUST(write(1, "", 0) == 0);
}

/* ---- filters ---- */

static void refuse(const int *numbers, size_t n, int error)
{
	struct sock_filter f[64];
	struct sock_fprog p = {0, f};

	f[p.len++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < n; i++) {
		f[p.len++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[i], 0, 1);
		f[p.len++] = (struct sock_filter)BPF_STMT(
			BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
	}
	f[p.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						  SECCOMP_RET_ALLOW);
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	/* For every kernel thread that there is, as libseccomp does it. */
	MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		     SECCOMP_FILTER_FLAG_TSYNC, &p) == 0);
}

/* What a thread that waits, locks and talks does not call. */
static const int unneeded[] = {
	SYS_io_uring_setup, SYS_io_uring_enter, SYS_process_vm_readv,
	SYS_memfd_create, SYS_membarrier, SYS_sched_setaffinity, SYS_ptrace,
	SYS_pidfd_open, SYS_timer_create, SYS_rt_tgsigqueueinfo, SYS_openat2,
	SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2,
	SYS_eventfd2, SYS_preadv2, SYS_pwritev2, SYS_tgkill, SYS_ppoll,
};

#define UNNEEDED (sizeof(unneeded) / sizeof(unneeded[0]))

static void under_a_filter(int error, bool threads_before)
{
	for (size_t i = 0; i < UNNEEDED; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(20);
			if (threads_before)
				MUST(work() == MANY);
			refuse(&unneeded[i], 1, error);
			_exit(work() != MANY);
		}
		if (status_of(pid) != 0) {
			dprintf(2, "without system call %d\n", unneeded[i]);
			MUST(!"work");
		}
	}
}

/* A stream of bytes read and written by a program that may do no more with it. */
static void *answer(void *arg)
{
	char byte;

	while (read(*(int *)arg, &byte, 1) == 1)
		MUST(write(*(int *)arg, &byte, 1) == 1);
	return arg;
}

static void talk_with_refused(int error)
{
	static const int refused[] = {SYS_recvfrom, SYS_sendto};
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd[2];
	pthread_t t;
	char byte;

	MUST(bind(listener, (void *)&at, size) == 0 && listen(listener, 1) == 0);
	MUST(getsockname(listener, (void *)&at, &size) == 0);
	MUST((fd[0] = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	MUST(connect(fd[0], (void *)&at, size) == 0);
	MUST((fd[1] = accept(listener, NULL, NULL)) >= 0);
	refuse(refused, 2, error);
	MUST(pthread_create(&t, NULL, answer, &fd[1]) == 0);
	for (int i = 0; i < 100; i++) {
		MUST(write(fd[0], &(char){(char)i}, 1) == 1);
		MUST(read(fd[0], &byte, 1) == 1 && byte == i);
	}
	MUST(shutdown(fd[0], SHUT_WR) == 0);
	MUST(pthread_join(t, NULL) == 0);
}

static void with_socket_calls_forbidden(void) { talk_with_refused(EPERM); }
static void with_socket_calls_unknown(void) { talk_with_refused(ENOSYS); }
static void with_calls_forbidden(void) { under_a_filter(EPERM, false); }
static void with_calls_unknown(void) { under_a_filter(ENOSYS, false); }
static void with_calls_forbidden_later(void) { under_a_filter(EPERM, true); }
static void with_calls_unknown_later(void) { under_a_filter(ENOSYS, true); }

/* ---- the table ---- */

#define ACT(fn) {#fn, fn}

static const struct act {
	const char *name;
	void (*run)(void);
} acts[] = {
	ACT(in_no_environment),
	ACT(in_an_environment_of_its_own),
	ACT(with_each_closed),
	ACT(with_closefrom),
	ACT(with_close_range),
	ACT(as_a_daemon_at_once),
	ACT(as_a_daemon_after_threads),
	ACT(forked_twice_in_a_thread),
	ACT(as_init),
	ACT(in_few_descriptors),
	ACT(in_few_descriptors_from_the_beginning),
	ACT(in_little_address_space),
	ACT(in_little_data),
	ACT(in_little_locked_memory),
	ACT(in_locked_memory),
	ACT(in_little_time),
	ACT(only_work),
	ACT(on_small_stacks),
	ACT(on_unlimited_stacks),
	ACT(with_fewer_privileges),
	ACT(as_a_user_without_threads),
	ACT(with_socket_calls_forbidden),
	ACT(with_socket_calls_unknown),
	ACT(with_calls_forbidden),
	ACT(with_calls_unknown),
	ACT(with_calls_forbidden_later),
	ACT(with_calls_unknown_later),
};

static int act(const char *name)
{
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		if (strcmp(acts[i].name, name) == 0) {
			alarm(EXPECT_WAIT_SECONDS);
			acts[i].run();
			return 0;
		}
	return 1;
}

/* Runs an act; status 2 says that this machine cannot. */
static void does(const char *name)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl(self_path, "company", "--act", name, NULL);
		_exit(1);
	}
	status = status_of(pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		SKIP(name);
	else if (!EXPECT_EQ(status, 0))
		expect_say("in %s\n", name);
}

static void what_comes_before_libc_is_served(void)
{
	EXPECT(before_libc);
}

static void threads_need_no_environment(void)
{
	does("in_no_environment");
	does("in_an_environment_of_its_own");
}

static void threads_outlive_the_closing_of_all_descriptors(void)
{
	does("with_each_closed");
	does("with_closefrom");
	does("with_close_range");
}

static void a_daemon_has_threads(void)
{
	does("as_a_daemon_at_once");
	does("as_a_daemon_after_threads");
	does("forked_twice_in_a_thread");
}

static void the_first_process_of_a_namespace_has_threads(void)
{
	does("as_init");
}

static void narrow_limits_do_for_a_few_threads(void)
{
	does("in_few_descriptors");
	does("in_few_descriptors_from_the_beginning");
	does("in_little_address_space");
	does("in_little_data");
	does("in_little_locked_memory");
	does("in_locked_memory");
	does("in_little_time");
	does("on_small_stacks");
	does("on_unlimited_stacks");
}

static void who_gives_up_privileges_goes_on(void)
{
	does("with_fewer_privileges");
	does("as_a_user_without_threads");
}

static void a_filter_of_calls_that_threads_do_not_need_is_borne(void)
{
	does("with_socket_calls_forbidden");
	does("with_socket_calls_unknown");
	does("with_calls_forbidden");
	does("with_calls_unknown");
	does("with_calls_forbidden_later");
	does("with_calls_unknown_later");
}

static const struct expect_case cases[] = {
	CASE_IN_MAIN(what_comes_before_libc_is_served),
	CASE_IN_MAIN(threads_need_no_environment),
	CASE_IN_MAIN(threads_outlive_the_closing_of_all_descriptors),
	CASE_IN_MAIN(a_daemon_has_threads),
	CASE_IN_MAIN(the_first_process_of_a_namespace_has_threads),
	CASE_IN_MAIN(narrow_limits_do_for_a_few_threads),
	CASE_IN_MAIN(who_gives_up_privileges_goes_on),
	CASE_IN_MAIN(a_filter_of_calls_that_threads_do_not_need_is_borne),
};

int main(int argc, char **argv)
{
	if (readlink("/proc/self/exe", self_path, sizeof(self_path) - 1) < 0)
		return 2;
	if (argc > 2 && strcmp(argv[1], "--act") == 0)
		return act(argv[2]);
	return expect_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
