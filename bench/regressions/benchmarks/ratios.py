"""Our own speed over commits, in units of a reference kernel timed in between.

A noisy machine slows both, so their ratio does not cry wolf. From bench/regressions:

    asv run --python=same --set-commit-hash=$(git rev-parse HEAD)    what is installed
    asv continuous HEAD~1 HEAD                                       one commit against another
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import time  # noqa: E402

import numpy as np  # noqa: E402

import kernelrich_fast as krf  # noqa: E402

REPEATS = 15
SQUARE = np.random.default_rng(0).standard_normal((400, 400))


def reference():
    """A product of 400 x 400 matrices: 128 million operations, 2 to 3 ms."""
    return SQUARE @ SQUARE


def ratio(call):
    """Median over interleaved repeats of the call's time by the reference's just before."""
    call()
    ratios = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        reference()
        middle = time.perf_counter()
        call()
        ratios.append((time.perf_counter() - middle) / (middle - start))
    return float(np.median(ratios))


class Diagonal:
    """One thread; a case of the bench suite, and one that is mostly overhead."""

    unit = "products of 400 x 400"
    timeout = 300.0  # sixteen calls, the slowest most of a second, on a machine that may be busy
    params = ((20, 100), (2, 3), (1e-4, 1.0))
    param_names = ("n_samples", "depth", "alpha")

    def setup(self, n, depth, alpha):
        X, y, _ = krf.datasets.sparse_regression(n, 10 * n, 5)
        options = dict(alpha=alpha, depth=depth, num_threads=1, backend="cpu")
        self.flow = lambda: krf.flow_diagonal(X, y, stop_loss=1e-8, **options)
        self.limit = lambda: krf.limit_diagonal(X, y, **options)

    def track_flow(self, n, depth, alpha):
        return ratio(self.flow)

    def track_limit(self, n, depth, alpha):
        return ratio(self.limit)

    track_flow.unit = track_limit.unit = unit


class Others:
    """A cell of figure 5 and a network of figure 6."""

    def setup(self):
        data = krf.datasets.low_rank_completion(10, 10, 1, 60)
        where = dict(entries=data.entries, dims=(10, 10), num_threads=1, backend="cpu")
        self.cell = lambda: krf.flow_factorization(data.y, **where, alpha=1e-3, width=100)
        net = krf.datasets.circle_teacher(10, seed=1)
        self.net = lambda: krf.flow_mlp(
            net.X, net.y, depth=3, alpha=1.0, rtol=1e-4, stop_loss=1e-9, num_threads=1,
            backend="cpu",
        )  # fmt: skip

    def track_factorization(self):
        return ratio(self.cell)

    def track_mlp(self):
        return ratio(self.net)

    track_factorization.unit = track_mlp.unit = Diagonal.unit
