/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* process.c - operations that wait for a child, another process's lock, a
 * message or a signal. */
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

#define CHILD_CAP 120 /* seconds; a child that nobody tells to end */

static int in, out;
static pid_t child;
static char path[64];

static bool tell(void)
{
	MUST(write(out, "told\n", 5) == 5);
	return true;
}

static bool a_pipe(void)
{
	int fd[2];

	MUST(pipe(fd) == 0);
	in = fd[0];
	out = fd[1];
	return true;
}

/* ---- children ---- */

/* One that ends with status 7 when it is told to. */
static bool a_child(void)
{
	char c;

	MUST(a_pipe());
	MUST((child = fork()) >= 0);
	if (child == 0) {
		alarm(CHILD_CAP);
		_exit(read(in, &c, 1) == 1 ? 7 : 1);
	}
	return true;
}

static bool by_waitpid(void)
{
	int status = -1;

	MUST_QUIETLY(waitpid(child, &status, 0) == child);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	errno = 0;
	MUST(waitpid(child, &status, 0) == -1 && errno == ECHILD);
	return true;
}

static bool by_wait4(void)
{
	struct rusage usage;
	int status = -1;

	memset(&usage, 0xff, sizeof(usage));
	MUST_QUIETLY(wait4(-1, &status, 0, &usage) == child);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	MUST(usage.ru_utime.tv_sec >= 0 && usage.ru_maxrss > 0);
	return true;
}

/* A shell that waits for a line on our pipe. */
static bool by_system(void)
{
	char command[128];
	int status;

	snprintf(command, sizeof(command),
		 "read word </dev/fd/%d; test \"$word\" = told && exit 7", in);
	status = system(command);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	return true;
}

static bool by_popen(void)
{
	char command[128];
	char line[64];
	FILE *from;
	int status;

	snprintf(command, sizeof(command),
		 "read word </dev/fd/%d; echo was $word; exit 3", in);
	MUST((from = popen(command, "r")) != NULL);
	MUST(fgets(line, sizeof(line), from) == line);
	MUST(strcmp(line, "was told\n") == 0);
	status = pclose(from);
	MUST(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	return true;
}

/* ---- file locks ---- */

static bool a_file(void)
{
	snprintf(path, sizeof(path), "/tmp/probe.XXXXXX");
	MUST((in = mkstemp(path)) >= 0);
	return true;
}

/* Two opened files of one name: flock is between them. */
static bool a_flocked_file(void)
{
	MUST(a_file());
	MUST((out = open(path, O_RDWR)) >= 0);
	MUST(unlink(path) == 0);
	MUST(flock(out, LOCK_EX) == 0);
	return true;
}

static bool by_flock(void)
{
	errno = 0;
	MUST(flock(in, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
	MUST_QUIETLY(flock(in, LOCK_EX) == 0);
	errno = 0;
	MUST(flock(out, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK);
	return true;
}

static bool unflock(void)
{
	MUST(flock(out, LOCK_UN) == 0);
	return true;
}

/* A record lock is its process's, so a child holds it. */
static int file;

static bool a_locked_file(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int locked[2];
	char c;

	MUST(a_file());
	file = in;
	MUST(unlink(path) == 0);
	MUST(a_pipe());
	MUST(pipe(locked) == 0);
	MUST((child = fork()) >= 0);
	if (child == 0) {
		alarm(CHILD_CAP);
		if (fcntl(file, F_SETLK, &whole) == 0 &&
		    write(locked[1], "x", 1) == 1 && read(in, &c, 1) == 1)
			_exit(0);
		_exit(1);
	}
	MUST(read(locked[0], &c, 1) == 1);
	return true;
}

static bool by_setlkw(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct flock asked = whole;

	MUST(fcntl(file, F_GETLK, &asked) == 0);
	MUST(asked.l_type == F_WRLCK && asked.l_pid == child);
	MUST_QUIETLY(fcntl(file, F_SETLKW, &whole) == 0);
	return true;
}

/* ---- messages ---- */

static bool a_fifo(void)
{
	snprintf(path, sizeof(path), "/tmp/probe.%d.fifo", (int)getpid());
	unlink(path);
	MUST(mkfifo(path, 0600) == 0);
	return true;
}

static bool by_open_fifo(void)
{
	char c;

	MUST_QUIETLY((in = open(path, O_RDONLY)) >= 0);
	MUST((fcntl(in, F_GETFL) & (O_ACCMODE | O_NONBLOCK)) == O_RDONLY);
	MUST(read(in, &c, 1) == 1 && c == 'f');
	return true;
}

static bool open_other_end(void)
{
	MUST((out = open(path, O_WRONLY)) >= 0);
	MUST(unlink(path) == 0);
	MUST(write(out, "f", 1) == 1);
	return true;
}

static mqd_t queue;

static bool a_queue(void)
{
	struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 64};

	snprintf(path, sizeof(path), "/probe.%d", (int)getpid());
	queue = mq_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	MUST(queue != (mqd_t)-1);
	MUST(mq_unlink(path) == 0);
	return true;
}

static bool by_mq_receive(void)
{
	unsigned int priority = 0;
	char got[64];

	MUST_QUIETLY(mq_receive(queue, got, sizeof(got), &priority) == 5);
	MUST(memcmp(got, "hello", 5) == 0 && priority == 9);
	return true;
}

static bool mq_put(void)
{
	MUST(mq_send(queue, "hello", 5, 9) == 0);
	return true;
}

struct letter {
	long type;
	char text[16];
};

static bool a_letter_box(void)
{
	MUST((in = msgget(IPC_PRIVATE, 0600)) >= 0);
	return true;
}

static bool by_msgrcv(void)
{
	struct letter letter = {0, ""};
	ssize_t n;

	errno = 4711;
	n = msgrcv(in, &letter, sizeof(letter.text), 5, 0);
	msgctl(in, IPC_RMID, NULL);
	MUST(n == 6 && letter.type == 5 && errno == 4711);
	MUST(strcmp(letter.text, "hello") == 0);
	return true;
}

/* The first letter is not the one that is waited for. */
static bool post_letters(void)
{
	struct letter other = {4, "other"}, hello = {5, "hello"};

	MUST(msgsnd(in, &other, 6, 0) == 0);
	probe_nap_ms(10);
	MUST(msgsnd(in, &hello, 6, 0) == 0);
	return true;
}

static bool a_semaphore(void)
{
	MUST((in = semget(IPC_PRIVATE, 1, 0600)) >= 0);
	MUST(semctl(in, 0, SETVAL, 0) == 0);
	return true;
}

static bool by_semop(void)
{
	struct sembuf take = {0, -1, 0};

	MUST_QUIETLY(semop(in, &take, 1) == 0);
	return true;
}

static bool by_semtimedop(void)
{
	struct timespec long_enough = {100, 0};
	struct sembuf take = {0, -1, 0};

	MUST_QUIETLY(semtimedop(in, &take, 1, &long_enough) == 0);
	return true;
}

static bool give_semaphore(void)
{
	struct sembuf give = {0, 1, 0};

	MUST(semop(in, &give, 1) == 0);
	/* Once it is taken, so that nothing of it is left behind. */
	while (semctl(in, 0, GETVAL) != 0)
		probe_nap_ms(1);
	MUST(semctl(in, 0, IPC_RMID) == 0);
	return true;
}

/* ---- signals ---- */

static sigset_t wanted;

static bool usr1_blocked(void)
{
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	MUST(pthread_sigmask(SIG_BLOCK, &wanted, NULL) == 0);
	return true;
}

static bool a_signalfd(void)
{
	MUST(usr1_blocked());
	MUST((in = signalfd(-1, &wanted, SFD_CLOEXEC)) >= 0);
	return true;
}

static bool by_sigwait(void)
{
	int got = 0;

	MUST_QUIETLY(sigwait(&wanted, &got) == 0);
	MUST(got == SIGUSR1);
	return true;
}

static bool by_sigtimedwait(void)
{
	struct timespec long_enough = {100, 0};

	MUST_QUIETLY(sigtimedwait(&wanted, NULL, &long_enough) == SIGUSR1);
	return true;
}

static bool by_signalfd(void)
{
	struct signalfd_siginfo info;

	MUST_QUIETLY(read(in, &info, sizeof(info)) == sizeof(info));
	MUST(info.ssi_signo == SIGUSR1 && info.ssi_pid == (uint32_t)getpid());
	return true;
}

static bool signal_process(void)
{
	MUST(kill(getpid(), SIGUSR1) == 0);
	return true;
}

const struct operation process_operations[] = {
	{"waitpid", a_child, NULL, by_waitpid, tell},
	{"wait4", a_child, NULL, by_wait4, tell},
	{"system", a_pipe, NULL, by_system, tell},
	{"popen", a_pipe, NULL, by_popen, tell},
	{"flock", a_flocked_file, NULL, by_flock, unflock},
	{"setlkw", a_locked_file, NULL, by_setlkw, tell},
	{"open_fifo", a_fifo, NULL, by_open_fifo, open_other_end},
	{"mq_receive", a_queue, NULL, by_mq_receive, mq_put},
	{"msgrcv", a_letter_box, NULL, by_msgrcv, post_letters},
	{"semop", a_semaphore, NULL, by_semop, give_semaphore},
	{"semtimedop", a_semaphore, NULL, by_semtimedop, give_semaphore},
	{"sigtimedwait", usr1_blocked, NULL, by_sigtimedwait, signal_process},
	{"sigwait", usr1_blocked, NULL, by_sigwait, signal_process},
	{"signalfd", a_signalfd, NULL, by_signalfd, signal_process},
	{0},
};
