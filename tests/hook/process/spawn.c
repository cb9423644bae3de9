/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* spawn.c - programs started from threads, in every way, and waited for. */
#include <fcntl.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>

#include "../../support/expect.h"

#define CROWD 8
#define TIMES 30

static void crowd(void *(*fn)(void *))
{
	pthread_t t[CROWD];

	for (intptr_t i = 0; i < CROWD; i++)
		t[i] = start(fn, (void *)(i + 1));
	for (intptr_t i = 0; i < CROWD; i++)
		EXPECT(finish(t[i]) == (void *)(i + 1));
}

/* ---- posix_spawn ---- */

static void *spawn_many(void *arg)
{
	for (int i = 0; i < TIMES; i++) {
		char command[32];
		char *argv[] = {"sh", "-c", command, NULL};
		int code = (int)(intptr_t)arg * 20 + i % 20, err;
		pid_t pid;

		snprintf(command, sizeof(command), "exit %d", code);
		err = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
		if (err || status_of(pid) != code << 8)
			return NULL;
	}
	return arg;
}

static void many_threads_spawn_at_once(void)
{
	crowd(spawn_many);
}

static void what_cannot_be_spawned_is_told(void)
{
	char *argv[] = {"none", NULL};
	pid_t pid = 4711;

	EXPECT_EQ(posix_spawn(&pid, "/none/such", NULL, NULL, argv, environ),
		  ENOENT);
	EXPECT_EQ(posix_spawnp(&pid, "no-such-program-here", NULL, NULL, argv,
			       environ), ENOENT);
	EXPECT_EQ(posix_spawn(&pid, "/", NULL, NULL, argv, environ), EACCES);
	EXPECT_ERR(waitpid(-1, NULL, WNOHANG), ECHILD);
}

static void actions_and_attributes_are_carried_out(void)
{
	char *argv[] = {"sh", "-c",
			"read line; echo \"got $line\"; kill -USR1 $$; "
			"kill -USR2 $$; exit 3", NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int in[2], out[2];
	sigset_t set;
	char got[64];
	ssize_t n;
	pid_t pid;

	EXPECT_OK(pipe2(in, O_CLOEXEC));
	EXPECT_OK(pipe2(out, O_CLOEXEC));
	EXPECT_EQ(posix_spawn_file_actions_init(&actions), 0);
	EXPECT_EQ(posix_spawn_file_actions_adddup2(&actions, in[0], 0), 0);
	EXPECT_EQ(posix_spawn_file_actions_adddup2(&actions, out[1], 1), 0);
	EXPECT_EQ(posix_spawnattr_init(&attr), 0);
	/* USR1 blocked, USR2 back to its default, which kills */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	EXPECT_EQ(posix_spawnattr_setsigmask(&attr, &set), 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	EXPECT_EQ(posix_spawnattr_setsigdefault(&attr, &set), 0);
	EXPECT_EQ(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						  POSIX_SPAWN_SETSIGDEF), 0);
	signal(SIGUSR2, SIG_IGN);
	EXPECT_EQ(posix_spawn(&pid, "/bin/sh", &actions, &attr, argv, environ), 0);
	signal(SIGUSR2, SIG_DFL);
	close(in[0]);
	close(out[1]);
	settle();
	EXPECT_EQ(write(in[1], "hello\n", 6), 6);
	n = read(out[0], got, sizeof(got));
	EXPECT_EQ(n, 10);
	EXPECT(memcmp(got, "got hello\n", 10) == 0);
	EXPECT_EQ(status_of(pid), SIGUSR2);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	close(in[1]);
	close(out[0]);
}

/* ---- vfork ---- */

static void *vfork_many(void *arg)
{
	for (volatile int i = 0; i < TIMES; i++) {
		volatile int shared = 0;
		volatile pid_t pid;
		int code = (int)(intptr_t)arg * 20 + i % 20;

		pid = vfork();
		if (pid == 0) {
			/* in the parent's memory, which waits for us */
			shared = 77;
			if (i % 2)
				_exit(code);
			execl("/bin/true", "true", (char *)NULL);
			_exit(126);
		}
		if (pid < 0 || shared != 77)
			return NULL;
		if (status_of(pid) != (i % 2 ? code << 8 : 0))
			return NULL;
	}
	return arg;
}

static void many_threads_vfork_at_once(void)
{
	crowd(vfork_many);
}

static atomic_int others_turns;
static atomic_bool stop;
static int go[2];

/* The twentieth turn lets the child of vfork go on. */
static void *take_turns(void *arg)
{
	while (!atomic_load(&stop)) {
		if (atomic_fetch_add(&others_turns, 1) == 19)
			EXPECT_EQ(write(go[1], "g", 1), 1);
		nap_us(1000);
	}
	return arg;
}

/* The thread that vforks stands still; no other does, or its child would wait
 * for ever. */
static void only_the_thread_that_vforks_waits(void)
{
	volatile bool child_went = false;
	pthread_t t[3];
	pid_t pid;

	EXPECT_OK(pipe(go));
	atomic_store(&stop, false);
	atomic_store(&others_turns, 0);
	for (int i = 0; i < 3; i++)
		t[i] = start(take_turns, &stop);
	pid = vfork();
	if (pid == 0) {
		/* raw: a vfork child may do next to nothing */
		char c;

		child_went = rawsys(SYS_read, go[0], (long)&c, 1) == 1;
		_exit(0);
	}
	EXPECT(child_went);
	EXPECT(atomic_load(&others_turns) >= 20);
	EXPECT_EQ(status_of(pid), 0);
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		EXPECT(finish(t[i]) == &stop);
	close(go[0]);
	close(go[1]);
}

/* ---- system and popen ---- */

static void *system_many(void *arg)
{
	for (int i = 0; i < TIMES / 3; i++) {
		char command[64];
		int code = (int)(intptr_t)arg * 10 + i % 10;

		snprintf(command, sizeof(command), "exit %d", code);
		if (system(command) != code << 8)
			return NULL;
	}
	return arg;
}

static void many_threads_use_system_at_once(void)
{
	crowd(system_many);
	EXPECT(system(NULL) != 0);
	EXPECT_EQ(system("kill -TERM $$"), SIGTERM);
	EXPECT_EQ(system("no-such-command-here 2>/dev/null"), 127 << 8);
}

static void *popen_many(void *arg)
{
	for (int i = 0; i < TIMES / 3; i++) {
		char command[64], line[64], want[64];
		FILE *f;

		snprintf(command, sizeof(command), "echo %d; exit %d", i,
			 i % 5);
		snprintf(want, sizeof(want), "%d\n", i);
		f = popen(command, i % 2 ? "r" : "re");
		if (!f || !fgets(line, sizeof(line), f) || strcmp(line, want) ||
		    fgets(line, sizeof(line), f) || pclose(f) != i % 5 << 8)
			return NULL;
		f = popen("read word && test $word = hello", "w");
		if (!f || fputs("hello\n", f) < 0 || pclose(f) != 0)
			return NULL;
	}
	return arg;
}

static void many_threads_use_popen_at_once(void)
{
	crowd(popen_many);
}

/* ---- exec ---- */

/* Pipes and files the test may have been started with; they are not its
 * affair. Anything else that is open beyond the first three was made here. */
static void close_on_exec_what_was_given(void)
{
	char path[64], target[256];

	for (int fd = 3; fd < 1024; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = 0;
		if (strncmp(target, "anon_inode:", 11) &&
		    strncmp(target, "/memfd:", 7))
			fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
}

/* What a program that is started finds open. */
static void a_started_program_finds_only_what_it_was_left(void)
{
	char got[512];
	size_t at = 0;
	ssize_t n;
	int out[2];
	pid_t pid;

	EXPECT_OK(pipe2(out, O_CLOEXEC));
	pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		close_on_exec_what_was_given();
		unsetenv("LD_PRELOAD");
		execl("/bin/sh", "sh", "-c",
		      "for f in /proc/self/fd/*; do echo -n \"${f##*/} \"; done",
		      (char *)NULL);
		_exit(126);
	}
	close(out[1]);
	while ((n = read(out[0], got + at, sizeof(got) - 1 - at)) > 0)
		at += n;
	got[at] = 0;
	EXPECT_EQ(status_of(pid), 0);
	/* 3 is the directory that the shell reads */
	EXPECT_STR(got, "0 1 2 3 ");
	close(out[0]);
}

static void signals_of_a_started_program_are_as_exec_has_them(void)
{
	sigset_t set;
	char got[4096];
	size_t at = 0;
	ssize_t n;
	int out[2];
	pid_t pid;

	EXPECT_OK(pipe2(out, O_CLOEXEC));
	pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		pthread_sigmask(SIG_SETMASK, &set, NULL);
		/* a shell's background job is started with two ignored */
		for (int sig = 1; sig < SIGSYS; sig++)
			signal(sig, SIG_DFL);
		signal(SIGUSR2, SIG_IGN);
		signal(SIGHUP, (void (*)(int))(void (*)(void))abort);
		unsetenv("LD_PRELOAD");
		execl("/bin/cat", "cat", "/proc/self/status", (char *)NULL);
		_exit(126);
	}
	close(out[1]);
	while ((n = read(out[0], got + at, sizeof(got) - 1 - at)) > 0)
		at += n;
	got[at] = 0;
	EXPECT_EQ(status_of(pid), 0);
	EXPECT(strstr(got, "SigBlk:\t0000000000000200") != NULL);
	EXPECT(strstr(got, "SigIgn:\t0000000000000800") != NULL);
	EXPECT(strstr(got, "SigCgt:\t0000000000000000") != NULL);
	if (expect_now.case_failed && strstr(got, "SigBlk"))
		expect_say("%.120s\n", strstr(got, "SigBlk"));
	close(out[0]);
}

/* ---- waiting ---- */

static void *wait_for_own_child(void *arg)
{
	for (int i = 0; i < TIMES; i++) {
		int code = (int)(intptr_t)arg * 20 + i % 20;
		siginfo_t info = {0};
		struct rusage usage;
		pid_t pid = fork();
		int status = -1;

		if (pid == 0) {
			if (i % 3)
				nap_us(500);
			_exit(code);
		}
		if (pid < 0)
			return NULL;
		switch (i % 3) {
		case 0:
			if (waitpid(pid, &status, 0) != pid)
				return NULL;
			break;
		case 1:
			if (wait4(pid, &status, 0, &usage) != pid)
				return NULL;
			break;
		default:
			if (waitid(P_PID, (id_t)pid, &info, WEXITED) ||
			    info.si_pid != pid || info.si_code != CLD_EXITED)
				return NULL;
			status = info.si_status << 8;
		}
		if (status != code << 8)
			return NULL;
	}
	return arg;
}

static void each_thread_gets_the_child_it_waits_for(void)
{
	crowd(wait_for_own_child);
}

static atomic_int reaped;

static void *wait_for_any(void *arg)
{
	int status;

	while (wait(&status) > 0)
		if (WIFEXITED(status) && WEXITSTATUS(status) == 9)
			atomic_fetch_add(&reaped, 1);
	return errno == ECHILD ? arg : NULL;
}

static void children_are_shared_among_threads_that_wait_for_any(void)
{
	atomic_store(&reaped, 0);
	for (int i = 0; i < 40; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			nap_us(1000 + i * 500);
			_exit(9);
		}
		EXPECT_OK(pid);
	}
	crowd(wait_for_any);
	EXPECT_EQ(atomic_load(&reaped), 40);
}

static void a_stopped_child_is_told_and_continues(void)
{
	siginfo_t info = {0};
	int status = -1, go_on[2];
	char c = 0;
	pid_t pid;

	EXPECT_OK(pipe(go_on));
	pid = fork();
	if (pid == 0) {
		alarm(100);
		raise(SIGSTOP);
		/* Its end would take the place of what it has to tell before. */
		_exit(read(go_on[0], &c, 1) == 1 ? 4 : 5);
	}
	EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
	EXPECT(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	EXPECT_EQ(waitpid(pid, &status, WNOHANG), 0);
	EXPECT_OK(kill(pid, SIGCONT));
	EXPECT_EQ(waitpid(pid, &status, WCONTINUED), pid);
	EXPECT(WIFCONTINUED(status));
	EXPECT_EQ(write(go_on[1], &c, 1), 1);
	close(go_on[0]);
	close(go_on[1]);
	EXPECT_OK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
	EXPECT_EQ(info.si_status, 4);
	EXPECT_EQ(status_of(pid), 4 << 8);
	EXPECT_ERR(waitpid(pid, &status, 0), ECHILD);
	EXPECT_ERR(waitpid(pid, &status, 0x4000), EINVAL);
}

static const struct expect_case cases[] = {
	CASE(many_threads_spawn_at_once),
	CASE(what_cannot_be_spawned_is_told),
	CASE(actions_and_attributes_are_carried_out),
	CASE_IN_MAIN(actions_and_attributes_are_carried_out),
	CASE(many_threads_vfork_at_once),
	CASE(only_the_thread_that_vforks_waits),
	CASE_IN_MAIN(only_the_thread_that_vforks_waits),
	CASE(many_threads_use_system_at_once),
	CASE(many_threads_use_popen_at_once),
	CASE(a_started_program_finds_only_what_it_was_left),
	CASE(signals_of_a_started_program_are_as_exec_has_them),
	CASE_IN_MAIN(signals_of_a_started_program_are_as_exec_has_them),
	CASE(each_thread_gets_the_child_it_waits_for),
	CASE(children_are_shared_among_threads_that_wait_for_any),
	CASE(a_stopped_child_is_told_and_continues),
};
EXPECT_MAIN(cases)
