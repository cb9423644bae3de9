# SPDX-License-Identifier: MIT OR Apache-2.0
"""Programs under Debian's preloaded libraries, which stand in front of libc as cogo
does. Each test is made with the library outside (it starts cogo-run) and inside (it
is started by cogo-run): whichever it is, it has to stay in front of cogo too."""

import os

from harness import *
from packages import need_file

LIB = f"/usr/lib/{os.uname().machine}-linux-gnu"
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripts/company.py")
TIMES = os.environ["COGO_TEST_TIMES"]

need(python3="python3", faketime="faketime", fakeroot="fakeroot", eatmydata="eatmydata")
need(strace="strace", env="coreutils", stdbuf="coreutils", gcc="gcc")
for file, package in (
    (f"{LIB}/libjemalloc.so.2", "libjemalloc2"),
    (f"{LIB}/libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    (f"{LIB}/libsocket_wrapper.so", "libsocket-wrapper"),
    (f"{LIB}/libnss_wrapper.so", "libnss-wrapper"),
):
    need_file(file, package)


def both(run, how, *program, **options):
    """What the program said in either order; how arranges the preload."""
    how = [which(how[0]), *how[1:]]
    outside = run.call(*program, prefix=how, status=0, **options)
    inside = run.call(*how, which(program[0]), *program[1:], status=0, **options)
    return outside, inside


def script(run, how, *words, **options):
    """The same for the script; fakeroot's server takes the signal of --dump."""
    known = (r"cogo: the program uses signal .* --dump.*", "")
    return {
        order: (result.out, run.messages(result.err, known))
        for order, result in zip(
            ("outside", "inside"), both(run, how, PYTHON, SCRIPT, *words, **options)
        )
    }


@test
def allocators_serve_threads_that_are_coroutines(run):
    seen = {}
    for name in ("libjemalloc.so.2", "libtcmalloc_minimal.so.4"):
        how = ["env", f"LD_PRELOAD={LIB}/{name}"]
        seen[name] = script(run, how, "memory", name.split(".")[0])
        check(name.split(".")[0] in seen[name]["inside"][0], seen[name])
    return seen


@test
def each_way_to_wait_goes_by_the_faked_clock(run):
    """Two days later and ten times as fast. Five seconds by the true clock would be
    fifty."""
    seen = {}
    for order, result in zip(
        ("outside", "inside"), both(run, ["faketime", "-f", "+2d x10"], TIMES)
    ):
        lines = result.out.split("\n")
        for line in lines[:-2]:
            name, answer, seconds = line.split()
            check(4.99 <= float(seconds) < 49, line)
            seen[order, name] = answer
        seen[order, "days"] = lines[-2]
    return seen


@test
def what_fakeroot_gives_away_is_given_away(run):
    # Root could give it away in truth.
    seen = script(run, ["fakeroot"], "owner", env={"FAKEROOTDONTTRYCHOWN": "1"})
    check("(39, 0, 1039, 2039)" in seen["outside"][0], seen)
    same(os.stat(run.path("file39")).st_uid, os.geteuid(), "the owner of the file")
    return seen


@test
def nothing_is_synced_under_eatmydata(run):
    # Seen from outside, since it is about what reaches the kernel.
    seen = {}
    for order, how in {
        "outside": ["eatmydata", *run.command([PYTHON, SCRIPT, "disk"])],
        "inside": run.command(["eatmydata", PYTHON, SCRIPT, "disk"]),
        "without": run.command([PYTHON, SCRIPT, "disk"]),
    }.items():
        trace = run.path(order)
        run.call(
            *("strace", "-f", "-o", trace, "-e", "trace=fsync,fdatasync", *how),
            bare=True,
            status=0,
        )
        seen[order] = slurp(trace).count("sync(")
    check(seen["without"] > 0, seen)
    return seen


@test
def sockets_that_are_wrapped_stay_wrapped(run):
    os.mkdir(run.path("wrapped"))
    how = ["env", f"LD_PRELOAD={LIB}/libsocket_wrapper.so"]
    return script(run, how, "talk", env={"SOCKET_WRAPPER_DIR": run.path("wrapped")})


@test
def users_and_hosts_come_from_the_wrappers_files(run):
    passwd = "".join(f"user{i}:x:{5000 + i}:1::/home/{i}:/bin/sh\n" for i in range(4))
    hosts = "".join(f"10.9.8.{i} host{i}\n" for i in range(4))
    env = {
        "NSS_WRAPPER_PASSWD": run.file("passwd", passwd),
        "NSS_WRAPPER_GROUP": run.file("group", "one:x:1:\n"),
        "NSS_WRAPPER_HOSTS": run.file("hosts", hosts),
    }
    how = ["env", f"LD_PRELOAD={LIB}/libnss_wrapper.so"]
    seen = script(run, how, "names", env=env)
    check("10.9.8.3" in seen["outside"][0], seen)
    return seen


FAULTY = r"""
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void *run(void *arg)
{
	char *p = malloc(16), c;

	usleep(1000);
	*p = 1;
	free(p);
	usleep(1000);
	c = arg ? 0 : *p;
	return (void *)(long)c;
}

int main(int argc, char **argv)
{
	pthread_t t[40];

	for (long i = 0; i < 40; i++)
		pthread_create(&t[i], 0, run, argc > 1 && i == 20 ? 0 : t);
	for (int i = 0; i < 40; i++)
		pthread_join(t[i], 0);
	return 0;
}
"""


@test
def address_sanitizer_finds_in_coroutines_what_it_finds_in_threads(run):
    source, program = run.file("faulty.c", FAULTY), run.path("faulty")
    run.call(
        *("gcc", "-g", "-O1", "-fsanitize=address", source, "-o", program),
        bare=True,
        status=0,
    )
    library = run.call("gcc", "-print-file-name=libasan.so", bare=True).out.strip()
    how = ["env", f"LD_PRELOAD={os.path.realpath(library)}"]
    seen = {}
    for order, prefix, inside in (("outside", how, []), ("inside", [], how)):
        for words in ([], ["one"]):
            done = run.call(*inside, program, *words, prefix=prefix)
            summary = [l for l in done.err.split("\n") if l.startswith("SUMMARY")]
            seen[order, len(words)] = (done.status, run.messages("\n".join(summary)))
    check(seen["outside", 0] == (0, set()), seen)
    check("use-after-free" in str(seen["outside", 1]), seen)
    return seen


@test
def a_stream_has_the_buffer_that_stdbuf_gives_it(run):
    # Without a buffer, a line comes in as many pieces as it has parts.
    seen = {}
    for mode in ("0", "L"):
        trace = run.path(f"trace{mode}")
        run.call(
            *("strace", "-f", "-o", trace, "-e", "trace=write"),
            *run.command(["stdbuf", f"-o{mode}", TIMES, "none"]),
            bare=True,
            status=0,
        )
        seen[mode] = slurp(trace).count("write(1")
    check(seen["0"] > seen["L"], seen)
    return seen


main()
