# SPDX-License-Identifier: MIT OR Apache-2.0
"""pigz, xz, zstd and lbzip2, each with four threads: round trips, broken input,
and an interrupt in the middle."""

import array
import fcntl
import hashlib
import os
import signal
import termios

from harness import *

SIZE = 6_000_000

need(pigz="pigz", xz="xz-utils", zstd="zstd", lbzip2="lbzip2")

# How to compress with four threads, how to decompress, the suffix.
TOOLS = {
    "pigz": (["pigz", "-p4"], ["pigz", "-d", "-p4"], ".gz"),
    "xz": (["xz", "-T4", "-1", "--block-size=500KiB"], ["xz", "-d", "-T4"], ".xz"),
    "zstd": (["zstd", "-q", "-T4", "-6", "-B1MiB"], ["zstd", "-q", "-d"], ".zst"),
    "lbzip2": (["lbzip2", "-n4", "-1"], ["lbzip2", "-d", "-n4"], ".bz2"),
}


def binary(run, *argv, stdin=None, **options):
    """A filter's exit status, its output as bytes and what it said."""
    with open(stdin or os.devnull, "rb") as file:
        process = run.start(*argv, stdin=file, **options)
    process.wait(40)
    with open(process.out_path, "rb") as file:
        return process.status, file.read(), sorted(run.messages(process.err()))


def inputs():
    return {
        "text": mixed_data(SIZE),
        "noise": pattern(1_500_000, 1),
        "zeros": bytes(3_000_000),
        "empty": b"",
        "byte": b"x",
    }


def through_pipes(run, tool):
    """Filters from file to file descriptor; both programs read the output."""
    squeeze, expand, _ = TOOLS[tool]
    seen = {}
    for name, data in inputs().items():
        path = run.file(name, data)
        # pigz notes the time of the file that is its input.
        os.utime(path, (1_000_000_000, 1_000_000_000))
        status, packed, said = binary(run, *squeeze, "-c", stdin=path)
        same(status, 0, f"{tool} on {name}")
        # What four threads make is the same at every run of these programs.
        seen[name] = (hashlib.sha256(packed).hexdigest(), said)
        path = run.file(name + ".packed", packed)
        for bare in (True, False):
            status, back, said = binary(run, *expand, "-c", stdin=path, bare=bare)
            same(
                (status, back == data, said), (0, True, []), f"{tool} -d on {name}"
            )
    return seen


def in_place(run, tool):
    """Files, with their times and modes, replaced by the program itself."""
    squeeze, expand, suffix = TOOLS[tool]
    words = ["--rm"] if tool == "zstd" else []
    data = mixed_data(2_000_000, 2)
    path = run.file("plain", data)
    os.chmod(path, 0o640)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    run.call(*squeeze, *words, path, status=0)
    check(not os.path.exists(path), tool, "left its input")
    about = os.stat(path + suffix)
    if tool != "pigz":  # which is bare in -l only
        run.call(expand[0], "-t", path + suffix, status=0)
    run.call(*expand, *words, path + suffix, status=0)
    check(not os.path.exists(path + suffix), tool, "-d left its input")
    with open(path, "rb") as file:
        same(file.read() == data, True, f"{tool}: the file after the round trip")
    return {"mode": oct(about.st_mode), "time": about.st_mtime}


def broken(run, tool):
    """What is damaged or cut short is refused in the same words."""
    squeeze, expand, _ = TOOLS[tool]
    _, packed, _ = binary(
        run, *squeeze, "-c", stdin=run.file("in", mixed_data(SIZE))
    )
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    seen = {}
    for name, data in (
        ("damaged", bytes(damaged)),
        ("short", packed[: len(packed) * 2 // 3]),
        ("foreign", b"this is no compressed data at all " * 100),
    ):
        status, _, said = binary(run, *expand, "-c", stdin=run.file(name, data))
        check(status != 0, f"{tool} accepts {name} data")
        if tool == "lbzip2" and name == "short":
            # Which of its threads comes upon it first: bare, it says now the one
            # and now the other.
            check(
                said and said[-1].endswith(
                    ("unexpected end of file", "bad block header magic")
                ),
                f"{tool} says of {name} data: {said}",
            )
            said = None
        seen[name] = (status, said)
    return seen


def interrupted(run, tool):
    """SIGINT while it waits for more input."""
    squeeze, _, _ = TOOLS[tool]
    reader, writer = os.pipe()
    process = run.start(*squeeze, "-c", stdin=reader)
    os.close(reader)
    data = mixed_data(1_000_000, 3)
    os.write(writer, data[:60000])
    # It has read what there is, and waits: the pipe is empty.
    wait_for(lambda: not pipe_holds(writer), f"{tool} to read its input")
    process.send(signal.SIGINT)
    status = process.wait(20)
    os.close(writer)
    return {"status": status, "said": sorted(run.messages(process.err()))}


def pipe_holds(fd):
    """How many bytes wait in a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def cut_off(run, tool):
    """The reader of its output goes away."""
    squeeze, _, _ = TOOLS[tool]
    path = run.file("noise", pattern(3_000_000, 4))
    reader, writer = os.pipe()
    with open(path, "rb") as file:
        process = run.start(*squeeze, "-c", stdin=file, stdout=writer)
    os.close(writer)
    os.read(reader, 1)
    os.close(reader)
    return {"status": process.wait(20), "said": sorted(run.messages(process.err()))}


def sentences(tool):
    """Registers the sentences about one program."""

    def sentence(name, what):
        def body(run):
            return what(run, tool)

        body.__name__ = f"{tool}_{name}"
        test(body)

    sentence("brings_back_every_byte_through_pipes", through_pipes)
    sentence("brings_back_every_byte_of_a_file", in_place)
    sentence("refuses_broken_input_in_the_same_words", broken)
    sentence("ends_on_an_interrupt", interrupted)
    sentence("ends_when_its_reader_is_gone", cut_off)


for tool in TOOLS:
    sentences(tool)
main()
