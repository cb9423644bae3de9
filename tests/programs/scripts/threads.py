# SPDX-License-Identifier: MIT OR Apache-2.0
"""Threads that meet in every way that Python has; the output is the same at
every run, so two runs can be compared."""

import contextvars
import queue
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

PATIENCE = 30


def run_all(count, target):
    threads = [threading.Thread(target=target, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread} has not ended"


def queues():
    jobs, results = queue.Queue(7), queue.PriorityQueue()

    def worker(_):
        while (job := jobs.get(timeout=PATIENCE)) is not None:
            results.put((job, job * job))
            jobs.task_done()

    threads = [threading.Thread(target=worker, args=(i,)) for i in range(50)]
    for thread in threads:
        thread.start()
    for job in range(5000):
        jobs.put(job, timeout=PATIENCE)
    jobs.join()
    for _ in threads:
        jobs.put(None, timeout=PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    found = [results.get_nowait() for _ in range(5000)]
    print("queues:", found == [(i, i * i) for i in range(5000)], results.empty())
    try:
        results.get(timeout=0.01)
    except queue.Empty:
        print("queues: a wait for nothing ends")


def locks():
    lock, again, total = threading.Lock(), threading.RLock(), [0, 0]

    def add(_):
        for _ in range(200):
            with lock:
                before = total[0]
                if before % 50 == 0:
                    time.sleep(0)
                total[0] = before + 1
            with again, again:
                total[1] += 1

    run_all(100, add)
    print("locks:", total)
    lock.acquire()
    print("locks: taken", lock.acquire(timeout=0.01), lock.acquire(blocking=False))
    lock.release()


def conditions():
    condition, turn, order = threading.Condition(), [0], []

    def take_turn(i):
        with condition:
            ok = condition.wait_for(lambda: turn[0] == i, PATIENCE)
            order.append((i, ok))
            turn[0] += 1
            condition.notify_all()

    run_all(100, take_turn)
    print("conditions:", order == [(i, True) for i in range(100)])
    with condition:
        print("conditions: nobody notifies", condition.wait(0.01))


def meetings():
    barrier, sums = threading.Barrier(40), []
    lots = [[0] * 40 for _ in range(20)]

    def meet(i):
        for round in range(20):
            lots[round][i] = 1
            if barrier.wait(PATIENCE) == 0:
                sums.append(sum(lots[round]))

    run_all(40, meet)
    print("barriers:", sums == [40] * 20)
    gate, inside, most = threading.Semaphore(3), [0], [0]
    lock = threading.Lock()

    def enter(_):
        for _ in range(10):
            with gate:
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.0001)
                with lock:
                    inside[0] -= 1

    run_all(30, enter)
    print("semaphores:", most[0] <= 3, inside[0])
    event, seen = threading.Event(), []
    threads = [
        threading.Thread(target=lambda: seen.append(event.wait(PATIENCE)))
        for _ in range(60)
    ]
    for thread in threads:
        thread.start()
    event.set()
    for thread in threads:
        thread.join(PATIENCE)
    print("events:", seen == [True] * 60)


def own_state():
    local, wrong = threading.local(), []
    variable = contextvars.ContextVar("variable", default=None)
    everyone = threading.Barrier(80)
    idents, natives = set(), set()

    def check(i):
        local.value = i
        variable.set(i)
        everyone.wait(PATIENCE)
        idents.add(threading.get_ident())
        natives.add(threading.get_native_id())
        for _ in range(50):
            time.sleep(0.0002)
            if local.value != i or variable.get() != i:
                wrong.append(i)
            if threading.current_thread().name != f"mine-{i}":
                wrong.append(i)
        everyone.wait(PATIENCE)

    threads = [
        threading.Thread(target=check, args=(i,), name=f"mine-{i}")
        for i in range(80)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    print("own state:", wrong, len(idents), len(natives))


def failures():
    caught = []
    threading.excepthook = lambda args: caught.append(str(args.exc_value))

    def fail(i):
        raise ValueError(f"on purpose {i:02}")

    run_all(20, fail)
    threading.excepthook = threading.__excepthook__
    print("failures:", sorted(caught) == [f"on purpose {i:02}" for i in range(20)])

    def deep(n):
        return deep(n + 1)

    answers = []

    def overflow(_):
        try:
            deep(0)
        except RecursionError:
            answers.append("recursion error")

    run_all(5, overflow)
    print("failures:", answers)


def pools():
    with ThreadPoolExecutor(32) as pool:
        futures = [
            pool.submit(lambda i=i: (time.sleep(0.001), i)[1]) for i in range(500)
        ]
        total = sum(f.result(PATIENCE) for f in as_completed(futures, PATIENCE))
        print("pools:", total, list(pool.map(abs, range(-5, 0), timeout=PATIENCE)))
        failing = pool.submit(lambda: 1 // 0)
        print("pools:", repr(failing.exception(PATIENCE)))
    fired = []
    timers = [threading.Timer(0.001 * i, fired.append, (i,)) for i in range(20)]
    cancelled = threading.Timer(PATIENCE, fired.append, ("never",))
    for timer in timers + [cancelled]:
        timer.start()
    cancelled.cancel()
    for timer in timers + [cancelled]:
        timer.join(PATIENCE)
    print("timers:", sorted(fired) == list(range(20)))


def computing():
    """More threads that never yield than there are processors, and one that
    must go on regardless."""
    done, ticks = threading.Event(), [0]

    def spin(_):
        while not done.is_set():
            pass

    def tick():
        for _ in range(50):
            time.sleep(0.001)
            ticks[0] += 1
        done.set()

    threads = [threading.Thread(target=spin, args=(i,)) for i in range(6)]
    threads.append(threading.Thread(target=tick))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    print("computing:", ticks, [t.is_alive() for t in threads].count(True))


def many():
    threading.stack_size(256 * 1024)
    gate, through = threading.Event(), []

    def wait():
        gate.wait(PATIENCE)
        through.append(1)

    threads = [threading.Thread(target=wait) for _ in range(1500)]
    for thread in threads:
        thread.start()
    print("many:", threading.active_count())
    gate.set()
    for thread in threads:
        thread.join(PATIENCE)
    print("many:", len(through), threading.active_count())
    threading.stack_size(0)


for part in (
    queues,
    locks,
    conditions,
    meetings,
    own_state,
    failures,
    pools,
    computing,
    many,
):
    part()
    sys.stdout.flush()

# One that is still asleep must not keep the interpreter from ending, one that
# still works must.
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()


def late():
    time.sleep(0.05)
    print("a last word")


threading.Thread(target=late).start()
sys.exit(7)
