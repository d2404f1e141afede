"""Flows of the exponential loss, down to losses that no double holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.integrate
import scipy.special

from ... import datasets
from ..._types import FloatArray
from ...diagonal import flow_diagonal
from ...equations.diagonal import mirror_map, predictor
from ...equations.factorization import factor_field
from ...equations.margins import signed_rows
from ...factorization import flow_factorization
from ...initialization import gaussian_factor
from ..formulation import Formulation, Outcome, worst_relative

__all__ = ["MarginCompletions", "MarginFlows"]

_LOSS = "exponential"


def _shares(xp: Any, m: Any) -> Any:
    """-l' of margins, normalised."""
    shares = xp.exp(-(m - m.min()))
    return shares / shares.sum()


class MarginFlows:
    """beta of some scales where the logarithm of the loss is ``log_loss``."""

    def __init__(self, *, n: int, d: int, alphas: Any, log_loss: float, depth: float = 2) -> None:
        self.X, y, _ = datasets.sparse_regression(n, d, 5, noise_variance=0.0)
        self.y = np.sign(y)
        self.alphas, self.depth = np.asarray(alphas, dtype=np.float64), depth
        self.log_loss = log_loss
        # tests/accuracy/test_margin_flow.py holds it against an integration of the weights.
        tight = self._flow(1e-10, "cpu")
        self.reference, self.times = tight.beta, tight.t
        # In the time of the reduced equations the entries of the dual sum to the time itself.
        self.own_times = tight.dual.sum(axis=-1)

    def _flow(self, rtol: float, backend: str) -> Any:
        return flow_diagonal(
            self.X, self.y, alpha=self.alphas, depth=self.depth, loss=_LOSS,
            stop_log_loss=self.log_loss, rtol=rtol, backend=backend, num_threads=1,
        )  # fmt: skip

    def ours(self, rtol: float, backend: str) -> Outcome:
        flow = self._flow(rtol, backend)
        return Outcome.of_flow(flow.beta, flow)

    def error(self, answer: FloatArray) -> float:
        return worst_relative(answer, self.reference)

    def bytes_of_field(self) -> float:
        return 8.0 * self.X.size

    def formulation(self, name: str) -> Formulation:
        return {"weights": self._weights, "time": self._time, "dual": self._dual}[name]()

    def _of_weights(self, field: Any, times: FloatArray, **more: Any) -> Formulation:
        d, depth = self.X.shape[1], self.depth
        return Formulation(
            start=np.repeat(self.alphas[:, None], 2 * d, axis=1), times=times,
            atol=1e-3 * self.alphas, shared=(signed_rows(self.X, self.y),), own=(), field=field,
            read=lambda w: predictor(w[:, :d], w[:, d:], depth), **more,
        )  # fmt: skip

    def _weights(self) -> Formulation:
        """The weights in the integral of half the sum of -l'(m_n) over time."""
        d, depth = self.X.shape[1], self.depth

        def field(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            (Z,) = shared
            pull = 2.0 * depth * (Z.T @ _shares(xp, Z @ predictor(w[:d], w[d:], depth)))
            return xp.concatenate((pull * w[:d] ** (depth - 1), -pull * w[d:] ** (depth - 1)))

        return self._of_weights(field, self.own_times)

    def _time(self) -> Formulation:
        """The weights in time itself, as gradient descent sees them."""
        d, depth = self.X.shape[1], self.depth

        def field(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            (Z,) = shared
            pull = depth * (Z.T @ xp.exp(-(Z @ predictor(w[:d], w[d:], depth))))
            return xp.concatenate((pull * w[:d] ** (depth - 1), -pull * w[d:] ** (depth - 1)))

        def loss(xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            (Z,) = shared
            return xp.exp(-(Z @ predictor(w[:d], w[d:], depth))).sum()

        goal = np.full(len(self.alphas), np.exp(self.log_loss))
        # A loss that falls like 1 / t falls by less than a factor of ten between two looks.
        return self._of_weights(field, self.times, loss=loss, goal=goal, least=0.1)

    def _dual(self) -> Formulation:
        """Our reduced equations, with their Jacobian."""
        d = self.X.shape[1]
        maps = [
            mirror_map(np, np.full(d, alpha), np.full(d, alpha), self.depth)
            for alpha in self.alphas
        ]
        if self.depth != 2:
            raise ValueError(f"dual: expected depth 2, got {self.depth}")

        def field(xp: Any, nu: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
            Z, (alpha,) = shared[0], own
            return _shares(xp, Z @ (2.0 * alpha**2 * xp.sinh(8.0 * (Z.T @ nu))))

        def jacobian(
            nu: FloatArray, shared: tuple[FloatArray, ...], own: tuple[FloatArray, ...]
        ) -> FloatArray:
            Z, (alpha,) = shared[0], own
            z = 8.0 * (Z.T @ nu)
            p = _shares(np, Z @ (2.0 * alpha**2 * np.sinh(z)))
            gram = (Z * (16.0 * alpha**2 * np.cosh(z))) @ Z.T
            return np.asarray(-(np.diag(p) - np.outer(p, p)) @ gram)

        Z = signed_rows(self.X, self.y)
        return Formulation(
            start=np.zeros((len(self.alphas), len(Z))), times=self.own_times,
            atol=np.full(len(self.alphas), 1e-3), shared=(Z,), own=(self.alphas,), field=field,
            jacobian=jacobian,
            read=lambda nu: np.stack(
                [own.at(Z.T @ row).beta for own, row in zip(maps, nu, strict=True)]
            ),
        )  # fmt: skip


class MarginCompletions:
    """M of a completion of signs, at some scales, where ln L is ``log_loss``."""

    def __init__(self, *, width: int, alphas: Any, log_loss: float) -> None:
        data = datasets.low_rank_completion(10, 10, 1, 60, seed=0)
        self.y, self.entries = np.sign(data.y), data.entries
        self.alphas, self.width = np.asarray(alphas, dtype=np.float64), width
        self.log_loss = log_loss
        ends = [self._end(W) for W in self._starts()]
        self.own_times = np.array([time for time, _ in ends])
        self.reference = self._read(np.stack([W for _, W in ends]))

    def _starts(self) -> FloatArray:
        W = gaussian_factor(20, self.width, 0)
        return np.stack([(alpha * W).ravel() for alpha in self.alphas])

    def _read(self, w: FloatArray) -> FloatArray:
        W = w.reshape(-1, 20, self.width)
        return np.asarray(W[:, :10] @ np.swapaxes(W[:, 10:], 1, 2))

    def _field(self, xp: Any, w: Any, shared: tuple[Any, ...], own: tuple[Any, ...]) -> Any:
        """The weights in the integral of half the sum of -l'(m_n) over time."""
        (labels,) = shared  # zero where nothing is observed
        W = w.reshape(20, self.width)
        margins = labels * (W[:10] @ W[10:].T)
        seen = labels * labels
        # What is not observed is as far away as the largest margin.
        least = (margins + (1.0 - seen) * abs(margins).max()).min()
        shares = seen * xp.exp(-(margins - least) * seen)
        pull = labels * shares / shares.sum()
        return xp.concatenate(factor_field(W[:10], W[10:], -0.5 * pull)).reshape(-1)

    def _labels(self) -> FloatArray:
        labels = np.zeros((10, 10))
        labels[self.entries] = self.y
        return labels

    def _end(self, start: FloatArray) -> tuple[float, FloatArray]:
        """Time and weights where the loss is reached, by SciPy at a tight tolerance."""
        shared = (self._labels(),)

        def above(_: float, w: FloatArray) -> float:
            M = self._read(w)[0]
            return float(scipy.special.logsumexp(-self.y * M[self.entries])) - self.log_loss

        above.terminal = True  # type: ignore[attr-defined]
        found = scipy.integrate.solve_ivp(
            lambda _, w: self._field(np, w, shared, ()), (0.0, 1e6), start, method="DOP853",
            rtol=1e-12, atol=1e-14, events=above,
        )  # fmt: skip
        events: Any = found.t_events, found.y_events
        return float(events[0][0][0]), np.asarray(events[1][0][0])

    def ours(self, rtol: float, backend: str) -> Outcome:
        W = self._starts().reshape(-1, 20, self.width)
        flow = flow_factorization(
            self.y, entries=self.entries, U0=W[:, :10], V0=W[:, 10:], loss=_LOSS,
            stop_log_loss=self.log_loss, rtol=rtol, backend=backend, num_threads=1,
        )  # fmt: skip
        return Outcome.of_flow(flow.M, flow)

    def error(self, answer: FloatArray) -> float:
        return worst_relative(answer, self.reference)

    def bytes_of_field(self) -> float:
        return 8.0 * 20 * min(20, self.width)

    def formulation(self, name: str) -> Formulation:
        if name != "weights":
            raise ValueError(f"formulation: expected 'weights', got {name!r}")
        return Formulation(
            start=self._starts(), times=self.own_times, atol=1e-3 * self.alphas,
            shared=(self._labels(),), own=(), field=self._field, read=self._read,
        )  # fmt: skip
