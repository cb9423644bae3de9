/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/x86_64/probe.c - how a structure is passed, System V ABI.
 *
 * One of up to 16 bytes goes eight bytes by eight, each in the next register of
 * its class; or, all of it, on the stack, when it holds a long double or members
 * that lie askew. Larger ones always do, but for vectors. */
#include "arch/probe.h"
#include <string.h>

_Static_assert(offsetof(struct arch_probe_regs, general) == 80 &&
	       sizeof(struct arch_probe_regs) == 128, "probe.S knows the offsets");

const unsigned char arch_probed[ARCH_PROBED] __attribute__((aligned(64))) = {
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
};

/* Registers taken: general ones, vector ones << 4; << 8, the first byte of what is
 * in the first general one. */
unsigned arch_probe_look(const struct arch_probe_regs *r)
{
	const double marker = ARCH_PROBE_DOUBLE;
	unsigned general = 0, vector = 0;

	while (general < 2 && r->general[general] != ARCH_PROBE_LONG)
		general++;
	while (vector < 2 &&
	       memcmp(&r->vector[vector], &marker, sizeof(marker)) != 0)
		vector++;
	return general | vector << 4 | (unsigned)(r->general[0] & 0xff) << 8;
}

const char *arch_probe_units(unsigned probed, size_t size, size_t align)
{
	unsigned taken = probed & 0xff;
	size_t rest = size % 8 ? size % 8 : 8;

	if (size == 0 || align > 16)
		return NULL;
	if (size > 16)
		return taken ? NULL : "m";
	switch (taken) {
	case 0x01:
		return size <= 8 ? "i" : NULL;
	case 0x02:
		return size > 8 ? "ii" : NULL;
	case 0x10:	/* more than 8 bytes in one: a vector */
		return size > 8 ? NULL : size > 4 ? "d" : "f";
	case 0x20:
		return rest > 4 ? "dd" : "df";
	case 0x11:
		/* The general one holds either the first byte or the ninth. */
		if (probed >> 8 == arch_probed[0])
			return rest > 4 ? "id" : "if";
		return "di";
	case 0:	/* it has long double to itself, or lies askew */
		return size == 16 && align == 16 ? "q" : NULL;
	}
	return NULL;
}

#define GENERAL 6
#define VECTOR 8

bool arch_registers_give(struct arch_registers *r, const char *units)
{
	unsigned general = 0, vector = 0;
	bool split;

	for (const char *u = units; *u; u++) {
		general += *u == 'i';
		vector += *u == 'f' || *u == 'd';
	}
	/* It has them all, or lies on the stack. */
	if (r->general + general > GENERAL || r->vector + vector > VECTOR)
		return false;
	split = general && vector && *units == 'i' && r->vector &&
		r->general + 1 == GENERAL;
	r->general += general;
	r->vector += vector;
	return split;
}
