/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/call.h - any function as a coroutine, and a coroutine behind any function
 * pointer.
 *
 *	static void serve(int fd, struct sockaddr_in from, double patience);
 *
 *	static long double add_up(const double *numbers, size_t n);
 *
 *	double numbers[3] = { 1, 2, 3 };
 *	struct sockaddr_in from = { 0 };
 *	struct cogo_coro *c;
 *	long double sum;
 *
 *	go(serve, accept(3, NULL, NULL), from, 2.5);
 *	cogo_spawn(&c, &sum, add_up, (const double *)numbers, (size_t)3);
 *	cogo_join(c);			// ... and sum is there
 *
 * Every type of C can be passed and returned: integers, enums, floating point,
 * complex numbers, pointers, structures and unions by value. Nothing has to be
 * declared beforehand. Arguments are evaluated and copied by the caller, at once.
 *
 * They are handed over as they are, not converted: an argument's type has to be
 * its parameter's own, or the program does not compile, with the advice to cast
 * it ((long)1, (const char *)"name"). An array is a pointer, a function too. A
 * function of type void (void *) takes any pointer, as ever. Functions with "..."
 * are refused. As these are macros, a compound literal with commas needs
 * parentheses around it.
 *
 * void (void) and void (void *) are called directly. All others need libffi, which
 * is opened when first used: -ENOSYS where it is missing. -EOPNOTSUPP says that
 * an argument is passed in a way that libffi does not know: a vector, a packed
 * structure, one that is aligned to more than 16 bytes.
 *
 * For GNU C, that is, gcc and clang. C++ has cogo.hpp instead. */
#ifndef COGO_CALL_H
#define COGO_CALL_H

#ifndef __cplusplus

#include "cogo/api.h"
#include "cogo/go.h"
#include <stddef.h>

/* A coroutine that calls fn with these arguments, 16 at most, and is on its own;
 * what fn returns is lost. 0; as cogo_go, but never -EINVAL; -ENOSYS, -EOPNOTSUPP.
 * Never parks.
 *
 *	int go(fn, arguments...)
 *
 * A program that uses the name for something else defines COGO_NO_GO before it
 * includes this, and calls cogo_spawn. */
#ifndef COGO_NO_GO
#define go(...)								\
	COGO_SPAWN_(__COUNTER__, (void *)0, (void *)0, (void *)0, __VA_ARGS__)
#endif

/* The same, with a reference to the coroutine, as from cogo_go, and a place for
 * what fn returns; either may be NULL, and for a void function the second is. The
 * place is written before anybody who waits for the coroutine's end is told, and
 * not at all if it panics or is unwound.
 *
 *	int cogo_spawn(struct cogo_coro **ret, TYPE *result, TYPE (*fn)(...),
 *		       arguments...) */
#define cogo_spawn(ret, result, ...) \
	COGO_SPAWN_(__COUNTER__, ret, (void *)0, result, __VA_ARGS__)
/* The same, with attributes as for cogo_go: also -EINVAL.
 *
 *	int cogo_spawn_with(const struct cogo_attr *attr, struct cogo_coro **ret,
 *			    TYPE *result, TYPE (*fn)(...), arguments...) */
#define cogo_spawn_with(attr, ret, result, ...) \
	COGO_SPAWN_(__COUNTER__, ret, attr, result, __VA_ARGS__)

/* A function pointer, for a library that calls back, whose call makes a coroutine
 * that calls fn with the same arguments. The parameters' types are to be given,
 * as the language has no way to find them:
 *
 *	static int by_name(const void *a, const void *b);
 *
 *	int (*order)(const void *, const void *);
 *	char *people[100];
 *
 *	cogo_callback_wait(&order, by_name, const void *, const void *);
 *	qsort(people, 100, sizeof(*people), order);
 *	cogo_callback_free(order);
 *
 * Called from anywhere, by a coroutine or a thread. cogo_callback_wait's waits
 * until fn has ended and returns what it returned, or zero if it was unwound; it
 * parks, and is not broken off by the caller's cancellation. cogo_callback_go's
 * returns at once, and so is for void functions. Where no coroutine can be made,
 * fn runs on the caller's own stack: no call is lost.
 *
 *	int cogo_callback_wait(TYPE (**ret)(...), TYPE (*fn)(...), types...)
 *	int cogo_callback_go(void (**ret)(...), void (*fn)(...), types...)
 *
 * 0, -ENOSYS, -EOPNOTSUPP, -ENOMEM (also where the system forbids memory that can
 * be executed). Never park. */
#define cogo_callback_wait(ret, ...) \
	COGO_CALLBACK_(__COUNTER__, ret, 1, __VA_ARGS__)
#define cogo_callback_go(ret, ...) \
	COGO_CALLBACK_(__COUNTER__, ret, 0, __VA_ARGS__)

/* The end of such a pointer; NULL is none. Nobody calls it any more, nor is in a
 * call of it; coroutines that calls of cogo_callback_go's have made may still
 * run. */
#define cogo_callback_free(pointer) \
	cogo_callback_free_((void (*)(void))(pointer))

/* ---- what those are made of ---- */

/* How a value is passed. `probed` is of a structure or union, or of what has no
 * kind of its own: where the compiler has put one, see cogo_probe_. */
struct cogo_value_ {
	const void *at;
	size_t size;
	unsigned short align;
	char kind;
	unsigned probed;
};

#define COGO_ARGUMENTS_ 16	/* at most */

/* Functions that need no libffi. */
enum cogo_shape_ { COGO_ANY_, COGO_PLAIN_, COGO_POINTER_ };

/* value[0] is what fn returns, and n arguments follow. */
COGO_API int cogo_spawn_(struct cogo_coro **ret, const struct cogo_attr *attr,
			 void *result, enum cogo_shape_ shape, void (*fn)(void),
			 unsigned n, const struct cogo_value_ *value);
COGO_API int cogo_callback_(void *ret, int wait, void (*fn)(void), unsigned n,
			    const struct cogo_value_ *value);
COGO_API void cogo_callback_free_(void (*pointer)(void));

/* In which registers a structure travels depends on its members, which the
 * language cannot list; so the compiler is asked, by calling a function that takes
 * one, then a long and a double, and looks where things are. cogo_probed_ is
 * COGO_PROBED_ bytes to call it with; larger ones are passed in memory by every
 * calling convention. */
#define COGO_PROBED_ 64
COGO_API void (*cogo_probe_(void))(void);
COGO_API const void *cogo_probed_(void);
#define COGO_PROBE_LONG_ 0x636f676f5f6c6f6eL
#define COGO_PROBE_DOUBLE_ 0x1.636f676f5f646p-321

/* The type of x as an argument: an array is a pointer, and const goes. */
#define COGO_TYPE_(x) __typeof__(((void)0, (x)))
#define COGO_SAME_(T, U) __builtin_types_compatible_p(T, U)
#define COGO_IS_POINTER_(T) (__builtin_classify_type(*(T *)0) == 5)

/* i, u: integers, of their size; f, d, q: the three of floating point; c: complex,
 * of its size; p: a pointer; s: a structure, or something else; v: void. */
#define COGO_KIND_(T)							\
	_Generic((T *)0,						\
		_Bool *: 'u',						\
		char *: (char)-1 < (char)1 ? 'i' : 'u',			\
		signed char *: 'i',		unsigned char *: 'u',	\
		short *: 'i',			unsigned short *: 'u',	\
		int *: 'i',			unsigned *: 'u',	\
		long *: 'i',			unsigned long *: 'u',	\
		long long *: 'i',		unsigned long long *: 'u', \
		float *: 'f', double *: 'd', long double *: 'q',	\
		float _Complex *: 'c', double _Complex *: 'c',		\
		long double _Complex *: 'c',				\
		default: COGO_IS_POINTER_(T) ? 'p' : 's')

#define COGO_LOOK_(T)							\
	(COGO_KIND_(T) == 's' && sizeof(T) <= COGO_PROBED_ ?		\
		 ((unsigned (*)(T, long, double))cogo_probe_())(	\
			 *(const T *)cogo_probed_(), COGO_PROBE_LONG_,	\
			 COGO_PROBE_DOUBLE_) :				\
		 0u)

/* Of type T, which lies there. */
#define COGO_VALUE_(T, there)						\
	{ there, sizeof(T), (unsigned short)_Alignof(T), COGO_KIND_(T),	\
	  COGO_LOOK_(T) }
/* Of a result of type R: void has no size. */
#define COGO_RESULT_(R, full)						\
	{ (void *)0, sizeof(full), (unsigned short)_Alignof(full),	\
	  COGO_SAME_(R, void) ? 'v' : COGO_KIND_(full), COGO_LOOK_(full) }
#define COGO_FULL_(R) \
	__typeof__(*__builtin_choose_expr(COGO_SAME_(R, void), (int *)0, (R *)0))

/* Whether p, of type P, is NULL itself, and not just a pointer that may be: only
 * with that has the conditional the other operand's type. */
#define COGO_IS_NULL_(P, p)						\
	COGO_SAME_(__typeof__(1 ? (int *)0 :				\
			__builtin_choose_expr(COGO_SAME_(P, void *),	\
					      (p), (void *)1)),		\
		   int *)

/* Each argument, and the function, is evaluated once, into a variable; what
 * follows is about those. i makes their names the only ones in their file, so that
 * an argument may itself hold a go. */
#define COGO_SPAWN_(i, ret, attr, result, ...)				\
	COGO_PASTE_(COGO_SPAWN_, COGO_ANY_ARGUMENTS_(__VA_ARGS__))(	\
		i, COGO_COUNT_(__VA_ARGS__), ret, attr, result, __VA_ARGS__)

#define COGO_CHECK_RESULT_(result, R)					\
	_Static_assert(COGO_IS_NULL_(COGO_TYPE_(result), result) ||	\
		       (!COGO_SAME_(R, void) &&				\
			COGO_SAME_(COGO_TYPE_(result), R *)),		\
		"the place for the result must be of the type that the " \
		"function returns, or NULL, as for a void function")

#define COGO_SPAWN_NONE(i, n, ret, attr, result, fn)			\
	__extension__({							\
		COGO_TYPE_(fn) COGO_FN_(i) = (fn);			\
		typedef __typeof__(COGO_FN_(i)()) COGO_R_(i);		\
		typedef COGO_FULL_(COGO_R_(i)) COGO_F_(i);		\
		_Static_assert(COGO_SAME_(__typeof__(COGO_FN_(i)),	\
					  COGO_R_(i) (*)(void)),	\
			"a function with ... cannot be a coroutine");	\
		COGO_CHECK_RESULT_(result, COGO_R_(i));			\
		cogo_spawn_(ret, attr, result,				\
			COGO_SAME_(COGO_R_(i), void) ? COGO_PLAIN_ : COGO_ANY_, \
			(void (*)(void))COGO_FN_(i), 0,			\
			(const struct cogo_value_[]){			\
				COGO_RESULT_(COGO_R_(i), COGO_F_(i)) });	\
	})

#define COGO_SPAWN_SOME(i, n, ret, attr, result, fn, ...)		\
	__extension__({							\
		COGO_TYPE_(fn) COGO_FN_(i) = (fn);			\
		COGO_LET_(n)(i, __VA_ARGS__)				\
		typedef __typeof__(COGO_FN_(i)(COGO_NAMES_(n)(i, COGO_ITSELF_))) \
			COGO_R_(i);					\
		typedef COGO_FULL_(COGO_R_(i)) COGO_F_(i);		\
		_Static_assert(						\
			COGO_SAME_(__typeof__(COGO_FN_(i)),		\
				COGO_R_(i) (*)(				\
				COGO_NAMES_(n)(i, __typeof__))) ||	\
			COGO_TAKES_POINTER_(i, COGO_NAMES_(n)(i, COGO_ITSELF_)), \
			"cast the argument to the type of its parameter "	\
			"(and a function with ... cannot be a coroutine)"); \
		COGO_CHECK_RESULT_(result, COGO_R_(i));			\
		cogo_spawn_(ret, attr, result,				\
			COGO_SAME_(__typeof__(COGO_FN_(i)), void (*)(void *)) ? \
				COGO_POINTER_ : COGO_ANY_,		\
			(void (*)(void))COGO_FN_(i), n,			\
			(const struct cogo_value_[]){			\
				COGO_RESULT_(COGO_R_(i), COGO_F_(i)),	\
				COGO_NAMES_(n)(i, COGO_GIVEN_) });	\
	})

#define COGO_TAKES_POINTER_(i, ...)					\
	(COGO_SAME_(__typeof__(COGO_FN_(i)), void (*)(void *)) &&	\
	 COGO_IS_POINTER_(__typeof__(COGO_FIRST_(__VA_ARGS__, 0))))
#define COGO_GIVEN_(a) COGO_VALUE_(__typeof__(a), &a)

#define COGO_CALLBACK_(i, ret, wait, ...)				\
	COGO_PASTE_(COGO_CALLBACK_, COGO_ANY_ARGUMENTS_(__VA_ARGS__))(	\
		i, COGO_COUNT_(__VA_ARGS__), ret, wait, __VA_ARGS__)

/* A parameter of type T; and its type, as that of an argument. */
#define COGO_SOME_(T) (*(__typeof__(T) *)0)
#define COGO_PARAMETER_(T) COGO_VALUE_(COGO_TYPE_(COGO_SOME_(T)), (void *)0)
#define COGO_ITSELF_(a) a

#define COGO_CHECK_CALLBACK_(ret, wait, fn, R, ...)			\
	_Static_assert(COGO_SAME_(COGO_TYPE_(fn), R (*)(__VA_ARGS__)),	\
		"the types given must be those of the parameters of "	\
		"the function");						\
	_Static_assert(COGO_SAME_(COGO_TYPE_(ret), COGO_TYPE_(fn) *),	\
		"the pointer must be of the type of the function");	\
	_Static_assert((wait) || COGO_SAME_(R, void),			\
		"what nobody waits for cannot return anything")

#define COGO_CALLBACK_NONE(i, n, ret, wait, fn)				\
	__extension__({							\
		typedef __typeof__((fn)()) COGO_R_(i);			\
		typedef COGO_FULL_(COGO_R_(i)) COGO_F_(i);		\
		COGO_CHECK_CALLBACK_(ret, wait, fn, COGO_R_(i), void);	\
		cogo_callback_(ret, wait, (void (*)(void))(fn), 0,	\
			(const struct cogo_value_[]){			\
				COGO_RESULT_(COGO_R_(i), COGO_F_(i)) });	\
	})

#define COGO_CALLBACK_SOME(i, n, ret, wait, fn, ...)			\
	__extension__({							\
		typedef __typeof__((fn)(COGO_MAP_(n)(COGO_SOME_, __VA_ARGS__))) \
			COGO_R_(i);					\
		typedef COGO_FULL_(COGO_R_(i)) COGO_F_(i);		\
		COGO_CHECK_CALLBACK_(ret, wait, fn, COGO_R_(i),		\
			COGO_MAP_(n)(COGO_ITSELF_, __VA_ARGS__));	\
		cogo_callback_(ret, wait, (void (*)(void))(fn), n,	\
			(const struct cogo_value_[]){			\
				COGO_RESULT_(COGO_R_(i), COGO_F_(i)),	\
				COGO_MAP_(n)(COGO_PARAMETER_, __VA_ARGS__) }); \
	})

#define COGO_FN_(i) COGO_PASTE_(cogo_fn_, i)
#define COGO_R_(i) COGO_PASTE_(cogo_r_, i)
#define COGO_F_(i) COGO_PASTE_(cogo_f_, i)

/* How many follow the function, which comes first. */
#define COGO_COUNT_(...)						\
	COGO_PICK_(__VA_ARGS__, MOST, MOST, MOST, MOST, MOST, MOST, MOST, \
		   MOST, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, \
		   1, 0, 0)
#define COGO_ANY_ARGUMENTS_(...)					\
	COGO_PICK_(__VA_ARGS__, SOME, SOME, SOME, SOME, SOME, SOME, SOME, \
		   SOME, SOME, SOME, SOME, SOME, SOME, SOME, SOME, SOME, \
		   SOME, SOME, SOME, SOME, SOME, SOME, SOME, SOME, NONE, 0)
#define COGO_PICK_(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, \
		   a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24, a25, \
		   ...) a25
#define COGO_FIRST_(a, ...) a
#define COGO_PASTE_(a, b) COGO_PASTE2_(a, b)
#define COGO_PASTE2_(a, b) a##b

/* m of each, with commas between. */
#define COGO_MAP_(n) COGO_PASTE_(COGO_MAP_, n)
#define COGO_MAP_1(m, a) m(a)
#define COGO_MAP_2(m, a, ...) m(a), COGO_MAP_1(m, __VA_ARGS__)
#define COGO_MAP_3(m, a, ...) m(a), COGO_MAP_2(m, __VA_ARGS__)
#define COGO_MAP_4(m, a, ...) m(a), COGO_MAP_3(m, __VA_ARGS__)
#define COGO_MAP_5(m, a, ...) m(a), COGO_MAP_4(m, __VA_ARGS__)
#define COGO_MAP_6(m, a, ...) m(a), COGO_MAP_5(m, __VA_ARGS__)
#define COGO_MAP_7(m, a, ...) m(a), COGO_MAP_6(m, __VA_ARGS__)
#define COGO_MAP_8(m, a, ...) m(a), COGO_MAP_7(m, __VA_ARGS__)
#define COGO_MAP_9(m, a, ...) m(a), COGO_MAP_8(m, __VA_ARGS__)
#define COGO_MAP_10(m, a, ...) m(a), COGO_MAP_9(m, __VA_ARGS__)
#define COGO_MAP_11(m, a, ...) m(a), COGO_MAP_10(m, __VA_ARGS__)
#define COGO_MAP_12(m, a, ...) m(a), COGO_MAP_11(m, __VA_ARGS__)
#define COGO_MAP_13(m, a, ...) m(a), COGO_MAP_12(m, __VA_ARGS__)
#define COGO_MAP_14(m, a, ...) m(a), COGO_MAP_13(m, __VA_ARGS__)
#define COGO_MAP_15(m, a, ...) m(a), COGO_MAP_14(m, __VA_ARGS__)
#define COGO_MAP_16(m, a, ...) m(a), COGO_MAP_15(m, __VA_ARGS__)
#define COGO_MAP_MOST(m, ...) cogo_takes_16_arguments_at_most_

/* A variable for each, numbered downwards; and m of each of those. */
#define COGO_A_(k, i) COGO_PASTE_(cogo_a##k##_, i)
#define COGO_VARIABLE_(k, i, a) COGO_TYPE_(a) COGO_A_(k, i) = (a);
#define COGO_LET_(n) COGO_PASTE_(COGO_LET_, n)
#define COGO_LET_1(i, a) COGO_VARIABLE_(1, i, a)
#define COGO_LET_2(i, a, ...) \
	COGO_VARIABLE_(2, i, a) COGO_LET_1(i, __VA_ARGS__)
#define COGO_LET_3(i, a, ...) \
	COGO_VARIABLE_(3, i, a) COGO_LET_2(i, __VA_ARGS__)
#define COGO_LET_4(i, a, ...) \
	COGO_VARIABLE_(4, i, a) COGO_LET_3(i, __VA_ARGS__)
#define COGO_LET_5(i, a, ...) \
	COGO_VARIABLE_(5, i, a) COGO_LET_4(i, __VA_ARGS__)
#define COGO_LET_6(i, a, ...) \
	COGO_VARIABLE_(6, i, a) COGO_LET_5(i, __VA_ARGS__)
#define COGO_LET_7(i, a, ...) \
	COGO_VARIABLE_(7, i, a) COGO_LET_6(i, __VA_ARGS__)
#define COGO_LET_8(i, a, ...) \
	COGO_VARIABLE_(8, i, a) COGO_LET_7(i, __VA_ARGS__)
#define COGO_LET_9(i, a, ...) \
	COGO_VARIABLE_(9, i, a) COGO_LET_8(i, __VA_ARGS__)
#define COGO_LET_10(i, a, ...) \
	COGO_VARIABLE_(10, i, a) COGO_LET_9(i, __VA_ARGS__)
#define COGO_LET_11(i, a, ...) \
	COGO_VARIABLE_(11, i, a) COGO_LET_10(i, __VA_ARGS__)
#define COGO_LET_12(i, a, ...) \
	COGO_VARIABLE_(12, i, a) COGO_LET_11(i, __VA_ARGS__)
#define COGO_LET_13(i, a, ...) \
	COGO_VARIABLE_(13, i, a) COGO_LET_12(i, __VA_ARGS__)
#define COGO_LET_14(i, a, ...) \
	COGO_VARIABLE_(14, i, a) COGO_LET_13(i, __VA_ARGS__)
#define COGO_LET_15(i, a, ...) \
	COGO_VARIABLE_(15, i, a) COGO_LET_14(i, __VA_ARGS__)
#define COGO_LET_16(i, a, ...) \
	COGO_VARIABLE_(16, i, a) COGO_LET_15(i, __VA_ARGS__)
#define COGO_LET_MOST(i, ...) cogo_takes_16_arguments_at_most_;
#define COGO_NAMES_(n) COGO_PASTE_(COGO_NAMES_, n)
#define COGO_NAMES_1(i, m) m(COGO_A_(1, i))
#define COGO_NAMES_2(i, m) m(COGO_A_(2, i)), COGO_NAMES_1(i, m)
#define COGO_NAMES_3(i, m) m(COGO_A_(3, i)), COGO_NAMES_2(i, m)
#define COGO_NAMES_4(i, m) m(COGO_A_(4, i)), COGO_NAMES_3(i, m)
#define COGO_NAMES_5(i, m) m(COGO_A_(5, i)), COGO_NAMES_4(i, m)
#define COGO_NAMES_6(i, m) m(COGO_A_(6, i)), COGO_NAMES_5(i, m)
#define COGO_NAMES_7(i, m) m(COGO_A_(7, i)), COGO_NAMES_6(i, m)
#define COGO_NAMES_8(i, m) m(COGO_A_(8, i)), COGO_NAMES_7(i, m)
#define COGO_NAMES_9(i, m) m(COGO_A_(9, i)), COGO_NAMES_8(i, m)
#define COGO_NAMES_10(i, m) m(COGO_A_(10, i)), COGO_NAMES_9(i, m)
#define COGO_NAMES_11(i, m) m(COGO_A_(11, i)), COGO_NAMES_10(i, m)
#define COGO_NAMES_12(i, m) m(COGO_A_(12, i)), COGO_NAMES_11(i, m)
#define COGO_NAMES_13(i, m) m(COGO_A_(13, i)), COGO_NAMES_12(i, m)
#define COGO_NAMES_14(i, m) m(COGO_A_(14, i)), COGO_NAMES_13(i, m)
#define COGO_NAMES_15(i, m) m(COGO_A_(15, i)), COGO_NAMES_14(i, m)
#define COGO_NAMES_16(i, m) m(COGO_A_(16, i)), COGO_NAMES_15(i, m)
#define COGO_NAMES_MOST(i, m) cogo_takes_16_arguments_at_most_

#endif
#endif
