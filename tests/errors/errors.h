/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* errors.h - what the tests of errors share.
 *
 * The headers say which errors a function returns. Each of those is provoked here,
 * by a program as a user writes it, in earnest: nothing of the library is replaced,
 * and it is the kernel, or the program's own malloc, that refuses.
 *
 *	FAILS(EPIPE, cogo_send, ch, &x, 0)	calls cogo_send(ch, &x, 0), which must
 *						return -EPIPE
 *	SAYS(EBADF, cogo_read, -1, &c, 1, 0)	the same, where it is the system call's
 *						error and no header lists those
 *	WAS(EPIPE, cogo_send, r)		the same of r, which that has returned
 *	IS_NULL(cogo_chan_new, 4, 1)		must return NULL
 *
 * Each also says on stdout what it has seen, "provoked cogo_send EPIPE", and
 * test_errors.py compares that with what the headers say: nothing of it may be
 * missing, and nothing else may come. */
#ifndef TESTS_ERRORS_ERRORS_H
#define TESTS_ERRORS_ERRORS_H

#include "../go/native.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* What an error number is called, or the number. */
static inline const char *errors_name(long long r, char *room, size_t size)
{
	const char *name = r < 0 && r > -4096 ? strerrorname_np((int)-r) : NULL;

	if (name)
		snprintf(room, size, "-%s", name);
	else
		snprintf(room, size, "%lld", r);
	return room;
}

static inline void errors_tell(const char *call, const char *error,
			       const char *whose)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "provoked %s %s%s\n", call, error,
			 whose);
	/* Whoever is cancelled might not write to a file. */
	int before = cogo_cancel_disable();

	/* Past stdio, which might want memory. */
	check_eq(write(1, line, (size_t)n), n);
	cogo_cancel_restore(before);
}

static inline void errors_check(long long r, int error, const char *call,
				const char *name, const char *whose,
				const char *file, int line)
{
	char say[200], room[32];

	if (r != -error) {
		snprintf(say, sizeof(say), "%s returns -%s; it returns %s", call,
			 name, errors_name(r, room, sizeof(room)));
		unit_fail(file, line, say);
	}
	errors_tell(call, name, whose);
}

static inline void errors_null(const void *p, const char *call, const char *file,
			       int line)
{
	char say[200];

	if (p) {
		snprintf(say, sizeof(say), "%s returns NULL; it returns %p", call, p);
		unit_fail(file, line, say);
	}
	errors_tell(call, "NULL", "");
}

#define FAILS(error, call, ...)                                                \
	errors_check(call(__VA_ARGS__), error, #call, #error, "", __FILE__,    \
		     __LINE__)
#define SAYS(error, call, ...)                                                 \
	errors_check(call(__VA_ARGS__), error, #call, #error, " system",       \
		     __FILE__, __LINE__)
#define WAS(error, call, r)                                                    \
	errors_check(r, error, #call, #error, "", __FILE__, __LINE__)
#define IS_NULL(call, ...)                                                     \
	errors_null(call(__VA_ARGS__), #call, __FILE__, __LINE__)

/* A moment that comes soon: a wait until then is one, if a short one. No verdict
 * hangs on how long it takes. */
#define SOON cogo_in(COGO_MS)

/* ---- memory ---- */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);

static atomic_bool errors_refuses;

/* The library's allocator too. */
__attribute__((visibility("default"))) void *malloc(size_t n)
{
	if (!errors_refuses)
		return __libc_malloc(n);
	errno = ENOMEM;
	return NULL;
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	if (!errors_refuses)
		return __libc_calloc(n, size);
	errno = ENOMEM;
	return NULL;
}

/* From here on there is none, neither from malloc nor from the kernel; until there
 * is again. What is there already stays. */
static inline void memory_ends(void)
{
	struct rlimit lim;

	check_eq(getrlimit(RLIMIT_AS, &lim), 0);
	lim.rlim_cur = 0;
	check_eq(setrlimit(RLIMIT_AS, &lim), 0);
	errors_refuses = true;
}

static inline void memory_is_back(void)
{
	struct rlimit lim;

	errors_refuses = false;
	check_eq(getrlimit(RLIMIT_AS, &lim), 0);
	lim.rlim_cur = lim.rlim_max;
	check_eq(setrlimit(RLIMIT_AS, &lim), 0);
}

/* ---- a thread that nobody knows ---- */

#define STRANGERS 200

struct errors_strangers {
	int come[2], came[2], leave[2];
	void (*fn)(void);
};

static inline void *errors_stranger(void *arg)
{
	struct errors_strangers *s = arg;
	char c;
	int r;

	check_eq(read(s->come[0], &c, 1), 1);
	/* It has to be known for that, and for nothing more. */
	r = cogo_sleep(0);
	check(r == 0 || r == -ENOMEM);
	if (r)
		s->fn();
	c = r != 0;
	check_eq(write(s->came[1], &c, 1), 1);
	check_eq(read(s->leave[0], &c, 1), 0);
	return NULL;
}

/* Calls fn on a thread that has never called the library, when there is no memory
 * to know it by. That memory is fetched for many threads at once; so others come
 * first, until what there was is used up. */
static inline void as_stranger(void (*fn)(void))
{
	struct errors_strangers s = { .fn = fn };
	pthread_t t[STRANGERS];
	pthread_attr_t small;
	char c = 0;

	check_eq(pipe(s.come), 0);
	check_eq(pipe(s.came), 0);
	check_eq(pipe(s.leave), 0);
	check_eq(pthread_attr_init(&small), 0);
	check_eq(pthread_attr_setstacksize(&small, 128 << 10), 0);
	for (int i = 0; i < STRANGERS; i++)
		check_eq(pthread_create(&t[i], &small, errors_stranger, &s), 0);
	memory_ends();
	for (int i = 0; i < STRANGERS && !c; i++) {
		check_eq(write(s.come[1], "x", 1), 1);
		check_eq(read(s.came[0], &c, 1), 1);
	}
	memory_is_back();
	check(c);
	/* Those that have not come yet come now. */
	s.fn = NULL;
	for (int i = 0; i < STRANGERS; i++)
		check_eq(write(s.come[1], "x", 1), 1);
	check_eq(close(s.leave[1]), 0);
	for (int i = 0; i < STRANGERS; i++)
		check_eq(pthread_join(t[i], NULL), 0);
}

/* ---- one that is to end ---- */

static inline void errors_canceled(void *arg)
{
	check_eq(cogo_cancel(cogo_self(), ECANCELED), 0);
	native_call(arg);
}

/* Calls fn on a coroutine that has been cancelled. */
static inline void as_canceled(void (*fn)(void))
{
	struct native_call c = { fn };

	check_eq(outcome(NULL, errors_canceled, &c), COGO_RETURNED);
}

/* ---- the kernel's refusals ---- */

#define ANY_ARGUMENT (-1)

/* From here on the kernel answers that system call with an error, where the low
 * half of an argument has that value. For good: it is called in a process that has
 * nothing else to do. */
static inline void kernel_refuses(long nr, int argument, uint32_t value, int error)
{
	unsigned at = argument < 0 ? 0 : (unsigned)argument;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 (uint32_t)offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 (uint32_t)offsetof(struct seccomp_data, args) + 8 * at),
		BPF_JUMP(BPF_JMP | (argument < 0 ? BPF_JGE : BPF_JEQ) | BPF_K,
			 argument < 0 ? 0 : value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	check_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	/* All threads of the process, the runtime's among them. */
	check_eq(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			 SECCOMP_FILTER_FLAG_TSYNC, &prog), 0);
}

/* As at its limit of mappings: there is room, but not for one more guard. */
static inline void kernel_has_no_more_guards(void)
{
	const uint32_t guard_install = 102;	/* MADV_GUARD_INSTALL */

	kernel_refuses(SYS_madvise, 2, guard_install, ENOMEM);
	kernel_refuses(SYS_mprotect, 2, 0 /* PROT_NONE */, ENOMEM);
}

/* ---- coroutines ---- */

static inline void nothing(void *arg)
{
	(void)arg;
}

static inline void parks(void *arg)
{
	(void)arg;
	cogo_park(COGO_FOREVER);
}

/* A size that no stack has had before, so that none is left over. */
#define OWN_STACK (100 << 10)

/* The runtime is up, and stacks of the usual size were never made. */
static inline void start_runtime(void)
{
	struct cogo_attr attr = { .stack = 64 << 10 };

	check_eq(outcome(&attr, nothing, NULL), COGO_RETURNED);
}

#endif
