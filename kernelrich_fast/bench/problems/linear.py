"""Two-layer linear networks with several outputs, a teacher of low rank and noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._types import FloatArray
from ...equations.factorization import factor_field, gram_field
from ...initialization import gaussian_factor
from ...linear import flow_linear
from ..formulation import Formulation, Outcome, worst_relative

__all__ = ["LinearNetworks"]

STOP = 1e-6


class LinearNetworks:
    """M at the times at which the excess loss has fallen to 1e-6, at several scales."""

    def __init__(self, *, n: int, d_in: int, d_out: int, width: int, alphas: Any) -> None:
        rng = np.random.default_rng(0)
        teacher = rng.standard_normal((d_out, 3)) @ rng.standard_normal((3, d_in)) / np.sqrt(d_in)
        X = rng.standard_normal((n, d_in)) / np.sqrt(n)
        Y = X @ teacher.T + 0.1 * rng.standard_normal((n, d_out)) / np.sqrt(n)
        self.S, self.C, self.width = X.T @ X, Y.T @ X, width
        self.dims = d_out, d_in
        self.alphas = np.asarray(alphas, dtype=np.float64)
        # tests/accuracy/test_linear.py holds it against an integration of the weights.
        self.times = self._flow(np.inf, STOP, 1e-6, "auto", "cpu").t
        self.reference = self._flow(self.times, 0.0, 1e-11, "dopri5", "cpu").M

    def _flow(self, t: Any, stop: float, rtol: float, method: str, backend: str) -> Any:
        return flow_linear(
            S=self.S, C=self.C, alpha=self.alphas, width=self.width, t_max=t, stop_loss=stop,
            rtol=rtol, method=method, max_steps=10**8, num_threads=1, backend=backend,
        )  # fmt: skip

    def ours(self, rtol: float, backend: str) -> Outcome:
        flow = self._flow(self.times, 0.0, rtol, "auto", backend)
        return Outcome.of_flow(flow.M, flow)

    def error(self, answer: FloatArray) -> float:
        return worst_relative(answer, self.reference)

    def bytes_of_field(self) -> float:
        n = sum(self.dims)
        return 8.0 * n * min(n, self.width)

    def formulation(self, name: str) -> Formulation:
        return {"Gram": self._gram, "weights": self._weights}[name]()

    def _gram(self) -> Formulation:
        """The flow of [W2; W1'] [W2; W1']': what is left once the width is gone."""
        d_out, n = self.dims[0], sum(self.dims)

        def field(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            S, C = shared
            G = w.reshape(n, n)
            return gram_field(xp, G, G[:d_out, d_out:] @ S - C).reshape(n * n)

        W = gaussian_factor(n, self.width, 0)
        start = np.stack([(a * a * (W @ W.T)).ravel() for a in self.alphas])
        return Formulation(
            start=start, times=self.times, atol=np.abs(start).max(axis=1), shared=(self.S, self.C),
            own=(), field=field, read=lambda w: w.reshape(-1, n, n)[:, :d_out, d_out:],
        )  # fmt: skip

    def _weights(self) -> Formulation:
        """Both layers themselves."""
        d_out, n, k = self.dims[0], sum(self.dims), self.width
        if k > n:
            raise ValueError(f"weights: expected a width of at most {n}, got {k}")

        def field(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            S, C = shared
            W = w.reshape(n, k)
            R = W[:d_out] @ W[d_out:].T @ S - C
            return xp.concatenate(factor_field(W[:d_out], W[d_out:], R)).reshape(n * k)

        start = np.stack([(a * gaussian_factor(n, k, 0)).ravel() for a in self.alphas])
        return Formulation(
            start=start, times=self.times, atol=1e-3 * self.alphas, shared=(self.S, self.C), own=(),
            field=field,
            read=lambda w: np.einsum(
                "bik,bjk->bij", w.reshape(-1, n, k)[:, :d_out], w.reshape(-1, n, k)[:, d_out:]
            ),
        )  # fmt: skip
