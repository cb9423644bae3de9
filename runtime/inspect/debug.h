/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* inspect/debug.h - what a debugger needs to find every coroutine.
 *
 * One exported structure of addresses and offsets, so that tools/cogo-gdb.py
 * can read a process, or its core, whose libcogo.so has been stripped. Filled
 * once at load. It only ever grows at its end; `version` changes when that
 * cannot be kept up. All members are 64 bits wide: no padding, no doubt. */
#ifndef COGO_INSPECT_DEBUG_H
#define COGO_INSPECT_DEBUG_H

#include "arch/context.h"
#include <stdint.h>

#define COGO_DEBUG_MAGIC   0x6f676f63u	/* "cogo" */
#define COGO_DEBUG_VERSION 2

struct cogo_debug_info {
	uint64_t magic, version, size;
	/* Objects stand in chunks: a list, and in each `used` of them from
	 * chunk_objects on. */
	uint64_t chunks;		/* address of the first chunk's address */
	uint64_t chunk_next, chunk_used, chunk_objects, object_size;
	/* Objects up to this id are a forked parent's, but for the survivor. */
	uint64_t left_behind, survivor;	/* addresses */
	/* Offsets in a coroutine. */
	uint64_t coro_sp, coro_tp, coro_worker, coro_state, coro_bound;
	uint64_t coro_id, coro_kind, coro_why, coro_what, coro_fd, coro_name;
	uint64_t coro_name_size, coro_tid, coro_vtid;
	uint64_t coro_stack_low, coro_stack_top, coro_stack_guard;
	uint64_t coro_asleep_pc, coro_asleep_sp, coro_asleep_fp;
	uint64_t coro_since;
	/* Offset in a worker. */
	uint64_t worker_tid;
	/* What lies at a saved stack pointer: offsets from it of the program
	 * counter, the frame pointer and the other saved registers with their
	 * DWARF numbers (-1: none); and how far above it the frame resumes. */
	uint64_t context_pc, context_fp, context_size;
	uint64_t context_saved[ARCH_SAVED_REGS];
	int64_t context_number[ARCH_SAVED_REGS];
	/* Tables of addresses of text, and how many. */
	uint64_t states, nstates, whys, nwhys;
};
extern struct cogo_debug_info cogo_debug_info;

void debug_init(void);

#endif
