/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* arch/aarch64/probe.c - how a structure is passed, AAPCS64.
 *
 * One of up to four members that are all of one floating type has a vector
 * register for each, whatever its size; others of up to 16 bytes have general
 * ones; of larger ones a copy is made, and its address passed. */
#include "arch/probe.h"
#include <string.h>

_Static_assert(offsetof(struct arch_probe_regs, general) == 80 &&
	       sizeof(struct arch_probe_regs) == 128, "probe.S knows the offsets");

const unsigned char arch_probed[ARCH_PROBED] __attribute__((aligned(64))) = {
	1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
};

/* Registers taken: general ones, vector ones << 4. */
unsigned arch_probe_look(const struct arch_probe_regs *r)
{
	const double marker = ARCH_PROBE_DOUBLE;
	unsigned general = 0, vector = 0;

	while (general < 2 && r->general[general] != ARCH_PROBE_LONG)
		general++;
	while (vector < 4 &&
	       memcmp(&r->vector[vector], &marker, sizeof(marker)) != 0)
		vector++;
	return general | vector << 4;
}

const char *arch_probe_units(unsigned probed, size_t size, size_t align)
{
	static const char *const units[3][4] = {
		{ "f", "ff", "fff", "ffff" },
		{ "d", "dd", "ddd", "dddd" },
		{ "q", "qq", "qqq", "qqqq" },
	};
	unsigned n = probed >> 4 & 0xf;

	if (size == 0 || align > 16)
		return NULL;
	if (n) {
		switch (size / n) {
		case 4:
			return units[0][n - 1];
		case 8:
			return units[1][n - 1];
		case 16:
			return units[2][n - 1];
		}
		return NULL;
	}
	/* Registers for these begin at an even number, which libffi ignores. */
	if (size <= 16 && align == 16)
		return NULL;
	return size > 16 ? "m" : size > 8 ? "ii" : "i";
}

bool arch_registers_give(struct arch_registers *r, const char *units)
{
	(void)r, (void)units;
	return false;
}
