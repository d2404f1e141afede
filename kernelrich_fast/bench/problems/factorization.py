"""Cells of the paper's figure 5: completion of a matrix of rank one from 60 of its 100 entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import datasets
from ..._types import FloatArray
from ...equations.factorization import factor_field, gram_field
from ...factorization import flow_factorization
from ...initialization import gaussian_factor
from ..formulation import Formulation, Outcome, worst_relative

__all__ = ["Completions"]

STOP = 1e-10


class Completions:
    """M of cells (alpha^2, width) of figure 5 at the times at which the reference has converged."""

    def __init__(self, *, cells: tuple[tuple[float, int], ...]) -> None:
        data = datasets.low_rank_completion(10, 10, 1, 60, seed=0)
        self.y, self.entries = data.y, data.entries
        self.alphas = np.sqrt([alpha2 for alpha2, _ in cells])
        self.widths = [width for _, width in cells]
        # A cell of its own is given its start, as everybody is; several widths in one call draw it.
        self.start: dict[str, Any]
        if len(cells) == 1:
            W = self.alphas[0] * gaussian_factor(20, self.widths[0], 0)
            self.start = {"U0": W[None, :10], "V0": W[None, 10:]}
        else:
            self.start = {"alpha": self.alphas, "width": self.widths, "dims": (10, 10)}
        end = self._flow(np.inf, STOP, 1e-6, "auto", "cpu")
        self.times = end.t
        # Held against an independent integration of the weights by
        # tests/accuracy/test_factorization_accuracy.py.
        self.reference = self._flow(self.times, 0.0, 1e-11, "dopri5", "cpu").M

    def _flow(self, t: Any, stop: float, rtol: float, method: str, backend: str) -> Any:
        return flow_factorization(
            self.y, entries=self.entries, **self.start, t_max=t, stop_loss=stop, rtol=rtol,
            method=method, max_steps=10**8, num_threads=1, backend=backend,
        )  # fmt: skip

    def ours(self, rtol: float, backend: str) -> Outcome:
        flow = self._flow(self.times, 0.0, rtol, "auto", backend)
        return Outcome.of_flow(flow.M, flow)

    def error(self, answer: FloatArray) -> float:
        return worst_relative(answer, self.reference)

    def bytes_of_field(self) -> float:
        return 8.0 * 20 * min(20, max(self.widths))

    def formulation(self, name: str) -> Formulation:
        return {"Gram": self._gram, "weights": self._weights}[name]()

    def _observed(self) -> tuple[FloatArray, FloatArray]:
        mask, target = np.zeros((10, 10)), np.zeros((10, 10))
        mask[self.entries], target[self.entries] = 1.0, self.y
        return mask, target

    def _gram(self) -> Formulation:
        """G' = -(S G + G S): what is left once the width is gone."""

        def field(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            mask, target = shared
            G = w.reshape(20, 20)
            return gram_field(xp, G, mask * (G[:10, 10:] - target)).reshape(400)

        factors = map(gaussian_factor, [20] * len(self.widths), self.widths, [0] * len(self.widths))
        scaled = [a * W for a, W in zip(self.alphas, factors, strict=True)]
        start = np.stack([(W @ W.T).ravel() for W in scaled])
        return Formulation(
            start=start, times=self.times, atol=np.abs(start).max(axis=1), shared=self._observed(),
            own=(), field=field, read=lambda w: w.reshape(-1, 20, 20)[:, :10, 10:],
        )  # fmt: skip

    def _weights(self) -> Formulation:
        """U and V themselves, all of one width."""
        k = self.widths[0]
        if any(width != k for width in self.widths) or k > 20:
            raise ValueError(
                f"weights: expected cells of one width of at most 20, got {self.widths}"
            )

        def residual(w: Any, shared: tuple[Any, ...]) -> Any:
            mask, target = shared
            W = w.reshape(20, k)
            return mask * (W[:10] @ W[10:].T - target), W

        def field(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            R, W = residual(w, shared)
            return xp.concatenate(factor_field(W[:10], W[10:], R)).reshape(20 * k)

        def loss(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            return (residual(w, shared)[0] ** 2).sum()

        # Any factor of the same Gram matrix has the same path of M; this one has k columns.
        start = np.stack([(a * gaussian_factor(20, k, 0)).ravel() for a in self.alphas])
        return Formulation(
            start=start, times=self.times, atol=1e-3 * self.alphas, shared=self._observed(), own=(),
            field=field, loss=loss, goal=np.full(len(start), STOP * float(self.y @ self.y)),
            read=lambda w: np.einsum(
                "bik,bjk->bij", w.reshape(-1, 20, k)[:, :10], w.reshape(-1, 20, k)[:, 10:]
            ),
        )  # fmt: skip
