/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Stacks: guards, pools, trimming; each by both kinds of guard. */
#include "mem/stack.h"
#include "base/sys.h"
#include "unit.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define KIB 1024ul

static void each_method(void (*fn)(void))
{
	stack_init(0);
	fn();
	stack_init(1);
	check(strcmp(stack_guard_method(), "mprotect") == 0);
	fn();
}

static void touch(void *at)
{
	*(volatile char *)at = 1;
}

static int fault_at(void *at)
{
	return unit_signal_of(touch, at);
}

static void guard_faults(void)
{
	struct stack s;

	check_eq(stack_make(64 * KIB, 8 * KIB, &s), 0);
	check_eq(s.guard, 8 * KIB);
	check_eq(s.asked, 64 * KIB);
	check(s.top - s.low >= (long)(72 * KIB));
	check_eq(fault_at(s.low), SIGSEGV);
	check_eq(fault_at(s.low + s.guard - 1), SIGSEGV);
	check_eq(fault_at(s.low + s.guard), 0);
	check_eq(fault_at(s.top - 1), 0);
	/* Here too, not in the child alone. */
	memset(s.low + s.guard, 1, (size_t)(s.top - s.low) - s.guard);
}

Test(stack, the_guard_faults_and_nothing_above_it_does)
{
	each_method(guard_faults);
}

static void neighbours(void)
{
	struct stack s[40];

	for (int i = 0; i < 40; i++) {
		check_eq(stack_make(32 * KIB, 4 * KIB, &s[i]), 0);
		memset(s[i].low + s[i].guard, i, 32 * KIB);
	}
	for (int i = 0; i < 40; i++) {
		for (char *p = s[i].low + s[i].guard; p < s[i].top; p += 512)
			check_eq(*p, i);
		for (int k = 0; k < i; k++)
			check(s[i].low >= s[k].top || s[i].top <= s[k].low);
	}
	/* From the lowest byte of one, one byte further down. */
	check_eq(fault_at(s[20].low + s[20].guard - 1), SIGSEGV);
}

Test(stack, no_two_stacks_overlap)
{
	each_method(neighbours);
}

static void no_guard(void)
{
	struct stack s;

	check_eq(stack_make(16 * KIB, 0, &s), 0);
	check_eq(s.guard, 0);
	memset(s.low, 1, (size_t)(s.top - s.low));
}

Test(stack, a_stack_without_a_guard_has_none)
{
	each_method(no_guard);
}

Test(stack, sizes_are_rounded_up_to_pages)
{
	struct stack s;

	stack_init(0);
	check_eq(stack_make(10000, 1, &s), 0);
	check(s.top - s.low - (long)s.guard >= 10000);
	check_eq((uintptr_t)s.low % (size_t)getpagesize(), 0);
	check_eq((uintptr_t)s.top % (size_t)getpagesize(), 0);
	check_eq(s.guard, getpagesize());
	check_eq(s.asked, 10000);
	check_eq(fault_at(s.low), SIGSEGV);
}

Test(stack, equal_sizes_share_a_pool_and_others_do_not)
{
	struct stack_pool *a, *b;
	struct stack s;

	stack_init(0);
	a = stack_pool_for(64 * KIB, 4 * KIB);
	b = stack_pool_for(64 * KIB, 8 * KIB);
	check(a && b && a != b);
	check(stack_pool_for(64 * KIB - 1, 4 * KIB) == a);
	check(stack_pool_for(64 * KIB - 1, 1) ==
	      stack_pool_for(64 * KIB, (size_t)getpagesize()));
	check_eq(stack_make(64 * KIB, 4 * KIB, &s), 0);
	check(s.pool == a);
}

Test(stack, any_number_of_different_sizes_is_served)
{
	stack_init(0);
	/* More than there are pools. */
	for (size_t i = 1; i < 500; i++) {
		size_t size = i * 20 * KIB + i;
		struct stack s;

		check_eq(stack_make(size, 4 * KIB, &s), 0);
		check((size_t)(s.top - s.low) >= size + s.guard);
		*(volatile char *)(s.top - 1) = 1;
		*(volatile char *)(s.top - size) = 1;
	}
}

static size_t resident(const struct stack *s)
{
	static unsigned char there[4096];
	char *low = s->low + s->guard;
	size_t page = (size_t)getpagesize(), n = (size_t)(s->top - low) / page;
	size_t all = 0;

	check(n <= sizeof(there));
	check_eq(mincore(low, n * page, there), 0);
	for (size_t i = 0; i < n; i++)
		all += there[i] & 1;
	return all * page;
}

static void trim_it(void)
{
	struct stack s;
	char *used;

	check_eq(stack_make(256 * KIB, 4 * KIB, &s), 0);
	memset(s.low + s.guard, 7, 256 * KIB);
	check(resident(&s) >= 256 * KIB);
	used = s.top - 10000;
	check(stack_trim(&s, used) >= 200 * KIB);
	check(resident(&s) <= 24 * KIB);
	/* What is in use is as it was, the rest zero, the guard a guard. */
	for (char *p = used; p < s.top; p++)
		check_eq(*p, 7);
	check_eq(s.low[s.guard], 0);
	check_eq(fault_at(s.low), SIGSEGV);
}

Test(stack, trimming_gives_back_what_is_below_the_frames_and_only_that)
{
	each_method(trim_it);
}

Test(stack, nothing_is_trimmed_for_who_stands_elsewhere)
{
	struct stack s, own = { 0 };
	char mine[65536];

	stack_init(0);
	check_eq(stack_make(64 * KIB, 4 * KIB, &s), 0);
	memset(s.low + s.guard, 7, 64 * KIB);
	check_eq(stack_trim(&s, s.low), 0);
	check_eq(stack_trim(&s, s.low + s.guard), 0);
	check_eq(stack_trim(&s, s.low - 4096), 0);
	check_eq(stack_trim(&s, s.top + 5000), 0);
	check_eq(stack_trim(&s, mine), 0);
	check(resident(&s) >= 64 * KIB);
	/* Nor on memory that is the program's. */
	memset(mine, 5, sizeof(mine));
	own.low = mine;
	own.top = mine + sizeof(mine);
	check_eq(stack_trim(&own, own.top - 100), 0);
	check_eq(mine[3000], 5);
}

static long mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	long n = 0;
	int c;

	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

Test(stack, ten_thousand_guarded_stacks_are_a_handful_of_mappings, .timeout = 120)
{
	long before;
	struct stack s;

	stack_init(0);
	if (strcmp(stack_guard_method(), "MADV_GUARD_INSTALL") != 0)
		skip("this kernel has no MADV_GUARD_INSTALL");
	before = mappings();
	for (int i = 0; i < 10000; i++) {
		check_eq(stack_make(64 * KIB, 4 * KIB, &s), 0);
		*(volatile char *)(s.top - 1) = 1;
	}
	check(mappings() - before < 40);
	check_eq(fault_at(s.low), SIGSEGV);
}

static size_t address_space(void)
{
	size_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	check(f && fscanf(f, "%zu", &pages) == 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

Test(stack, without_address_space_there_is_an_error_and_no_crash)
{
	struct rlimit lim;
	struct stack s;
	int n = 0, r;

	stack_init(0);
	/* Something, before the limit. */
	check_eq(stack_make(1 << 20, 4 * KIB, &s), 0);
	/* Whatever there is already: a sanitizer's shadow is terabytes. */
	lim.rlim_cur = lim.rlim_max = address_space() + (600ul << 20);
	check_eq(setrlimit(RLIMIT_AS, &lim), 0);
	if (sys_map(1 << 30))
		skip("an emulator that keeps no limit of memory");
	while ((r = stack_make(8 << 20, 4 * KIB, &s)) == 0) {
		*(volatile char *)(s.top - 1) = 1;
		check(++n < 1000);
	}
	check_eq(r, -ENOMEM);
	/* It was used to the full: regions shrink before they are refused. */
	check(n > 20);
	check_eq(stack_make(8 << 20, 4 * KIB, &s), -ENOMEM);
	/* And smaller ones still fit. */
	check_eq(stack_make(16 * KIB, 4 * KIB, &s), 0);
	*(volatile char *)(s.top - 1) = 1;
}
