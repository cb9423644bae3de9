# SPDX-License-Identifier: MIT OR Apache-2.0
"""x264, which encodes several frames at once, each row of blocks waiting for
those above it that another thread is at, with mutexes and conditions only."""

import hashlib
import os
import random
import signal

from harness import *

need(x264="x264")

WIDTH, HEIGHT, FRAMES = 320, 192, 48


def clip():
    """A picture that slides, with some noise that comes and goes."""
    source = random.Random(4)
    wide = WIDTH + FRAMES * 2
    rows = [
        bytes(
            (x * (1 + y % 5) // 3 + y * 2 + source.randrange(24)) & 255
            for x in range(wide)
        )
        for y in range(HEIGHT)
    ]
    noise = [source.randbytes(WIDTH * 8) for _ in range(7)]
    parts = [b"YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420jpeg\n" % (WIDTH, HEIGHT)]
    chroma = WIDTH // 2 * HEIGHT // 2
    for n in range(FRAMES):
        frame = bytearray(b"".join(row[n * 2 : n * 2 + WIDTH] for row in rows))
        at = (n * 11 % (HEIGHT - 8)) * WIDTH
        frame[at : at + WIDTH * 8] = noise[n % 7]
        frame += bytes([(n * 5) & 255]) * chroma + bytes([255 - (n * 3) & 255]) * chroma
        parts.append(b"FRAME\n" + frame)
    return b"".join(parts)


CLIP = clip()

WAYS = {
    "frames": "--preset veryfast --threads 8 --crf 26",
    "look ahead": "--preset fast --threads 6 --lookahead-threads 3 --bitrate 300",
    "slices": "--preset ultrafast --threads 4 --sliced-threads --qp 30",
    "two passes": "--preset veryfast --threads 5 --bitrate 200 --pass 1",
    "second pass": "--preset veryfast --threads 5 --bitrate 200 --pass 2",
}


@test
def what_many_threads_encode_is_the_same_to_the_byte(run):
    source = run.file("clip.y4m", CLIP)
    seen = {}
    for n, (way, options) in enumerate(WAYS.items()):
        output = run.path(f"{n}.264")
        done = run.call(
            *("x264", "--no-progress", "--stats", run.path("passes")),
            *options.split(),
            *("-o", output, source),
        )
        with open(output, "rb") as file:
            encoded = file.read()
        check(len(encoded) > 2000, way, "gave", len(encoded), "bytes:", done.err)
        seen[way] = done.status, len(encoded), hashlib.sha256(encoded).hexdigest()
        # All figures are of the picture, but for how fast it was done.
        lines = done.err.replace(run.dir, "DIR").splitlines()
        seen[way + ", messages"] = [l for l in lines if not l.startswith("encoded ")]
    return seen


@test
def it_ends_in_the_middle_of_its_work_on_int(run):
    # More than it could encode in any time that we would wait.
    frames = CLIP[CLIP.index(b"FRAME") :]
    head = CLIP[: CLIP.index(b"FRAME")]
    source = run.file("clip.y4m", head + frames * 20)
    output = run.path("out.264")
    encoder = run.start(
        *("x264", "--no-progress", "--preset", "slower", "--threads", 8),
        *("-o", output, source),
    )
    wait_for(
        lambda: os.path.exists(output) and os.path.getsize(output) > 5000,
        "some output",
    )
    # What is under way is encoded to its end.
    status = encoder.stop(signal.SIGINT)
    check("aborted at input frame" in encoder.err(), encoder.err())
    return {"status": status}


main()
