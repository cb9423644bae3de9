# SPDX-License-Identifier: MIT OR Apache-2.0
"""OpenSSL, both ends of five hundred connections in one process."""

from library import *


@test(limit=100)
def five_hundred_sessions_park_at_both_ends(run):
    seen = crowd(run, seconds=80)
    same(seen["greeted"], str(2 * MEMBERS), "greetings")
    same(seen["resumed"], str(MEMBERS), "sessions resumed")
    return seen


main()
