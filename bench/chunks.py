"""Expected against measured time per run on one thread: what sweeps size their blocks by.

    python bench/chunks.py

Blocks are cut by the expected times alone; a decade is as far as one can see before running.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import numpy as np

import kernelrich_fast as krf
from kernelrich_fast.sweeps import diagonal, factorization, mlp

RUNS = 4


def compare(name: str, sweep: Callable[..., Any], *data: Any, **options: Any) -> float:
    """Print and return the ratio of measured to expected time."""
    plans = []
    with ExitStack() as stack:
        for module in (diagonal, factorization, mlp):
            stack.enter_context(
                mock.patch.object(module, "run_sweep", lambda plan, **_: plans.append(plan))
            )
        sweep(*data, **options)
    expected = float(np.broadcast_to(plans[0].seconds(), plans[0].shape).sum())
    start = time.perf_counter()
    sweep(*data, **options, num_threads=1, progress=False)
    measured = time.perf_counter() - start
    print(f"{name:50s} expected {expected:9.2e} s  measured {measured:9.2e} s", flush=True)
    return measured / expected


def main() -> None:
    """Compare over the range of sizes that the paper's figures have."""
    warnings.simplefilter("ignore", krf.ConvergenceWarning)
    ratios = []
    for n, d in ((10, 50), (30, 200), (100, 1000), (200, 1000)):
        X, y, _ = krf.datasets.sparse_regression(n, d, 3)
        krf.theory.min_l1(X, y)
        for depth, alpha in ((2, 1e-4), (2, 1.0), (3, 1e-3), (3, 1.0), (5, 0.05)):
            for limit in (False, True):
                name = f"{'limit' if limit else 'flow'} N={n} d={d} D={depth} alpha={alpha:g}"
                options = {
                    "alpha": np.full(RUNS, alpha),
                    "depth": depth,
                    "limit": limit,
                    "keep": (),
                }
                ratios.append(compare(name, krf.sweep_diagonal, X, y, **options))
    for size, n in ((10, 60), (20, 200), (32, 307)):
        data = krf.datasets.low_rank_completion(size, size, 1, n)
        for width, alpha in ((size, 1e-3), (1000, 1e-3), (1000, 1.0)):
            name = f"factorisation {size} x {size}, N={n} k={width} alpha={alpha:g}"
            options = {"alpha": np.full(RUNS, alpha), "width": width, "n_observed": n, "keep": ()}
            ratios.append(compare(name, krf.sweep_factorization, data.Y_star, **options))
    for n, width, depth in ((10, 30, 2), (10, 30, 3), (10, 30, 5), (10, 300, 2), (40, 30, 2)):
        circle = krf.datasets.circle_teacher(n, seed=1)
        for alpha in (0.3, 1.0):
            name = f"network N={n} width={width} D={depth} alpha={alpha:g}"
            options = {
                "alpha": np.full(RUNS, alpha),
                "depth": depth,
                "width": width,
                "rtol": 1e-4,
                "keep": (),
            }
            ratios.append(compare(name, krf.sweep_mlp, circle.X, circle.y, **options))
    logs = np.log10(ratios)
    within = np.mean(np.abs(logs) <= 1.0)
    print(
        f"measured / expected: 1e{logs.min():.1f} to 1e{logs.max():.1f}, {within:.0%} to a decade"
    )


if __name__ == "__main__":
    main()
