// SPDX-License-Identifier: MIT OR Apache-2.0
// thrower.cpp - exceptions on a thread, in the program, across a plugin that is
// opened at run time, and by pthread_exit through frames with destructors.
//
//	thrower PLUGIN
#include <cstdio>
#include <dlfcn.h>
#include <pthread.h>
#include <stdexcept>

static int destroyed;

struct Counted {
	~Counted() { destroyed++; }
};

using call_back = void (*)(void (*)());

static void throw_here()
{
	Counted c;

	throw std::runtime_error("thrown in the program");
}

static void exit_here()
{
	Counted c;

	pthread_exit(nullptr);
}

static void *thrower(void *plugin)
{
	auto call = reinterpret_cast<call_back>(plugin);
	int caught = 0;

	try {
		throw_here();
	} catch (const std::exception &) {
		caught++;
	}
	try {
		call(throw_here);	// through the plugin's frames
	} catch (const std::exception &) {
		caught++;
	}
	try {
		call(nullptr);		// by the plugin
	} catch (int) {
		caught++;
	}
	if (caught == 3)
		destroyed += 10;
	call(exit_here);
	return plugin;			// never
}

int main(int argc, char **argv)
{
	void *lib = argc > 1 ? dlopen(argv[1], RTLD_NOW) : nullptr;
	void *call = lib ? dlsym(lib, "call_back") : nullptr;
	void *result = &destroyed;
	pthread_t t;

	if (!call || pthread_create(&t, nullptr, thrower, call))
		return 2;
	pthread_join(t, &result);
	std::printf("destroyed %d, result %p\n", destroyed, result);
	return 0;
}
