/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* call.c - the errors of cogo/call.h. */
#include "errors.h"

static void plain(void)
{
}

static void takes_int(int x)
{
	(void)x;
}

/* More than any calling convention has a place for. */
struct wide {
	int x;
} __attribute__((aligned(32)));

static void takes_wide(struct wide w)
{
	(void)w;
}

/* Whatever would be opened is not there, libffi among it. */
Test(errors, of_calls_without_libffi)
{
	void (*p)(int) = NULL;

	kernel_refuses(SYS_openat, ANY_ARGUMENT, 0, ENOENT);
	FAILS(ENOSYS, go, takes_int, 1);
	FAILS(ENOSYS, cogo_spawn, NULL, NULL, takes_int, 1);
	FAILS(ENOSYS, cogo_spawn_with, NULL, NULL, NULL, takes_int, 1);
	FAILS(ENOSYS, cogo_callback_wait, &p, takes_int, int);
	FAILS(ENOSYS, cogo_callback_go, &p, takes_int, int);
	check(p == NULL);
}

#ifdef NO_LIBFFI
#define NEEDS_LIBFFI skip("built without ffi.h (Debian: libffi-dev)")
#else
#define NEEDS_LIBFFI (void)0
#endif

Test(errors, of_calls_that_libffi_cannot_make)
{
	void (*p)(struct wide) = NULL;

	NEEDS_LIBFFI;
	FAILS(EOPNOTSUPP, go, takes_wide, (struct wide){ 1 });
	FAILS(EOPNOTSUPP, cogo_spawn, NULL, NULL, takes_wide, (struct wide){ 1 });
	FAILS(EOPNOTSUPP, cogo_spawn_with, NULL, NULL, NULL, takes_wide,
	      (struct wide){ 1 });
	FAILS(EOPNOTSUPP, cogo_callback_wait, &p, takes_wide, struct wide);
	FAILS(EOPNOTSUPP, cogo_callback_go, &p, takes_wide, struct wide);
	check(p == NULL);
}

Test(errors, of_calls_without_memory)
{
	struct cogo_coro *c;
	void (*p)(int) = NULL;

	start_runtime();
	memory_ends();
	FAILS(ENOMEM, go, plain);
	FAILS(ENOMEM, cogo_spawn, NULL, NULL, plain);
	FAILS(ENOMEM, cogo_spawn_with, NULL, NULL, NULL, plain);
	memory_is_back();
	NEEDS_LIBFFI;
	/* With the library open. */
	check_eq(cogo_spawn(&c, NULL, takes_int, 1), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	memory_ends();
	FAILS(ENOMEM, go, takes_int, 1);
	FAILS(ENOMEM, cogo_spawn, NULL, NULL, takes_int, 1);
	FAILS(ENOMEM, cogo_spawn_with, NULL, NULL, NULL, takes_int, 1);
	FAILS(ENOMEM, cogo_callback_wait, &p, takes_int, int);
	FAILS(ENOMEM, cogo_callback_go, &p, takes_int, int);
	memory_is_back();
	check(p == NULL);
}

Test(errors, of_calls_where_there_can_be_no_more_stacks)
{
	start_runtime();
	kernel_has_no_more_guards();
	FAILS(EAGAIN, go, plain);
	FAILS(EAGAIN, cogo_spawn, NULL, NULL, plain);
	FAILS(EAGAIN, cogo_spawn_with, NULL, NULL, NULL, plain);
}

static void is_invalid(void)
{
	struct cogo_attr strange = { .flags = 1u << 31 };

	FAILS(EINVAL, cogo_spawn_with, &strange, NULL, NULL, plain);
}

Test(errors, of_a_call_that_cannot_be)
{
	on_both(is_invalid);
}
