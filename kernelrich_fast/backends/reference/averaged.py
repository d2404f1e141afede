"""The mean of the predictor over time: its integral beside the state of another flow."""

from __future__ import annotations

import numpy as np

from ..._types import FloatArray
from .rows import Row
from .scipy_flow import ScipyProblem

__all__ = ["Averaged"]


class Averaged:
    """A `ScipyProblem` whose state is that of ``flow``, and the integral of beta."""

    def __init__(self, flow: ScipyProblem) -> None:
        self.flow, self.n = flow, len(flow.start)
        first = self._beta(flow.start)
        self.start = np.concatenate([flow.start, np.zeros(len(first))])
        # Times are of the order of 1 / rate, and the mean is no larger than what beta becomes.
        scale = 1e-3 / max(flow.rate(), 1e-300)
        self.floor = np.concatenate([flow.floor, np.full(len(first), scale)])
        self.breaks = flow.breaks

    def _beta(self, state: FloatArray) -> FloatArray:
        return np.asarray(self.flow.row(state, 0.0)["beta"])

    def field(self, t: float, state: FloatArray) -> FloatArray:
        own = state[: self.n]
        return np.concatenate([self.flow.field(t, own), self._beta(own)])

    def jacobian(self, t: float, state: FloatArray) -> FloatArray:
        own = state[: self.n]
        J = np.zeros((len(state), len(state)))
        J[: self.n, : self.n] = self.flow.jacobian(t, own)
        J[self.n :, : self.n] = self.flow.beta_jacobian(own)  # type: ignore[attr-defined]
        return J

    def rate(self) -> float:
        return self.flow.rate()

    def loss(self, state: FloatArray) -> float:
        return self.flow.loss(state[: self.n])

    def loss_counts(self, t: float) -> bool:
        return self.flow.loss_counts(t)

    def resolution(self, state: FloatArray, rtol: float, atol: float) -> float:
        return self.flow.resolution(state[: self.n], rtol, atol)

    def at_rest(self, t: float, state: FloatArray, tolerance: float) -> bool:
        return self.flow.at_rest(t, state[: self.n], tolerance)

    def legal(self, state: FloatArray) -> bool:
        return bool(np.all(np.isfinite(state))) and self.flow.legal(state[: self.n])

    def row(self, state: FloatArray, t: float) -> Row:
        row = self.flow.row(state[: self.n], t)
        mean = state[self.n :] / t if t > 0.0 else row["beta"]
        return {**row, "beta_mean": mean}

    def row_at_rest(self, state: FloatArray, t: float, later: float) -> Row:
        row = self.flow.row_at_rest(state[: self.n], t, later)
        mean = (state[self.n :] + (later - t) * row["beta"]) / later if later > 0.0 else row["beta"]
        return {**row, "beta_mean": mean}
