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
#include <stdbool.h>

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
bool fdtab_ours(int fd);

/* Of ours: it tells of signals. */
bool fdtab_signals(int fd);
void fdtab_tells_signals(int fd);

/* A socket of ours alone; a TCP stream. */
bool fdtab_socket(int fd);
bool fdtab_tcp(int fd);

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
bool fdtab_nonblocking(int fd);
void fdtab_set_nonblocking(int fd, bool on);

/* SO_RCVTIMEO or SO_SNDTIMEO as a span in ns; COGO_FOREVER: none. */
cogo_time fdtab_timeout(int fd, int dir);
void fdtab_timeout_changed(int fd);

/* SO_RCVLOWAT: how much a read of a stream waits for, if it asks for as much; 1
 * where nothing else was said. To be asked when less has come than was wanted. */
int fdtab_low_water(int fd);
void fdtab_low_water_changed(void);
/* Some socket may have one: of less than that nobody is told. */
bool fdtab_low_water_any(void);

#endif
