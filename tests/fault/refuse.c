/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* refuse.c - the kernel says no, once, or from then on, to a program that is
 * none the wiser.
 *
 *	refuse [options] [--] program [arguments]
 *
 *	--call NAME[,NAME]	the system calls in question
 *	--arg I:MASK:VALUE	only where argument I, masked, is VALUE (hex)
 *	--errno NUMBER		what they answer instead of being made
 *	--short			instead: half of the bytes that were asked for
 *	--nth N			the N-th alone; 0, as without: none, only counted
 *	--from N		the N-th and all after it
 *	--every K		each K-th
 *	--execs N		counting begins when the N-th program exec'd (1: the
 *				one named) has been loaded, and is about to run
 *	--report FILE		write there: calls, refused, the wait status
 *
 * A seccomp filter stops each of those calls and asks us. It sees the bare
 * instruction as well as libc's wrappers, in every thread and in every child,
 * and the count is one for all of them. Nothing else is slowed down, and
 * nobody is traced, so that gdb or an own filter still works in there. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#define SKIPPED 77

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "refuse does not know this CPU's number for seccomp"
#endif

static const struct {
	const char *name;
	long nr;
} known[] = {
#define CALL(name) { #name, SYS_##name }
	CALL(mmap), CALL(munmap), CALL(mprotect), CALL(madvise), CALL(mremap),
	CALL(brk), CALL(clone), CALL(clone3), CALL(epoll_create1),
	CALL(epoll_ctl), CALL(epoll_pwait), CALL(epoll_pwait2), CALL(eventfd2),
	CALL(futex), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(sigaltstack),
	CALL(preadv2), CALL(pwritev2), CALL(read), CALL(write), CALL(readv),
	CALL(writev), CALL(openat), CALL(fcntl), CALL(dup3), CALL(accept4),
	CALL(accept), CALL(connect), CALL(recvfrom), CALL(sendto),
	CALL(recvmsg), CALL(sendmsg), CALL(ppoll), CALL(pselect6),
	CALL(clock_nanosleep), CALL(wait4), CALL(waitid), CALL(prlimit64),
	CALL(sched_getaffinity), CALL(rseq), CALL(io_uring_setup),
	CALL(io_uring_enter),
	CALL(getsockopt), CALL(setsockopt), CALL(clock_gettime), CALL(pipe2),
	CALL(socket), CALL(tgkill), CALL(prctl), CALL(close), CALL(fstatfs),
#ifdef SYS_arch_prctl
	CALL(arch_prctl),
#endif
#ifdef SYS_epoll_wait
	CALL(epoll_wait),
#endif
#ifdef SYS_poll
	CALL(poll),
#endif
#ifdef SYS_fork
	CALL(fork), CALL(vfork),
#endif
};

static long calls[16];
static int ncalls;
static struct {
	int index;
	uint32_t mask, value;
} only = { .index = -1 };
static int error = EIO;
static int shorten;
static long nth, from, every, execs;
static const char *report_to;

/* Shared with the child until it execs: where the filter's descriptor is. */
static volatile int *listener;

static void die(const char *what)
{
	fprintf(stderr, "refuse: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void add_calls(char *names)
{
	for (char *name = strtok(names, ","); name; name = strtok(NULL, ",")) {
		size_t i = 0;

		while (i < sizeof(known) / sizeof(*known) &&
		       strcmp(known[i].name, name) != 0)
			i++;
		/* One that this CPU has under another name only. */
		if (i == sizeof(known) / sizeof(*known))
			continue;
		if (ncalls < 16)
			calls[ncalls++] = known[i].nr;
	}
	if (!ncalls) {
		fprintf(stderr, "skipped: no such system call here\n");
		exit(SKIPPED);
	}
}

/* In the child: from here on every one of the calls waits for our answer. */
static int install(void)
{
	struct sock_filter code[64];
	unsigned short n = 0;
	struct sock_fprog prog = { .filter = code };
	long fd;

#define DO(...) code[n++] = (struct sock_filter)__VA_ARGS__
	DO(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
	DO(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	DO(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	DO(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
	DO(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 1, 0));
	DO(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_set_robust_list, 0, 1));
	DO(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
	for (int i = 0; i < ncalls; i++) {
		unsigned char past = only.index >= 0 ? 4 : 1;

		DO(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, past));
		if (only.index >= 0) {
			DO(BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
				    (uint32_t)offsetof(struct seccomp_data, args) +
				    8 * (uint32_t)only.index));
			DO(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, only.mask));
			DO(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, only.value, 0, 2));
		}
		DO(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
		/* The accumulator may hold an argument by now. */
		DO(BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			    offsetof(struct seccomp_data, nr)));
	}
	DO(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
#undef DO
	prog.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		     SECCOMP_FILTER_FLAG_NEW_LISTENER |
			     SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &prog);
	if (fd < 0 && errno == EINVAL)
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			     SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	return (int)fd;
}

static long seen, refused, execs_seen;
static int counting;

/* What comes before is the loader's own, which does not stand much: it makes
 * the program's first thread with its libraries all mapped, and from there it
 * is a few steps to the first constructor. */
static int begins(const struct seccomp_notif *req)
{
	if (req->data.nr == SYS_execve)
		execs_seen++;
	else if (req->data.nr == SYS_set_robust_list && execs_seen >= execs)
		counting = 1;
	else
		return 0;
	return 1;
}

static int is_due(void)
{
	return (nth && seen == nth) || (from && seen >= from) ||
	       (every && seen % every == 0);
}

/* Half of what was asked for, done here on a copy of the descriptor: how many
 * bytes, or 0 when this call is none that may be cut. */
static long do_short(const struct seccomp_notif *req)
{
	static char bytes[1 << 16];
	pid_t pid = (pid_t)req->pid;
	const __u64 *a = req->data.args;
	int writes = req->data.nr == SYS_pwritev2 || req->data.nr == SYS_sendto ||
		     req->data.nr == SYS_write;
	int vectored = req->data.nr == SYS_pwritev2 || req->data.nr == SYS_preadv2;
	struct iovec theirs = { (void *)(uintptr_t)a[1], a[2] };
	struct iovec ours = { &theirs, sizeof(theirs) };
	struct iovec at = { (void *)(uintptr_t)a[1], sizeof(theirs) };
	int type = SOCK_STREAM, pidfd, fd;
	socklen_t len = sizeof(type);
	long r = 0;

	if (vectored && (a[2] == 0 || (long)a[3] != -1 ||
			 process_vm_readv(pid, &ours, 1, &at, 1, 0) < 0))
		return 0;
	if (theirs.iov_len < 2)
		return 0;
	theirs.iov_len = theirs.iov_len / 2 < sizeof(bytes) ? theirs.iov_len / 2
							     : sizeof(bytes);
	/* Of a thread that is not the first only newer kernels say. */
	pidfd = (int)syscall(SYS_pidfd_open, pid, O_EXCL);
	if (pidfd < 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return 0;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)a[0], 0);
	close(pidfd);
	if (fd < 0)
		return 0;
	ours = (struct iovec){ bytes, theirs.iov_len };
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
	if (type != SOCK_STREAM) {
		r = 0;
	} else if (writes) {
		if (process_vm_readv(pid, &ours, 1, &theirs, 1, 0) ==
		    (ssize_t)ours.iov_len)
			r = pwritev2(fd, &ours, 1, -1, RWF_NOWAIT);
	} else {
		r = preadv2(fd, &ours, 1, -1, RWF_NOWAIT);
		if (r > 0) {
			ours.iov_len = (size_t)r;
			process_vm_writev(pid, &ours, 1, &theirs, 1, 0);
		}
	}
	close(fd);
	return r > 0 ? r : 0;
}

static void answer(int fd, struct seccomp_notif *req,
		   struct seccomp_notif_resp *resp)
{
	int due = 0, counted;

	memset(req, 0, sizeof(*req));
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, req))
		return;
	memset(resp, 0, sizeof(*resp));
	resp->id = req->id;
	resp->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	counted = !begins(req) && counting;
	if (counted) {
		seen++;
		due = is_due();
	}
	if (due && shorten) {
		long r = do_short(req);

		if (r) {
			resp->flags = 0;
			resp->val = r;
		}
		due = r != 0;
	} else if (due) {
		resp->flags = 0;
		resp->error = -error;
	}
	/* ENOENT: a signal has taken it back, and it comes again. */
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, resp)) {
		seen -= counted;
	} else {
		refused += due;
	}
}

static void serve(int fd, int child)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
			       { .fd = child, .events = POLLIN } };
	struct seccomp_notif *req = calloc(1, 4096);
	struct seccomp_notif_resp *resp = calloc(1, 4096);

	if (!req || !resp)
		die("calloc");
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			die("poll");
		if (p[0].revents & POLLIN)
			answer(fd, req, resp);
		else if (p[0].revents || p[1].revents)
			break;
	}
	free(req);
	free(resp);
}

static void write_report(int status)
{
	FILE *f;

	if (!report_to)
		return;
	f = fopen(report_to, "w");
	if (!f)
		die(report_to);
	fprintf(f, "%ld %ld %d\n", seen, refused, status);
	fclose(f);
}

static char **read_options(char **at)
{
	for (; *at && strncmp(*at, "--", 2) == 0; at++) {
		const char *option = *at + 2;

		if (!*option)
			return at + 1;
		if (strcmp(option, "short") == 0) {
			shorten = 1;
			continue;
		}
		if (!*++at)
			break;
		if (strcmp(option, "call") == 0)
			add_calls(*at);
		else if (strcmp(option, "arg") == 0)
			sscanf(*at, "%d:%x:%x", &only.index, &only.mask,
			       &only.value);
		else if (strcmp(option, "errno") == 0)
			error = atoi(*at);
		else if (strcmp(option, "nth") == 0)
			nth = atol(*at);
		else if (strcmp(option, "from") == 0)
			from = atol(*at);
		else if (strcmp(option, "every") == 0)
			every = atol(*at);
		else if (strcmp(option, "execs") == 0)
			execs = atol(*at);
		else if (strcmp(option, "report") == 0)
			report_to = *at;
		else
			break;
	}
	return at;
}

int main(int argc, char **argv)
{
	char **program = read_options(argv + 1);
	struct timespec nap = { 0, 100000 };
	int status, pidfd;
	pid_t child;

	if (argc < 2 || !*program || strncmp(*program, "--", 2) == 0) {
		fprintf(stderr, "refuse: which program, or which option is "
				"that? refuse.c begins with them\n");
		return 2;
	}
	listener = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (listener == MAP_FAILED)
		die("mmap");
	*listener = -1;
	/* With our descriptors, until it execs: so its filter's is ours. */
	child = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (child < 0)
		die("clone");
	if (child == 0) {
		int fd = install();

		*listener = fd < 0 ? -1 - errno - 1 : fd;
		if (fd < 0)
			_exit(SKIPPED);
		execvp(*program, program);
		_exit(127);
	}
	while (*listener == -1)
		nanosleep(&nap, NULL);
	if (*listener < 0) {
		fprintf(stderr, "skipped: no seccomp notification here: %s\n",
			strerror(-2 - *listener));
		return SKIPPED;
	}
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (pidfd < 0)
		die("pidfd_open");
	serve(*listener, pidfd);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	write_report(status);
	if (WIFSIGNALED(status)) {
		const struct rlimit none = { 0, 0 };

		/* One core is enough: the program's. */
		setrlimit(RLIMIT_CORE, &none);
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return WEXITSTATUS(status);
}
