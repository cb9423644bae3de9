/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/real.h - libc's own functions behind the names we stand in front of.
 *
 * REAL(name) is the next definition of name after ours, looked up at first use
 * and kept. It has name's type. A name that this libc does not have is NULL. */
#ifndef COGO_HOOK_REAL_H
#define COGO_HOOK_REAL_H

#include "base/compiler.h"
#include <stdatomic.h>

enum real_name {
#define HOOK(name, ...) REAL_##name,
#define ALSO(name, ...) REAL_##name,
#define PASS(name, ...)
#define GROUP(...)
#include "hook/names.def"
#undef HOOK
#undef ALSO
#undef PASS
#undef GROUP
	REAL_COUNT,
};

/* Once, while the process has one thread. Before, names are looked up as well. */
void real_load(void);

extern _Atomic(void *) real_table[REAL_COUNT];
COLD void *real_find(enum real_name name);

static inline void *real_get(enum real_name name)
{
	void *fn = atomic_load_explicit(&real_table[name], memory_order_acquire);

	return likely(fn != NULL) ? fn : real_find(name);
}

#define REAL(name) ((__typeof__(&name))real_get(REAL_##name))

/* What every hooked function is marked with. */
#define HOOKED __attribute__((visibility("default")))
/* One more name for a hooked function of this file. */
#define ALIAS(other, name) \
	extern __typeof__(name) other \
		__attribute__((alias(#name), visibility("default")))

#endif
