/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_callback.c - function pointers whose calls are coroutines. */
#include "call.h"
#include <errno.h>

static _Atomic int ran;
static _Atomic bool all_on_coroutines = true;

static void note_where(void)
{
	if (!cogo_is_coroutine())
		all_on_coroutines = false;
	ran++;
}

/* Waits, too, as no comparison of a library's own would. */
static int order(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	note_where();
	cogo_yield();
	return (x > y) - (x < y);
}

static void sort_and_search(void *unused)
{
	int (*compare)(const void *, const void *);
	int numbers[100], key = 42, *found;

	(void)unused;
	check_eq(cogo_callback_wait(&compare, order, const void *, const void *),
		 0);
	for (int i = 0; i < 100; i++)
		numbers[i] = i * 37 % 100;
	qsort(numbers, 100, sizeof(*numbers), compare);
	for (int i = 0; i < 100; i++)
		check_eq(numbers[i], i);
	found = bsearch(&key, numbers, 100, sizeof(*numbers), compare);
	check(found == &numbers[42]);
	cogo_callback_free(compare);
}

Test(callback, comparisons_wait_for_their_coroutines_on_a_thread)
{
	call_start(2);
	sort_and_search(NULL);
	check(ran > 100);
	check(all_on_coroutines);
}

Test(callback, comparisons_wait_for_their_coroutines_on_a_coroutine)
{
	struct cogo_coro *c;

	call_start(2);
	check_eq(cogo_go(&c, NULL, sort_and_search, NULL), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check(ran > 100);
	check(all_on_coroutines);
}

static void *begin(void *arg)
{
	note_where();
	cogo_sleep(COGO_MS);
	return (char *)arg + 1;
}

Test(callback, a_threads_start_routine_can_be_a_coroutine)
{
	void *(*start)(void *), *result;
	pthread_t threads[8];
	char place[8];

	call_start(2);
	check_eq(cogo_callback_wait(&start, begin, void *), 0);
	for (int i = 0; i < 8; i++)
		check_eq(pthread_create(&threads[i], NULL, start, &place[i]), 0);
	for (int i = 0; i < 8; i++) {
		check_eq(pthread_join(threads[i], &result), 0);
		check(result == &place[i] + 1);
	}
	cogo_callback_free(start);
	check_eq(ran, 8);
	check(all_on_coroutines);
}

struct pair { int a; double b; };
struct wide { long a[5]; };

static struct wide all_kinds(long a, long b, long c, long d, long e, double f,
			     struct pair g, struct wide h, char i, float j,
			     long double k)
{
	say("%ld %ld %ld %ld %ld %a %d %a %ld %d %a %La", a, b, c, d, e, f, g.a,
	    g.b, h.a[4], i, (double)j, k);
	h.a[0] = a;
	return h;
}

static void forget_all_kinds(long a, long b, long c, long d, long e, double f,
			     struct pair g, struct wide h, char i, float j,
			     long double k)
{
	all_kinds(a, b, c, d, e, f, g, h, i, j, k);
	note_where();
}

#define ALL_KINDS                                                              \
	1l, 2l, 3l, 4l, 5l, 6.5, (struct pair){ 7, 8.5 },                      \
		(struct wide){ { 9, 10, 11, 12, 13 } }, (char)-14, 15.5f, 16.5L
#define ALL_TYPES                                                              \
	long, long, long, long, long, double, struct pair, struct wide, char,  \
		float, long double

Test(callback, arguments_and_results_of_all_kinds_go_through)
{
	__typeof__(&all_kinds) waits;
	__typeof__(&forget_all_kinds) goes;
	char direct[sizeof(said)];
	struct wide w;

	call_start(2);
	all_kinds(ALL_KINDS);
	strcpy(direct, said);
	check_eq(cogo_callback_wait(&waits, all_kinds, ALL_TYPES), 0);
	said[0] = 0;
	w = waits(ALL_KINDS);
	must_be_the_same(direct, "waits");
	check_eq(w.a[0], 1);
	check_eq(w.a[4], 13);
	check_eq(cogo_callback_go(&goes, forget_all_kinds, ALL_TYPES), 0);
	said[0] = 0;
	goes(ALL_KINDS);
	wait_until(ran == 1);
	must_be_the_same(direct, "goes");
	cogo_callback_free(waits);
	cogo_callback_free(goes);
}

#define SMALL(name, type)                                                      \
	static type small_##name(type a)                                       \
	{                                                                      \
		return a;                                                      \
	}
SMALL(char, signed char)
SMALL(short, unsigned short)
SMALL(int, int)
SMALL(bool, _Bool)
SMALL(float, float)
SMALL(double, double)
SMALL(ldouble, long double)

#define gives_back(name, type, value)                                          \
	do {                                                                   \
		type (*small)(type);                                           \
		check_eq(cogo_callback_wait(&small, small_##name, type), 0);   \
		check(small(value) == (value));                                \
		cogo_callback_free(small);                                     \
	} while (0)

Test(callback, results_smaller_than_a_register_keep_their_sign)
{
	call_start(2);
	gives_back(char, signed char, -5);
	gives_back(short, unsigned short, 65535);
	gives_back(int, int, -2147483647);
	gives_back(bool, _Bool, 1);
	gives_back(float, float, 1.1f);
	gives_back(double, double, -1e300);
	gives_back(ldouble, long double, 1.1L);
}

static _Atomic bool may_go;

static void waits_for_leave(int n)
{
	while (!may_go)
		cogo_sleep(COGO_MS);
	ran += n;
}

Test(callback, one_that_is_not_waited_for_outlives_its_pointer)
{
	void (*pointer)(int);

	call_start(2);
	check_eq(cogo_callback_go(&pointer, waits_for_leave, int), 0);
	for (int i = 0; i < 100; i++)
		pointer(1);
	cogo_callback_free(pointer);
	may_go = true;
	wait_until(ran == 100);
}

static int panics(void)
{
	cogo_panic("on purpose");
}

Test(callback, one_that_panics_gives_its_caller_zero)
{
	int (*pointer)(void);

	if (SANITIZE_ADDRESS)
		skip("AddressSanitizer asks libc for the stack of who unwinds");
	call_start(2);
	check_eq(cogo_callback_wait(&pointer, panics), 0);
	check_eq(pointer(), 0);
	check_eq(pointer(), 0);
	cogo_callback_free(pointer);
}

static int slow(int n)
{
	/* Not the caller, and not cancelled with it. */
	check_eq(cogo_sleep(20 * COGO_MS), 0);
	return n + 1;
}

static _Atomic int got;

static void calls_slow(int (*pointer)(int))
{
	ran++;
	got = pointer(5);
	check(cogo_canceled());
}

Test(callback, the_callers_cancellation_does_not_break_it_off)
{
	int (*pointer)(int);
	struct cogo_coro *c;

	call_start(2);
	check_eq(cogo_callback_wait(&pointer, slow, int), 0);
	check_eq(cogo_spawn(&c, NULL, calls_slow, pointer), 0);
	wait_until(ran == 1);
	check_eq(cogo_cancel(c, 1), 0);
	check_eq(cogo_join(c), COGO_RETURNED);
	check_eq(got, 6);
	cogo_callback_free(pointer);
}

static int disturbs_errno(void)
{
	errno = ENOTDIR;
	return errno;
}

Test(callback, the_callers_errno_stays)
{
	int (*pointer)(void);

	call_start(2);
	check_eq(cogo_callback_wait(&pointer, disturbs_errno), 0);
	errno = ENOENT;
	check_eq(pointer(), ENOTDIR);
	check_eq(errno, ENOENT);
	cogo_callback_free(pointer);
}

Test(callback, without_the_library_there_are_none)
{
	int (*pointer)(void) = NULL;

	call_start(2);
	call_use(NULL);
	check_eq(cogo_callback_wait(&pointer, disturbs_errno), -ENOSYS);
	check(!pointer);
	cogo_callback_free(pointer);
}

Test(callback, a_thousand_pointers_are_told_apart)
{
	enum { MANY = 1000 };
	static int (*pointers[MANY])(int);

	call_start(2);
	for (int i = 0; i < MANY; i++)
		check_eq(cogo_callback_wait(&pointers[i], small_int, int), 0);
	for (int i = 0; i < MANY; i += 2)
		cogo_callback_free(pointers[i]);
	for (int i = 1; i < MANY; i += 2) {
		check_eq(pointers[i](i), i);
		cogo_callback_free(pointers[i]);
	}
}
