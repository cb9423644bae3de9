# SPDX-License-Identifier: MIT OR Apache-2.0
"""The short ones among CPython's own test modules; cpython_all.py runs all."""

from cpython import outcomes
from harness import *


@test
def locks_and_threads_pass_the_tests_of_the_thread_module(run):
    return outcomes(run, "test_thread")


@test
def threads_locks_and_forks_pass_the_tests_of_the_threading_module(run):
    return outcomes(run, "test_threading", leave=["test_timeout", "*_default_timeout"])


@test
def queues_pass_the_tests_of_the_queue_module(run):
    return outcomes(run, "test_queue", leave=["test_basic"])


@test
def signals_and_those_who_wait_for_them_pass_the_tests_of_the_signal_module(run):
    # Without what waits for whole seconds.
    slow = ["SiginterruptTest", "ItimerTest", "StressTest", "WakeupSignalTests"]
    return outcomes(run, "test_signal", leave=[f"*.{name}.*" for name in slow])


@test
def a_lock_that_a_signal_interrupts_passes_the_tests_of_threadsignals(run):
    return outcomes(run, "test_threadsignals", leave=["test_lock_*"])


@test
def descriptors_pass_the_tests_of_the_selectors_module(run):
    return outcomes(run, "test_selectors", leave=["*_interrupt_*", "test_timeout"])


main()
