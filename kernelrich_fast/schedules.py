"""Weight decay that changes along a flow: piecewise constant, or falling exponentially."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _validate as check
from ._types import ArrayLike, FloatArray

__all__ = ["Schedule", "exponential", "piecewise"]


def __dir__() -> list[str]:
    return sorted(__all__)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Weight decay lambda(t), from `exponential` or `piecewise`.

    From start[k] to start[k + 1] it is decay[k] exp(-rate[k] (t - start[k])); start[0] is zero.

    Attributes
    ----------
    start, decay, rate : ndarray, (..., K)
        Start times of the pieces, values of lambda at them, and rates of its exponential decay
        within the pieces, all >= 0. Leading axes are those of a batch.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> schedule = krf.schedules.piecewise([(0.0, 0.5), (2.0, 0.0)])
    >>> schedule.at([1.0, 3.0]), schedule.integral([1.0, 3.0])
    (array([0.5, 0. ]), array([0.5, 1. ]))
    """

    start: FloatArray
    decay: FloatArray
    rate: FloatArray

    def __post_init__(self) -> None:
        for name in ("start", "decay", "rate"):
            array = check.positive_array(name, getattr(self, name), zero=True)
            object.__setattr__(self, name, np.ascontiguousarray(array))
        shapes = {a.shape for a in (self.start, self.decay, self.rate)}
        if len(shapes) != 1 or not shapes.pop():
            raise ValueError("start: expected the shape (..., K) of decay and rate")
        if np.any(self.start[..., 0] != 0.0) or np.any(np.diff(self.start) <= 0.0):
            raise ValueError(f"start: expected ascending times from 0 on, got {self.start}")

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch shape."""
        return self.start.shape[:-1]

    def at(self, t: ArrayLike) -> FloatArray:
        """lambda(t); a piece begins at its start."""
        since = np.asarray(t, dtype=np.float64)[..., None] - self.start
        now = np.maximum(np.sum(since >= 0.0, axis=-1, keepdims=True) - 1, 0)
        values = self.decay * np.exp(-self.rate * np.maximum(since, 0.0))
        values, now = np.broadcast_arrays(values, now)
        return np.asarray(np.take_along_axis(values, now, axis=-1)[..., 0])

    def integral(self, t: ArrayLike) -> FloatArray:
        """The integral of lambda from 0 to t."""
        last = np.full((*self.shape, 1), np.inf)
        end = np.concatenate([self.start[..., 1:], last], axis=-1)
        h = np.clip(np.asarray(t, dtype=np.float64)[..., None], self.start, end) - self.start
        falls = self.rate > 0.0
        # Of t = inf, only what is finite is asked for: 0 inf is not a number.
        with np.errstate(invalid="ignore"):
            flat = np.where(self.decay > 0.0, self.decay * h, 0.0)
        rate = np.where(falls, self.rate, 1.0)
        return np.asarray(
            np.sum(np.where(falls, self.decay * -np.expm1(-rate * h) / rate, flat), axis=-1)
        )

    def integral_of_share(self, c: float, t: float) -> float:
        """The integral of exp(-c Lambda) from 0 to t, Lambda that of lambda; of one schedule."""
        import scipy.integrate  # takes long, and few flows need it

        breaks = [float(s) for s in self.start if s < t]
        ends = [*breaks[1:], t][: len(breaks)]  # at t = 0 there are none
        return float(
            sum(
                scipy.integrate.quad(
                    lambda s: float(np.exp(-c * self.integral(s))), a, b, epsabs=0.0, epsrel=1e-12
                )[0]
                for a, b in zip(breaks, ends, strict=True)
                if np.isfinite(b)
            )
        )

    def __getitem__(self, index: Any) -> Schedule:
        """The schedules at an index into the batch."""
        return Schedule(self.start[index], self.decay[index], self.rate[index])

    def over(self, after: tuple[int, ...]) -> Schedule:
        """The same with further axes of the batch, of length one."""
        shape = (*self.shape, *after, self.start.shape[-1])
        return Schedule(*(a.reshape(shape) for a in (self.start, self.decay, self.rate)))

    def at_pace(self, factor: float) -> Schedule:
        """The same decay in a time that is ``factor`` times its own."""
        return Schedule(factor * self.start, self.decay / factor, self.rate / factor)

    def flat(self) -> Schedule:
        """The same with one leading axis."""
        count = self.start.shape[-1]
        return Schedule(*(a.reshape(-1, count) for a in (self.start, self.decay, self.rate)))


def exponential(initial: ArrayLike, rate: ArrayLike) -> Schedule:
    """lambda(t) = initial exp(-rate t).

    Parameters
    ----------
    initial : array_like, (...)
        lambda(0) >= 0.
    rate : array_like, (...)
        Rate of decay >= 0, in 1 / time; broadcasts with ``initial``, and both with the batch.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        If a value is negative or infinite, or the shapes do not broadcast.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> round(float(krf.schedules.exponential(0.5, 2.0).integral(100.0)), 12)
    0.25
    """
    decay = check.positive_array("initial", initial, zero=True)
    rates = check.positive_array("rate", rate, zero=True)
    try:
        decay, rates = np.broadcast_arrays(decay, rates)
    except ValueError:
        raise ValueError(
            f"rate: expected a shape that broadcasts with {decay.shape}, got {rates.shape}"
        ) from None
    return Schedule(np.zeros((*decay.shape, 1)), decay[..., None], rates[..., None])


def piecewise(pairs: Iterable[tuple[float, float]]) -> Schedule:
    """lambda(t) = lambda_k from t_k to t_{k+1}, and zero before t_0.

    Parameters
    ----------
    pairs : sequence of (t_k, lambda_k)
        Ascending times >= 0, and values >= 0. ``weight_decay=[(t_0, lambda_0), ...]`` means the
        same.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError, TypeError
        If ``pairs`` is not a sequence of pairs, the times do not ascend, or a value is negative.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> float(krf.schedules.piecewise([(1.0, 0.5)]).integral(3.0))
    1.0
    """
    return _piecewise("pairs", pairs)


def _piecewise(name: str, pairs: Any) -> Schedule:
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise TypeError(f"{name}: expected pairs (time, weight decay), got {pairs!r}")
    array = check.real_array(name, list(pairs))
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"{name}: expected pairs (time, weight decay), got shape {array.shape}")
    start, decay = array.T
    if start[0] < 0.0 or np.any(np.diff(start) <= 0.0):
        raise ValueError(f"{name}: expected ascending times from 0 on, got {start}")
    if decay.min() < 0.0:
        raise ValueError(f"{name}: expected weight decay of at least 0, got {decay.min()}")
    if start[0] > 0.0:
        start, decay = np.append(0.0, start), np.append(0.0, decay)
    return Schedule(start.copy(), decay.copy(), np.zeros(len(start)))


def weight_decay(value: Any) -> Schedule | None:
    """The argument ``weight_decay`` of flows, checked; None where it is zero for all runs alike."""
    name = "weight_decay"
    if type(value) is float and value == 0.0:
        return None
    if isinstance(value, Schedule):
        schedule = value
    elif type(value) in (list, tuple) and value and all(type(each) is tuple for each in value):
        schedule = _piecewise(name, value)
    else:
        decay = check.positive_array(name, value, zero=True)[..., None]
        schedule = Schedule(np.zeros(decay.shape), decay, np.zeros(decay.shape))
    return schedule if schedule.shape or decays(schedule) else None


def decays(schedule: Schedule | None) -> bool:
    """Whether there is any weight decay; zeros may have a shape."""
    return schedule is not None and bool(np.any(schedule.decay > 0.0))
