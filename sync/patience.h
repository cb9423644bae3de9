/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* sync/patience.h - how long a waiter has stood in line.
 *
 * Locks here let whoever comes by take what is free (barging): the one who
 * was woken needs a moment to arrive, and a lock that stands idle for it is
 * a slow lock. The price is that the woken one may lose, again and again. So
 * each waiter carries in its tag since when it waits, and an unlocker that
 * finds the first in line out of patience hands the lock over to it.
 *
 * A tag is 30 bits of time, in units of 1.024 µs, over two bits that say what
 * kind of waiter it is. It wraps in 18 minutes, and a waiter of such an age
 * may for once look young: the next look is not a wrap later. */
#ifndef COGO_SYNC_PATIENCE_H
#define COGO_SYNC_PATIENCE_H

#include "base/sys.h"
#include <stdbool.h>

#define PATIENCE	977u	/* 1 ms */
#define TAG_KIND	3u

/* Now, with room for the kind. Never 0. */
static inline uint32_t patience_start(void)
{
	return (uint32_t)(sys_now() >> 10) << 2 | 4u;
}

static inline bool patience_over(uint32_t tag)
{
	uint32_t age = ((uint32_t)(sys_now() >> 10) << 2) - (tag & ~TAG_KIND);

	return age >> 2 > PATIENCE && age < UINT32_MAX / 2;
}

#endif
