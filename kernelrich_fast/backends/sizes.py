"""Batches of problems that differ in size."""

from __future__ import annotations

import numpy as np

from .._types import IntArray

__all__ = ["by_size", "used"]


def by_size(sizes: IntArray) -> list[tuple[int, IntArray]]:
    """The sizes that occur, the largest first, and the runs of each.

    Examples
    --------
    >>> import numpy as np
    >>> [(n, runs.tolist()) for n, runs in by_size(np.array([2, 3, 2]))]
    [(3, [1]), (2, [0, 2])]
    """
    return [(int(n), np.flatnonzero(sizes == n)) for n in np.unique(sizes)[::-1]]


def used(index: IntArray) -> tuple[IntArray, IntArray]:
    """The entries that an index refers to, and the index among these.

    Examples
    --------
    >>> import numpy as np
    >>> [each.tolist() for each in used(np.array([7, 4, 7]))]
    [[4, 7], [1, 0, 1]]
    """
    entries, which = np.unique(index, return_inverse=True)
    return entries, np.asarray(which.reshape(-1), dtype=np.int64)
