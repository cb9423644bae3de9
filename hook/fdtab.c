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

_Atomic(_Atomic uint64_t *) fdtab_chunks[FDTAB_CHUNKS];
_Atomic uint32_t fdtab_epoch;
_Atomic bool fdtab_low_water_seen;
static struct lock chunks_lock;

static bool in_table(int fd)
{
	return (unsigned)fd < FDTAB_CHUNK * FDTAB_CHUNKS;
}

struct fdtab_seen fdtab_look(int fd)
{
	struct fdtab_seen s = {
		.at = fdtab_find(fd),
		.epoch = atomic_load_explicit(&fdtab_epoch, memory_order_relaxed),
	};

	if (s.at)
		s.word = atomic_load_explicit(s.at, memory_order_relaxed);
	s.flags = fdtab_flags_in(s.word, s.epoch);
	return s;
}

/* False when it has changed since, or there is no room for it. */
static bool replace(const struct fdtab_seen *s, uint32_t flags, bool change)
{
	uint64_t was = s->word;
	uint64_t changes = (was >> FDTAB_CHANGES_SHIFT) + change;

	return s->at && atomic_compare_exchange_strong_explicit(
		s->at, &was,
		changes << FDTAB_CHANGES_SHIFT |
			(uint64_t)(s->epoch % EPOCHS) << FDTAB_EPOCH_SHIFT | flags,
		memory_order_relaxed, memory_order_relaxed);
}

/* What the kernel has said since; or nothing. */
static void learn(const struct fdtab_seen *s, uint32_t flags)
{
	replace(s, s->flags | flags, false);
}

/* It is that from now on, whoever has seen something else. */
static void put(int fd, uint32_t flags)
{
	struct fdtab_seen s;

	do
		s = fdtab_look(fd);
	while (s.at && !replace(&s, flags, true));
}

static void make_room(int fd)
{
	if (!fdtab_find(fd)) {
		_Atomic(_Atomic uint64_t *) *slot =
			&fdtab_chunks[(unsigned)fd / FDTAB_CHUNK];

		lock(&chunks_lock);
		if (!atomic_load_explicit(slot, memory_order_relaxed))
			atomic_store_explicit(
				slot, sys_map(FDTAB_CHUNK * sizeof(uint64_t)),
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

	while (now < EPOCHS &&
	       !atomic_compare_exchange_weak_explicit(
		       &fdtab_epoch, &now, (now + 1) % EPOCHS,
		       memory_order_relaxed, memory_order_relaxed))
		;
}

void fdtab_apart(void)
{
	atomic_store_explicit(&fdtab_epoch, EPOCHS, memory_order_relaxed);
}

void fdtab_tells_signals(int fd)
{
	struct fdtab_seen s = fdtab_look(fd);

	if (s.flags & FDTAB_OURS)
		learn(&s, FDTAB_SIGNALS);
}

bool fdtab_ask_tcp(int fd)
{
	struct fdtab_seen s = fdtab_look(fd);
	unsigned protocol = 0, len = sizeof(protocol);
	bool tcp;

	sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len);
	tcp = protocol == IPPROTO_TCP;
	if (s.flags & FDTAB_SOCKET)
		learn(&s, FDTAB_KIND_KNOWN | (tcp ? FDTAB_TCP : 0));
	return tcp;
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
	struct fdtab_seen s;
	struct stat st;

	if (fd < 0)
		return 0;
	if (in_table(fd))
		make_room(fd);
	s = fdtab_look(fd);
	if (sys_call(SYS_fstat, fd, &st) != 0)
		return 0;
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		f |= FDTAB_ON_DISK;
	else if (S_ISCHR(st.st_mode) && endless(st.st_rdev))
		f |= FDTAB_FROM_MEMORY;
	learn(&s, f);
	return f | s.flags;
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
	struct fdtab_seen s;
	struct stat st;
	struct statfs fs;
	long flags;

	if (!in_table(fd))
		return;
	make_room(fd);
	s = fdtab_look(fd);
	if ((s.flags & FDTAB_OURS) ||
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
	learn(&s, dir == POLLER_IN ? FDTAB_FROM_MEMORY : FDTAB_TO_MEMORY);
}

bool fdtab_ask_nonblocking(int fd)
{
	long flags = sys_call(SYS_fcntl, fd, F_GETFL);

	return flags >= 0 && (flags & O_NONBLOCK);
}

void fdtab_set_nonblocking(int fd, struct fdtab_seen s, bool on)
{
	uint32_t rest;

	while (s.flags & FDTAB_OURS) {
		rest = s.flags & ~(uint32_t)FDTAB_NONBLOCKING;
		if (replace(&s, rest | (on ? FDTAB_NONBLOCKING : 0), true))
			return;
		/* Of several who change it at once, the kernel knows the last. */
		s = fdtab_look(fd);
		on = fdtab_ask_nonblocking(fd);
	}
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
	struct fdtab_seen s = fdtab_look(fd);
	uint32_t none = dir == POLLER_IN ? FDTAB_NO_RCVTIMEO : FDTAB_NO_SNDTIMEO;
	struct timeval tv;

	if (!ask_timeout(fd, dir, &tv))
		return COGO_FOREVER;	/* no socket */
	if (tv.tv_sec || tv.tv_usec)
		return tv.tv_sec * 1000000000ll + tv.tv_usec * 1000ll;
	if (s.flags & FDTAB_OURS)
		learn(&s, none);
	return COGO_FOREVER;
}

void fdtab_timeout_changed(int fd)
{
	struct fdtab_seen s;

	do
		s = fdtab_look(fd);
	while (s.at && !replace(&s, s.flags & ~(uint32_t)(FDTAB_NO_RCVTIMEO |
							   FDTAB_NO_SNDTIMEO),
				true));
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
