/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* memory.c - malloc refuses, and everything says so or does without. */
#include "native.h"

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);

static atomic_bool refusing;

__attribute__((visibility("default"))) void *malloc(size_t n)
{
	return refusing ? NULL : __libc_malloc(n);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	return refusing ? NULL : __libc_calloc(n, size);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void panic_now(void *arg)
{
	cogo_panic("%s", (char *)arg);
}

static void panic_refused(void *arg)
{
	refusing = true;
	panic_now(arg);
}

static struct cogo_key key, inherited;
static atomic_int made, destroyed;

static void destroy(void *value)
{
	(void)value;
	destroyed++;
}

static void *make(void)
{
	made++;
	return &made;
}

static void *refuse_now(void *value)
{
	refusing = true;
	made++;
	return value;
}

static void set_without_memory(void)
{
	struct cogo_key lazy = { .destroy = destroy, .init = make };

	destroyed = made = 0;
	check(cogo_self() != NULL);
	refusing = true;
	check_eq(cogo_local_set(&key, &key), -ENOMEM);
	check(cogo_local_get(&key) == NULL);
	check_eq(cogo_local_set(&key, NULL), 0);
	check(cogo_local_get(&lazy) == NULL);
	refusing = false;
	check_eq(made, 1);
	check_eq(destroyed, 1);
	check_eq(cogo_local_set(&key, &key), 0);
	refusing = true;
	check_eq(cogo_local_set(&key, &made), 0);
	refusing = false;
	check(cogo_local_get(&key) == &made);
}

Test(memory, a_value_that_cannot_be_kept_is_ENOMEM)
{
	on_both(set_without_memory);
}

static void inherit_without_memory(void)
{
	struct cogo_attr a = { .flags = COGO_INHERITS };
	struct cogo_coro *c = (void *)16;

	cogo_join(begin(NULL, nothing, NULL));
	made = 0;
	inherited.inherit = refuse_now;
	check_eq(cogo_local_set(&inherited, &key), 0);
	inherited.destroy = destroy;
	destroyed = 0;
	check_eq(cogo_go(&c, &a, nothing, NULL), -ENOMEM);
	refusing = false;
	check(c == (void *)16);
	/* The copy that was made, and no other. */
	check_eq(made, 1);
	check_eq(destroyed, 1);
	inherited.destroy = NULL;
	check_eq(cogo_local_set(&inherited, NULL), 0);
	cogo_join(begin(&a, nothing, NULL));
}

Test(memory, an_inheritance_that_cannot_be_kept_is_ENOMEM_and_destroyed)
{
	on_both(inherit_without_memory);
}

static void panic_without_memory(void)
{
	struct cogo_panic p;
	struct cogo_coro *c;
	int r;

	cogo_join(begin(NULL, panic_now, (void *)"first"));
	check_eq(cogo_recover(panic_now, (void *)"first", &p), 1);
	refusing = true;
	r = cogo_recover(panic_now, (void *)"lost", &p);
	refusing = false;
	check_eq(r, 1);
	check(strcmp(p.message, "") == 0);
	c = begin(NULL, panic_refused, NULL);
	check_eq(cogo_wait(c, COGO_FOREVER), 0);
	refusing = false;
	check_eq(cogo_how(c), COGO_PANICKED);
	check(strcmp(cogo_panic_message(c), "") == 0);
	check(strcmp(cogo_panic_trace(c), "") == 0);
	cogo_drop(c);
}

Test(memory, a_panic_needs_none)
{
	on_both(panic_without_memory);
}

static int quietly(void *arg)
{
	(void)arg;
	return 0;
}

static void make_without_memory(void)
{
	struct cogo_coro *c[500];
	struct cogo_scope s = COGO_SCOPE;
	int n, r = 0;

	cogo_join(begin(NULL, nothing, NULL));
	refusing = true;
	for (n = 0; n < 500; n++) {
		r = cogo_go(&c[n], NULL, nothing, NULL);
		if (r)
			break;
	}
	check(r == 0 || r == -ENOMEM);
	cogo_scope_begin(&s);
	r = cogo_scope_go(&s, NULL, quietly, NULL);
	check(r == 0 || r == -ENOMEM);
	check_eq(cogo_scope_end(&s), r);
	check_eq(cogo_sleep(1000), 0);
	check_eq(cogo_park(0), -ETIMEDOUT);
	while (n)
		check_eq(cogo_join(c[--n]), COGO_RETURNED);
	refusing = false;
}

Test(memory, coroutines_are_made_or_refused)
{
	on_both(make_without_memory);
}
