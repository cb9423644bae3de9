// SPDX-License-Identifier: MIT OR Apache-2.0
// headers.cpp - what C++ can use of the headers, it can compile.
#include "cogo/chan.h"
#include "cogo/context.h"
#include "cogo/cq.h"
#include "cogo/select.h"

int main()
{
	int x = 1, y = 0;
	cogo_chan *c = cogo_chan_new(sizeof(x), 1);
	cogo_case cases[2] = {};

	cases[0].kind = COGO_CASE_RECV;
	cases[0].chan = c;
	cases[0].ret_item = &y;
	cases[1].kind = COGO_CASE_SEND;
	cases[1].chan = c;
	cases[1].item = &x;
	if (cogo_select(cases, 2, 0) != 1 || cogo_select(cases, 2, 0) != 0)
		return 1;
	cogo_chan_free(c);
	return y != 1;
}
