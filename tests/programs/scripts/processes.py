# SPDX-License-Identifier: MIT OR Apache-2.0
"""Subprocesses started and fed from threads: fork, vfork, exec and pipes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 40


def filters():
    """Data through a filter, both ways at once, from twelve threads."""

    def through(i):
        data = bytes([65 + i % 26]) * 200_000
        done = subprocess.run(
            ["tr", "A-Z", "a-z"],
            input=data,
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout == data.lower()

    with ThreadPoolExecutor(12) as pool:
        print("filters:", set(pool.map(through, range(36))))


def statuses():
    def status(i):
        return subprocess.call(["sh", "-c", f"exit {i}"])

    def shot(number):
        with subprocess.Popen(["sleep", "1000"]) as child:
            child.send_signal(number)
            return child.wait(PATIENCE)

    with ThreadPoolExecutor(8) as pool:
        print("statuses:", list(pool.map(status, range(12))))
        print("statuses:", list(pool.map(shot, (signal.SIGTERM, signal.SIGKILL))))
    try:
        subprocess.run(["sleep", "1000"], timeout=0.05)
    except subprocess.TimeoutExpired:
        print("statuses: a time limit ends the wait")
    try:
        subprocess.run(["/nonexistent/program"])
    except FileNotFoundError as error:
        print("statuses:", error)
    print(
        "statuses:", os.system("exit 3") >> 8, os.popen("echo popen").read().strip()
    )


def pipelines():
    def lines(i):
        make = subprocess.Popen(["seq", "1", "2000"], stdout=subprocess.PIPE)
        take = subprocess.Popen(
            ["grep", "-c", str(i)], stdin=make.stdout, stdout=subprocess.PIPE
        )
        make.stdout.close()
        answer = int(take.communicate(timeout=PATIENCE)[0])
        return answer, make.wait(PATIENCE)

    with ThreadPoolExecutor(6) as pool:
        print("pipelines:", list(pool.map(lines, range(10))))


def conversation():
    """A child that answers line by line, talked to from a thread."""
    child = subprocess.Popen(
        [sys.executable, "-c", "while True: print(input()[::-1], flush=True)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    answers = []

    def talk():
        for i in range(100):
            child.stdin.write(f"{i}\n")
            child.stdin.flush()
            answers.append(child.stdout.readline() == f"{str(i)[::-1]}\n")
        child.stdin.close()

    thread = threading.Thread(target=talk)
    thread.start()
    thread.join(PATIENCE)
    print("conversation:", answers == [True] * 100, child.wait(PATIENCE))
    child.stdout.close()


def forks():
    """fork alone: the child is one thread, and may make more."""

    def fork(i):
        pid = os.fork()
        if pid == 0:
            try:
                found = []
                threads = [
                    threading.Thread(target=found.append, args=(n,))
                    for n in range(5)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(PATIENCE)
                os._exit(i if sorted(found) == list(range(5)) else 99)
            finally:
                os._exit(98)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    with ThreadPoolExecutor(6) as pool:
        print("forks:", list(pool.map(fork, range(40))) == list(range(40)))


def square(n):
    return n * n


def pool_of_processes():
    """multiprocessing: semaphores and pipes that processes share."""
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(3) as pool:
            answer = pool.map_async(square, range(100)).get(PATIENCE)
            print(f"pool by {method}:", answer == [n * n for n in range(100)])
            pool.close()
            pool.join()
    context = multiprocessing.get_context("fork")
    counter, lock = context.Value("i", 0), context.Lock()

    def add():
        for _ in range(200):
            with lock:
                counter.value += 1

    children = [context.Process(target=add) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
    print("shared:", counter.value, [c.exitcode for c in children])


def inheritance():
    """A child has the three standard descriptors, no signal blocked, none
    ignored but what Python ignores, and our pid as its parent."""
    script = (
        "import os, signal; fds = os.listdir('/proc/self/fd'); "
        "print(sorted(f for f in fds if os.path.exists('/proc/self/fd/' + f)), "
        "signal.pthread_sigmask(signal.SIG_BLOCK, []), "
        "[l.split()[1] for l in open('/proc/self/status') if l[:6] == 'SigIgn'], "
        f"os.getppid() == {os.getpid()})"
    )
    for close_fds in (True, False):
        for from_thread in (False, True):
            answers = []

            def ask():
                answers.append(
                    subprocess.check_output(
                        [sys.executable, "-c", script],
                        close_fds=close_fds,
                        text=True,
                        timeout=PATIENCE,
                    )
                )

            if from_thread:
                thread = threading.Thread(target=ask)
                thread.start()
                thread.join(PATIENCE)
            else:
                ask()
            print("inheritance:", close_fds, from_thread, answers[0].strip())


if __name__ == "__main__":
    for part in (
        filters,
        statuses,
        pipelines,
        conversation,
        forks,
        pool_of_processes,
        inheritance,
    ):
        part()
        sys.stdout.flush()
