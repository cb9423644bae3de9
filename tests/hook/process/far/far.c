/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* far.c - a library that only near.c knows where to find. */
int far_value(void);

int far_value(void)
{
	return 2000;
}
