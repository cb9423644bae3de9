/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/fdtab.c - what we have learnt of descriptors.
 *
 * One byte per number, and an epoch: a fork makes every entry older than now,
 * and what is older than now is not known. */
#include "hook/fdtab.h"
#include "base/lock.h"
#include "base/sys.h"
#include "event/poller.h"
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/vfs.h>

#define CHUNK	4096
#define CHUNKS	1024

enum {
	OURS = 1, NONBLOCKING = 2, SOCKET = 4,
	NO_RCVTIMEO = 8, NO_SNDTIMEO = 16,	/* known to be none */
	KIND_KNOWN = 32, TCP = 64,
	/* Without OURS: */
	FROM_MEMORY = 128, TO_MEMORY = 256, ON_DISK = 512, SOURCE_KNOWN = 1024,
	/* With it: */
	SIGNALS = 2048,
	EPOCH_SHIFT = 12, EPOCH_MASK = 0xfffff,
};

static _Atomic(_Atomic uint32_t *) chunks[CHUNKS];
static struct lock chunks_lock;
static _Atomic uint32_t epoch;
static _Atomic bool apart;
static _Atomic bool low_water;	/* somebody has set one, once */

static _Atomic uint32_t *find(int fd)
{
	_Atomic uint32_t *c;

	if ((unsigned)fd >= CHUNK * CHUNKS)
		return NULL;
	c = atomic_load_explicit(&chunks[fd / CHUNK], memory_order_acquire);
	return c ? &c[fd % CHUNK] : NULL;
}

/* The flags, 0 when the entry is of another epoch. */
static uint32_t get(int fd)
{
	_Atomic uint32_t *e = find(fd);
	uint32_t v = e ? atomic_load_explicit(e, memory_order_relaxed) : 0;

	if (v >> EPOCH_SHIFT !=
		    (atomic_load_explicit(&epoch, memory_order_relaxed) & EPOCH_MASK) ||
	    atomic_load_explicit(&apart, memory_order_relaxed))
		return 0;
	return v & ((1 << EPOCH_SHIFT) - 1);
}

static void put(int fd, uint32_t flags)
{
	_Atomic uint32_t *e = find(fd);

	if (e)
		atomic_store_explicit(
			e, flags | atomic_load_explicit(
				&epoch, memory_order_relaxed) << EPOCH_SHIFT,
			memory_order_relaxed);
}

static void make_room(int fd)
{
	if (!find(fd)) {
		_Atomic(_Atomic uint32_t *) *slot = &chunks[fd / CHUNK];

		lock(&chunks_lock);
		if (!atomic_load_explicit(slot, memory_order_relaxed))
			atomic_store_explicit(
				slot, sys_map(CHUNK * sizeof(uint32_t)),
				memory_order_release);
		unlock(&chunks_lock);
	}
}

void fdtab_born(int fd, bool nonblocking, bool socket)
{
	if (fd < 0 || (unsigned)fd >= CHUNK * CHUNKS)
		return;
	make_room(fd);
	put(fd, OURS | (nonblocking ? NONBLOCKING : 0) | (socket ? SOCKET : 0));
}

void fdtab_gone(int fd)
{
	put(fd, 0);
}

void fdtab_shared(int fd)
{
	put(fd, 0);
}

void fdtab_forked(void)
{
	atomic_fetch_add_explicit(&epoch, 1, memory_order_relaxed);
}

void fdtab_apart(void)
{
	atomic_store_explicit(&apart, true, memory_order_relaxed);
}

bool fdtab_ours(int fd)
{
	return get(fd) & OURS;
}

bool fdtab_signals(int fd)
{
	return get(fd) & SIGNALS;
}

void fdtab_tells_signals(int fd)
{
	uint32_t f = get(fd);

	if (f & OURS)
		put(fd, f | SIGNALS);
}

bool fdtab_socket(int fd)
{
	return get(fd) & SOCKET;
}

bool fdtab_tcp(int fd)
{
	uint32_t f = get(fd);
	unsigned protocol = 0, len = sizeof(protocol);

	if (!(f & SOCKET))
		return false;
	if (!(f & KIND_KNOWN)) {
		sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol,
			 &len);
		f |= KIND_KNOWN | (protocol == IPPROTO_TCP ? TCP : 0);
		put(fd, f);
	}
	return f & TCP;
}

/* null, zero, full, urandom: a big read of them is cut short for whoever does not
 * want to wait, though nobody waits. */
static bool endless(dev_t device)
{
	return major(device) == 1 && (minor(device) == 3 || minor(device) == 5 ||
				      minor(device) == 7 || minor(device) == 9);
}

static COLD uint32_t look_for_source(int fd)
{
	uint32_t f = SOURCE_KNOWN;
	struct stat st;

	if (fd < 0 || sys_call(SYS_fstat, fd, &st) != 0)
		return 0;
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		f |= ON_DISK;
	else if (S_ISCHR(st.st_mode) && endless(st.st_rdev))
		f |= FROM_MEMORY;
	if ((unsigned)fd >= CHUNK * CHUNKS)
		return f;
	make_room(fd);
	put(fd, f |= get(fd));
	return f;
}

enum fdtab_source fdtab_source(int fd)
{
	uint32_t f = get(fd);

	/* What we know to have made is a socket, a pipe or the like. */
	if (unlikely(!(f & (OURS | SOURCE_KNOWN))))
		f = look_for_source(fd);
	if (f & FROM_MEMORY)
		return SOURCE_MEMORY;
	return f & ON_DISK ? SOURCE_DISK : SOURCE_WAITS;
}

bool fdtab_to_memory(int fd)
{
	return get(fd) & TO_MEMORY;
}

void fdtab_look_for_memory(int fd, int dir)
{
	struct stat st;
	struct statfs fs;
	long flags;

	if (fd < 0 || (unsigned)fd >= CHUNK * CHUNKS || fdtab_ours(fd) ||
	    sys_call(SYS_fstat, fd, &st) != 0 || !S_ISREG(st.st_mode))
		return;
	if (dir == POLLER_IN) {
		if (sys_call(SYS_fstatfs, fd, &fs) != 0 ||
		    (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC))
			return;
	} else {
		flags = sys_call(SYS_fcntl, fd, F_GETFL);
		if (flags < 0 || (flags & (O_SYNC | O_DSYNC | O_DIRECT)))
			return;
	}
	make_room(fd);
	put(fd, get(fd) | (dir == POLLER_IN ? FROM_MEMORY : TO_MEMORY));
}

bool fdtab_nonblocking(int fd)
{
	uint32_t f = get(fd);
	long flags;

	if (f & OURS)
		return f & NONBLOCKING;
	flags = sys_call(SYS_fcntl, fd, F_GETFL);
	return flags >= 0 && (flags & O_NONBLOCK);
}

void fdtab_set_nonblocking(int fd, bool on)
{
	uint32_t f = get(fd);

	if (f & OURS)
		put(fd, on ? f | NONBLOCKING : f & ~(uint32_t)NONBLOCKING);
}

static bool ask_timeout(int fd, int dir, struct timeval *ret)
{
	unsigned len = sizeof(*ret);

	return sys_call(SYS_getsockopt, fd, SOL_SOCKET,
			dir == POLLER_IN ? SO_RCVTIMEO : SO_SNDTIMEO, ret,
			&len) == 0;
}

cogo_time fdtab_timeout(int fd, int dir)
{
	uint32_t f = get(fd), none = dir == POLLER_IN ? NO_RCVTIMEO : NO_SNDTIMEO;
	struct timeval tv;

	if ((f & OURS) && (!(f & SOCKET) || (f & none)))
		return COGO_FOREVER;
	if (!ask_timeout(fd, dir, &tv))
		return COGO_FOREVER;	/* no socket */
	if (tv.tv_sec || tv.tv_usec)
		return tv.tv_sec * 1000000000ll + tv.tv_usec * 1000ll;
	if (f & OURS)
		put(fd, f | none);
	return COGO_FOREVER;
}

void fdtab_timeout_changed(int fd)
{
	uint32_t f = get(fd);

	if (f)
		put(fd, f & ~(uint32_t)(NO_RCVTIMEO | NO_SNDTIMEO));
}

int fdtab_low_water(int fd)
{
	unsigned len = sizeof(int);
	int mark = 1;

	if (!atomic_load_explicit(&low_water, memory_order_relaxed) &&
	    (get(fd) & OURS))
		return 1;
	sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVLOWAT, &mark, &len);
	return mark;
}

void fdtab_low_water_changed(void)
{
	atomic_store_explicit(&low_water, true, memory_order_relaxed);
}

bool fdtab_low_water_any(void)
{
	return atomic_load_explicit(&low_water, memory_order_relaxed);
}
