// SPDX-License-Identifier: MIT OR Apache-2.0
// plugin.cpp - calls back, with something to be destroyed on the way out; or
// throws.
struct Here {
	int *n;
	~Here() { ++*n; }
};

extern "C" void call_back(void (*fn)())
{
	static int n;
	Here here = { &n };

	if (!fn)
		throw 42;
	fn();
}
