/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/fdtab.c - what we have learnt of descriptors. */
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

#define EPOCHS	(1u << (32 - FDTAB_EPOCH_SHIFT))

_Atomic(_Atomic uint32_t *) fdtab_chunks[FDTAB_CHUNKS];
_Atomic uint32_t fdtab_epoch;
_Atomic bool fdtab_low_water_seen;
static struct lock chunks_lock;

static bool in_table(int fd)
{
	return (unsigned)fd < FDTAB_CHUNK * FDTAB_CHUNKS;
}

static void put(int fd, uint32_t flags)
{
	_Atomic uint32_t *e = fdtab_find(fd);

	if (e)
		atomic_store_explicit(
			e, flags | atomic_load_explicit(
				&fdtab_epoch, memory_order_relaxed)
					<< FDTAB_EPOCH_SHIFT,
			memory_order_relaxed);
}

static void make_room(int fd)
{
	if (!fdtab_find(fd)) {
		_Atomic(_Atomic uint32_t *) *slot =
			&fdtab_chunks[(unsigned)fd / FDTAB_CHUNK];

		lock(&chunks_lock);
		if (!atomic_load_explicit(slot, memory_order_relaxed))
			atomic_store_explicit(
				slot, sys_map(FDTAB_CHUNK * sizeof(uint32_t)),
				memory_order_release);
		unlock(&chunks_lock);
	}
}

void fdtab_born(int fd, bool nonblocking, bool socket)
{
	if (!in_table(fd))
		return;
	make_room(fd);
	put(fd, FDTAB_OURS | (nonblocking ? FDTAB_NONBLOCKING : 0) |
			(socket ? FDTAB_SOCKET : 0));
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
	uint32_t now = atomic_load_explicit(&fdtab_epoch, memory_order_relaxed);

	/* The child's one thread. */
	if (now < EPOCHS)
		atomic_store_explicit(&fdtab_epoch, (now + 1) % EPOCHS,
				      memory_order_relaxed);
}

void fdtab_apart(void)
{
	atomic_store_explicit(&fdtab_epoch, EPOCHS, memory_order_relaxed);
}

void fdtab_tells_signals(int fd)
{
	uint32_t f = fdtab_flags(fd);

	if (f & FDTAB_OURS)
		put(fd, f | FDTAB_SIGNALS);
}

bool fdtab_ask_tcp(int fd)
{
	uint32_t f = fdtab_flags(fd) | FDTAB_KIND_KNOWN;
	unsigned protocol = 0, len = sizeof(protocol);

	sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len);
	put(fd, f |= protocol == IPPROTO_TCP ? FDTAB_TCP : 0);
	return f & FDTAB_TCP;
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
	uint32_t f = FDTAB_SOURCE_KNOWN;
	struct stat st;

	if (fd < 0 || sys_call(SYS_fstat, fd, &st) != 0)
		return 0;
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		f |= FDTAB_ON_DISK;
	else if (S_ISCHR(st.st_mode) && endless(st.st_rdev))
		f |= FDTAB_FROM_MEMORY;
	if (!in_table(fd))
		return f;
	make_room(fd);
	put(fd, f |= fdtab_flags(fd));
	return f;
}

enum fdtab_source fdtab_source(int fd)
{
	uint32_t f = fdtab_flags(fd);

	/* What we know to have made is a socket, a pipe or the like. */
	if (unlikely(!(f & (FDTAB_OURS | FDTAB_SOURCE_KNOWN))))
		f = look_for_source(fd);
	if (f & FDTAB_FROM_MEMORY)
		return SOURCE_MEMORY;
	return f & FDTAB_ON_DISK ? SOURCE_DISK : SOURCE_WAITS;
}

bool fdtab_to_memory(int fd)
{
	return fdtab_flags(fd) & FDTAB_TO_MEMORY;
}

void fdtab_look_for_memory(int fd, int dir)
{
	struct stat st;
	struct statfs fs;
	long flags;

	if (!in_table(fd) || fdtab_ours(fd) ||
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
	put(fd, fdtab_flags(fd) | (dir == POLLER_IN ? FDTAB_FROM_MEMORY :
						      FDTAB_TO_MEMORY));
}

bool fdtab_ask_nonblocking(int fd)
{
	long flags = sys_call(SYS_fcntl, fd, F_GETFL);

	return flags >= 0 && (flags & O_NONBLOCK);
}

void fdtab_set_nonblocking(int fd, bool on)
{
	uint32_t f = fdtab_flags(fd);

	if (f & FDTAB_OURS)
		put(fd, on ? f | FDTAB_NONBLOCKING :
			     f & ~(uint32_t)FDTAB_NONBLOCKING);
}

static bool ask_timeout(int fd, int dir, struct timeval *ret)
{
	unsigned len = sizeof(*ret);

	return sys_call(SYS_getsockopt, fd, SOL_SOCKET,
			dir == POLLER_IN ? SO_RCVTIMEO : SO_SNDTIMEO, ret,
			&len) == 0;
}

cogo_time fdtab_ask_timeout(int fd, int dir)
{
	uint32_t f = fdtab_flags(fd);
	uint32_t none = dir == POLLER_IN ? FDTAB_NO_RCVTIMEO : FDTAB_NO_SNDTIMEO;
	struct timeval tv;

	if (!ask_timeout(fd, dir, &tv))
		return COGO_FOREVER;	/* no socket */
	if (tv.tv_sec || tv.tv_usec)
		return tv.tv_sec * 1000000000ll + tv.tv_usec * 1000ll;
	if (f & FDTAB_OURS)
		put(fd, f | none);
	return COGO_FOREVER;
}

void fdtab_timeout_changed(int fd)
{
	uint32_t f = fdtab_flags(fd);

	if (f)
		put(fd, f & ~(uint32_t)(FDTAB_NO_RCVTIMEO | FDTAB_NO_SNDTIMEO));
}

int fdtab_ask_low_water(int fd)
{
	unsigned len = sizeof(int);
	int mark = 1;

	sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVLOWAT, &mark, &len);
	return mark;
}

void fdtab_low_water_changed(void)
{
	atomic_store_explicit(&fdtab_low_water_seen, true, memory_order_relaxed);
}
