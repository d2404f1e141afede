"""An equation as a peer sees it: one field for NumPy, JAX and PyTorch alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .._types import FloatArray

__all__ = ["Formulation", "Outcome", "Problem"]


@dataclass(frozen=True)
class Formulation:
    """Initial value problems w' = field(w), B at a time, that lead to a problem's answer.

    ``field(xp, w, shared, own)`` is written for the state (n,) of one run in functions that
    ``numpy``, ``jax.numpy`` and ``torch`` name alike; ``shared`` are the arrays of all runs,
    ``own`` those of the one.
    """

    start: FloatArray  # (B, n)
    times: FloatArray  # (B,)
    atol: FloatArray  # (B,), in units of rtol
    shared: tuple[FloatArray, ...]
    own: tuple[FloatArray, ...]  # each (B, ...)
    field: Callable[[Any, Any, tuple[Any, ...], tuple[Any, ...]], Any]
    read: Callable[[FloatArray], FloatArray]  # (B, n) -> the answer
    jacobian: (
        Callable[[FloatArray, tuple[FloatArray, ...], tuple[FloatArray, ...]], FloatArray] | None
    ) = None
    first_step: FloatArray | None = None  # (B,)
    # Descent steps along the field until this falls to the goal.
    loss: Callable[[Any, Any, tuple[Any, ...], tuple[Any, ...]], Any] | None = None
    goal: FloatArray | None = None  # (B,)
    # Below this share of the goal a loss was not descended to but jumped to, by too large a step.
    least: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What a solver came to."""

    answer: FloatArray
    # Of all runs together: steps, evaluations of the field, operations of dense algebra if counted.
    steps: int
    fields: int
    flops: float = 0.0

    @classmethod
    def of_flow(cls, answer: FloatArray, flow: Any) -> Outcome:
        """Of one of our own flows."""
        counts = int(flow.n_steps.sum()), int(flow.n_rhs.sum()), float(flow.n_flops.sum())
        return cls(answer, *counts)


class Problem(Protocol):
    """A case's problem: our solution, a tight reference, and the equations others solve."""

    reference: FloatArray

    def ours(self, rtol: float, backend: str) -> Outcome:
        """Our solution."""
        ...

    def formulation(self, name: str) -> Formulation:
        """The equation of that name."""
        ...

    def error(self, answer: FloatArray) -> float:
        """Relative error against the reference, the worst over the runs."""
        ...

    def bytes_of_field(self) -> float:
        """What one evaluation of our own field reads."""
        ...


def worst_relative(answer: FloatArray, reference: FloatArray) -> float:
    """Largest of the runs' Euclidean errors, relative; NaN where anything is not finite."""
    if answer.shape != reference.shape or not np.all(np.isfinite(answer)):
        return float("nan")
    axes = tuple(range(1, reference.ndim))
    distance = np.sqrt(np.sum((answer - reference) ** 2, axis=axes))
    return float(np.max(distance / np.sqrt(np.sum(reference**2, axis=axes))))
