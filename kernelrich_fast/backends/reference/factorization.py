"""Matrix factorisation on its factor: W' = -S W, W (n, r) with r <= n."""

from __future__ import annotations

import numpy as np

from ..._types import FloatArray
from ...equations.factorization import Sensing
from .mirror import Mirror
from .rows import Row

__all__ = ["FactorFlow"]


class FactorFlow:
    """A `ScipyProblem` whose state is W, row after row.

    Directions of W that are small now may grow later, so that the state must keep the digits of the
    start while the largest entries grow.
    """

    breaks: tuple[float, ...] = ()

    def __init__(
        self, sensing: Sensing, y: FloatArray, W0: FloatArray, loss_offset: float = 0.0
    ) -> None:
        self.sensing, self.y, self.shape, self.loss_offset = sensing, y, W0.shape, loss_offset
        self.start = W0.ravel()
        self.mirror = Mirror(sensing, y, W0)
        self.y_norm = float(np.linalg.norm(y))
        # An entry counts relative to its row or its column, whichever is smaller.
        rows, columns = (np.linalg.norm(W0, axis=i, keepdims=True) for i in (1, 0))
        self.floor = np.maximum(1e-3 * np.minimum(rows, columns).ravel(), 1e-300)
        self.size0 = float(np.linalg.norm(W0))
        self.X_norm = (
            float(np.max(sensing.scale)) if sensing.X is None else float(np.linalg.norm(sensing.X))
        )

    def residual(self, W: FloatArray) -> FloatArray:
        return self.sensing.predictions(W) - self.y

    def field(self, t: float, state: FloatArray) -> FloatArray:
        W = self.mirror.factor(state)
        return np.asarray(-(self.sensing.generator(self.residual(W)) @ W).ravel())

    def jacobian(self, t: float, state: FloatArray) -> FloatArray:
        W = self.mirror.factor(state)
        J = self.sensing.jacobian(W).reshape(len(self.y), -1)
        S = self.sensing.generator(self.residual(W))
        return self.mirror.read(-np.kron(S, np.eye(self.shape[1])) - 2.0 * J.T @ J)

    def rate(self) -> float:
        W = self.mirror.factor(self.start)
        J = self.sensing.jacobian(W).reshape(len(self.y), -1)
        return float(np.linalg.norm(self.sensing.generator(self.residual(W))) + 2.0 * np.sum(J * J))

    def loss(self, state: FloatArray) -> float:
        r = self.residual(self.mirror.factor(state))
        return float(r @ r) + self.loss_offset

    def resolution(self, state: FloatArray, rtol: float, atol: float) -> float:
        W = self.mirror.factor(state)
        left, right = W[: self.sensing.dims[0]], W[self.sensing.c0 :]
        size = float(np.linalg.norm(W))
        if size == 0.0:
            return np.inf
        whole = rtol * float(np.linalg.norm(left @ right.T)) + atol
        parts = float(np.linalg.norm(left) * np.linalg.norm(right))
        return min(whole / parts if parts > 0.0 else np.inf, rtol * min(1.0, self.size0 / size))

    def at_rest(self, t: float, state: FloatArray, tolerance: float) -> bool:
        W = self.mirror.factor(state)
        r = self.residual(W)
        S = self.sensing.generator(r)
        force, size = float(np.linalg.norm(S)), float(np.linalg.norm(W))
        # A perfect fit, or the best of all matrices: what moves then leaves M as it is.
        left = float(np.linalg.norm(r))
        fits = left <= max(1e-3 * tolerance, 1e-13) * self.y_norm
        if fits or force <= tolerance * left * self.X_norm:
            return True
        if float(np.linalg.norm(S @ W)) > tolerance * force * size:
            return False
        # What is small may yet grow: at rest is only what no direction leads away from.
        A = self.jacobian(0.0, state)
        growth = float(np.linalg.eigvalsh(A)[-1]) - 1e-12 * float(np.linalg.norm(A))
        return growth <= tolerance * force or not np.any(S @ W)

    def legal(self, state: FloatArray) -> bool:
        return bool(np.all(np.abs(state) < 1e150))

    def loss_counts(self, t: float) -> bool:
        return True

    def row_at_rest(self, state: FloatArray, t: float, later: float) -> Row:
        return self.row(state, t)

    def row(self, state: FloatArray, t: float) -> Row:
        return {"W": self.mirror.factor(state).copy(), "loss": np.asarray(self.loss(state))}
