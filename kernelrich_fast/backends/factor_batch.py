"""A batch of factorisation problems by index into shared arrays: what every backend is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._device import on_device
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

    def start(self, b: int) -> FloatArray:
        return np.asarray(self.scale[b] * self.starts[self.start_index[b]])
