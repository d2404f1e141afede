"""Threads of the page: the newest job wins, the background gives way, threads end."""

from __future__ import annotations

import threading
import time

from kernelrich_fast.explorer.work import Worker


def test_a_newer_job_ends_an_older_one():
    worker, seen, begun = Worker(), [], threading.Event()

    def endless():
        while True:
            begun.set()
            time.sleep(0.001)
            yield

    def job(number):
        seen.append(number)
        yield

    worker.submit(endless)
    assert begun.wait(5.0)
    for number in range(50):
        worker.submit(lambda number=number: job(number))
    assert worker.wait_idle(5.0)
    assert seen[-1] == 49
    assert seen == sorted(seen)
    worker.close()


def test_the_background_waits_for_the_flow_at_hand():
    front = Worker()
    back = Worker(after=front)
    order, hold = [], threading.Event()

    def first():
        assert hold.wait(5.0)
        order.append("front")
        yield

    def second():
        yield
        order.append("back")

    front.submit(first)
    back.submit(second)
    time.sleep(0.05)
    assert order == []
    hold.set()
    assert back.wait_idle(5.0)
    assert order == ["front", "back"]
    front.close()
    back.close()


def test_closing_ends_the_thread_and_lets_waiters_go():
    worker = Worker()
    waiting = Worker(after=worker)
    worker.submit(lambda: iter(lambda: time.sleep(0.001), 1))  # never ends by itself
    waiting.submit(lambda: iter([1]))
    worker.close()
    assert waiting.wait_idle(5.0)
    waiting.close()
    for each in (worker, waiting):
        each._thread.join(5.0)
        assert not each._thread.is_alive()
