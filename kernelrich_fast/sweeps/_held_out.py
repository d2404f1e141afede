"""Data to test on, which training does not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _validate as check
from .._types import FloatArray
from .plan import Block, subset

__all__ = ["HeldOut", "checked_test_set"]


@dataclass(frozen=True)
class HeldOut:
    """Inputs and targets to test on: the same for all runs, or one set along the axis ``dim``."""

    X: FloatArray
    y: FloatArray
    dim: str

    def of(self, dims: tuple[str, ...], block: Block) -> HeldOut:
        """What the runs of a block are tested on."""
        X, y = self.X, self.y
        return HeldOut(
            subset(dims, block, self.dim, X) if X.ndim == 3 else X,
            subset(dims, block, self.dim, y) if y.ndim == 2 else y,
            self.dim,
        )

    def predictions(self, beta: FloatArray, timed: bool) -> FloatArray:
        """Those of linear models beta (..., n_features), the axis ``dim`` first if it has sets.

        A product for each run, whose times, if it is ``timed``, are the axis before the last: how a
        product of many rows is rounded depends on their number, and that of runs is the block's.
        """
        rows = beta if timed else beta[..., None, :]
        lead, own = self.X.shape[:-2], self.X.shape[-2:]
        X = self.X.reshape(*lead, *(1,) * (rows.ndim - 2 - len(lead) if lead else 0), *own)
        made = rows @ np.swapaxes(X, -1, -2)
        return np.asarray(made if timed else made[..., 0, :])

    def targets(self, count: int) -> FloatArray:
        """The targets as an array of ``count`` dimensions, to compare predictions with."""
        y = self.y
        return y.reshape(y.shape[:-1] + (1,) * (count - y.ndim) + y.shape[-1:])


def checked_test_set(
    X_test: Any, y_test: Any, n_features: int, lead: tuple[int, ...], dim: str
) -> HeldOut | None:
    """The arguments ``X_test`` and ``y_test``, each shared or one for each of the axis ``dim``."""
    if (X_test is None) != (y_test is None):
        raise ValueError("X_test: expected X_test and y_test together, got one of them")
    if X_test is None:
        return None
    X, y = check.inputs("X_test", X_test), check.real_array("y_test", y_test, ndim=1)
    test = HeldOut(X, y, dim)
    n, d = test.X.shape[-2:]
    if d != n_features:
        raise ValueError(
            f"X_test: expected {n_features} features as in X, got shape {test.X.shape}"
        )
    if test.y.shape[-1] != n:
        raise ValueError(
            f"y_test: expected {n} samples to match X_test of shape {test.X.shape}, got shape "
            f"{test.y.shape}"
        )
    for name, own in (("X_test", test.X.shape[:-2]), ("y_test", test.y.shape[:-1])):
        if own and own != lead:
            wanted = f"one for each of {lead[0]} {dim}s" if lead else f"one, without an axis {dim}"
            raise ValueError(f"{name}: expected {wanted}, got leading axes {own}")
    return test
