"""A batch of factorisation problems by index into shared arrays: what every backend is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._device import namespace, on_device, to_host
from .._types import FloatArray, IntArray
from .crossover import factorization_crossover

__all__ = ["FactorBatch"]


@dataclass(frozen=True)
class FactorBatch:
    """Runs ``b`` of ``y[y_index[b]]`` from ``scale[b] * starts[start_index[b]]``.

    A start is a factor W (n, r), r <= n, of the lifted Gram matrix W W^T, whose block of the first
    p rows and the columns from c0 on is M: c0 = p for M = U V^T, c0 = 0 for M = W W^T.  Samples are
    entries (row, column) of W W^T, (sets, n_samples) each, in set entry_index[b]; or, for all runs,
    X (n_samples, p, n - c0), symmetric where c0 = 0.
    """

    shape: tuple[int, ...]
    n: int
    p: int
    c0: int
    row: IntArray
    column: IntArray
    X: FloatArray | None
    y: FloatArray
    starts: list[FloatArray]
    scale: FloatArray
    y_index: IntArray
    start_index: IntArray
    entry_index: IntArray

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def on_device(self) -> bool:
        """Whether data or starts are, and with them the results."""
        return any(map(on_device, (self.y, self.X, self.starts[0])))

    @property
    def crossover(self) -> float:
        """Runs for each thread of the CPU from which on a GPU pays."""
        return factorization_crossover(self.y.shape[-1])

    def arguments(self) -> dict[str, Any]:
        rank = np.array([W.shape[1] for W in self.starts])
        if len(self.starts) == 1:
            starts = self.starts[0][None]
        else:
            xp = namespace(*self.starts)
            starts = xp.zeros((len(rank), self.n, int(rank.max())))
            for s, W in enumerate(self.starts):
                starts[s, :, : rank[s]] = W
        where: dict[str, Any] = (
            {
                "row": self.row.astype(np.int32), "column": self.column.astype(np.int32),
                "entry_index": self.entry_index,
            }
            if self.X is None
            else {"X": self.X}
        )  # fmt: skip
        return where | {
            "p": self.p, "c0": self.c0, "y": self.y, "starts": starts, "rank": rank,
            "start_norm": np.sqrt(to_host((starts * starts).sum(axis=(1, 2)))),
            "scale": self.scale, "y_index": self.y_index, "start_index": self.start_index,
        }  # fmt: skip

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

    def start(self, b: int) -> FloatArray:
        return np.asarray(self.scale[b] * self.starts[self.start_index[b]])
