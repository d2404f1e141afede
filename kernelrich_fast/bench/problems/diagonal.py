"""Flows and limits of diagonal networks on sparse regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import datasets
from ..._types import FloatArray
from ...diagonal import flow_diagonal, limit_diagonal
from ...equations.diagonal import mirror_map, predictor, weight_field
from ...theory import min_l1
from ..formulation import Formulation, Outcome, worst_relative

__all__ = ["DiagonalFlows", "DiagonalLimits", "MinimumL1"]


class DiagonalFlows:
    """beta of many scales at the times at which the reference reaches a relative loss."""

    def __init__(
        self, *, n: int, d: int, alphas: FloatArray, stop_loss: float, depth: int = 2
    ) -> None:
        self.X, self.y, _ = datasets.sparse_regression(n, d, 5)
        self.alphas, self.depth, self.stop = alphas, depth, stop_loss
        # tests/accuracy/test_flow_accuracy.py holds it against an integration of the weights.
        tight = flow_diagonal(
            self.X, self.y, alpha=alphas, depth=depth, stop_loss=stop_loss, rtol=1e-11,
            method="radau5", backend="cpu",
        )  # fmt: skip
        self.times, self.reference = tight.t, tight.beta

    def ours(self, rtol: float, backend: str) -> Outcome:
        flow = flow_diagonal(
            self.X, self.y, alpha=self.alphas, depth=self.depth, t_max=self.times, stop_loss=0.0,
            rtol=rtol, backend=backend, num_threads=1,
        )  # fmt: skip
        return Outcome.of_flow(flow.beta, flow)

    def error(self, answer: FloatArray) -> float:
        return worst_relative(answer, self.reference)

    def bytes_of_field(self) -> float:
        return 8.0 * self.X.size

    def formulation(self, name: str) -> Formulation:
        return {"weights": self._weights, "dual": self._dual}[name]()

    def _weights(self) -> Formulation:
        depth, d = self.depth, self.X.shape[1]

        def field(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            X, y = shared
            return xp.concatenate(weight_field(X, y, w[:d], w[d:], depth))

        def loss(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            X, y = shared
            return ((y - X @ predictor(w[:d], w[d:], depth)) ** 2).sum()

        return Formulation(
            start=np.repeat(self.alphas[:, None], 2 * d, axis=1), times=self.times,
            atol=1e-3 * self.alphas, shared=(self.X, self.y), own=(), field=field,
            read=lambda w: predictor(w[:, :d], w[:, d:], depth), loss=loss,
            goal=np.full(len(self.alphas), self.stop * np.sum(self.y**2)),
        )  # fmt: skip

    def _dual(self) -> Formulation:
        def values(xp: Any, nu: Any, X: Any, alpha: Any) -> Any:
            start = alpha * xp.ones_like(X[0])
            return mirror_map(xp, start, start, self.depth).at(X.T @ nu)

        def field(xp: Any, nu: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            X, y = shared
            return y - X @ values(xp, nu, X, *own).beta

        def jacobian(
            nu: FloatArray, shared: tuple[FloatArray, ...], own: tuple[FloatArray, ...]
        ) -> FloatArray:
            X = shared[0]
            return np.asarray(-(X * values(np, nu, X, *own).slope) @ X.T)

        def read(nu: FloatArray) -> FloatArray:
            each = zip(nu, self.alphas, strict=True)
            return np.stack([values(np, n, self.X, alpha).beta for n, alpha in each])

        return Formulation(
            start=np.zeros((len(self.alphas), len(self.y))), times=self.times,
            atol=np.full(len(self.alphas), 1e-2), shared=(self.X, self.y), own=(self.alphas,),
            field=field, jacobian=jacobian, read=read,
            # What a solver would choose by itself is far too long.
            first_step=np.minimum(self.times, 0.1 / (8.0 * np.abs(self.X.T @ self.y).max())),
        )  # fmt: skip


class DiagonalLimits:
    """The t to infinity limit of one scale."""

    def __init__(self, *, n: int, d: int, alpha: float) -> None:
        self.X, self.y, _ = datasets.sparse_regression(n, d, 5)
        self.alpha = alpha
        limit = limit_diagonal(self.X, self.y, alpha=alpha, tol=1e-13, backend="cpu")
        self.reference = limit.beta[None]

    def ours(self, rtol: float, backend: str) -> Outcome:
        limit = limit_diagonal(
            self.X, self.y, alpha=self.alpha, tol=rtol, backend=backend, num_threads=1
        )
        return Outcome(limit.beta[None], int(limit.n_iterations.sum()), 0)

    def error(self, answer: FloatArray) -> float:
        return worst_relative(answer, self.reference)

    def bytes_of_field(self) -> float:
        return 0.0

    def formulation(self, name: str) -> Formulation:
        raise ValueError(f"a limit has no equation in time, so none called {name}")


class MinimumL1(DiagonalLimits):
    """The rich limit itself, the interpolant of least l1 norm, and how close a tiny scale comes.

    A feature whose dual constraint has a margin of m keeps a weight of about alpha^(2 m).
    """

    def __init__(self, *, n: int, d: int, alpha: float) -> None:
        super().__init__(n=n, d=d, alpha=alpha)
        # Basis pursuit polished on its support; tests/theory/test_theory.py holds its certificate.
        self.reference = min_l1(self.X, self.y)[None]
