/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* talk.h - what load says to a server, and what it has to hear.
 *
 * A question is known by its key, which no two have in common; whether an answer
 * is right follows from the key alone, so nothing is kept while it is awaited. */
#ifndef ECHO_TALK_H
#define ECHO_TALK_H

#include <stddef.h>
#include <stdint.h>

enum {
	/* So little that the socket of an idle connection has room for it. */
	TALK_BYTES = 4096,
};

/* What greet() answers beside a number of bytes. */
enum { TALK_MORE = 0, TALK_READY = -1, TALK_REFUSED = -2 };

struct talk {
	const char *name;

	/* Before the first question. Called with nothing, and again whenever more
	 * has come: what has come since it last said something, whole. The number
	 * of bytes that it now says, MORE if it says nothing yet, READY for the
	 * first question, or REFUSED. NULL where there is no greeting. */
	int (*greet)(const char *got, size_t n, char *ret);

	/* Writes the question, at most TALK_BYTES, and returns its length. */
	size_t (*ask)(uint64_t key, char *ret);

	/* The length of the answer at the beginning of got, or 0 while it is not
	 * whole. Adds to *ret_wrong the bytes, at least one, that are wrong. */
	size_t (*answer)(uint64_t key, const char *got, size_t n,
			 uint64_t *ret_wrong);
};

/* Set before the first word. */
extern long talk_bytes;	 /* of a message: echo, tunnel */
extern long talk_target; /* port at the tunnel's far end */

/* echo, tunnel, sql or http; NULL for others. */
const struct talk *talk_find(const char *name);

#endif
