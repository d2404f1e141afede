"""Factorisations under a margin loss on their factor: W' = 2 sum_i y_i p_i A_i W."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.special

from ..._types import FloatArray
from ...equations.factorization import Sensing
from ...equations.margins import log_loss_slopes, log_loss_values, loss_curvatures
from .mirror import Mirror
from .rows import Row

__all__ = ["FactorMargins"]

# Roundings in a velocity.
_ROUNDED = 64.0 * float(np.finfo(np.float64).eps)
# What the velocity may still move a row by over all the time there has been, in rtol.
_MOVING = 1e-2


class FactorMargins:
    """A `MarginProblem` whose state is W, row after row."""

    def __init__(self, sensing: Sensing, y: FloatArray, W0: FloatArray, loss: str) -> None:
        self.sensing, self.y, self.shape, self.loss = sensing, y, W0.shape, loss
        self.start = W0.ravel()
        self.mirror = Mirror(sensing, y, W0)
        # An entry counts relative to its row or its column, whichever is smaller.
        rows, columns = (np.linalg.norm(W0, axis=i, keepdims=True) for i in (1, 0))
        self.floor = np.maximum(1e-3 * np.minimum(rows, columns).ravel(), 1e-300)

    def margins(self, state: FloatArray) -> FloatArray:
        return np.asarray(self.y * self.sensing.predictions(self.mirror.factor(state)))

    def log_slope_sum(self, state: FloatArray) -> float:
        return float(scipy.special.logsumexp(log_loss_slopes(self.loss, self.margins(state))))

    def log_loss(self, state: FloatArray) -> float:
        return float(scipy.special.logsumexp(log_loss_values(self.loss, self.margins(state))))

    def generator(self, state: FloatArray) -> FloatArray:
        shares = scipy.special.softmax(log_loss_slopes(self.loss, self.margins(state)))
        return self.sensing.generator(self.y * shares)

    def field(self, tau: float, state: FloatArray) -> FloatArray:
        return np.asarray((self.generator(state) @ self.mirror.factor(state)).ravel())

    def jacobian(self, tau: float, state: FloatArray) -> FloatArray:
        W = self.mirror.factor(state)
        m = self.margins(state)
        p = scipy.special.softmax(log_loss_slopes(self.loss, m))
        a = p * loss_curvatures(self.loss, m)
        J = self.y[:, None] * self.sensing.jacobian(W).reshape(len(self.y), -1)
        S = self.sensing.generator(self.y * p)
        return self.mirror.read(
            np.kron(S, np.eye(self.shape[1])) - 2.0 * (J.T * a) @ J + 2.0 * np.outer(J.T @ p, a @ J)
        )

    def rate(self) -> float:
        """At which parts of W grow at the start."""
        return float(np.linalg.norm(self.generator(self.start)))

    def longest(self, state: FloatArray) -> float:
        return np.inf

    def at_rest(self, state: FloatArray, tau: float, rtol: float) -> bool:
        m = self.margins(state)
        # A loss that separates the classes always falls.
        if float(m.min()) > 0.0:
            return False
        S, W = self.generator(state), self.mirror.factor(state)
        speed, size = (np.linalg.norm(each, axis=1) for each in (S @ W, W))
        # Where the loss falls towards infinity, a row that grows like ln t moves far more slowly
        # than others, but by more than its own rounding, and by as much in any decade of time.
        shares = scipy.special.softmax(log_loss_slopes(self.loss, m))
        rounded = _ROUNDED * (1.0 + np.abs(m).max()) * (self.reach(shares) @ size)
        if not np.all(speed <= np.maximum(rounded, _MOVING * rtol / max(1.0, tau) * size)):
            return False
        # What is small may yet grow: at rest is only what no direction leads away from. What is
        # zero stays so.
        alive = np.outer(size > 0.0, np.linalg.norm(W, axis=0) > 0.0).ravel()
        if not np.any(alive):
            return True
        A = self.jacobian(0.0, state)[np.ix_(alive, alive)]
        growth = float(np.linalg.eigvalsh(0.5 * (A + A.T))[-1])
        return growth <= 1e-6 * float(np.linalg.norm(S))

    def reach(self, shares: FloatArray) -> FloatArray:
        """Sizes of what a row's velocity takes from the other rows."""
        sensing = self.sensing
        whole = sensing if sensing.X is None else replace(sensing, X=np.abs(sensing.X))
        return whole.generator(shares)

    def legal(self, state: FloatArray) -> bool:
        return bool(np.all(np.abs(state) < 1e150))

    def row(self, state: FloatArray, log_t: float) -> Row:
        return {
            "W": self.mirror.factor(state).copy(), "loss": np.asarray(self.log_loss(state)),
            "t": np.asarray(log_t),
        }  # fmt: skip
