/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* base/sanitize.h - what the compiler's sanitizers are told about stacks.
 *
 * AddressSanitizer and ThreadSanitizer keep what they know of a kernel thread in
 * its thread-local storage: where its stack lies, which frames stand there, what
 * it has seen of the others. A switch that leaves the storage as it is and takes
 * another stack has to be announced, or they mistake one coroutine for another.
 *
 * A switch to other storage needs no word to AddressSanitizer: it finds a thread
 * there that it has never met, and knows the old one again when that is back. Of
 * such a thread it checks every access, and returned frames are not kept. What
 * nobody tidies is what frames that were never returned from have left on its
 * stack, so a stack is clean when a coroutine begins there. ThreadSanitizer cannot
 * run without its state at all: with it, storage is shared (mem/tls.c).
 *
 * Without a sanitizer all of it is nothing. */
#ifndef COGO_BASE_SANITIZE_H
#define COGO_BASE_SANITIZE_H

#include "base/compiler.h"
#include <stdbool.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZE_ADDRESS 1
#endif
#if __has_feature(thread_sanitizer)
#define SANITIZE_THREAD 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZE_ADDRESS 1
#endif
#ifdef __SANITIZE_THREAD__
#define SANITIZE_THREAD 1
#endif
#ifndef SANITIZE_ADDRESS
#define SANITIZE_ADDRESS 0
#endif
#ifndef SANITIZE_THREAD
#define SANITIZE_THREAD 0
#endif

#if SANITIZE_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if SANITIZE_THREAD
#include "arch/syscall.h"
#include <sanitizer/tsan_interface.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#endif

/* LeakSanitizer, which a program may have whether we have one or not, looks for
 * pointers in memory of malloc's and of libc's, and would miss those in ours. */
void __lsan_register_root_region(const void *mem, size_t size)
	__attribute__((weak));

static inline void sanitize_map(const void *mem, size_t size)
{
	if (__lsan_register_root_region)
		__lsan_register_root_region(mem, size);
}

/* Of each context. */
struct sanitize {
#if SANITIZE_ADDRESS
	const void *low;	/* its stack */
	size_t size;		/* 0: not known yet */
	void *frames;		/* that have returned, while it is suspended */
#endif
#if SANITIZE_THREAD
	void *fiber;
#endif
};

/* For functions that end a coroutine, or jump out of it: before a call that does not return,
 * AddressSanitizer would ask libc for the bounds of a stack that is not libc's. */
#if SANITIZE_ADDRESS
#define SANITIZE_ENDS __attribute__((no_sanitize("address")))
#else
#define SANITIZE_ENDS
#endif

/* For functions whose variables must be where their frame is: AddressSanitizer may
 * keep them elsewhere, to find their use after the return. */
#define SANITIZE_IN_PLACE SANITIZE_ENDS

/* For functions that glance at what is another's, to have it at hand soon, and
 * believe nothing of what they see. */
#if SANITIZE_THREAD
#define SANITIZE_GLANCES __attribute__((no_sanitize("thread")))
#else
#define SANITIZE_GLANCES
#endif

/* Frames between here and there, further up on this stack, are left by a jump:
 * what they had marked as none of theirs is anybody's. */
static inline void sanitize_jump(const void *there UNUSED)
{
#if SANITIZE_ADDRESS
	const char *here = __builtin_frame_address(0);

	/* It may be in a frame that is kept elsewhere, in case it is used after
	 * its function has returned. */
	if ((const char *)there > here)
		__asan_unpoison_memory_region(
			here, (size_t)((const char *)there - here));
#endif
}

#if SANITIZE_THREAD
/* While it makes a fiber or ends one, no handler may run, which would have it in
 * the middle of that. The mask before. */
static inline uint64_t sanitize_quiet(uint64_t mask)
{
	uint64_t before = 0;

	arch_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, (long)&before,
		     sizeof(mask), 0, 0);
	return before;
}
#endif

/* A context is to begin on the stack from low to top. */
static inline void sanitize_new(struct sanitize *s UNUSED, void *low UNUSED,
				void *top UNUSED)
{
#if SANITIZE_ADDRESS
	s->low = low;
	s->size = (size_t)((char *)top - (char *)low);
	s->frames = NULL;
	__asan_unpoison_memory_region(s->low, s->size);
#endif
#if SANITIZE_THREAD
	uint64_t before = sanitize_quiet(~0ull);

	s->fiber = __tsan_create_fiber(0);
	sanitize_quiet(before);
#endif
}

/* The kernel thread that calls is one, on the stack that it was born with. */
static inline void sanitize_adopt(struct sanitize *s UNUSED)
{
#if SANITIZE_ADDRESS
	s->size = 0;
	s->frames = NULL;
#endif
#if SANITIZE_THREAD
	s->fiber = __tsan_get_current_fiber();
#endif
}

/* The last before a switch. same: both use the same thread-local storage; ends:
 * nobody will switch back. */
static inline void sanitize_leave(struct sanitize *from UNUSED,
				  const struct sanitize *to UNUSED,
				  bool same UNUSED, bool ends UNUSED)
{
#if SANITIZE_ADDRESS
	if (same)
		__sanitizer_start_switch_fiber(ends ? NULL : &from->frames,
					       to->low, to->size);
#endif
#if SANITIZE_THREAD
	__tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* The first after it, on the other side. */
static inline void sanitize_arrive(const struct sanitize *me UNUSED,
				   struct sanitize *from UNUSED,
				   bool same UNUSED, bool ended UNUSED)
{
#if SANITIZE_ADDRESS
	/* A kernel thread's own stack is learnt when it is first left. */
	bool learn = same && !from->size;

	if (same)
		__sanitizer_finish_switch_fiber(me->frames,
						learn ? &from->low : NULL,
						learn ? &from->size : NULL);
#endif
#if SANITIZE_THREAD
	if (ended) {
		uint64_t before = sanitize_quiet(~0ull);

		__tsan_destroy_fiber(from->fiber);
		sanitize_quiet(before);
	}
#endif
}

#endif
