/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/fdtab.h - what we have learnt of descriptors.
 *
 * A cache, nothing more: an entry says "this number is a description that this
 * process made, that nobody else can have, and these are its flags". Whatever
 * is not so (inherited, passed in, older than the last fork) has no entry and
 * the kernel is asked each time. */
#ifndef COGO_HOOK_FDTAB_H
#define COGO_HOOK_FDTAB_H

#include "base/compiler.h"
#include "event/poller.h"
#include <stdatomic.h>
#include <stdbool.h>

/* One word for each number: flags, the epoch they are of, and how often they have
 * changed. A fork makes every entry older than now, and what is older than now is not
 * known.
 *
 * To learn something is to ask the kernel, and meanwhile the number may be closed and
 * given away again, become somebody else's too, or have its flags changed. So what was
 * learnt is entered only if the word is still the one that was there before the kernel
 * was asked; each change makes another one of it. */
enum fdtab_flags {
	FDTAB_OURS = 1, FDTAB_NONBLOCKING = 2, FDTAB_SOCKET = 4,
	FDTAB_NO_RCVTIMEO = 8, FDTAB_NO_SNDTIMEO = 16,	/* known to be none */
	FDTAB_KIND_KNOWN = 32, FDTAB_TCP = 64,
	/* Without OURS: */
	FDTAB_FROM_MEMORY = 128, FDTAB_TO_MEMORY = 256, FDTAB_ON_DISK = 512,
	FDTAB_SOURCE_KNOWN = 1024,
	/* With it: */
	FDTAB_SIGNALS = 2048,
};
#define FDTAB_EPOCH_SHIFT	12
#define FDTAB_CHANGES_SHIFT	32
#define FDTAB_CHUNK		4096u
#define FDTAB_CHUNKS		1024u

/* fdtab.c's own. epoch: no entry is of it once some thread has descriptors of its
 * own. */
extern _Atomic(_Atomic uint64_t *) fdtab_chunks[FDTAB_CHUNKS];
extern _Atomic uint32_t fdtab_epoch;
extern _Atomic bool fdtab_low_water_seen;

static ALWAYS_INLINE _Atomic uint64_t *fdtab_find(int fd)
{
	unsigned n = (unsigned)fd;
	_Atomic uint64_t *c;

	if (unlikely(n >= FDTAB_CHUNK * FDTAB_CHUNKS))
		return NULL;
	c = atomic_load_explicit(&fdtab_chunks[n / FDTAB_CHUNK],
				 memory_order_acquire);
	return c ? &c[n % FDTAB_CHUNK] : NULL;
}

static ALWAYS_INLINE uint32_t fdtab_flags_in(uint64_t word, uint32_t epoch)
{
	uint32_t v = (uint32_t)word;

	return v >> FDTAB_EPOCH_SHIFT == epoch ?
		       v & ((1u << FDTAB_EPOCH_SHIFT) - 1) : 0;
}

/* 0 where nothing is known. */
static ALWAYS_INLINE uint32_t fdtab_flags(int fd)
{
	_Atomic uint64_t *e = fdtab_find(fd);

	return e ? fdtab_flags_in(atomic_load_explicit(e, memory_order_relaxed),
				  atomic_load_explicit(&fdtab_epoch,
						       memory_order_relaxed)) : 0;
}

/* What there was before the kernel was asked, or told. */
struct fdtab_seen {
	_Atomic uint64_t *at;	/* or NULL */
	uint64_t word;
	uint32_t epoch, flags;
};
struct fdtab_seen fdtab_look(int fd);

/* Our own socket or pipe, fresh from the kernel. */
void fdtab_born(int fd, bool nonblocking, bool socket);
/* The number is gone, or became something else. */
void fdtab_gone(int fd);
/* Another number for it exists, or may; or its flags are no longer known. */
void fdtab_shared(int fd);
/* Nothing in the table is ours alone any more. */
void fdtab_forked(void);

/* Some thread has descriptors of its own: a number is no longer one thing. */
void fdtab_apart(void);

/* Nobody but this process has the description. */
static ALWAYS_INLINE bool fdtab_ours(int fd)
{
	return fdtab_flags(fd) & FDTAB_OURS;
}

/* Of ours: it tells of signals. */
static inline bool fdtab_signals(int fd)
{
	return fdtab_flags(fd) & FDTAB_SIGNALS;
}
void fdtab_tells_signals(int fd);

/* A socket of ours alone; a TCP stream. */
static inline bool fdtab_socket(int fd)
{
	return fdtab_flags(fd) & FDTAB_SOCKET;
}
COLD bool fdtab_ask_tcp(int fd);
static ALWAYS_INLINE bool fdtab_tcp(int fd)
{
	uint32_t f = fdtab_flags(fd);

	return likely(f & FDTAB_KIND_KNOWN) ? f & FDTAB_TCP :
	       (f & FDTAB_SOCKET) && fdtab_ask_tcp(fd);
}

/* Where what is read comes from: from somebody who may let one wait; from memory, be
 * it a file system that has no disk, or /dev/zero; or from a file on a disk, of which
 * the page cache has all, some, or none. */
enum fdtab_source { SOURCE_WAITS, SOURCE_MEMORY, SOURCE_DISK };
enum fdtab_source fdtab_source(int fd);

/* A regular file that the kernel cannot be asked to try to write without waiting, and
 * that a disk gets later. A hand-off would cost more than such a call. */
bool fdtab_to_memory(int fd);
/* Finds out, after the kernel has said that it cannot try. */
COLD void fdtab_look_for_memory(int fd, int dir);

/* The program's own O_NONBLOCK on the description. */
COLD bool fdtab_ask_nonblocking(int fd);
static ALWAYS_INLINE bool fdtab_nonblocking(int fd)
{
	uint32_t f = fdtab_flags(fd);

	return likely(f & FDTAB_OURS) ? f & FDTAB_NONBLOCKING :
					fdtab_ask_nonblocking(fd);
}
/* The program has changed it, after it was seen so. */
void fdtab_set_nonblocking(int fd, struct fdtab_seen seen, bool on);

/* SO_RCVTIMEO or SO_SNDTIMEO as a span in ns; COGO_FOREVER: none. */
cogo_time fdtab_ask_timeout(int fd, int dir);
static inline cogo_time fdtab_timeout(int fd, int dir)
{
	uint32_t f = fdtab_flags(fd);
	uint32_t none = dir == POLLER_IN ? FDTAB_NO_RCVTIMEO : FDTAB_NO_SNDTIMEO;

	return (f & FDTAB_OURS) && (!(f & FDTAB_SOCKET) || (f & none)) ?
		       COGO_FOREVER : fdtab_ask_timeout(fd, dir);
}
void fdtab_timeout_changed(int fd);

void fdtab_low_water_changed(void);
/* Some socket may have one: of less than that nobody is told. */
static inline bool fdtab_low_water_any(void)
{
	return atomic_load_explicit(&fdtab_low_water_seen, memory_order_relaxed);
}
COLD int fdtab_ask_low_water(int fd);
/* SO_RCVLOWAT: how much a read of a stream waits for, if it asks for as much; 1
 * where nothing else was said. To be asked when less has come than was wanted. */
static inline int fdtab_low_water(int fd)
{
	return likely(!fdtab_low_water_any() && fdtab_ours(fd)) ?
		       1 : fdtab_ask_low_water(fd);
}

#endif
