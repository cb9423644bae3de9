/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* inspect/debug.c - what a debugger needs to find every coroutine. */
#include "inspect/debug.h"
#include "arch/context.h"
#include "coro/coro.h"
#include "mem/slab.h"
#include "sched/worker.h"
#include <string.h>

__attribute__((visibility("default"))) struct cogo_debug_info cogo_debug_info;

static const char *const states[] = {
	[CORO_FREE] = "free",
	[CORO_NEW] = "new",
	[CORO_READY] = "ready",
	[CORO_RUNNING] = "running",
	[CORO_PARKED] = "waits",
	[CORO_ASLEEP] = "waits",
	[CORO_WAKING] = "about to run",
	[CORO_HELD] = "waits",
	[CORO_HELD_WAKING] = "about to run",
	[CORO_DONE] = "done",
};
static const char *whys[WHY_COUNT];

/* Asks the one who knows the layout of a saved context, by giving it one whose
 * every word is its own address. */
static void describe_context(struct cogo_debug_info *d)
{
	uintptr_t saved[64];
	struct arch_regs regs;
	uintptr_t base = (uintptr_t)saved;

	for (size_t i = 0; i < ARRAY_SIZE(saved); i++)
		saved[i] = (uintptr_t)&saved[i];
	memset(&regs, 0, sizeof(regs));
	arch_context_regs(saved, &regs);
	d->context_pc = regs.pc - base;
	d->context_fp = regs.fp - base;
	d->context_size = regs.sp - base;
	for (int i = 0; i < ARCH_SAVED_REGS; i++) {
		d->context_number[i] = arch_reg_numbers[i];
		if (arch_reg_numbers[i] >= 0)
			d->context_saved[i] = regs.saved[i] - base;
	}
}

#define AT(member) offsetof(struct coro, member)

void debug_init(void)
{
	struct coro_registry r = coro_registry();
	struct cogo_debug_info d = {
		.version = COGO_DEBUG_VERSION,
		.size = sizeof(d),
		.chunks = (uintptr_t)&r.slab->chunks,
		.chunk_next = offsetof(struct slab_chunk, next),
		.chunk_used = offsetof(struct slab_chunk, used),
		.chunk_objects = sizeof(struct slab_chunk),
		.object_size = r.slab->size,
		.left_behind = (uintptr_t)r.left_behind,
		.survivor = (uintptr_t)r.survivor,
		.coro_sp = AT(sp), .coro_tp = AT(tp),
		.coro_worker = AT(worker), .coro_state = AT(state),
		.coro_bound = AT(bound), .coro_id = AT(id),
		.coro_kind = AT(kind), .coro_why = AT(why),
		.coro_what = AT(what), .coro_fd = AT(fd), .coro_name = AT(name),
		.coro_name_size = sizeof(((struct coro *)0)->name),
		.coro_tid = AT(tid), .coro_vtid = AT(vtid),
		.coro_stack_low = AT(stack.low), .coro_stack_top = AT(stack.top),
		.coro_stack_guard = AT(stack.guard),
		.coro_asleep_pc = AT(asleep.pc), .coro_asleep_sp = AT(asleep.sp),
		.coro_asleep_fp = AT(asleep.fp), .coro_since = AT(since),
		.worker_tid = offsetof(struct worker, tid),
		.states = (uintptr_t)states, .nstates = ARRAY_SIZE(states),
		.whys = (uintptr_t)whys, .nwhys = WHY_COUNT,
	};

	for (int i = 0; i < WHY_COUNT; i++)
		whys[i] = why_text((enum why)i);
	describe_context(&d);
	d.magic = COGO_DEBUG_MAGIC;
	cogo_debug_info = d;
}
