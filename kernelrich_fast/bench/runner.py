"""Runs contestants in turn and makes a row of each: time never without error."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .cases import Case
from .worker import Contestant, serve

__all__ = ["Row", "run_case"]

STARTUP = 60.0  # seconds in which a process may import and build its problem, or compile
# One thread for everybody; settings of one machine's BLAS would make it unfair.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu", "OPENBLAS_CORETYPE": None, "OPENBLAS_L2_SIZE": None,
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}  # fmt: skip


@dataclass
class Row:
    """One contestant at one tolerance on one case; times in seconds, None where there is none."""

    case: str
    family: str
    contestant: str
    peer: bool
    rtol: float | None
    status: str = "ok"
    seconds: float | None = None  # the median
    spread: float | None = None  # largest less smallest
    repeats: int = 0
    compile_seconds: float | None = None
    error: float | None = None
    steps: int | None = None
    fields: int | None = None
    flops: float | None = None
    dgemm_share: float | None = None
    copy_share: float | None = None
    factor: float | None = None  # against our fastest that is at least as accurate
    against: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@contextmanager
def environment() -> Iterator[None]:
    """What a child process finds in its environment, before it imports anything."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    for name, value in ENVIRONMENT.items():
        _set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            _set(name, value)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def last_core() -> int | None:
    """A core to pin to; None where processes cannot be."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


@dataclass
class Seat:
    """A contestant's process and its rows."""

    case: Case
    contestant: Contestant
    limit: float
    rows: dict[int, Row] = field(default_factory=dict)
    times: dict[int, list[float]] = field(default_factory=dict)
    prepared: set[int] = field(default_factory=set)
    process: Any = None
    pipe: Any = None

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=serve, args=(other, self.case, self.contestant, last_core()), daemon=True
        )
        with environment():
            self.process.start()
        other.close()
        self.ask(None, STARTUP)

    def ask(self, question: tuple[Any, ...] | None, limit: float) -> tuple[Any, ...]:
        """A reply, or ("failed", why) after which the process is a new one."""
        try:
            if question is not None:
                self.pipe.send(question)
            if self.pipe.poll(limit):
                reply: tuple[Any, ...] = self.pipe.recv()
                return reply
            why = f"did not finish in {limit:g} s"
        except (EOFError, OSError):
            why = f"the process ended (exit code {self.process.exitcode})"
        self.stop()
        return ("failed", why)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
            self.process = None
            self.prepared.clear()

    def prepare(self, key: int) -> tuple[Any, ...]:
        """Compilers compile and descent looks for its step in here."""
        if self.process is None:
            self.start()
        reply = self.ask(("prepare", key, self.rows[key].rtol), self.limit + STARTUP)
        if reply[0] == "ready":
            self.prepared.add(key)
        return reply

    def first(self, key: int) -> None:
        """Prepare one tolerance and run it once, not timed."""
        row = self.rows[key]
        reply = self.prepare(key)
        if reply[0] == "ready":
            row.compile_seconds = reply[1] if row.peer else None
            reply = self.ask(("run", key), self.limit)
        if reply[0] == "failed":
            row.status = reply[1]
            return
        _, _, error, row.steps, row.fields, row.flops = reply
        if not np.isfinite(error):
            row.status = "not finite"
        else:
            row.error = float(error)

    def again(self, key: int) -> None:
        """One timed run."""
        if self.rows[key].status != "ok":
            return
        # A process that had to be killed took its other tolerances with it.
        if key not in self.prepared and self.prepare(key)[0] == "failed":
            self.rows[key].status = "worked once, then not again"
            return
        reply = self.ask(("run", key), 4.0 * self.limit + 10.0)
        if reply[0] == "failed":
            self.rows[key].status = reply[1]
        else:
            self.times[key].append(reply[1])


def run_case(
    case: Case, backends: tuple[str, ...], peers: bool, repeats: int, limit: float
) -> list[Row]:
    """All rows of a case; repeats are interleaved over all contestants and tolerances.

    A contestant that takes more than ``limit`` seconds for a run, fails, or is not installed is a
    row that says so.
    """
    seats: list[Seat] = []
    for backend in backends:
        if backend in case.backends:
            seats.append(_seat(case, Contestant(backend=backend), case.rtols, limit))
    if peers:
        seats += [
            _seat(case, Contestant(peer=a.peer, formulation=a.formulation), a.rtols, limit)
            for a in case.against
        ]
    try:
        for seat in seats:
            for key in seat.rows:
                seat.first(key)
        for _ in range(repeats):
            for seat in seats:
                for key in seat.rows:
                    seat.again(key)
    finally:
        for seat in seats:
            seat.stop()
    for seat in seats:
        for key, row in seat.rows.items():
            if seat.times[key] and row.status == "ok":
                row.seconds = float(np.median(seat.times[key]))
                row.spread = float(np.ptp(seat.times[key]))
                row.repeats = len(seat.times[key])
    return [row for seat in seats for row in seat.rows.values()]


def _seat(
    case: Case, contestant: Contestant, rtols: tuple[float | None, ...], limit: float
) -> Seat:
    seat = Seat(case, contestant, limit)
    for key, rtol in enumerate(rtols):
        seat.rows[key] = Row(
            case.name, case.family, contestant.label, contestant.peer is not None, rtol
        )
        seat.times[key] = []
    return seat
