"""Batches of two-factor models by index into shared arrays: what every backend is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._device import namespace, on_device, to_host
from .._types import FloatArray, IntArray
from .batch import MARGIN_LOSSES
from .cost import factorization_seconds, linear_seconds
from .crossover import MARGIN_CROSSOVER, factorization_crossover
from .sizes import by_size, used

__all__ = ["FactorBatch", "FactorMarginBatch", "FactorStarts", "LinearBatch"]


@dataclass(frozen=True)
class FactorStarts:
    """Runs ``b`` from ``scale[b] * starts[start_index[b]]``, factors (n, r) with r <= n."""

    shape: tuple[int, ...]
    n: int
    starts: list[FloatArray]
    scale: FloatArray
    start_index: IntArray

    def __len__(self) -> int:
        return len(self.scale)

    def start(self, b: int) -> FloatArray:
        return np.asarray(self.scale[b] * self.starts[self.start_index[b]])

    def weight_sizes(self) -> FloatArray:
        """Root mean squares of the weights, of every run."""
        size = [float(to_host((W * W).mean())) for W in self.starts]
        return np.asarray(self.scale * np.sqrt(np.maximum(size, 1e-300))[self.start_index])

    def start_arguments(self) -> dict[str, Any]:
        """The starts as one array, each filled up with columns of zeros."""
        rank = np.array([W.shape[1] for W in self.starts])
        if len(self.starts) == 1:
            starts = self.starts[0][None]
        else:
            xp = namespace(*self.starts)
            starts = xp.zeros((len(rank), self.n, int(rank.max())))
            for s, W in enumerate(self.starts):
                starts[s, :, : rank[s]] = W
        return {
            "starts": starts,
            "rank": rank,
            "scale": self.scale,
            "start_index": self.start_index,
        }

    def padded(self, factors: list[FloatArray]) -> FloatArray:
        """The inverse of `factors`."""
        widest = max(W.shape[1] for W in self.starts)
        W = np.zeros((len(factors), len(factors[0]), self.n, widest))
        for b, factor in enumerate(factors):
            W[b].reshape(-1)[: factor.size] = factor.ravel()
        return W

    def factors(self, W: FloatArray) -> list[FloatArray]:
        """Per run the factor (T, n, r), which lies at the beginning of its part of W."""
        times = W.shape[1]
        found = []
        for b, s in enumerate(self.start_index):
            r = self.starts[s].shape[1]
            found.append(W[b].reshape(-1)[: times * self.n * r].reshape(times, self.n, r))
        return found


@dataclass(frozen=True)
class FactorBatch(FactorStarts):
    """Runs ``b`` of ``y[y_index[b]]``.

    A start is a factor of the lifted Gram matrix W W^T, whose block of the first p rows and the
    columns from c0 on is M: c0 = p for M = U V^T, c0 = 0 for M = W W^T.  Samples are entries
    (row, column) of W W^T, (sets, n_samples) each, in set entry_index[b]; or, for all runs,
    X (n_samples, p, n - c0), symmetric where c0 = 0.
    """

    p: int
    c0: int
    row: IntArray
    column: IntArray
    X: FloatArray | None
    y: FloatArray
    y_index: IntArray
    entry_index: IntArray

    @property
    def on_device(self) -> bool:
        """Whether data or starts are, and with them the results."""
        return any(map(on_device, (self.y, self.X, self.starts[0])))

    @property
    def crossover(self) -> float:
        """Runs for each thread of the CPU from which on a GPU pays."""
        return factorization_crossover(self.y.shape[-1])

    def seconds(self) -> FloatArray:
        """Expected, of every run."""
        return factorization_seconds(self.y.shape[-1], self.weight_sizes())

    def parts(self) -> Sequence[tuple[IntArray, FactorBatch]]:
        """None: problems of one batch have one size."""
        return []

    def arguments(self) -> dict[str, Any]:
        where: dict[str, Any] = (
            {
                "row": self.row.astype(np.int32),
                "column": self.column.astype(np.int32),
                "entry_index": self.entry_index,
            }
            if self.X is None
            else {"X": self.X}
        )
        own = {"p": self.p, "c0": self.c0, "y": self.y, "y_index": self.y_index}
        return where | own | self.start_arguments()


@dataclass(frozen=True)
class FactorMarginBatch(FactorBatch):
    """Runs with a margin loss, whose y are labels."""

    loss: str = MARGIN_LOSSES[0]

    @property
    def crossover(self) -> float:
        """No number was measured for margin losses."""
        return MARGIN_CROSSOVER

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"loss": MARGIN_LOSSES.index(self.loss)}

    def margins(self, M: FloatArray) -> FloatArray:
        """Y times the predictions of M (B, T, p, n - c0), in the batch's order."""
        xp = namespace(M)
        flat = M.reshape(*M.shape[:2], -1)
        if self.X is not None:
            found = flat @ self.X.reshape(len(self.X), -1).T
        else:
            at = self.row * (self.n - self.c0) + self.column - self.c0
            found = xp.empty((*M.shape[:2], at.shape[-1]))
            for which in np.unique(self.entry_index):
                runs = xp.asarray(np.flatnonzero(self.entry_index == which))
                found[runs] = flat[runs][..., xp.asarray(at[which])]
        labels = self.y[xp.asarray(self.y_index)][:, None, :]
        margins: FloatArray = found * labels
        return margins


@dataclass(frozen=True)
class LinearBatch(FactorStarts):
    """Runs ``b`` of problem p = problem_index[b] of a linear network M = W2 W1.

    In the basis of the inputs' singular vectors the loss is
    sum_oj (sigma[p, j] M_oj - target[p, o, j])^2 + loss_offset[p]; a start is [W2; W1^T] in it.
    """

    sigma: FloatArray  # (problems, n_modes)
    target: FloatArray  # (problems, n_outputs, n_modes)
    loss_offset: FloatArray  # (problems,)
    problem_index: IntArray
    n_modes: IntArray | None = None  # of each problem, where they differ; zeros follow these

    def parts(self) -> Sequence[tuple[IntArray, LinearBatch]]:
        """Where problems differ in size, the runs of each size, the largest first; else none."""
        if self.n_modes is None:
            return []
        sizes = by_size(self.n_modes[self.problem_index])
        return [(runs, self._of_size(runs, n)) for n, runs in sizes]

    def _of_size(self, runs: IntArray, n: int) -> LinearBatch:
        xp = namespace(self.sigma)
        problems, problem_index = used(self.problem_index[runs])
        at = xp.asarray(problems)
        return replace(
            self, shape=(len(runs),), scale=self.scale[runs], start_index=self.start_index[runs],
            sigma=xp.ascontiguousarray(self.sigma[at][:, :n]),
            target=xp.ascontiguousarray(self.target[at][..., :n]),
            loss_offset=self.loss_offset[at], problem_index=problem_index, n_modes=None,
        )  # fmt: skip

    @property
    def on_device(self) -> bool:
        """Whether data or starts are, and with them the results."""
        return any(map(on_device, (self.sigma, self.target, self.starts[0])))

    @property
    def crossover(self) -> float:
        """Runs for each thread of the CPU from which on a GPU pays."""
        return factorization_crossover(self.target.shape[-2] * self.target.shape[-1])

    def seconds(self) -> FloatArray:
        """Expected, of every run."""
        outputs, modes = self.target.shape[-2:]
        return linear_seconds(outputs, modes, self.n, self.weight_sizes())

    def arguments(self) -> dict[str, Any]:
        own = {
            "sigma": self.sigma,
            "target": self.target,
            "loss_offset": self.loss_offset,
            "problem_index": self.problem_index,
        }
        return own | self.start_arguments()
