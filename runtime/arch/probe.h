/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/probe.h - the contract of a CPU: how a structure is passed by value.
 *
 * That depends on its members, which C cannot list; but the compiler knows. So
 * whoever has the type calls arch_probe as a function that takes such a structure
 * (its bytes: arch_probed), then a long and a double, ARCH_PROBE_LONG and
 * _DOUBLE. Registers are given out in order, so the two that follow are found
 * just behind what the structure took. That is sure, where to look for the
 * structure itself would not be: stale copies of it may be anywhere, but never in
 * a register before the one in which what follows it is found first. */
#ifndef COGO_ARCH_PROBE_H
#define COGO_ARCH_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARCH_PROBED		64	/* bytes at most */
#define ARCH_PROBE_LONG		0x636f676f5f6c6f6el
#define ARCH_PROBE_DOUBLE	0x1.636f676f5f646p-321

/* Takes anything (see above); what it returns is for arch_probe_units. */
void arch_probe(void);
extern const unsigned char arch_probed[ARCH_PROBED];

/* What a structure of such a size and alignment is made of, as far as that counts
 * for passing it, in order: "i" for eight bytes or less that go where integers
 * do, "f", "d" and "q" for float, double and long double. "m": in memory. NULL:
 * in a way that has no name here. probed: of larger ones, 0. */
const char *arch_probe_units(unsigned probed, size_t size, size_t align);

/* Registers given out so far, going through a call's arguments. */
struct arch_registers {
	unsigned general, vector;
};

/* Gives those of the next argument, made of these units; of the result's too, first
 * of all, if that is "m". True: it is to be passed as two arguments, because libffi
 * would do harm with one: where the first half of a structure has the last general
 * register and the second a vector one, it writes both halves from the first's
 * place on (3.4.4), over the vector registers that it keeps behind. */
bool arch_registers_give(struct arch_registers *r, const char *units);

/* arch_probe's, from the registers that it found. */
#define ARCH_PROBE_REGS 5
struct arch_probe_regs {
	uint64_t vector[ARCH_PROBE_REGS][2];
	uint64_t general[ARCH_PROBE_REGS + 1];
};
unsigned arch_probe_look(const struct arch_probe_regs *r);

#endif
