/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/sys.c - the runtime's door to the kernel. */
#include "base/sys.h"
#include "base/vdso.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <time.h>

#define NSEC 1000000000

cogo_time sys_now(void)
{
	struct timespec ts;

	vdso_clock(CLOCK_MONOTONIC, &ts);
	return (cogo_time)ts.tv_sec * NSEC + ts.tv_nsec;
}

cogo_time sys_in(cogo_time span)
{
	cogo_time now = sys_now(), grain;

	if (span <= 0)
		return now;
	if (span > COGO_FOREVER - SYS_GRAIN - now)
		return COGO_FOREVER;
	grain = span / 1024 < SYS_GRAIN ? span / 1024 : SYS_GRAIN;
	/* A power of two, and at least 1. */
	grain = (cogo_time)1 << (63 - __builtin_clzll((uint64_t)grain | 1));
	return (now + span + grain - 1) & -grain;
}

struct timespec *sys_left(cogo_time deadline, struct timespec *room)
{
	cogo_time left;

	if (deadline == COGO_FOREVER)
		return NULL;
	left = deadline - sys_now();
	if (left < 0)
		left = 0;
	*room = (struct timespec){ left / NSEC, left % NSEC };
	return room;
}

int sys_futex_wait(_Atomic uint32_t *word, uint32_t value, cogo_time deadline)
{
	struct timespec ts, *until = NULL;

	if (deadline != COGO_FOREVER) {
		if (deadline < 0)
			deadline = 0;
		ts.tv_sec = deadline / NSEC;
		ts.tv_nsec = deadline % NSEC;
		until = &ts;
	}
	/* The BITSET form is the one whose timeout is absolute. */
	return (int)sys_call(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value,
			     until, NULL, FUTEX_BITSET_MATCH_ANY);
}

int sys_futex_wake(_Atomic uint32_t *word, int n)
{
	return (int)sys_call(SYS_futex, word, FUTEX_WAKE_PRIVATE, n);
}

void *sys_map(size_t size)
{
	long p = sys_call(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p < 0 && p > -4096 ? NULL : (void *)p;
}

void sys_unmap(void *mem, size_t size)
{
	sys_call(SYS_munmap, mem, size);
}

int sys_gettid(void)
{
	return (int)sys_call(SYS_gettid);
}

int sys_getpid(void)
{
	return (int)sys_call(SYS_getpid);
}

long sys_poll_now(struct pollfd *fds, unsigned n)
{
	struct timespec zero;
	long r;

	do {
		zero = (struct timespec){ 0, 0 };
		r = sys_call(SYS_ppoll, fds, n, &zero, NULL, 8);
	} while (r == -EINTR);
	return r;
}

void sys_write_all(int fd, const char *text, size_t n)
{
	while (n) {
		long r = sys_call(SYS_write, fd, text, n);

		if (r == -EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };
			struct timespec second = { .tv_sec = 1 };

			/* A reader that is gone for a second is gone. */
			if (sys_call(SYS_ppoll, &p, 1, &second, NULL, 8) <= 0)
				return;
			continue;
		}
		if (r == -EINTR)
			continue;
		if (r <= 0)
			return;
		text += r;
		n -= (size_t)r;
	}
}

long sys_read_file(const char *path, char *buf, size_t size)
{
	int fd = (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	size_t have = 0;
	long r = 0;

	if (fd < 0)
		return fd;
	while (have < size - 1) {
		r = sys_call(SYS_read, fd, buf + have, size - 1 - have);
		if (r <= 0)
			break;
		have += (size_t)r;
	}
	sys_call(SYS_close, fd);
	buf[have] = 0;
	return r < 0 ? r : (long)have;
}
