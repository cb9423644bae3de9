/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/setid.c - the credentials of a process, which the kernel keeps per
 * thread.
 *
 * libc makes the call in every thread by a signal, and its handler notes in the
 * thread's descriptor that it has been. On a worker the thread pointer is a
 * coroutine's, so it would note it in the wrong one, and libc would ask for
 * ever. We do the same by ourselves, with nothing but system calls and one
 * word: each kernel thread of the process in turn is told to make the call, and
 * says so when it has.
 *
 *	U1  The caller goes first: when it may not, nothing has changed.
 *	U2  Threads are listed again until a list has nobody new. A thread that
 *	    has been told makes only threads that need not be.
 *	U3  One command at a time (setid.lock); `to` is the one who shall obey,
 *	    swapped to 0 by whoever does, or by us when that thread has ended.
 *	U4  If one may and another may not, nobody knows what the process may:
 *	    it ends, as under libc.
 *
 * The list is /proc/self/task. After a chroot there may be none (and a descriptor
 * kept for it would be a way out). So who goes there has the threads noted down
 * before, and then only the numbers that have been given out since are tried.
 * After a chroot that we did not see every number is tried that a thread can
 * have, once: four million, which takes seconds. */
#include "base/errno.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "base/sys.h"
#include "boot.h"
#include "fault/signal.h"
#include "hook/bigstack.h"
#include "hook/call.h"
#include "hook/fork.h"
#include "hook/real.h"
#include "hook/setid.h"
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LAST_TID	4194304
#define LOOK_AGAIN	50000000	/* ns, at a thread that does not answer */

static struct {
	struct lock lock;
	long nr, a, b, c;		/* under lock; constant while to != 0 */
	_Atomic uint32_t to;		/* a kernel thread's id */
	_Atomic uint32_t done;		/* futex */
	_Atomic long result;
} setid;

/* On every kernel thread that is kicked, for whatever reason. */
static void obey(void)
{
	uint32_t to = atomic_load_explicit(&setid.to, memory_order_acquire);

	if (!to || (int)to != sys_gettid() ||
	    !atomic_compare_exchange_strong_explicit(
		    &setid.to, &to, 0, memory_order_acq_rel,
		    memory_order_relaxed))
		return;
	atomic_store_explicit(&setid.result,
			      sys_call(setid.nr, setid.a, setid.b, setid.c),
			      memory_order_relaxed);
	/* release: the result before the word. */
	atomic_store_explicit(&setid.done, 1, memory_order_release);
	sys_futex_wake(&setid.done, 1);
}

/* libc tells the kernel of every thread's robust locks, and the kernel forgets
 * them when the thread has ended. */
static bool has_ended(int tid)
{
	void *head = NULL;
	size_t size;

	return sys_call(SYS_get_robust_list, tid, &head, &size) == 0 && !head;
}

/* A thread that will never answer: gone, or a first thread that has ended and
 * waits for the others. However long it is silent otherwise (it may wait for a
 * child of vfork), its answer is waited for: it would keep what all others have
 * given up. */
static bool is_gone(int tid)
{
	char path[64], buf[512], *p;

	if (sys_call(SYS_tgkill, sys_getpid(), tid, 0) != 0)
		return true;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	if (sys_read_file(path, buf, sizeof(buf)) <= 0)
		return tid == sys_getpid() && has_ended(tid);
	p = strrchr(buf, ')');
	return p && (p[2] == 'Z' || p[2] == 'X');
}

/* Has that thread make the call: what it returned, 0 if it is no more. */
static long command(int tid)
{
	uint32_t to = (uint32_t)tid;

	atomic_store_explicit(&setid.done, 0, memory_order_relaxed);
	/* release: who finds itself named finds the call. */
	atomic_store_explicit(&setid.to, to, memory_order_release);
	sys_call(SYS_tgkill, sys_getpid(), tid, SIG_KICK);
	while (!atomic_load_explicit(&setid.done, memory_order_acquire)) {
		sys_futex_wait(&setid.done, 0, sys_now() + LOOK_AGAIN);
		if (is_gone(tid) &&
		    atomic_compare_exchange_strong_explicit(
			    &setid.to, &to, 0, memory_order_acq_rel,
			    memory_order_relaxed))
			return 0;
		to = (uint32_t)tid;
	}
	return atomic_load_explicit(&setid.result, memory_order_relaxed);
}

/* A set of ids: one bit each, in memory that is there only where it is
 * touched. */
#define SET_BYTES (LAST_TID / 8 + 8)

static bool has(const uint64_t *set, int tid)
{
	return set[tid / 64] >> (tid % 64) & 1;
}

static void add(uint64_t *set, int tid)
{
	set[tid / 64] |= (uint64_t)1 << (tid % 64);
}

/* Those who have been told. Whether this one was new. */
static bool tell(uint64_t *told, int tid)
{
	long r;

	if (tid <= 0 || tid > LAST_TID || has(told, tid))
		return false;
	add(told, tid);
	r = command(tid);
	if (r < 0)
		cogo_throw("one thread has new credentials and another was "
			   "refused them (error %ld)", -r);
	return true;
}

struct entry {			/* as getdents64 writes it */
	uint64_t inode;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

/* What fn says of each thread, in all; -1 when there is no /proc. */
static int list(bool (*fn)(uint64_t *set, int tid), uint64_t *set)
{
	_Alignas(8) char buf[1024];
	int dir = (int)sys_call(SYS_openat, AT_FDCWD, "/proc/self/task",
				O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	int fresh = 0;
	long n;

	if (dir < 0)
		return -1;
	while ((n = sys_call(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
		for (long at = 0; at < n;) {
			const struct entry *e = (const void *)(buf + at);

			if (e->name[0] >= '1' && e->name[0] <= '9')
				fresh += fn(set, atoi(e->name));
			at += e->size;
		}
	sys_call(SYS_close, dir);
	return n == 0 ? fresh : -1;
}

/* Threads noted, or found by trying; under setid.lock. */
static struct {
	uint64_t *known;
	int process, up_to;
} found;

/* The kernel gives out numbers in order, and begins again at the end. A child
 * that sends no signal when it ends is given the next. */
static int newest_tid(void)
{
	long pid = sys_call(SYS_clone, 0, 0, 0, 0, 0);

	if (pid == 0)
		for (;;)
			sys_call(SYS_exit_group, 0);
	while (pid > 0 && sys_call(SYS_wait4, pid, NULL, __WCLONE, NULL) == -EINTR)
		;
	return (int)pid;
}

static void try(int from, int to)
{
	int pid = sys_getpid();

	for (int tid = from; tid <= to; tid++)
		if (sys_call(SYS_tgkill, pid, tid, 0) == 0)
			add(found.known, tid);
}

static bool find_known(void)
{
	if (!found.known)
		found.known = sys_map(SET_BYTES);
	return found.known;
}

static int tell_tried(uint64_t *told)
{
	int newest = newest_tid(), fresh = 0;

	if (!find_known())
		cogo_throw("no memory to give threads their credentials");
	if (found.process != sys_getpid() || newest <= 0) {
		try(1, LAST_TID);
	} else if (newest > found.up_to) {
		try(found.up_to + 1, newest);
	} else {
		try(found.up_to + 1, LAST_TID);
		try(1, newest);
	}
	found.process = newest > 0 ? sys_getpid() : 0;
	found.up_to = newest;
	for (int tid = 1; tid <= LAST_TID; tid++) {
		if (tid % 64 == 0 && !found.known[tid / 64])
			tid += 63;
		else if (has(found.known, tid))
			fresh += tell(told, tid);
	}
	return fresh;
}

static void tell_all(void)
{
	uint64_t *told = sys_map(SET_BYTES);
	int fresh;

	if (!told)
		cogo_throw("no memory to give threads their credentials");
	add(told, sys_gettid());
	do {
		fresh = list(tell, told);
		if (fresh < 0)
			fresh = tell_tried(told);
	} while (fresh);
	sys_unmap(told, SET_BYTES);
}

/* In every kernel thread of the process: what it returned to the caller. */
static long everywhere(long nr, long a, long b, long c)
{
	struct coro *me = self();
	long r;

	/* One thread, in the memory of many that are not its. */
	if (fork_vforked())
		return sys_call(nr, a, b, c);
	if (me)
		door_enter(me);
	lock(&setid.lock);
	signal_on_kick(obey);
	r = sys_call(nr, a, b, c);
	if (r >= 0) {
		setid.nr = nr;
		setid.a = a;
		setid.b = b;
		setid.c = c;
		tell_all();
	}
	unlock(&setid.lock);
	if (me)
		door_leave(me);
	return r;
}

static bool note(uint64_t *known, int tid)
{
	if (tid > 0 && tid <= LAST_TID)
		add(known, tid);
	return true;
}

HOOKED int chroot(const char *path)
{
	struct coro *me = self();
	int newest;

	if (fork_vforked())
		return REAL(chroot)(path);
	if (me)
		door_enter(me);
	lock(&setid.lock);
	/* Who is born after this is newer, or in the list. */
	newest = newest_tid();
	if (newest > 0 && find_known() && list(note, found.known) > 0) {
		found.process = sys_getpid();
		found.up_to = newest;
	}
	unlock(&setid.lock);
	if (me)
		door_leave(me);
	return REAL(chroot)(path);
}

void setid_fork_child(void)
{
	/* A thread of the parent's may have been about to obey; one of ours
	 * may have its number one day. */
	atomic_store_explicit(&setid.to, 0, memory_order_relaxed);
	/* One thread, and the newest. */
	if (found.process) {
		sys_call(SYS_madvise, found.known, SET_BYTES, MADV_DONTNEED);
		found.process = found.up_to = sys_getpid();
		add(found.known, found.process);
	}
}

/* libc's own while nothing of ours runs. */
#define EVERYWHERE(name, args, nr, a, b, c)				\
	(boot_started() || fork_vforked()				\
		? (int)gate_return(everywhere(				\
			nr, (long)(a), (long)(b), (long)(c)))		\
		: REAL(name) args)

HOOKED int setuid(uid_t uid)
{
	return EVERYWHERE(setuid, (uid), SYS_setuid, uid, 0, 0);
}

HOOKED int setgid(gid_t gid)
{
	return EVERYWHERE(setgid, (gid), SYS_setgid, gid, 0, 0);
}

HOOKED int setreuid(uid_t real, uid_t effective)
{
	return EVERYWHERE(setreuid, (real, effective), SYS_setreuid, real,
			  effective, 0);
}

HOOKED int setregid(gid_t real, gid_t effective)
{
	return EVERYWHERE(setregid, (real, effective), SYS_setregid, real,
			  effective, 0);
}

HOOKED int setresuid(uid_t real, uid_t effective, uid_t saved)
{
	return EVERYWHERE(setresuid, (real, effective, saved), SYS_setresuid,
			  real, effective, saved);
}

HOOKED int setresgid(gid_t real, gid_t effective, gid_t saved)
{
	return EVERYWHERE(setresgid, (real, effective, saved), SYS_setresgid,
			  real, effective, saved);
}

HOOKED int seteuid(uid_t uid)
{
	if (uid == (uid_t)-1)
		return (int)gate_return(-EINVAL);
	return EVERYWHERE(seteuid, (uid), SYS_setresuid, -1, uid, -1);
}

HOOKED int setegid(gid_t gid)
{
	if (gid == (gid_t)-1)
		return (int)gate_return(-EINVAL);
	return EVERYWHERE(setegid, (gid), SYS_setresgid, -1, gid, -1);
}

HOOKED int setgroups(size_t n, const gid_t *groups)
{
	return EVERYWHERE(setgroups, (n, groups), SYS_setgroups, n, groups, 0);
}

struct group_list {
	const char *user;
	gid_t group;
	gid_t *groups;
	int n;
};

static long get_groups(void *arg)
{
	struct group_list *l = arg;

	return getgrouplist(l->user, l->group, l->groups, &l->n);
}

/* The groups of a user, however many; -1 without memory. */
static int find_groups(struct group_list *l)
{
	struct coro *me = gate_coro();
	int room = 64;
	long r;

	for (;;) {
		l->groups = malloc((size_t)room * sizeof(gid_t));
		if (!l->groups)
			return -1;
		l->n = room;
		if (me)
			call_begin(me, WHY_LOOKUP);
		r = bigstack_call(get_groups, l);
		if (me)
			call_end(me);
		if (r >= 0 || l->n <= room)
			return 0;
		room = l->n;
		free(l->groups);
	}
}

/* libc's would set them by its own broadcast. */
HOOKED int initgroups(const char *user, gid_t group)
{
	struct group_list l = { user, group, NULL, 0 };
	int r, err;

	if (!boot_started() && !fork_vforked())
		return REAL(initgroups)(user, group);
	if (find_groups(&l))
		return -1;
	/* More than the kernel can keep: as many as it can. */
	do {
		r = setgroups((size_t)l.n, l.groups);
	} while (r == -1 && errno_get() == EINVAL && --l.n > 0);
	err = errno_get();
	free(l.groups);
	errno_set(err);
	return r;
}
