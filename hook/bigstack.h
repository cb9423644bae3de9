/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/bigstack.h - room for code that was written for large stacks.
 *
 * The resolver wants 64 KiB and more, a plugin's constructors whatever they
 * like. A coroutine whose own stack has less left makes such a call on a
 * borrowed one; the thread pointer stays its own, so errno, the resolver's
 * state and the results in thread-local buffers are where they belong. It may
 * park there as anywhere. */
#ifndef COGO_HOOK_BIGSTACK_H
#define COGO_HOOK_BIGSTACK_H

#include <stdbool.h>

/* fn(arg), on a borrowed stack if the caller's has too little room left. Any
 * thread; outside the runtime. Without memory it runs where it is. */
long bigstack_call(long (*fn)(void *), void *arg);

/* Whether it would borrow one. */
bool bigstack_needed(void);

#endif
