"""Diagonal networks under weight decay: the flow of the logarithms of the weights, and the dual."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.special

from ..._types import FloatArray
from ...equations.diagonal import log_weight_field
from ...equations.margins import log_loss_slopes, log_loss_values, loss_curvatures
from ...schedules import Schedule
from .rows import Row

__all__ = ["NO_DECAY", "DecayFlow", "MarginError", "SquaredError"]

NO_DECAY = Schedule(np.zeros(1), np.zeros(1), np.zeros(1))
# The logarithm that stands for a w_minus of zero, which stays.
_ABSENT = -1e4
# Of the logarithm of a weight, while time doubles, of one that falls for ever.
_FALLS = 0.01

# Decay of which less than this is left is over.
_OVER = 1e-14
# A predictor at rest moves by this many tolerances of the solver over 1 / lambda.
_REST = 4.0
# Of rtol, that a predictor far smaller than its two parts may ask for.
_PLATEAU = 0.1
# A force below this part of what its terms would be one by one is rounding.
_STILL = 1e-9


class Error(Protocol):
    """A loss as a function of the predictions f."""

    scale: float  # what predictions are small against

    def pull(self, f: FloatArray) -> FloatArray:
        """Half of minus the derivatives of the loss: what moves the dual."""
        ...

    def curvature(self, f: FloatArray) -> FloatArray:
        """Minus the derivatives of `pull`, each by its own prediction."""
        ...

    def value(self, f: FloatArray) -> float: ...

    def rests(self, X: FloatArray, f: FloatArray, tolerance: float) -> bool:
        """Whether a flow without decay is at its end."""
        ...


class SquaredError:
    def __init__(self, y: FloatArray, offset: float) -> None:
        self.y, self.offset, self.scale = y, offset, float(np.linalg.norm(y))

    def pull(self, f: FloatArray) -> FloatArray:
        return self.y - f

    def curvature(self, f: FloatArray) -> FloatArray:
        return np.ones_like(f)

    def value(self, f: FloatArray) -> float:
        r = self.y - f
        return float(r @ r) + self.offset

    def rests(self, X: FloatArray, f: FloatArray, tolerance: float) -> bool:
        size = float(np.linalg.norm(X.T @ self.y))
        return float(np.linalg.norm(X.T @ (self.y - f))) <= tolerance * size


class MarginError:
    def __init__(self, y: FloatArray, loss: str) -> None:
        self.y, self.loss, self.scale = y, loss, float(np.sqrt(len(y)))

    def pull(self, f: FloatArray) -> FloatArray:
        return np.asarray(0.5 * self.y * np.exp(log_loss_slopes(self.loss, self.y * f)))

    def curvature(self, f: FloatArray) -> FloatArray:
        return np.asarray(np.abs(self.pull(f)) * loss_curvatures(self.loss, self.y * f))

    def value(self, f: FloatArray) -> float:
        return float(np.exp(scipy.special.logsumexp(log_loss_values(self.loss, self.y * f))))

    def rests(self, X: FloatArray, f: FloatArray, tolerance: float) -> bool:
        if np.min(self.y * f) > 0.0:  # the loss can always fall
            return False
        pull = self.pull(f)
        terms = float(np.linalg.norm(np.abs(X).T @ np.abs(pull)))
        return float(np.linalg.norm(X.T @ pull)) <= _STILL * terms


class DecayFlow:
    """A `ScipyProblem` whose state is log w_plus, log w_minus and the dual."""

    def __init__(
        self, X: FloatArray, error: Error, plus: FloatArray, minus: FloatArray, depth: float,
        decay: Schedule, timed: bool,
    ) -> None:  # fmt: skip
        self.X, self.error, self.depth, self.decay = X, error, depth, decay
        # What predictions are small against; asked for at times, each to its own accuracy.
        self.scale = 0.0 if timed else error.scale
        self.n, self.d = X.shape
        self.present = minus > 0.0
        log_minus = np.log(np.where(self.present, minus, 1.0))
        log_minus = np.where(self.present, log_minus, _ABSENT)
        self.start = np.concatenate([np.log(plus), log_minus, np.zeros(self.n)])
        self.floor = np.ones(len(self.start))
        if depth > 2.0:  # the dual at which a weight leaves the domain
            end = np.exp((2.0 - depth) * np.max(self.start[: 2 * self.d]))
            self.floor[2 * self.d :] = min(1.0, float(end) / (2.0 * depth * (depth - 2.0)))
        self.breaks = tuple(float(t) for t in decay.start[1:])
        self.before = self.looked_at = (0.0, self.start)
        self.change = np.inf

    def _parts(self, state: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The logarithms of both weights, and beta."""
        plus, minus = state[: self.d], state[self.d : 2 * self.d]
        return plus, minus, self._beta(plus, minus)

    def _beta(self, plus: FloatArray, minus: FloatArray) -> FloatArray:
        ratio = self.depth * (plus - minus)
        of_minus = np.exp(self.depth * minus)
        small = of_minus * np.expm1(np.clip(ratio, -1.0, 1.0))
        return np.where(np.abs(ratio) < 1.0, small, np.exp(self.depth * plus) - of_minus)

    def field(self, t: float, state: FloatArray) -> FloatArray:
        plus, minus, beta = self._parts(state)
        pull = self.error.pull(self.X @ beta)
        fields = log_weight_field(self.X.T @ pull, plus, minus, self.depth, self.decay.at(t))
        return np.concatenate([fields[0], self.present * fields[1], self._share(t) * pull])

    def _share(self, t: float) -> float:
        """What the dual takes of the pull."""
        return float(np.exp(-2.0 * (self.depth - 2.0) * self.decay.integral(t)))

    def jacobian(self, t: float, state: FloatArray) -> FloatArray:
        plus, minus, beta = self._parts(state)
        D, X, d = self.depth, self.X, self.d
        f = X @ beta
        force = X.T @ self.error.pull(f)
        speeds = np.stack([2.0 * D * np.exp((D - 2.0) * w) for w in (plus, minus)])
        speeds[1] *= -1.0 * self.present
        slopes = np.concatenate([D * np.exp(D * plus), -D * np.exp(D * minus)])
        moved = -self.error.curvature(f)[:, None] * np.hstack([X, X]) * slopes  # of the pull
        J = np.zeros((len(state), len(state)))
        J[: 2 * d, : 2 * d] = (speeds[:, :, None] * (X.T @ moved)).reshape(2 * d, 2 * d)
        J[np.arange(2 * d), np.arange(2 * d)] += ((D - 2.0) * speeds * force).ravel()
        J[2 * d :, : 2 * d] = self._share(t) * moved
        return J

    def beta_jacobian(self, state: FloatArray) -> FloatArray:
        """Of beta by the state."""
        plus, minus, _ = self._parts(state)
        D = self.depth
        sides = [np.diag(D * np.exp(D * plus)), np.diag(-D * np.exp(D * minus))]
        return np.hstack([*sides, np.zeros((self.d, self.n))])

    def rate(self) -> float:
        J = self.jacobian(0.0, self.start)[: 2 * self.d, : 2 * self.d]
        return float(
            np.abs(np.trace(J)) + np.max(np.abs(self.field(0.0, self.start)[: 2 * self.d]))
        )

    def loss(self, state: FloatArray) -> float:
        return self.error.value(self.X @ self._parts(state)[2])

    def resolution(self, state: FloatArray, rtol: float, atol: float) -> float:
        plus, minus, beta = self._parts(state)
        size = np.exp(self.depth * plus) + np.exp(self.depth * minus)
        felt = size > 1e-20 * np.max(size)
        logs = np.abs(np.maximum(plus, minus))
        digits = self.depth * float(np.max(np.where(felt, np.maximum(logs, 1.0), 1.0)))
        norm = float(np.linalg.norm(beta))
        whole = np.inf if norm == 0.0 else (rtol * norm + atol) / float(np.linalg.norm(size))
        return min(rtol, max(whole, _PLATEAU * rtol)) / digits

    def at_rest(self, t: float, state: FloatArray, tolerance: float) -> bool:
        """By the motion over the last step, as the compiled backends judge it."""
        (t0, last), self.before, change_before = self.before, (t, state.copy()), self.change
        self.change = np.inf
        h = t - t0
        lam = float(self.decay.at(t))
        rate = float(self.decay.rate[-1])
        final = not self.breaks or t0 >= self.breaks[-1]
        if not (h > 0.0 and final):
            return False
        if self.loss_counts(t):
            f = self.X @ self._parts(state)[2]
            return self.error.rests(self.X, f, tolerance) or self._rests_with_one_sign(
                t, state, tolerance
            )
        if rate > 0.0:
            return False
        size = np.linalg.norm(self.X, axis=0)
        beta = self._parts(state)[2] * size
        self.change = float(np.linalg.norm(beta - self._parts(last)[2] * size)) / (lam * h)
        weights = [np.exp(2.0 * each[: 2 * self.d]) for each in (last, state)]
        fall = abs(float(np.sum(weights[1] - weights[0])))
        growth = float(np.max(state[: 2 * self.d] - last[: 2 * self.d]))
        most, slow = _REST * tolerance, 1.0
        if self.change > 0.0 and np.isfinite(change_before):
            slow = min(1.0, max(0.0, np.log(change_before / self.change) / (lam * h)))
        rests = self.change <= most * slow * (np.linalg.norm(beta) + most * self.scale)
        objective = lam * float(np.sum(weights[1])) + self.loss(state)
        return bool(rests and growth <= most * lam * h and lam * fall <= most * lam * h * objective)

    def _rests_with_one_sign(self, t: float, state: FloatArray, tolerance: float) -> bool:
        """As time doubles: beta stays, no weight grows, and one falls for ever."""
        if self.present.all() or t < 2.0 * self.looked_at[0]:
            return False
        (_, last), self.looked_at = self.looked_at, (t, state.copy())
        beta, before = self._parts(state)[2], self._parts(last)[2]
        moved = state[: 2 * self.d] - last[: 2 * self.d]
        size = float(np.linalg.norm(beta)) + tolerance * self.scale
        most = _REST * tolerance
        still = float(np.linalg.norm(beta - before)) <= most * size
        return bool(still and np.max(moved) <= most and np.min(moved) < -_FALLS)

    def legal(self, state: FloatArray) -> bool:
        return bool(np.all(np.isfinite(state)) and np.max(state[: 2 * self.d]) < 300.0)

    def loss_counts(self, t: float) -> bool:
        """Decay is over; while it lasts a small loss says nothing of the end."""
        if self.breaks and t < self.breaks[-1]:
            return False
        lam, rate = float(self.decay.at(t)), float(self.decay.rate[-1])
        return lam == 0.0 or (rate > 0.0 and lam < _OVER * rate)

    def row_at_rest(self, state: FloatArray, t: float, later: float) -> Row:
        row = self.row(state, t)
        pull = self.error.pull(self.X @ row["beta"])
        if self.loss_counts(t) and np.linalg.norm(pull) <= _STILL * self.error.scale:
            return row  # what is left of the residual is no number to be summed
        slowing = 2.0 * (self.depth - 2.0) * float(self.decay.at(t))
        gain = -np.expm1(-slowing * (later - t)) / slowing if slowing > 0.0 else later - t
        return {**row, "dual": row["dual"] + self._share(t) * gain * pull}

    def row(self, state: FloatArray, t: float) -> Row:
        plus, minus, beta = self._parts(state)
        return {
            "beta": beta,
            "w_plus": np.exp(plus),
            "w_minus": np.exp(minus),
            "dual": state[2 * self.d :],
            "loss": np.asarray(self.loss(state)),
        }
