"""The process in which one contestant runs: pinned to one core, asked for one run at a time."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["Contestant", "serve"]

AT_LEAST = 0.02  # seconds that a timing lasts: shorter runs are repeated within it


@dataclass(frozen=True)
class Contestant:
    """Who solves a case: one of our backends (``peer`` is None), or a peer on an equation."""

    backend: str | None = None
    peer: str | None = None
    formulation: str | None = None

    @property
    def label(self) -> str:
        """As tables and legends have it."""
        if self.peer is None:
            return f"kernelrich_fast ({self.backend})"
        return self.peer if self.formulation is None else f"{self.peer}, {self.formulation}"


def _prepare(contestant: Contestant, problem: Any, rtol: Any) -> Callable[[], Any]:
    if contestant.peer is None:
        backend = contestant.backend or "cpu"
        problem.ours(rtol, backend)  # loads what is loaded once
        return partial(problem.ours, rtol, backend)
    from .peers import prepare

    return prepare(contestant.peer, problem, contestant.formulation, rtol)


def serve(connection: Connection, case: Any, contestant: Contestant, core: int | None) -> None:
    """Answer ("prepare", key, rtol) and ("run", key) until ("stop",).

    Replies are ("ready", seconds), ("done", seconds a run, error, steps, fields, flops) or
    ("failed", words).
    """
    if core is not None:
        os.sched_setaffinity(0, {core})
    problem = case.build()
    runs: dict[Any, Callable[[], Any]] = {}
    inner: dict[Any, int] = {}
    connection.send(("built",))
    while True:
        what, *rest = connection.recv()
        if what == "stop":
            return
        try:
            if what == "prepare":
                start = time.perf_counter()
                runs[rest[0]] = _prepare(contestant, problem, rest[1])
                inner[rest[0]] = 1
                connection.send(("ready", time.perf_counter() - start))
                continue
            key = rest[0]
            gc.collect()
            start = time.perf_counter()
            for _ in range(inner[key]):
                outcome = runs[key]()
            seconds = (time.perf_counter() - start) / inner[key]
            inner[key] = max(1, min(1000, round(AT_LEAST / max(seconds, 1e-6))))
            error = problem.error(outcome.answer)
            counts = outcome.steps, outcome.fields, outcome.flops
            connection.send(("done", seconds, error, *counts))
        except ImportError as error:
            connection.send(("failed", f"not installed ({error})"))
        except Exception as error:
            connection.send(("failed", f"{type(error).__name__}: {error}"[:300]))
