/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* test_call.c - go and cogo_spawn: what a function is given and what it returns is
 * what it would be by calling it. */
#include "call.h"
#include <complex.h>
#include <errno.h>
#include <stddef.h>

enum colour { RED, GREEN = 70000 };
enum below { BELOW = -3 };
typedef const char *text;
typedef int (*function)(const char *);

/* ---- one of each --------------------------------------------------------- */

#define TAKES(name, type, format, ...)                                         \
	static void takes_##name(type a)                                       \
	{                                                                      \
		say(#name " " format ";", __VA_ARGS__);                        \
	}
TAKES(bool, _Bool, "%d", a)
TAKES(char, char, "%d", a)
TAKES(schar, signed char, "%d", a)
TAKES(uchar, unsigned char, "%d", a)
TAKES(short, short, "%d", a)
TAKES(ushort, unsigned short, "%d", a)
TAKES(int, int, "%d", a)
TAKES(unsigned, unsigned, "%u", a)
TAKES(long, long, "%ld", a)
TAKES(ulong, unsigned long, "%lu", a)
TAKES(llong, long long, "%lld", a)
TAKES(ullong, unsigned long long, "%llu", a)
TAKES(float, float, "%a", (double)a)
TAKES(double, double, "%a", a)
TAKES(ldouble, long double, "%La", a)
TAKES(cfloat, float _Complex, "%a %a", (double)crealf(a), (double)cimagf(a))
TAKES(cdouble, double _Complex, "%a %a", creal(a), cimag(a))
TAKES(cldouble, long double _Complex, "%La %La", creall(a), cimagl(a))
TAKES(pointer, text, "%s", a)
TAKES(function, function, "%p", *(void **)&a)
TAKES(colour, enum colour, "%d", (int)a)
TAKES(below, enum below, "%d", (int)a)

Test(call, every_scalar_type_arrives_as_it_was)
{
	call_start(2);
	same(takes_bool, (_Bool)1);
	same(takes_char, (char)-5);
	same(takes_schar, (signed char)-128);
	same(takes_uchar, (unsigned char)255);
	same(takes_short, (short)-32768);
	same(takes_ushort, (unsigned short)65535);
	same(takes_int, -2147483647);
	same(takes_unsigned, 4294967295u);
	same(takes_long, -9223372036854775807l);
	same(takes_ulong, 18446744073709551615ul);
	same(takes_llong, -9223372036854775807ll);
	same(takes_ullong, 18446744073709551615ull);
	same(takes_float, 1.1f);
	same(takes_double, -1e300);
	same(takes_ldouble, 1.1L);
	same(takes_cfloat, (float _Complex)(1.5f + 2.25f * I));
	same(takes_cdouble, (double _Complex)(-1.5 + 2e200 * I));
	same(takes_cldouble, (long double _Complex)(1.1L + 2.2L * I));
	same(takes_pointer, (text)"text");
	same(takes_function, puts);
	same(takes_colour, (enum colour)GREEN);
	same(takes_below, (enum below)BELOW);
}

#define RETURNS(name, type)                                                    \
	static type returns_##name(type a, int rubbish)                        \
	{                                                                      \
		(void)rubbish;                                                 \
		return a;                                                      \
	}
RETURNS(bool, _Bool)
RETURNS(char, char)
RETURNS(schar, signed char)
RETURNS(uchar, unsigned char)
RETURNS(short, short)
RETURNS(ushort, unsigned short)
RETURNS(int, int)
RETURNS(unsigned, unsigned)
RETURNS(long, long)
RETURNS(ulong, unsigned long)
RETURNS(llong, long long)
RETURNS(ullong, unsigned long long)
RETURNS(float, float)
RETURNS(double, double)
RETURNS(ldouble, long double)
RETURNS(cfloat, float _Complex)
RETURNS(cdouble, double _Complex)
RETURNS(cldouble, long double _Complex)
RETURNS(pointer, text)
RETURNS(colour, enum colour)
RETURNS(below, enum below)

/* And not a byte beside it. */
#define returned(name, type, value)                                            \
	do {                                                                   \
		struct { type before, at, after; } place;                      \
		struct cogo_coro *coro;                                        \
		memset(&place, 0x5a, sizeof(place));                           \
		check_eq(cogo_spawn(&coro, &place.at, returns_##name,          \
				    (type)(value), 1), 0);                     \
		check_eq(cogo_join(coro), COGO_RETURNED);                      \
		check(place.at == (type)(value));                              \
		for (size_t i = 0; i < sizeof(type); i++) {                    \
			check_eq(((char *)&place.before)[i], 0x5a);            \
			check_eq(((char *)&place.after)[i], 0x5a);             \
		}                                                              \
	} while (0)

Test(call, every_scalar_type_is_returned_as_it_was)
{
	call_start(2);
	returned(bool, _Bool, 1);
	returned(char, char, -5);
	returned(schar, signed char, -128);
	returned(uchar, unsigned char, 255);
	returned(short, short, -32768);
	returned(ushort, unsigned short, 65535);
	returned(int, int, -2147483647);
	returned(unsigned, unsigned, 4294967295u);
	returned(long, long, -9223372036854775807l);
	returned(ulong, unsigned long, 18446744073709551615ul);
	returned(llong, long long, -9223372036854775807ll);
	returned(ullong, unsigned long long, 18446744073709551615ull);
	returned(float, float, 1.1f);
	returned(double, double, -1e300);
	returned(ldouble, long double, 1.1L);
	returned(cfloat, float _Complex, 1.5f + 2.25f * I);
	returned(cdouble, double _Complex, -1.5 + 2e200 * I);
	returned(cldouble, long double _Complex, 1.1L + 2.2L * I);
	returned(pointer, text, said);
	returned(colour, enum colour, GREEN);
	returned(below, enum below, BELOW);
}

/* ---- many ---------------------------------------------------------------- */

static void twelve(char a, double b, short c, float d, const char *e,
		   long double f, unsigned long g, int h, float i, long j,
		   double k, unsigned char l)
{
	say("%d %a %d %a %s %La %lu %d %a %ld %a %d", a, b, c, (double)d, e, f, g,
	    h, (double)i, j, k, l);
}

static void sixteen(int a, int b, int c, int d, int e, int f, int g, int h,
		    double i, double j, double k, double l, long double m,
		    char n, float o, short p)
{
	say("%d %d %d %d %d %d %d %d %a %a %a %a %La %d %a %d", a, b, c, d, e, f,
	    g, h, i, j, k, l, m, n, (double)o, p);
}

static void floats(float a, float b, float c, float d, float e, float f, float g,
		   float h, float i, float j)
{
	say("%a %a %a %a %a %a %a %a %a %a", (double)a, (double)b, (double)c,
	    (double)d, (double)e, (double)f, (double)g, (double)h, (double)i,
	    (double)j);
}

Test(call, many_arguments_of_mixed_types_keep_their_places)
{
	call_start(2);
	same(twelve, (char)-1, 2.5, (short)-3, 4.5f, (const char *)"five", 6.5L,
	     7ul, -8, 9.5f, -10l, 11.5, (unsigned char)200);
	same(sixteen, 1, -2, 3, -4, 5, -6, 7, -8, 9., 10., 11., 12., 13.L,
	     (char)-14, 15.5f, (short)-16);
	same(floats, 1.f, 2.f, 3.f, 4.f, 5.f, 6.f, 7.f, 8.f, 9.f, 10.f);
}

/* ---- structures ---------------------------------------------------------- */

struct ints { int a, b; };
struct longs { long a, b; };
struct doubles { double a, b; };
struct int_double { int a; double b; };
struct double_int { double a; int b; };
struct float3 { float a, b, c; };
struct float1 { float a; };
struct float4 { float a[4]; };
struct double4 { double a, b, c, d; };
struct bytes3 { char a[3]; };
struct bytes5 { char a[5]; };
struct bytes13 { char a[13]; };
struct mixed8 { float a; int b; };
struct long3 { long a, b, c; };
struct long_doubles { long double a; };
struct long_double2 { long double a, b; };
struct nested { struct { char a; struct { float b; } c; } d; struct int_double e; };
struct nested16 { struct { float a; } b[2]; struct { short c; char d; } e; };
struct big { long a[40]; };
union either { double a; long b; };
union floats2 { float a[2]; double b; };

/* A function that takes it among others, and one that returns it. */
#define STRUCT(name, type, format, ...)                                        \
	static void with_##name(int before, type a, double after, type again)  \
	{                                                                      \
		say("%d " format " %a ", before, __VA_ARGS__, after);          \
		a = again;                                                     \
		say(format ";", __VA_ARGS__);                                  \
	}                                                                      \
	/* Few registers are left for it, or none. */                          \
	static void late_##name(long i, long j, long k, long l, long m,        \
				double n, double o, double p, double q,        \
				double r, double s, double t, type a, type b)  \
	{                                                                      \
		say("%ld %ld %ld %ld %ld %a %a %a %a %a %a %a", i, j, k, l, m, \
		    n, o, p, q, r, s, t);                                      \
		say(format ";", __VA_ARGS__);                                  \
		a = b;                                                         \
		say(format ";", __VA_ARGS__);                                  \
	}                                                                      \
	static type gives_##name(type a, int b)                                \
	{                                                                      \
		say(format " %d;", __VA_ARGS__, b);                            \
		return a;                                                      \
	}                                                                      \
	static void check_##name(type value, type other)                       \
	{                                                                      \
		struct { type before, at, after; } place;                      \
		char want[sizeof(said)];                                       \
		struct cogo_coro *coro;                                        \
		type a = value;                                                \
                                                                               \
		same(with_##name, 7, value, 2.5, other);                       \
		same(late_##name, 1l, 2l, 3l, 4l, 5l, 6., 7., 8., 9., 10., 11., \
		     12., value, other);                                       \
		said[0] = 0;                                                   \
		say(format " %d;" format, __VA_ARGS__, 8, __VA_ARGS__);        \
		strcpy(want, said);                                            \
		said[0] = 0;                                                   \
		memset(&place, 0x5a, sizeof(place));                           \
		check_eq(cogo_spawn(&coro, &place.at, gives_##name, value, 8), \
			 0);                                                   \
		check_eq(cogo_join(coro), COGO_RETURNED);                      \
		a = place.at;                                                  \
		say(format, __VA_ARGS__);                                      \
		must_be_the_same(want, "gives_" #name);                        \
		for (size_t i = 0; i < sizeof(type); i++) {                    \
			check_eq(((char *)&place.before)[i], 0x5a);            \
			check_eq(((char *)&place.after)[i], 0x5a);             \
		}                                                              \
	}
STRUCT(ints, struct ints, "%d %d", a.a, a.b)
STRUCT(longs, struct longs, "%ld %ld", a.a, a.b)
STRUCT(doubles, struct doubles, "%a %a", a.a, a.b)
STRUCT(int_double, struct int_double, "%d %a", a.a, a.b)
STRUCT(double_int, struct double_int, "%a %d", a.a, a.b)
STRUCT(float3, struct float3, "%a %a %a", (double)a.a, (double)a.b, (double)a.c)
STRUCT(float1, struct float1, "%a", (double)a.a)
STRUCT(float4, struct float4, "%a %a %a %a", (double)a.a[0], (double)a.a[1],
       (double)a.a[2], (double)a.a[3])
STRUCT(double4, struct double4, "%a %a %a %a", a.a, a.b, a.c, a.d)
STRUCT(bytes3, struct bytes3, "%.3s", a.a)
STRUCT(bytes5, struct bytes5, "%.5s", a.a)
STRUCT(bytes13, struct bytes13, "%.13s", a.a)
STRUCT(mixed8, struct mixed8, "%a %d", (double)a.a, a.b)
STRUCT(long3, struct long3, "%ld %ld %ld", a.a, a.b, a.c)
STRUCT(long_doubles, struct long_doubles, "%La", a.a)
STRUCT(long_double2, struct long_double2, "%La %La", a.a, a.b)
STRUCT(nested, struct nested, "%d %a %d %a", a.d.a, (double)a.d.c.b, a.e.a, a.e.b)
STRUCT(nested16, struct nested16, "%a %a %d %d", (double)a.b[0].a,
       (double)a.b[1].a, a.e.c, a.e.d)
STRUCT(big, struct big, "%ld %ld %ld", a.a[0], a.a[20], a.a[39])
STRUCT(either, union either, "%a", a.a)
STRUCT(floats2, union floats2, "%a", a.b)

Test(call, structures_of_every_class_are_passed_and_returned_by_value)
{
	call_start(2);
	check_ints((struct ints){ 1, -2 }, (struct ints){ 3, 4 });
	check_longs((struct longs){ 1, -2 }, (struct longs){ 3, 4 });
	check_doubles((struct doubles){ 1.5, -2.5 }, (struct doubles){ 3.5, 4.5 });
	check_int_double((struct int_double){ 1, -2.5 },
			 (struct int_double){ 3, 4.5 });
	check_double_int((struct double_int){ 1.5, -2 },
			 (struct double_int){ 3.5, 4 });
	check_float3((struct float3){ 1.5f, 2.5f, 3.5f },
		     (struct float3){ 4.5f, 5.5f, 6.5f });
	check_float1((struct float1){ 1.5f }, (struct float1){ 2.5f });
	check_float4((struct float4){ { 1.5f, 2.5f, 3.5f, 4.5f } },
		     (struct float4){ { 5.5f, 6.5f, 7.5f, 8.5f } });
	check_double4((struct double4){ 1.5, 2.5, 3.5, 4.5 },
		      (struct double4){ 5.5, 6.5, 7.5, 8.5 });
	check_bytes3((struct bytes3){ "abc" }, (struct bytes3){ "xyz" });
	check_bytes5((struct bytes5){ "abcde" }, (struct bytes5){ "vwxyz" });
	check_bytes13((struct bytes13){ "abcdefghijklm" },
		      (struct bytes13){ "nopqrstuvwxyz" });
	check_mixed8((struct mixed8){ 1.5f, -2 }, (struct mixed8){ 3.5f, 4 });
	check_long3((struct long3){ 1, 2, 3 }, (struct long3){ 4, 5, 6 });
	check_long_doubles((struct long_doubles){ 1.1L },
			   (struct long_doubles){ 2.2L });
	check_long_double2((struct long_double2){ 1.1L, 2.2L },
			   (struct long_double2){ 3.3L, 4.4L });
	check_nested((struct nested){ { 'a', { 1.5f } }, { 2, 3.5 } },
		     (struct nested){ { 'b', { 4.5f } }, { 5, 6.5 } });
	check_nested16((struct nested16){ { { 1.5f }, { 2.5f } }, { 3, 'd' } },
		       (struct nested16){ { { 4.5f }, { 5.5f } }, { 6, 'e' } });
	check_big((struct big){ { [0] = 1, [20] = 2, [39] = 3 } },
		  (struct big){ { [0] = 4, [20] = 5, [39] = 6 } });
	check_either((union either){ 1.5 }, (union either){ 2.5 });
	check_floats2((union floats2){ { 1.5f, 2.5f } },
		      (union floats2){ { 3.5f, 4.5f } });
}

/* ---- how it is done ------------------------------------------------------ */

static _Atomic int ran;

static void plain(void)
{
	ran++;
}

static void with_pointer(void *arg)
{
	*(_Atomic int *)arg += 1;
}

static int counts(void)
{
	return ++ran;
}

Test(call, functions_of_nothing_and_of_a_pointer_need_no_library)
{
	int n = 0;

	call_start(2);
	call_use(NULL);
	check_eq(go(plain), 0);
	check_eq(go(&plain), 0);
	check_eq(go(with_pointer, &ran), 0);
	check_eq(go(with_pointer, (void *)&ran), 0);
	wait_until(ran == 4);
	check_eq(go(takes_int, 1), -ENOSYS);
	check_eq(cogo_spawn(NULL, &n, counts), -ENOSYS);
	check_eq(n, 0);
}

static int next_argument(void)
{
	static int n;

	return ++n;
}

Test(call, arguments_are_evaluated_once_and_by_the_caller)
{
	struct cogo_coro *c;
	int here = 3;

	call_start(1);
	check_eq(cogo_spawn(&c, NULL, takes_int, next_argument()), 0);
	cogo_join(c);
	check_eq(next_argument(), 2);
	/* What the variable is later is another matter. */
	said[0] = 0;
	check_eq(cogo_spawn(&c, NULL, takes_int, here), 0);
	here = 4;
	cogo_join(c);
	check(strcmp(said, "int 3;") == 0);
}

static void takes_array(const int *a, char *name, int (*fn)(void))
{
	say("%d %s %d", a[1], name, fn());
}

Test(call, arrays_and_functions_are_passed_as_pointers)
{
	static const int numbers[] = { 1, 2, 3 };
	char name[] = "text";
	const int *const constant = numbers;
	struct cogo_coro *c;

	call_start(2);
	ran = 0;
	said[0] = 0;
	check_eq(cogo_spawn(&c, NULL, takes_array, numbers, name, counts), 0);
	cogo_join(c);
	check_eq(cogo_spawn(&c, NULL, takes_array, constant, name, &counts), 0);
	cogo_join(c);
	check(strcmp(said, "2 text 12 text 2") == 0);
}

static int panics(int a)
{
	cogo_panic("number %d", a);
}

Test(call, a_function_that_panics_leaves_the_result_as_it_was)
{
	struct cogo_coro *c;
	int result = 17;

	if (SANITIZE_ADDRESS)
		skip("AddressSanitizer asks libc for the stack of who unwinds");
	call_start(2);
	check_eq(cogo_spawn(&c, &result, panics, 5), 0);
	cogo_ref(c);
	check_eq(cogo_join(c), COGO_PANICKED);
	check(strcmp(cogo_panic_message(c), "number 5") == 0);
	cogo_drop(c);
	check_eq(result, 17);
}

static int name_of_self(char *ret, size_t size)
{
	return snprintf(ret, size, "%s", cogo_name(cogo_self()));
}

Test(call, attributes_are_the_new_coroutines)
{
	const struct cogo_attr attr = { .name = "typed" };
	struct cogo_coro *c;
	char name[16] = "";
	int n = 0;

	call_start(2);
	check_eq(cogo_spawn_with(&attr, &c, &n, name_of_self, name, sizeof(name)),
		 0);
	cogo_join(c);
	check(strcmp(name, "typed") == 0);
	check_eq(n, 5);
}

/* ---- what cannot be done ------------------------------------------------- */

typedef float quad __attribute__((vector_size(16)));
struct wide { int a; } __attribute__((aligned(32)));

static void takes_vector(quad a)
{
	(void)a;
}

static void takes_wide(struct wide a)
{
	(void)a;
}

#ifdef __SIZEOF_INT128__
__extension__ typedef __int128 huge;

static void takes_huge(int b, huge a)
{
	say("%d %llx %llx", b, (unsigned long long)(a >> 64), (unsigned long long)a);
}
#endif

Test(call, what_libffi_cannot_pass_is_refused_and_not_passed_wrongly)
{
	struct cogo_coro *c;
	quad v = { 1, 2, 3, 4 };
	int r;

	call_start(2);
	check_eq(go(takes_wide, (struct wide){ 1 }), -EOPNOTSUPP);
	r = cogo_spawn(&c, NULL, takes_vector, v);
	check(r == 0 || r == -EOPNOTSUPP);
	if (r == 0)
		cogo_join(c);
#ifdef __SIZEOF_INT128__
	said[0] = 0;
	r = cogo_spawn(&c, NULL, takes_huge, 1, (huge)7 << 64 | 9);
	check(r == 0 || r == -EOPNOTSUPP);
	if (r == 0) {
		cogo_join(c);
		check(strcmp(said, "1 7 9") == 0);
	}
#endif
}

Test(call, calls_from_many_coroutines_do_not_meet)
{
	enum { CALLS = 2000 };
	static long double results[CALLS];
	static struct cogo_coro *coros[CALLS];

	call_start(4);
	for (int i = 0; i < CALLS; i++)
		check_eq(cogo_spawn(&coros[i], &results[i], returns_ldouble,
				    (long double)i * 1.5L, i), 0);
	for (int i = 0; i < CALLS; i++) {
		cogo_join(coros[i]);
		check(results[i] == (long double)i * 1.5L);
	}
}
