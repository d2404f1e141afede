"""ReLU networks on their weights, by exponential Euler steps that the kinks cut short.

A step from w holds the residual's linear equation r' = -2 K r, K the tangent kernel at w, and moves
w along the Jacobian there: exact in the kernel regime, and stable for any length.  Two half steps
against a whole one say how wrong that is, and extrapolation makes the pair second order.  Where a
pre-activation crosses zero the Jacobian jumps, which shows in the same error; along a sliding
kink (where both sides point at it) steps get as short as the tolerance asks, and no shorter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._types import FloatArray
from ...equations import networks as net
from ...status import Status
from ..mlp_batch import MLPLayout
from .rows import Clock, Run

__all__ = ["descend", "follow_network"]

# Steps shorten like the tolerance where a kink slides: below this they would be too many.
LEAST_TOLERANCE = 5e-5
SHARE = 0.1
# A run is at rest when so many steps, over nine tenths of the time there has been, moved no weight
# by more than so many tolerances, and lowered the loss by no more than this share.
RESTING, MOVED, LOWERED = 100, 20.0, 1e-6


@dataclass
class _Point:
    """Weights, loss, dL/df, the Jacobian of the outputs f, and what diagonalises J J^T."""

    w: FloatArray
    loss: float
    slope: FloatArray
    jacobian: FloatArray
    values: FloatArray
    vectors: FloatArray | None

    def change(self, h: float, slope: FloatArray) -> FloatArray:
        """How the weights change in a time h from this dL/df, with the Jacobian held."""
        if self.vectors is None:
            return np.asarray(-h * (slope @ self.jacobian))
        x = 2.0 * h * self.values
        share = np.where(x > 1e-8, -np.expm1(-x) / np.where(x > 0.0, x, 1.0), 1.0 - 0.5 * x)
        integral = h * (self.vectors @ (share * (self.vectors.T @ slope)))
        return np.asarray(-(integral @ self.jacobian))


class Network:
    """Samples, shape and loss of one run."""

    def __init__(self, layout: MLPLayout, X: FloatArray, y: FloatArray, loss: str) -> None:
        self.layout, self.y, self.kind = layout, y, loss
        self.X = np.broadcast_to(X, (layout.copies, *X.shape))
        self.signs = np.array([1.0, -1.0])[: layout.copies, None, None]

    def layers(self, w: FloatArray) -> tuple[list[FloatArray], list[FloatArray] | None]:
        parts = self.layout.split(w)
        if not self.layout.bias:
            return parts, None
        return [W[..., :-1] for W in parts], [W[..., -1] for W in parts]

    def outputs(self, w: FloatArray) -> FloatArray:
        return np.asarray(np.sum(self.signs * net.forward(*self._at(w))[1], axis=0))

    def _at(self, w: FloatArray) -> tuple[Any, Any, Any]:
        weights, biases = self.layers(w)
        return weights, self.X, biases

    def loss(self, w: FloatArray) -> float:
        return self.loss_and_slope(self.outputs(w))[0]

    def loss_and_slope(self, f: FloatArray) -> tuple[float, FloatArray]:
        """L and dL/df."""
        if self.kind == "squared":
            r = f[:, 0] - self.y
            return float(r @ r), 2.0 * r[:, None]
        return _cross_entropy(f, self.y.astype(np.int64))

    def gradient(self, w: FloatArray) -> FloatArray:
        weights, X, biases = self._at(w)
        inputs, z = net.forward(weights, X, biases)
        _, slope = self.loss_and_slope(np.sum(self.signs * z, axis=0))
        deltas = net.backward(weights, inputs, self.signs * slope)
        parts = net.gradient(inputs, deltas)
        if biases is not None:
            parts = [
                np.concatenate([part, delta.sum(axis=-2)[..., None]], axis=-1)
                for part, delta in zip(parts, deltas, strict=True)
            ]
        return self.layout.join(parts)

    def point(self, w: FloatArray) -> _Point:
        weights, X, biases = self._at(w)
        features = net.tangent_features(weights, X, biases)
        outputs = self.layout.units[-1]
        inputs = [np.repeat(a, outputs, axis=-2) for a, _ in features]
        layers = [
            np.einsum("cni,cnj->ncij", d, a) for (_, d), a in zip(features, inputs, strict=True)
        ]
        J = self.layout.join(layers)
        loss, slope = self.loss_and_slope(self.outputs(w))
        # Other losses than the square have no linear equation for dL/df: nothing is diagonalised.
        values, vectors = np.linalg.eigh(J @ J.T) if self.kind == "squared" else (slope, None)
        return _Point(w, loss, slope.ravel(), J, np.maximum(values, 0.0), vectors)

    def sizes(self, w: FloatArray) -> FloatArray:
        """What each weight is measured by: itself, or the smaller of the two units it joins."""
        parts = []
        for i, W in enumerate(self.layout.split(w)):
            rows = np.sqrt(np.mean(W * W, axis=-1, keepdims=True))  # units that it leads to
            columns = np.sqrt(np.mean(W * W, axis=-2, keepdims=True))  # units that it comes from
            units = columns if i + 1 == self.layout.depth else np.minimum(rows, columns)
            parts.append(np.maximum(np.abs(W), rows if i == 0 else units))
        largest = max(float(np.max(part)) for part in parts)
        return np.maximum(self.layout.join(parts), max(1e-8 * largest, 1e-300))


def follow_network(
    layout: MLPLayout, X: FloatArray, y: FloatArray, loss: str, w0: FloatArray, *,
    rtol: float, atol: float, t_max: float, stop_loss: float, max_steps: int,
    t_eval: FloatArray | None, **_: Any,
) -> Run:  # fmt: skip
    """Integrate until t_max, the last evaluation time, or ``stop_loss`` (absolute)."""
    network = Network(layout, X, y, loss)
    run = _Exponential(network, Clock(t_max, stop_loss, t_eval), rtol, atol)
    return run.integrate(w0, max_steps)


class _Exponential:
    """One run of exponential Euler steps, extrapolated, with an error for every step."""

    def __init__(self, network: Network, clock: Clock, rtol: float, atol: float) -> None:
        self.network, self.clock = network, clock
        self.tolerance = max(SHARE * rtol, LEAST_TOLERANCE)
        # Errors of the predictions are relative to the targets, or to themselves if larger.
        self.scale = atol / rtol
        if network.kind == "squared":
            self.scale += float(np.linalg.norm(network.y))
        self.n_rhs = 1

    def integrate(self, w0: FloatArray, max_steps: int) -> Run:
        clock, network = self.clock, self.network
        at, t, n_steps, attempts = network.point(w0), 0.0, 0, 0
        while clock.due <= 0.0:
            clock.report(0.0, self.row(at))
        speed = np.max(np.abs(at.slope @ at.jacobian) / network.sizes(w0))
        h = self.tolerance / speed if speed > 0.0 else np.inf
        if self.scale == 0.0:
            self.scale = 1e-3 * float(np.linalg.norm(network.outputs(w0)))
        mark, t_mark, n_mark = at, 0.0, 0
        still = False
        while (status := clock.ended(t, at.loss, still or self.balanced(at))) is None:
            if attempts == max_steps or not h > 1e-16 * t:
                status = Status.MAX_STEPS if attempts == max_steps else Status.FAILED
                break
            attempts += 1
            left = min(clock.due, clock.t_end) - t
            step = left if h >= left else h
            new, error = self.attempt(at, step)
            if not error <= 1.0:
                h = step * max(0.1, 0.9 / np.sqrt(error)) if np.isfinite(error) else 0.1 * step
                continue
            n_steps += 1
            t = t + step if step < left else min(clock.due, clock.t_end)
            at = new
            grown = step * min(5.0, 0.9 / np.sqrt(max(error, 1e-4)))
            h = max(h, grown) if step < h else grown
            while clock.due <= t:
                clock.report(clock.due, self.row(at))
            if not self.rests(mark, at):
                mark, t_mark, n_mark = at, t, n_steps
            still = n_steps - n_mark >= RESTING and t_mark <= 0.1 * t
        return clock.finish(t, self.row(at), status, n_steps, self.n_rhs)

    def attempt(self, at: _Point, h: float) -> tuple[_Point, float]:
        """The point after h, and its error in units of the tolerance."""
        network = self.network
        whole = at.w + at.change(h, at.slope)
        middle = network.point(at.w + at.change(0.5 * h, at.slope))
        second = middle.change(0.5 * h, middle.slope)
        halves = middle.w + second
        new = network.point(2.0 * halves - whole)
        self.n_rhs += 2
        sizes = np.maximum(network.sizes(at.w), network.sizes(new.w))
        # What crosses in the second half is not seen by either, but by the Jacobian at the end.
        late = 0.5 * (new.change(0.5 * h, middle.slope) - second) / sizes
        early = (halves - whole) / sizes
        f = network.outputs(halves)
        fit = f - network.outputs(whole)
        scale = max(self.scale, float(np.linalg.norm(f)), 1e-300)
        parts = (np.mean(early * early), np.mean(late * late), np.sum(fit * fit) / scale**2)
        return new, float(np.sqrt(max(parts))) / self.tolerance

    def balanced(self, at: _Point) -> bool:
        """Whether the gradient is nothing but the rounding of its parts."""
        force, parts = np.abs(at.slope @ at.jacobian), np.abs(at.slope) @ np.abs(at.jacobian)
        return bool(np.all(force <= 1e-14 * parts))

    def rests(self, before: _Point, after: _Point) -> bool:
        moved = np.abs(after.w - before.w) / self.network.sizes(after.w)
        lowered = after.loss <= before.loss * (1.0 - LOWERED)
        return bool(np.max(moved) < MOVED * self.tolerance and not lowered)

    def row(self, at: _Point) -> dict[str, FloatArray]:
        return {"w": at.w, "loss": np.asarray(at.loss)}


def descend(
    layout: MLPLayout, X: FloatArray, y: FloatArray, loss: str, w0: FloatArray, step_size: float,
    *, rtol: float, t_max: float, stop_loss: float, max_steps: int, t_eval: FloatArray | None,
    **_: Any,
) -> Run:  # fmt: skip
    """Gradient descent with a constant step; t is the number of steps times its length.

    A row is the first state at or after its time, and says in ``t`` when that was.
    """
    network, clock = Network(layout, X, y, loss), Clock(t_max, stop_loss, t_eval)
    w, t, n_steps, value, marked = w0, 0.0, 0, network.loss(w0), np.inf
    resting = False
    while True:
        row = {"w": w, "loss": np.asarray(value)}
        while clock.due <= t or _is_time(clock.due, t):
            clock.report(clock.due if _is_time(clock.due, t) else t, row)
        status = clock.ended(t, value, resting)
        if status is None and (n_steps == max_steps or not np.isfinite(value)):
            status = Status.MAX_STEPS if n_steps == max_steps else Status.FAILED
        if status is not None:
            return clock.finish(t, row, status, n_steps, n_steps)
        slope = network.gradient(w)
        if n_steps % 1000 == 999:
            slow = np.all(np.abs(slope) * t <= 1e-3 * rtol * network.sizes(w))
            resting, marked = bool(slow and value > marked * (1.0 - 1e-9)), value
        w = w - step_size * slope
        n_steps += 1
        t, value = n_steps * step_size, network.loss(w)
        t = clock.t_end if _is_time(clock.t_end, t) else t


def _is_time(asked: float, t: float) -> bool:
    """Whether only rounding is between a time that was asked for and that of a step."""
    return abs(asked - t) <= 1e-15 * t


def _cross_entropy(f: FloatArray, label: Any) -> tuple[float, FloatArray]:
    """Sum of the losses, and their derivatives, without cancellation where they are tiny."""
    rows = np.arange(len(f))
    top = np.argmax(f, axis=1)
    powers = np.exp(f - f[rows, top][:, None])
    others = powers.copy()
    others[rows, top] = 0.0
    total = others.sum(axis=1)
    loss = np.sum(f[rows, top] - f[rows, label] + np.log1p(total))
    slope = powers / (1.0 + total)[:, None]
    slope[rows, label] = 0.0
    slope[rows, label] = -slope.sum(axis=1)
    return float(loss), slope
