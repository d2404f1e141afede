"""Gradient flow, or descent, of one ReLU network: csrc/core/mlp_flow.hpp, readably."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from ..._types import FloatArray, IntArray
from ...status import Status
from ..mlp_batch import MAX_EXACT_SAMPLES
from .dopri5 import Dopri5
from .exponential import exponential_step
from .flow import FlowRun
from .kinks import Kinks, signs
from .network import Network, Pass
from .sliding import Sliding
from .system import Change, System

__all__ = ["MLPRun"]

SAFETY, MAX_GROWTH, MIN_SHRINK = 0.9, 5.0, 0.1
MAX_FAILURES, MAX_REPEATS, MAX_REWINDS = 60, 12, 2
BEHIND, NEGLIGIBLE, MOST_WORTH = 0.3, 1e-2, 10.0
STAGNANT, LONG_STAGNANT, STAGNANT_SHARE = 20, 200, 1e-9


@dataclass
class State:
    """Weights with what every kink does there, and the field."""

    w: FloatArray
    modes: list[IntArray]
    sliding: Sliding
    p: Pass
    field: FloatArray
    theta: dict[tuple[int, int, int, int], float]


class MLPRun:
    """One run; ``integrate`` returns it finished."""

    def __init__(
        self,
        net: Network,
        w0: FloatArray,
        *,
        rtol: float,
        atol: float,
        t_max: float,
        stop_loss: float,
        max_steps: int,
        method: str,
        step_size: float,
        t_eval: FloatArray | None,
    ) -> None:
        self.net, self.rtol, self.atol = net, rtol, atol
        self.t_max, self.stop_loss, self.max_steps = t_max, stop_loss, max_steps
        self.method, self.step_size = method, step_size
        self.times = np.empty(0) if t_eval is None else t_eval
        self.n_rhs = self.n_steps = 0
        self.t = self.t_low = 0.0
        self.rows: list[tuple[FloatArray, float, float]] = []
        _, Z = net.forward(w0, None)
        modes = signs(Z)
        self.now = self.evaluate(w0, modes, Sliding(net, modes, Z))
        y = float(np.linalg.norm(net.y))
        self.scale = y if y > 0 else float(np.sqrt(self.now.p.loss))
        if net.loss != "squared":
            self.scale = float(np.sqrt(net.n))
        self.trial = self.now
        self.relative = 0.0

    # One evaluation of the field.
    def evaluate(self, w: FloatArray, modes: list[IntArray], sliding: Sliding) -> State:
        self.n_rhs += 1
        p = self.net.evaluate(w, modes)
        field = sliding.project(w, p, -self.net.gradient(p))
        return State(w, modes, sliding, p, field, {})

    # What the explicit method asks for, at `shift` from the start of the step.
    @property
    def field(self) -> FloatArray:
        return self.now.field

    def shifted(self, shift: FloatArray) -> FloatArray | None:
        self.trial = self.evaluate(self.now.w + shift, self.now.modes, self.now.sliding)
        return self.trial.field if np.isfinite(self.trial.p.loss) else None

    def change_of(self, v: FloatArray) -> Change:
        rates = self.net.rates(self.now.w, v, self.now.modes, self.now.p)[-1]
        whole = float(np.linalg.norm(np.sum(self.net.sign * rates, axis=0)))
        if self.net.loss == "squared":
            whole *= max(1.0, self.relative)
        return Change(self.share_of_weights(v), whole, self.scale)

    def share_of_weights(self, v: FloatArray) -> float:
        sizes = [np.sum(W**2, axis=(-2, -1)) for W in self.net.layout.split(self.now.w)]
        floor = 1e-8 * max(float(s.max()) for s in sizes)
        parts = [np.sum(V**2, axis=(-2, -1)) for V in self.net.layout.split(v)]
        worst = 0.0
        for part, size in zip(parts, sizes, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.where(part > 0, part / np.maximum(size, floor), 0.0)
            worst = max(worst, float(share.max()))
        return float(np.sqrt(worst))

    def remaining(self, until: float) -> float:
        return (until - self.t) - self.t_low

    def add_time(self, h: float) -> None:
        total = self.t + h
        part = total - self.t
        self.t_low += (self.t - (total - part)) + (h - part)
        self.t = total

    def add_rows(self) -> None:
        while len(self.rows) < len(self.times) and not (
            self.remaining(float(self.times[len(self.rows)])) > 0.0
        ):
            self.add_row(float(self.times[len(self.rows)]))

    def add_row(self, t: float) -> None:
        self.rows.append((self.now.w, self.now.p.loss, t))

    def integrate(self) -> FlowRun:
        with np.errstate(all="ignore"):
            if not np.isfinite(self.now.p.loss):
                status = Status.FAILED
            elif self.method == "gradient_descent":
                status = self.descend()
            else:
                status = self.flow()
        settled = status in (Status.STATIONARY, Status.CONVERGED)
        while len(self.rows) < max(len(self.times), 1):
            i = len(self.rows)
            held = settled and i < len(self.times) and self.times[i] <= self.t_max
            self.add_row(float(self.times[i]) if held else self.t)
        rows = {
            "w": np.stack([w for w, _, _ in self.rows]),
            "loss": np.array([loss for _, loss, _ in self.rows]),
            "t": np.array([t for _, _, t in self.rows]),
        }
        return FlowRun(rows, status, self.n_steps, self.n_rhs)

    @property
    def t_end(self) -> float:
        return min(float(self.times[-1]), self.t_max) if len(self.times) else self.t_max

    def over(self) -> Status | None:
        reached = self.now.p.loss <= self.stop_loss
        if not len(self.times) and reached:
            return Status.CONVERGED
        if not self.remaining(self.t_end) > 0.0:
            return Status.CONVERGED if reached else Status.T_END
        return None

    @property
    def resting(self) -> Status:
        return Status.CONVERGED if self.now.p.loss <= self.stop_loss else Status.STATIONARY

    def flow(self) -> Status:
        exact = self.net.loss == "squared" and self.net.n <= MAX_EXACT_SAMPLES
        # In interpreted code an exponential step costs hardly more than an explicit one.
        stiff = exact and self.method != "dopri5"
        dopri, kinks = Dopri5(cast(System, _Explicit(self))), Kinks(self)
        rate = self.share_of_weights(self.field)
        h = self.rtol**0.25 / rate if rate > 0 else np.inf
        failures = repeats = rewinds = attempts = 0
        fast = slow = (0, 0.0, self.now.p.loss)
        remembered = self.now.w
        eigen: tuple[FloatArray, tuple[FloatArray, FloatArray]] | None = None
        self.add_rows()
        while (status := self.over()) is None:
            if rate == 0.0:
                return self.resting
            if attempts >= self.max_steps:
                return Status.MAX_STEPS
            if failures > MAX_FAILURES or not h > 0.0 or not self.t < 1e300:
                return Status.FAILED
            attempts += 1
            times = len(self.rows) < len(self.times)
            until = min(float(self.times[len(self.rows)]), self.t_end) if times else self.t_end
            last = h >= self.remaining(until)
            step = self.remaining(until) if last else h
            residual = max(np.sqrt(self.now.p.loss), 1e-9 * self.scale)
            self.relative = self.rtol * self.scale / (0.3 * residual)
            error: float | None
            if stiff:
                if eigen is None:
                    eigen = self.decompose()
                error = self.exponential(step, *eigen)
            else:
                error = dopri.attempt(step, self.rtol, self.atol, self.scale)
            if error is None or not error >= 0.0 or (error < 1.0 and not self.decreases()):
                h, failures = 0.25 * step, failures + 1
                continue
            factor = SAFETY * max(error, 1e-10) ** (-0.25 if stiff else -0.2)
            if not error < 1.0:
                h, failures = step * max(MIN_SHRINK, min(factor, 0.9)), failures + 1
                continue
            self.arrive()
            x = kinks.first_crossing(step)
            if x <= 1.0:
                if x == 0.0 and rewinds < MAX_REWINDS:
                    rewinds += 1
                    kinks.rewind()
                    self.now, eigen, h = self.trial, None, step
                    continue
                late = (1.0 - x) * step
                worth = kinks.cross(late)
                share = BEHIND / worth if worth > 0 else np.inf
                shorter = x * step + late * (np.sqrt(share) if kinks.many else share)
                if worth > 1.0 and repeats < MAX_REPEATS and shorter < step:
                    h, repeats = shorter, repeats + 1
                    continue
                if not worth < MOST_WORTH:
                    h, failures = 0.25 * step, failures + 1
                    continue
                if worth > NEGLIGIBLE:
                    kinks.settle()
                if kinks.many:
                    factor = min(factor, np.sqrt(0.6 / max(worth, 1e-3)))
            failures = repeats = rewinds = 0
            self.now, eigen = self.trial, None
            self.n_steps += 1
            if last:
                self.t, self.t_low = until, 0.0
            else:
                self.add_time(step)
            self.add_rows()
            factor = min(MAX_GROWTH, max(0.2, factor))
            h = max(step * factor, h if last else 0.0)

            rate = self.share_of_weights(self.field)
            loss = self.now.p.loss
            if self.n_steps >= fast[0] + STAGNANT and self.t >= 1.5 * fast[1]:
                if loss > fast[2] * (1.0 - STAGNANT_SHARE) and (
                    rate * (self.t - fast[1]) < 1e-3 * self.rtol
                ):
                    return self.resting
                fast = (self.n_steps, self.t, loss)
            if self.n_steps >= slow[0] + LONG_STAGNANT and self.t >= 1.1 * slow[1]:
                wander = 10.0 * self.rtol * np.sqrt(self.n_steps - slow[0])
                if loss > slow[2] * (1.0 - STAGNANT_SHARE) and (
                    self.share_of_weights(self.now.w - remembered) < wander
                ):
                    return self.resting
                slow, remembered = (self.n_steps, self.t, loss), self.now.w
        return status

    def decreases(self) -> bool:
        return bool(self.trial.p.loss <= self.now.p.loss * (1.0 + 1e-6) + 1e-18 * self.scale**2)

    def decompose(self) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        now = self.now
        now.sliding.prepare(now.w, now.p)
        J = now.sliding.project_rows(self.net.jacobian(now.p))
        return J, np.linalg.eigh(J @ J.T)

    def exponential(
        self, h: float, J: FloatArray, eigen: tuple[FloatArray, FloatArray]
    ) -> float | None:
        def field(shift: FloatArray) -> FloatArray:
            found = self.shifted(shift)
            if found is None:
                raise FloatingPointError
            return found

        try:
            *_, error = exponential_step(h, self.now.p.pull[:, 0], J, eigen, field)
        except FloatingPointError:
            return None
        return self.change_of(error).relative_to(self.atol, self.rtol, self.scale)

    def arrive(self) -> None:
        """The trial end with sliding units back where they slide, and their fractions."""
        trial = self.trial
        if trial.sliding.deep:
            w = trial.sliding.restore(trial.p, trial.w)
            self.trial = trial = self.evaluate(w, trial.modes, trial.sliding)
        if trial.sliding:
            trial.theta = trial.sliding.fractions(trial.w, trial.p)

    def descend(self) -> Status:
        marked = np.inf
        self.add_rows()
        while (status := self.over()) is None:
            if self.n_steps >= self.max_steps:
                return Status.MAX_STEPS
            w = self.now.w + self.step_size * self.field
            _, Z = self.net.forward(w, None)
            modes = signs(Z)
            self.now = self.evaluate(w, modes, Sliding(self.net, modes, Z))
            if not np.isfinite(self.now.p.loss):
                return Status.FAILED
            self.n_steps += 1
            self.t = self.n_steps * self.step_size
            self.add_rows()
            if self.n_steps % 1000 == 0:
                still = self.share_of_weights(self.field) * self.t <= 1e-3 * self.rtol
                if still and self.now.p.loss > marked * (1.0 - STAGNANT_SHARE):
                    return self.resting
                marked = self.now.p.loss
        return status


class _Explicit:
    """The run as the explicit method sees it."""

    def __init__(self, run: MLPRun) -> None:
        self.run = run

    @property
    def field(self) -> FloatArray:
        return self.run.field

    def evaluate(self, at: FloatArray) -> FloatArray | None:
        return self.run.shifted(at)

    def change_of(self, v: FloatArray) -> Change:
        return self.run.change_of(v)
