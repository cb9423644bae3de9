/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* hook/locale.c - whether any thread has a locale of its own.
 *
 * It is thread-local, so libc's own word is the coroutine's. Only where storage is
 * shared must it be carried from one to the next, at each switch: and not before
 * somebody has set one, which few programs do. */
#include "hook/gate.h"
#include "hook/real.h"
#include "mem/tls.h"
#include <locale.h>

/* libc's other name, which its C++ library uses; no header has it. */
locale_t __uselocale(locale_t l);

HOOKED locale_t uselocale(locale_t l)
{
	if (l)
		tls_carry_locale(true);
	return REAL(uselocale)(l);
}
ALIAS(__uselocale, uselocale);

void locale_load(void)
{
	/* One that has loaded us later may have set one, or do so past us. */
	tls_carry_locale(!gate_ours);
}
