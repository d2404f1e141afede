"""The calls that `bench/gpu.py` measures, each on the backend that it is given."""

from __future__ import annotations

from functools import cache, cached_property
from unittest import mock

import numpy as np

import kernelrich_fast as krf
from kernelrich_fast.experiments import fig5, fig6


def scales(count):
    return np.geomspace(1e-6, 1.0, count)


class Hundred:
    """The problem that is measured most. Its flow ends at the same times on all backends.

    ``tight`` are the options with which a solution counts as exact.
    """

    tight = {  # noqa: RUF012
        # tests/accuracy/test_flow_accuracy.py holds it against an integration of the weights.
        "flow": {"rtol": 1e-11, "method": "radau5"},
        "limit": {"tol": 1e-13},
        "margin": {"rtol": 1e-11},
        "decay": {"rtol": 1e-11},
    }

    def __init__(self):
        self.X, self.y, _ = krf.datasets.sparse_regression(100, 1000, 5)

    @cached_property
    def ends(self):
        """Logarithms of scales, and of the times at which their flows reach the relative loss."""
        few = scales(65)
        flow = krf.flow_diagonal(self.X, self.y, alpha=few, stop_loss=1e-12, backend="cpu")
        return np.log(few), np.log(flow.t)

    def times(self, alpha):
        return np.exp(np.interp(np.log(alpha), *self.ends))

    def flow(self, alpha, backend, **options):
        return krf.flow_diagonal(
            self.X, self.y, alpha=alpha, t_max=self.times(alpha), stop_loss=0.0, backend=backend,
            **options,
        )  # fmt: skip

    def limit(self, alpha, backend, **options):
        return krf.limit_diagonal(self.X, self.y, alpha=alpha, backend=backend, **options)

    def margin(self, alpha, backend, **options):
        labels = np.sign(self.y)
        return krf.flow_diagonal(
            self.X, labels, alpha=alpha, loss="logistic", backend=backend, **options
        )

    def decay(self, alpha, backend, **options):
        return krf.flow_diagonal(
            self.X, self.y, alpha=alpha, t_max=10.0, stop_loss=0.0,
            weight_decay=[(0.0, 0.1), (5.0, 0.0)], backend=backend, **options,
        )  # fmt: skip


hundred = cache(Hundred)


def large_flow(backend):
    X, y, _ = krf.datasets.sparse_regression(512, 2048, 10)
    return krf.flow_diagonal(
        X, y, alpha=np.geomspace(1e-3, 1.0, 32), stop_loss=1e-6, backend=backend
    )


def small_flow(alpha, backend):
    X, y, _ = krf.datasets.sparse_regression(20, 50, 2)
    return krf.flow_diagonal(X, y, alpha=alpha, stop_loss=1e-9, backend=backend)


def completion_flow(alpha, backend):
    data = krf.datasets.low_rank_completion(10, 10, 1, 60)
    return krf.flow_factorization(
        data.y, entries=data.entries, dims=(10, 10), alpha=alpha, width=10, stop_loss=1e-9,
        backend=backend,
    )  # fmt: skip


def linear_flow(alpha, backend):
    """Twenty samples, ten inputs, ten outputs; the targets are those of a map of rank two."""
    rng = np.random.default_rng(0)
    X, U, V = (rng.standard_normal(shape) for shape in ((20, 10), (10, 2), (2, 10)))
    return krf.flow_linear(X, X @ U @ V, width=10, alpha=alpha, stop_loss=1e-9, backend=backend)


def network_flow(alpha, backend):
    data = krf.datasets.circle_teacher(10)
    return krf.flow_mlp(
        data.X, data.y, width=30, alpha=alpha, t_max=10.0, stop_loss=0.0, rtol=1e-4, backend=backend
    )


def figure5(seeds, backend, widths=fig5.WIDTHS):
    return fig5.completion_data(widths, tuple(range(seeds)), backend, False)


def figure6(depth, seeds, backend, columns=slice(None)):
    """The runs of one depth of the figure's three."""
    scales_of_depth = fig6.ALPHAS[fig6.DEPTHS.index(depth)]
    with mock.patch.multiple(fig6, DEPTHS=(depth,), ALPHAS=(scales_of_depth,)):
        return fig6.circle_data(columns, tuple(range(seeds)), backend, False)
