# SPDX-License-Identifier: MIT OR Apache-2.0
"""What may turn out false, waits that have a cap, and data to check with."""

import os
import random
import time

# Every cap is multiplied by this: for a machine that is slow or busy.
PATIENCE = float(os.environ.get("COGO_TEST_PATIENCE", "1"))


class Failure(Exception):
    """A sentence turned out false."""


class Overrun(Failure):
    """A wait reached its cap."""


def check(true, *what):
    if not true:
        raise Failure(" ".join(str(w) for w in what))


def same(got, wanted, what):
    if got != wanted:
        raise Failure(f"{what}: got {short(got)}, wanted {short(wanted)}")


def short(value, most=400):
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)})"


def wait_for(condition, what, seconds=20, step=0.01):
    """Waits until condition() is true and returns its value."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Overrun(f"after {seconds} s still waiting for {what}")
        time.sleep(step)
        step = min(step * 1.5, 0.2)


def pattern(size, seed):
    """Bytes that differ with every seed and place, made fast."""
    return random.Random(seed).randbytes(size)


def mixed_data(size, seed=1):
    """Text-like data: compresses, but not to nothing."""
    source = random.Random(seed)
    words = [
        source.randbytes(source.randrange(2, 9)).hex().encode() for _ in range(2000)
    ]
    parts, total = [], 0
    while total < size:
        part = (
            b" ".join(source.choices(words, k=200)) + b"\n" + source.randbytes(64)
        )
        parts.append(part)
        total += len(part)
    return b"".join(parts)[:size]
