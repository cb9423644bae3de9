/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* tls_lib.c - thread-local variables of a shared library, in each way that
 * code can reach them.
 *
 * The general way asks __tls_get_addr (or a TLS descriptor) each time, unless
 * the compiler remembers the answer; initial-exec adds an offset to the thread
 * pointer; and one variable lies far from the others, so that no two share a
 * cache line or a page. */
#include <errno.h>

#include "tls_lib.h"

__thread long tls_lib_visible = 11;

static __thread long general = 22;
static __thread long zero;
static __thread long fast __attribute__((tls_model("initial-exec"))) = 33;
static __thread struct {
	char before[1000];
	long value;
	char after[1000];
} far;

int tls_lib_is_fresh(void)
{
	return tls_lib_visible == 11 && general == 22 && zero == 0 &&
	       fast == 33 && far.value == 0;
}

void tls_lib_set(long value)
{
	tls_lib_visible = value + 1;
	general = value + 2;
	zero = value + 3;
	fast = value + 4;
	far.before[999] = far.after[0] = (char)value;
	far.value = value + 5;
}

int tls_lib_has(long value)
{
	return tls_lib_visible == value + 1 && general == value + 2 &&
	       zero == value + 3 && fast == value + 4 &&
	       far.before[999] == (char)value && far.value == value + 5 &&
	       far.after[0] == (char)value;
}

int *tls_lib_errno(void)
{
	return &errno;
}
