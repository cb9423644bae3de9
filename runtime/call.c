/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* call.c - any function as a coroutine, and a coroutine behind any function
 * pointer.
 *
 * The macros of cogo/call.h describe what is passed, value by value; libffi makes
 * a call of it. It is opened when first needed, and never linked: preloaded into
 * a program that has a libffi of its own, ours would stand before it. RTLD_LOCAL
 * keeps its names to itself.
 *
 * Structures are described to libffi by what counts for passing them and not by
 * their members, which nobody has told us (arch/probe.h). So are types that it
 * has never heard of, __int128 for one.
 *
 * A call on its way is one block of memory: how to call, and with what. The
 * coroutine frees it, in a cleanup, since the function called may never return.
 * Refused: to copy all of it to the coroutine's stack and free it at once, which
 * costs more than it saves; and to keep what was learnt of a call's types in a
 * static variable beside it, because that would be in a library that may be
 * unloaded.
 *
 * C1  who makes the coroutine writes the call; from cogo_go on it is the
 *     coroutine's alone.
 * C2  a result is written before the coroutine ends, on the coroutine. */
#include "call.h"
#include "arch/probe.h"
#include "base/compiler.h"
#include "base/errno.h"
#include "base/fatal.h"
#include "base/lock.h"
#include "cogo/call.h"
#include "fault/door.h"
#include "fault/unwind.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_LIBFFI
#include <ffi.h>
#endif

_Static_assert(COGO_PROBED_ == ARCH_PROBED &&
	       COGO_PROBE_LONG_ == ARCH_PROBE_LONG,
	       "programs probe with what the processor's floor looks for");

static void *(*lent_open)(const char *, int);

void call_use(void *(*open_library)(const char *, int))
{
	lent_open = open_library;
}

void (*cogo_probe_(void))(void)
{
	return arch_probe;
}

const void *cogo_probed_(void)
{
	return arch_probed;
}

/* As the one of its type; a function pointer is no void pointer. */
static void call_plain(void *arg)
{
	void (*fn)(void);

	memcpy(&fn, &arg, sizeof(fn));
	fn();
}

static int spawn_plain(struct cogo_coro **ret, const struct cogo_attr *attr,
		       void (*fn)(void))
{
	void *arg;

	memcpy(&arg, &fn, sizeof(arg));
	return cogo_go(ret, attr, call_plain, arg);
}

static int spawn_any(struct cogo_coro **ret, const struct cogo_attr *attr,
		     void *result, void (*fn)(void), unsigned n,
		     const struct cogo_value_ *value);

int cogo_spawn_(struct cogo_coro **ret, const struct cogo_attr *attr,
		void *result, enum cogo_shape_ shape, void (*fn)(void),
		unsigned n, const struct cogo_value_ *value)
{
	switch (shape) {
	case COGO_PLAIN_:
		return spawn_plain(ret, attr, fn);
	case COGO_POINTER_:
		return cogo_go(ret, attr, (void (*)(void *))fn,
			       *(void *const *)value[1].at);
	case COGO_ANY_:
		break;
	}
	return spawn_any(ret, attr, result, fn, n, value);
}

#ifdef HAVE_LIBFFI

/* ---- libffi -------------------------------------------------------------- */

static struct {
	ffi_status (*prep_cif)(ffi_cif *, ffi_abi, unsigned, ffi_type *,
			       ffi_type **);
	void (*call)(ffi_cif *, void (*)(void), void *, void **);
	void *(*closure_alloc)(size_t, void **);
	void (*closure_free)(void *);
	ffi_status (*prep_closure_loc)(ffi_closure *, ffi_cif *,
				       void (*)(ffi_cif *, void *, void **,
						void *),
				       void *, void *);
	_Atomic bool open;
} lib;

/* The one we were compiled for; or the one before or after it, which have these
 * five functions and the types they take, unchanged. */
static void *open_any(void)
{
	static const char *const names[] = { LIBFFI_SONAME, "libffi.so.8",
					     "libffi.so.7" };
	void *handle = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(names) && !handle; i++)
		handle = lent_open(names[i], RTLD_NOW | RTLD_LOCAL);
	return handle;
}

/* Several may come here at once, and do the same; dlopen must not be called under
 * a lock of ours. */
static COLD bool open_slowly(void)
{
	void *handle = lent_open ? open_any() : NULL;

	if (!handle)
		return false;
#define FIND(member) (*(void **)&lib.member = dlsym(handle, "ffi_" #member))
	if (!FIND(prep_cif) || !FIND(call) || !FIND(closure_alloc) ||
	    !FIND(closure_free) || !FIND(prep_closure_loc))
		return false;
#undef FIND
	/* release: who finds it open finds all five. */
	atomic_store_explicit(&lib.open, true, memory_order_release);
	return true;
}

static bool open_lib(void)
{
	/* acquire: pairs with the release above. */
	return likely(atomic_load_explicit(&lib.open, memory_order_acquire)) ||
	       open_slowly();
}

/* A closure's, in whichever version it is that made it. */
#define CLOSURE_SIZE (sizeof(ffi_closure) + 64)

/* ---- describing ---------------------------------------------------------- */

#define PLAIN(type, code) { sizeof(type), _Alignof(type), code, NULL }
static ffi_type type_void = { 1, 1, FFI_TYPE_VOID, NULL };
static ffi_type type_pointer = PLAIN(void *, FFI_TYPE_POINTER);
static ffi_type type_float = PLAIN(float, FFI_TYPE_FLOAT);
static ffi_type type_double = PLAIN(double, FFI_TYPE_DOUBLE);
static ffi_type type_long_double = PLAIN(long double, FFI_TYPE_LONGDOUBLE);
/* By the power of two that is their size. */
static ffi_type type_signed[] = {
	PLAIN(int8_t, FFI_TYPE_SINT8), PLAIN(int16_t, FFI_TYPE_SINT16),
	PLAIN(int32_t, FFI_TYPE_SINT32), PLAIN(int64_t, FFI_TYPE_SINT64),
};
static ffi_type type_unsigned[] = {
	PLAIN(uint8_t, FFI_TYPE_UINT8), PLAIN(uint16_t, FFI_TYPE_UINT16),
	PLAIN(uint32_t, FFI_TYPE_UINT32), PLAIN(uint64_t, FFI_TYPE_UINT64),
};

#ifdef FFI_TARGET_HAS_COMPLEX_TYPE
#define COMPLEX(type, part)						\
	{ sizeof(type _Complex), _Alignof(type _Complex),		\
	  FFI_TYPE_COMPLEX, (ffi_type *[]){ &part, NULL } }
static ffi_type type_complex[] = {
	COMPLEX(float, type_float), COMPLEX(double, type_double),
	COMPLEX(long double, type_long_double),
};
#endif

/* Of a structure: where its type lies, and the types of what it is made of. */
struct description {
	ffi_type type;
	ffi_type *units[5];
};

static ffi_type *unit(char kind)
{
	switch (kind) {
	case 'f':
		return &type_float;
	case 'd':
		return &type_double;
	case 'q':
		return &type_long_double;
	default:
		return &type_unsigned[3];
	}
}

/* What it is made of, as in arch/probe.h; NULL: nobody knows. */
static const char *units_of(const struct cogo_value_ *v)
{
	switch (v->kind) {
	case 'v':
		return "";
	case 'i':
	case 'u':
	case 'p':
		return "i";
	case 'f':
		return "f";
	case 'd':
		return "d";
	case 'q':
		return "q";
	case 'c':
		return v->size == sizeof(float _Complex) ? "d" :
		       v->size == sizeof(double _Complex) ? "dd" : "q";
	default:
		return arch_probe_units(v->probed, v->size, v->align);
	}
}

/* The size and alignment that it has, whatever libffi would make of the units: it
 * leaves alone what has a size already. */
static ffi_type *describe_struct(const struct cogo_value_ *v, const char *units,
				 struct description *d)
{
	size_t n = 0;

	/* It is returned as what it holds, of which libffi does not know. */
	if (units[0] == 'q' && !units[1])
		return &type_long_double;
	for (; units[n]; n++)
		d->units[n] = unit(units[n]);
	d->units[n] = NULL;
	d->type = (ffi_type){ v->size, v->align, FFI_TYPE_STRUCT, d->units };
	return &d->type;
}

static ffi_type *describe_complex(const struct cogo_value_ *v)
{
#ifdef FFI_TARGET_HAS_COMPLEX_TYPE
	for (size_t i = 0; i < ARRAY_SIZE(type_complex); i++)
		if (type_complex[i].size == v->size)
			return &type_complex[i];
#endif
	(void)v;
	return NULL;
}

/* NULL: libffi has no word for it. *d: room for a structure's. */
static ffi_type *describe(const struct cogo_value_ *v, const char *units,
			  struct description *d)
{
	switch (v->kind) {
	case 'v':
		return &type_void;
	case 'i':
		return &type_signed[__builtin_ctzl(v->size)];
	case 'u':
		return &type_unsigned[__builtin_ctzl(v->size)];
	case 'p':
		return &type_pointer;
	case 'c':
		return describe_complex(v);
	case 's':
		return units ? describe_struct(v, units, d) : NULL;
	default:
		return unit(v->kind);
	}
}

/* ---- how to call --------------------------------------------------------- */

/* What libffi knows of a function. It stays where it is, and nothing in it changes
 * once it is made. */
struct signature {
	ffi_cif cif;
	ffi_type **types;
	unsigned split;		/* the argument that is passed as two; or n */
};

/* Room is cut off a block that is known to be large enough: aligned for anything,
 * and with eight bytes to spare, because libffi reads whole registers. */
static size_t room(size_t size)
{
	return align_up(size + 8, 16);
}

static void *cut(char **at, size_t size)
{
	void *piece = *at;

	*at += room(size);
	return piece;
}

static size_t count_structs(unsigned n, const struct cogo_value_ *value)
{
	size_t structs = 0;

	for (unsigned i = 0; i <= n; i++)
		structs += value[i].kind == 's';
	return structs;
}

static size_t room_for_signature(unsigned n, const struct cogo_value_ *value)
{
	return room((n + 1) * sizeof(ffi_type *)) +
	       room(count_structs(n, value) * sizeof(struct description));
}

/* For calling the function, or else for being called in its place. */
static int make_signature(struct signature *s, bool for_calling, unsigned n,
			  const struct cogo_value_ *value, char **at)
{
	struct arch_registers given = { 0 };
	ffi_type *t, *returned = NULL, **next;
	struct description *d;
	const char *units;

	next = s->types = cut(at, (n + 1) * sizeof(ffi_type *));
	d = cut(at, count_structs(n, value) * sizeof(*d));
	s->split = n;
	for (unsigned i = 0; i <= n; i++) {
		units = units_of(&value[i]);
		t = describe(&value[i], units, d);
		if (!t)
			return -EOPNOTSUPP;
		d += value[i].kind == 's';
		if (i == 0) {
			returned = t;
			arch_registers_give(&given, *units == 'm' ? "i" : "");
		} else if (arch_registers_give(&given, units) && for_calling) {
			s->split = i - 1;
			*next++ = unit(units[0]);
			*next++ = unit(units[1]);
		} else {
			*next++ = t;
		}
	}
	return lib.prep_cif(&s->cif, FFI_DEFAULT_ABI,
			    (unsigned)(next - s->types), returned, s->types) ==
	       FFI_OK ? 0 : -EOPNOTSUPP;
}

/* There is one at most: it takes the last register of its kind. */
static NOINLINE void call_split(struct signature *s, void (*fn)(void),
				void *returned, void **values)
{
	void *parts[COGO_ARGUMENTS_ + 1];

	memcpy(parts, values, (s->split + 1) * sizeof(*parts));
	parts[s->split + 1] = (char *)values[s->split] + 8;
	memcpy(&parts[s->split + 2], &values[s->split + 1],
	       (s->cif.nargs - s->split - 2) * sizeof(*parts));
	lib.call(&s->cif, fn, returned, parts);
}

static void call_by(struct signature *s, unsigned n, void (*fn)(void),
		    void *returned, void **values)
{
	if (unlikely(s->split < n))
		call_split(s, fn, returned, values);
	else
		lib.call(&s->cif, fn, returned, values);
}

/* ---- a call on its way --------------------------------------------------- */

struct callback;
struct call {
	void (*fn)(void);
	void *result;		/* the caller's place for it, or NULL */
	size_t size;		/* of the result; 0: there is none */
	void *returned;		/* libffi's: a whole register at least */
	unsigned n;
	void **values;
	struct signature *how;
	struct callback *callback;	/* whose that is; or NULL, its own */
	struct signature own;
};

#define RETURNED_MIN sizeof(long double _Complex)

static size_t room_for_values(unsigned n, const struct cogo_value_ *value)
{
	size_t size = room(value[0].size + RETURNED_MIN) +
		      room(n * sizeof(void *));

	for (unsigned i = 1; i <= n; i++)
		size += room(value[i].size);
	return size;
}

static void cut_values(struct call *c, size_t size_returned, char **at)
{
	c->returned = cut(at, size_returned + RETURNED_MIN);
	c->values = cut(at, c->n * sizeof(void *));
}

static void copy_value(struct call *c, unsigned i, const void *from, size_t size,
		       char **at)
{
	c->values[i] = cut(at, size);
	memcpy(c->values[i], from, size);
}

static void call_now(struct call *c)
{
	call_by(c->how, c->n, c->fn, c->returned, c->values);
}

/* And however that ends, end(c). On the list, and no attribute of this frame's: to
 * one compiler that may throw, and it would call abort, which is a name of ours.
 * Integers that are small are returned in a whole register, from the low end, which
 * is where they begin on every CPU that we know. */
static void call_and_end(struct call *c, void (*end)(void *))
{
	struct cogo_deferred d = { .fn = end, .arg = c };

	unwind_push(self(), &d);
	call_now(c);
	if (c->result)
		memcpy(c->result, c->returned, c->size);
	unwind_pop(self(), &d);
	end(c);
}

static void run_call(void *arg)
{
	call_and_end(arg, free);
}

static int spawn_any(struct cogo_coro **ret, const struct cogo_attr *attr,
		     void *result, void (*fn)(void), unsigned n,
		     const struct cogo_value_ *value)
{
	struct call *c;
	char *at;
	int r;

	if (!open_lib())
		return -ENOSYS;
	c = malloc(sizeof(*c) + room_for_signature(n, value) +
		   room_for_values(n, value));
	if (!c)
		return -ENOMEM;
	at = (char *)(c + 1);
	r = make_signature(&c->own, true, n, value, &at);
	if (r)
		goto free_call;
	c->fn = fn;
	c->result = result;
	c->size = value[0].size;
	c->n = n;
	c->how = &c->own;
	cut_values(c, value[0].size, &at);
	for (unsigned i = 0; i < n; i++)
		copy_value(c, i, value[i + 1].at, value[i + 1].size, &at);
	r = cogo_go(ret, attr, run_call, c);
	if (r == 0)
		return 0;
free_call:
	free(c);
	return r;
}

/* ---- callbacks ----------------------------------------------------------- */

/* Found by its pointer, when it is freed: that is all its owner keeps. */
struct callback {
	struct callback *next;		/* under table_lock */
	void (*pointer)(void);
	void (*fn)(void);
	ffi_closure *closure;
	size_t room;			/* for the values of a call */
	/* The owner's reference, and one for each call that is not waited for. */
	_Atomic uint32_t refs;
	unsigned n;
	struct signature called, calls;	/* its own, and fn's */
};

static struct lock table_lock;
static struct callback *table[256];	/* under table_lock */

static struct callback **bucket(void (*pointer)(void))
{
	/* They lie at equal distances, 16 bytes or more. */
	return &table[((uintptr_t)pointer >> 4 ^ (uintptr_t)pointer >> 12) %
		      ARRAY_SIZE(table)];
}

static void enter(struct callback *b)
{
	struct coro *me = door_in();
	struct callback **at = bucket(b->pointer);

	lock(&table_lock);
	b->next = *at;
	*at = b;
	unlock(&table_lock);
	if (me)
		door_leave(me);
}

static struct callback *take_out(void (*pointer)(void))
{
	struct coro *me = door_in();
	struct callback **at = bucket(pointer), *b;

	lock(&table_lock);
	while ((b = *at) && b->pointer != pointer)
		at = &b->next;
	if (b)
		*at = b->next;
	unlock(&table_lock);
	if (me)
		door_leave(me);
	return b;
}

static void unref(struct callback *b)
{
	/* acq_rel: the last one frees what all others have done with. */
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
}

static void run_awaited(void *arg)
{
	call_now(arg);
}

static void end_forgotten(void *arg)
{
	struct call *c = arg;

	unref(c->callback);
	free(c);
}

static void run_forgotten(void *arg)
{
	call_and_end(arg, end_forgotten);
}

/* The arguments lie on the caller's stack, and stay there while it waits. So does
 * what is returned, of which libffi wants whole registers from us as it gives
 * them; zero, where the coroutine does not come so far. */
static void call_and_wait(ffi_cif *cif, void *ret, void **args, void *user)
{
	struct callback *b = user;
	struct call c = { .fn = b->fn, .returned = ret, .n = b->n,
			  .values = args, .how = &b->calls };
	struct cogo_coro *coro;
	int error = errno_get();

	if (cif->rtype->type != FFI_TYPE_VOID)
		memset(ret, 0, cif->rtype->size);
	if (cogo_go(&coro, NULL, run_awaited, &c)) {
		errno_set(error);
		run_awaited(&c);
		return;
	}
	cogo_ref(coro);
	if (cogo_join(coro) == COGO_PANICKED)
		cogo_warn("a callback has panicked, its caller gets zero: %s",
			  cogo_panic_message(coro));
	cogo_drop(coro);
	errno_set(error);
}

static void call_and_go(ffi_cif *cif, void *ret UNUSED, void **args, void *user)
{
	struct callback *b = user;
	struct call *c = malloc(sizeof(*c) + b->room);
	char *at = (char *)(c + 1);
	int error = errno_get();

	if (!c) {
		call_by(&b->calls, b->n, b->fn, NULL, args);
		return;
	}
	c->fn = b->fn;
	c->result = NULL;
	c->n = b->n;
	c->how = &b->calls;
	c->callback = b;
	cut_values(c, 0, &at);
	for (unsigned i = 0; i < b->n; i++)
		copy_value(c, i, args[i], cif->arg_types[i]->size, &at);
	/* relaxed: the owner's reference keeps it meanwhile. */
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	if (cogo_go(NULL, NULL, run_forgotten, c))
		run_forgotten(c);
	errno_set(error);
}

int cogo_callback_(void *ret, int wait, void (*fn)(void), unsigned n,
		   const struct cogo_value_ *value)
{
	struct callback *b;
	void *code;
	char *at;
	int r;

	if (!open_lib())
		return -ENOSYS;
	b = malloc(sizeof(*b) + 2 * room_for_signature(n, value));
	if (!b)
		return -ENOMEM;
	at = (char *)(b + 1);
	r = make_signature(&b->called, false, n, value, &at);
	if (r == 0)
		r = make_signature(&b->calls, true, n, value, &at);
	if (r)
		goto free_callback;
	b->fn = fn;
	b->n = n;
	b->room = room_for_values(n, value);
	atomic_store_explicit(&b->refs, 1, memory_order_relaxed);
	r = -ENOMEM;
	b->closure = lib.closure_alloc(CLOSURE_SIZE, &code);
	if (!b->closure)
		goto free_callback;
	r = -EOPNOTSUPP;
	if (lib.prep_closure_loc(b->closure, &b->called.cif,
				 wait ? call_and_wait : call_and_go, b,
				 code) != FFI_OK)
		goto free_closure;
	memcpy(&b->pointer, &code, sizeof(code));
	enter(b);
	memcpy(ret, &code, sizeof(code));
	return 0;
free_closure:
	lib.closure_free(b->closure);
free_callback:
	free(b);
	return r;
}

void cogo_callback_free_(void (*pointer)(void))
{
	struct callback *b = pointer ? take_out(pointer) : NULL;

	if (!b) {
		if (pointer)
			cogo_throw("cogo_callback_free: no callback is at %p",
				   *(void **)&pointer);
		return;
	}
	lib.closure_free(b->closure);
	unref(b);
}

#else /* !HAVE_LIBFFI */

static int spawn_any(struct cogo_coro **ret UNUSED,
		     const struct cogo_attr *attr UNUSED, void *result UNUSED,
		     void (*fn)(void) UNUSED, unsigned n UNUSED,
		     const struct cogo_value_ *value UNUSED)
{
	return -ENOSYS;
}

int cogo_callback_(void *ret UNUSED, int wait UNUSED, void (*fn)(void) UNUSED,
		   unsigned n UNUSED, const struct cogo_value_ *value UNUSED)
{
	return -ENOSYS;
}

void cogo_callback_free_(void (*pointer)(void) UNUSED)
{
}

#endif
