"""Threads that compute for a page, so that neither it nor its server waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..status import without_convergence_warnings

__all__ = ["Worker"]

# A computation that reports by itself, a piece for each step of the iterator.
Job = Callable[[], Iterator[Any]]


class Worker:
    """One thread that runs the last job it was given; a newer job ends an older one.

    A job is a function that returns an iterator; between two of its items the thread looks whether
    the job is still wanted, and, while ``after`` is busy, waits.
    """

    def __init__(self, after: Worker | None = None) -> None:
        self._changed = threading.Condition()
        self._job: Job | None = None
        self._busy = False
        self._open = True
        self._after = after
        self._thread = threading.Thread(target=self._run, name="kernelrich explore", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Run this job next, in place of the one that runs or waits."""
        with self._changed:
            self._job = job
            self._busy = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread after the piece it computes."""
        with self._changed:
            self._open = False
            self._job = None
            self._changed.notify_all()

    def wait_idle(self, timeout: float = 60.0) -> bool:
        """Wait until no job runs or waits; whether that came within ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy or not self._open, timeout)

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._job is not None or not self._open)
            job, self._job = self._job, None
            return job

    def _stale(self) -> bool:
        with self._changed:
            return self._job is not None or not self._open

    def _run(self) -> None:
        with without_convergence_warnings():  # the page says what did not converge
            while (job := self._next()) is not None:
                for _ in job():
                    if self._after is not None:
                        self._after.wait_idle()
                    if self._stale():
                        break
                with self._changed:
                    if self._job is None:
                        self._busy = False
                        self._changed.notify_all()
