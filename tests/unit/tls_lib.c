/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A library that is loaded while blocks exist: its variables are found without
 * asking, at a fixed distance from the thread pointer. Or, with another FIXED, where
 * libc has put them for each thread that asked. */
#ifndef FIXED
#define FIXED __attribute__((tls_model("initial-exec")))
#endif
#pragma GCC visibility push(default)

static __thread long number FIXED = 4321;
static __thread char text[64] FIXED = "loaded late";
static long seen_by_constructor;

long *lib_number(void);
char *lib_text(void);
long lib_seen_by_constructor(void);

__attribute__((constructor)) static void look(void)
{
	seen_by_constructor = number;
}

long *lib_number(void)
{
	return &number;
}

char *lib_text(void)
{
	return text;
}

long lib_seen_by_constructor(void)
{
	return seen_by_constructor;
}
