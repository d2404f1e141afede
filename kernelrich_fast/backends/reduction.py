"""Problems with more samples than features, in bases of the columns of X."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._device import to_host
from .._types import FloatArray, IntArray
from .sizes import by_size

__all__ = ["Reduced", "reduced"]


class Reduced(NamedTuple):
    """Tall problems in bases of their columns, filled up to the one of most rows with zeros."""

    basis: FloatArray  # (n_X, n_samples, n)
    X: FloatArray  # (n_X, n, d)
    y: FloatArray  # (..., n)
    rest: FloatArray  # (..., n_samples): the part of y that no beta reaches
    n_rows: IntArray | None  # of each X, where they differ


def reduced(xp: Any, X: FloatArray, y: FloatArray) -> Reduced:
    """Tall X and y with as many rows as X has independent columns.

    The rank is decided by the singular values of the columns, scaled to length one, since they may
    differ by orders of magnitude and be independent all the same. Columns that depend on others
    (one-hot categories beside an intercept) leave no rows, instead of rounding that a flow would
    follow. What becomes of a problem does not depend on its neighbours, to the last bit.
    """
    lead, (n_samples, d) = X.shape[:-2], X.shape[-2:]
    basis, rows = xp.linalg.qr(X.reshape(-1, n_samples, d))
    size = xp.linalg.norm(rows, axis=-2, keepdims=True)
    U, values, Vt = xp.linalg.svd(rows / xp.where(size > 0.0, size, 1.0))
    kept = values > n_samples * np.finfo(np.float64).eps * values[..., :1]
    ranks = to_host(xp.sum(kept, axis=-1))
    for rank, which in by_size(ranks):
        if rank < d:
            at = xp.asarray(which)
            rows[at] = xp.where(kept[at], values[at], 0.0)[..., None] * Vt[at] * size[at]
            basis[at] = xp.where(kept[at][:, None, :], basis[at] @ U[at], 0.0)
    n_rows = np.maximum(ranks, 1).astype(np.int64)
    n = int(n_rows.max())
    basis, rows = xp.ascontiguousarray(basis[..., :n]), rows[:, :n]
    if np.all(n_rows == n):
        own = _in_basis(xp, basis.reshape(*lead, n_samples, n), y)
        return Reduced(basis, rows, *own, None)
    shape = np.broadcast_shapes(lead, y.shape[:-1])
    flat = xp.broadcast_to(y, (*shape, n_samples)).reshape(-1, n_samples)
    within, rest = xp.zeros((len(flat), n)), xp.empty((len(flat), n_samples))
    which = np.broadcast_to(np.arange(len(rows)).reshape(lead), shape)
    entries = np.argsort(which, axis=None, kind="stable").reshape(len(rows), -1)
    for Q, count, places in zip(basis, n_rows.tolist(), entries, strict=True):
        at = xp.asarray(places)
        own = _in_basis(xp, xp.ascontiguousarray(Q[:, :count]), flat[at])
        within[at, :count], rest[at] = own
    return Reduced(basis, rows, within.reshape(*shape, n), rest.reshape(*shape, n_samples), n_rows)


def _in_basis(xp: Any, basis: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The part of y in the span of the basis, in its coordinates, and the rest."""
    within = xp.squeeze(xp.swapaxes(basis, -1, -2) @ y[..., None], -1)
    rest = y - xp.squeeze(basis @ within[..., None], -1)
    # What rounding leaves of a consistent y is not an obstacle.
    floor = 1e-14 * xp.linalg.norm(y, axis=-1)
    return within, xp.where((xp.linalg.norm(rest, axis=-1) <= floor)[..., None], 0.0, rest)
