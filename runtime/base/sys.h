/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/sys.h - the runtime's door to the kernel.
 *
 * libc's names may be ours (hook/), so the runtime never uses them to enter
 * the kernel. All of these return a result or -errno and leave errno alone;
 * all may be called from any thread, on any stack, in a signal handler and in
 * a vfork child. */
#ifndef COGO_BASE_SYS_H
#define COGO_BASE_SYS_H

#include "arch/syscall.h"
#include "base/compiler.h"
#include <stdbool.h>
#include <sys/syscall.h>

/* sys_call(SYS_x, a, b, …): up to six arguments of any integer or pointer
 * type. */
#define sys_call(...) SYS_PICK_(__VA_ARGS__, SYS6_, SYS5_, SYS4_, SYS3_, SYS2_, \
				SYS1_, SYS0_)(__VA_ARGS__)
#define SYS_PICK_(nr, a, b, c, d, e, f, name, ...) name
#define SYS0_(n) arch_syscall(n, 0, 0, 0, 0, 0, 0)
#define SYS1_(n, a) arch_syscall(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS2_(n, a, b) arch_syscall(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3_(n, a, b, c) arch_syscall(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4_(n, a, b, c, d) \
	arch_syscall(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5_(n, a, b, c, d, e) \
	arch_syscall(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6_(n, a, b, c, d, e, f) \
	arch_syscall(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), \
		     (long)(f))

/* CLOCK_MONOTONIC in nanoseconds, through the vDSO. */
cogo_time sys_now(void);

/* The moment that is span away, or up to a thousandth of it later, SYS_GRAIN at most.
 * Moments near each other become the same one: those who wait for them are woken
 * together, and a processor that sleeps is not woken for each. The kernel is about
 * as late where it polls, and for the same reason. Now, for a span that is not
 * positive; COGO_FOREVER for one too long to count. */
#define SYS_GRAIN (1 << 19)
cogo_time sys_in(cogo_time span);

/* What is left until deadline, as the kernel takes it: in *room, or NULL for
 * ever. None is left of one that is over. */
struct timespec;
struct timespec *sys_left(cogo_time deadline, struct timespec *room);

/* What is so at this moment, as poll with no time at all; but a signal that
 * comes just then is no answer: the kernel breaks off even a look, with EINTR,
 * and whoever only looked would take it for a handler that ended a wait, or for
 * readiness. Its handler has run, or has been put off, and the look is
 * repeated. */
struct pollfd;
long sys_poll_now(struct pollfd *fds, unsigned n);

/* Sleeps while *word == value, until deadline. 0 when woken (or for no
 * reason), -EAGAIN when *word differed, -ETIMEDOUT, -EINTR. */
int sys_futex_wait(_Atomic uint32_t *word, uint32_t value, cogo_time deadline);
/* Wakes up to n sleepers; how many there were. */
int sys_futex_wake(_Atomic uint32_t *word, int n);

/* Anonymous memory, zeroed, not reserved; NULL when there is none. */
void *sys_map(size_t size);
void sys_unmap(void *mem, size_t size);

int sys_gettid(void);
int sys_getpid(void);

/* The whole of it, whatever a signal or a full pipe says; used for reports. */
void sys_write_all(int fd, const char *text, size_t n);

/* Reads a small file whole into buf and ends it with a zero byte; how many
 * bytes, or -errno. */
long sys_read_file(const char *path, char *buf, size_t size);

#endif
