"""Time against size: runs, samples, features, threads; on every backend that works here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import datasets
from ..diagonal import flow_diagonal
from ..factorization import flow_factorization
from ..linear import flow_linear
from ..mlp import flow_mlp
from .machine import cores

__all__ = ["Point", "measure_scaling"]

SIZES: dict[str, tuple[int, ...]] = {
    "B": (1, 10, 100, 1000), "N": (25, 50, 100, 200), "d": (250, 500, 1000, 2000, 4000),
}  # fmt: skip
QUICK: dict[str, tuple[int, ...]] = {"B": (1, 4), "N": (10, 20), "d": (30, 60)}


@dataclass(frozen=True)
class Point:
    """Median and spread of a call's seconds at one size, every other size at its standard."""

    family: str
    backend: str
    axis: str  # B, N, d (one thread each), "B, all cores" or threads
    size: int
    seconds: float
    spread: float


def _diagonal(N: int, d: int) -> Callable[..., Any]:
    X, y, _ = datasets.sparse_regression(N, d, 5)
    return lambda runs, **options: flow_diagonal(X, y, alpha=np.full(runs, 1e-3), **options)


def _margins(N: int, d: int) -> Callable[..., Any]:
    X, y, _ = datasets.sparse_regression(N, d, 5, noise_variance=0.0)
    labels = np.sign(y)
    return lambda runs, **options: flow_diagonal(
        X, labels, alpha=np.full(runs, 0.1), loss="exponential", stop_log_loss=-690.0, **options
    )


def _factorization() -> Callable[..., Any]:
    data = datasets.low_rank_completion(10, 10, 1, 60, seed=0)
    return lambda runs, **options: flow_factorization(
        data.y, entries=data.entries, dims=(10, 10), alpha=1e-3, width=100, stop_loss=1e-10,
        seed=np.zeros(runs, dtype=int), **options,
    )  # fmt: skip


def _linear() -> Callable[..., Any]:
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20, 6)), rng.standard_normal((20, 4))
    return lambda runs, **options: flow_linear(
        X, Y, alpha=1e-3, width=100, seed=np.zeros(runs, dtype=int), **options
    )


def _mlp() -> Callable[..., Any]:
    data = datasets.circle_teacher(10, seed=0)
    return lambda runs, **options: flow_mlp(
        data.X, data.y, depth=2, width=30, alpha=1.0, stop_loss=1e-8, rtol=1e-4,
        seed=np.zeros(runs, dtype=int), **options,
    )  # fmt: skip


def measure_scaling(
    family: str, backends: tuple[str, ...], quick: bool, repeats: int
) -> list[Point]:
    """Points of one family, repeats interleaved over the sizes of an axis."""
    sizes = QUICK if quick else SIZES
    N, d = (10, 30) if quick else (100, 1000)
    standard = {
        "diagonal": lambda: _diagonal(N, d),
        "margins": lambda: _margins(N, d),
        "factorization": _factorization,
        "linear": _linear,
        "mlp": _mlp,
    }[family]()
    points: list[Point] = []
    for backend in backends:
        # Loops in Python need no thousand runs to show that they are linear.
        runs = [B for B in sizes["B"] if backend != "numpy" or B <= 10]
        axes = {"B": {B: _call(standard, B, backend, 1) for B in runs}}
        if "cuda" in backends and backend != "numpy":
            axes["B, all cores"] = {B: _call(standard, B, backend, None) for B in runs}
        if backend == "cpu":
            most = 8 * cores()
            axes["threads"] = {n: _call(standard, most, backend, n) for n in range(1, cores() + 1)}
        if family == "diagonal" and backend != "numpy":
            axes["N"] = {n: _call(_diagonal(n, d), 4, backend, 1) for n in sizes["N"]}
            axes["d"] = {n: _call(_diagonal(N, n), 4, backend, 1) for n in sizes["d"]}
        for axis, calls in axes.items():
            points += _axis(family, backend, axis, calls, repeats)
    return points


def _call(
    problem: Callable[..., Any], runs: int, backend: str, threads: int | None
) -> Callable[[], Any]:
    return lambda: problem(runs, backend=backend, num_threads=threads)


def _axis(
    family: str, backend: str, axis: str, calls: dict[int, Callable[[], Any]], repeats: int
) -> list[Point]:
    times: dict[int, list[float]] = {size: [] for size in calls}
    inner = {}
    for size, call in calls.items():
        start = time.perf_counter()
        call()
        inner[size] = max(1, min(1000, round(0.02 / (time.perf_counter() - start))))
    for _ in range(repeats):
        for size, call in calls.items():
            start = time.perf_counter()
            for _ in range(inner[size]):
                call()
            times[size].append((time.perf_counter() - start) / inner[size])
    return [
        Point(family, backend, axis, size, float(np.median(t)), float(np.ptp(t)))
        for size, t in times.items()
    ]


def as_dicts(points: list[Point]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(point) for point in points]
