/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* load_aside.c - a library where only load_friend looks. It wants room. */
static int room;

__attribute__((constructor)) static void use_stack(void)
{
	volatile char frame[48 << 10];

	for (unsigned i = 0; i < sizeof(frame); i += 512)
		frame[i] = (char)i;
	room = frame[512 * 3] == 0;
}

int load_aside_answer(void);
int load_aside_answer(void)
{
	return 42 + room;
}
