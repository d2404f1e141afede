"""Sweeps of flows of a margin loss: margins, directions, and when they settle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._runs import STOP_LOSS
from .._types import FloatArray, Progress
from ..backends.crossover import MARGIN_CROSSOVER
from ..theory.margins import max_margin
from ._diagonal_plan import DiagonalPlan
from ._labels import variable_attrs
from ._measures import each_problem
from .plan import Block, SweepPlan, Variables

__all__ = ["EVALUATED", "EvaluatedPlan", "MarginPlan", "critical_losses", "without_unset"]

# Options at whose values the flow is wanted, with the dimension that they add.
EVALUATED = {"t_eval": "time", "log_t_eval": "log_t", "log_loss_eval": "log_loss"}


def without_unset(options: dict[str, Any]) -> None:
    """Leave out what a margin loss has and was not given: stores of before know of none."""
    for name in ("stop_log_loss", "log_loss_eval", "log_t_eval"):
        if options.get(name, 0.0) is None:
            del options[name]


class EvaluatedPlan(SweepPlan):
    """A plan whose flows may be wanted at values of either of their clocks."""

    @property
    def evaluated(self) -> tuple[str, FloatArray] | None:
        """The dimension of evaluation, and its values."""
        for name, dim in EVALUATED.items():
            if self.options.get(name) is not None:
                return dim, np.asarray(self.options[name], dtype=np.float64)
        return None

    @property
    def times(self) -> FloatArray | None:
        return None if self.evaluated is None else self.evaluated[1]

    def crossover(self) -> float:
        return MARGIN_CROSSOVER

    def attrs_of(self, name: str) -> dict[str, Any]:
        return variable_attrs(name, of_margins=True)

    def renamed(self, coords: dict[str, Any]) -> dict[str, Any]:
        """Coordinates with the dimension of evaluation in the place of time."""
        if self.evaluated is None:
            return coords
        dim, values = self.evaluated
        return {k: v for k, v in coords.items() if k != "time"} | {dim: (dim, values)}

    def recorded(self) -> tuple[dict[str, Any], dict[str, Any]]:
        attrs, coords = super().recorded()
        # These belong to the squared loss, and were refused if given.
        unused = (*EVALUATED, "stop_loss", "t_max")
        kept = {k: v for k, v in attrs.items() if k not in unused}
        if self.evaluated is None and "stop_log_loss" not in {**kept, **coords}:
            kept["stop_log_loss"] = float(np.log(STOP_LOSS))
        return kept, coords

    def flow_variables(self, flow: Any) -> tuple[tuple[str, ...], Variables]:
        """The dimension of evaluation, and what every flow of a margin loss has."""
        dim = () if self.evaluated is None else (self.evaluated[0],)
        clocks = {"log_loss": flow.log_loss, "log_t": flow.log_t}
        return dim, {
            # Beside the values asked for, those of the states: a run may have ended before.
            **{f"reached_{k}" if k in dim else k: (dim, v) for k, v in clocks.items()},
            "loss": (dim, flow.loss),
            "t": (dim, flow.t),
            "status": ((), flow.status),
            "n_steps": ((), flow.n_steps),
            "margin": (dim, flow.margins.min(axis=-1)),
        }


@dataclass(frozen=True)
class MarginPlan(EvaluatedPlan, DiagonalPlan):
    """``eps`` bounds the excess of l1 norm from which on a direction counts as settled."""

    eps: float = 0.1

    def coords(self) -> dict[str, Any]:
        return self.renamed(super().coords())

    def attrs(self) -> dict[str, Any]:
        return super().attrs() | {"eps": self.eps}

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"eps": self.eps}

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """Flows of a block, and what is measured on them."""
        solved = self.solve(block, num_threads, progress)
        flow = solved.result
        dim, variables = self.flow_variables(flow)
        if self.decay is not None:
            variables["penalty"] = (dim, flow.penalty)
        if "norms" in self.keep:
            least_l1, least_l2 = (
                solved.per_problem(each)
                for each in least_norms_of_margins(solved.X, solved.y, solved.problems)
            )
            l1, l2 = np.abs(flow.direction).sum(axis=-1), np.linalg.norm(flow.direction, axis=-1)
            excess = l1 / least_l1 - 1.0
            variables |= {
                "l1_norm": (dim, l1),
                "l2_norm": (dim, l2),
                "excess_l1": (dim, excess),
                "excess_l2": (dim, l2 / least_l2 - 1.0),
                "kernel_distance": (dim, solved.kernel_distance()),
            }
            if "log_loss" in dim:
                critical = critical_losses(flow.log_loss, excess, self.eps)
                variables["critical_loss"] = ((), critical)
        if self.beta_star is not None:
            error = self.population_error(block, _unit(flow.beta))
            variables["population_error"] = (dim, error)
        if self.test is not None:
            test = self.test.of(self.dims, block)
            sides = np.sign(test.predictions(flow.beta, bool(dim)))
            wrong = sides != test.targets(flow.beta.ndim)
            variables["test_error"] = (dim, wrong.mean(axis=-1))
        if "beta" in self.keep:
            variables["beta"] = ((*dim, "feature"), flow.beta)
        return variables


def _unit(beta: FloatArray) -> FloatArray:
    size = np.linalg.norm(beta, axis=-1, keepdims=True)
    return np.asarray(beta / np.where(size > 0.0, size, 1.0))


def least_norms_of_margins(
    X: FloatArray, y: FloatArray, problems: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    """The smallest l1 and l2 norm with all margins at least 1, NaN where the classes overlap."""
    found: list[tuple[float, float]] = []
    for A, b in zip(each_problem(X, 2, problems), each_problem(y, 1, problems), strict=True):
        try:
            l1, l2 = max_margin(A, b, "l1"), max_margin(A, b, "l2")
            found.append((float(np.abs(l1).sum()), float(np.linalg.norm(l2))))
        except ValueError:
            found.append((np.nan, np.nan))
    l1_norms, l2_norms = np.array(found, dtype=np.float64).T
    return l1_norms.reshape(problems), l2_norms.reshape(problems)


def critical_losses(log_loss: FloatArray, excess: FloatArray, eps: float) -> FloatArray:
    """The ln L below which ``excess`` stays at most ``eps``, between values of ln L (last axis).

    In between, ln(excess) is linear in ln(-ln L); minus infinity where the last value is above.

    Examples
    --------
    >>> import numpy as np
    >>> critical_losses(np.array([-1.0, -10.0, -100.0]), np.array([1.0, 0.1, 0.01]), 0.1)
    array(-10.)
    """
    flat = log_loss.reshape(-1, log_loss.shape[-1])
    found = np.array([
        _critical(levels, above, eps)
        for levels, above in zip(flat, excess.reshape(flat.shape), strict=True)
    ])  # fmt: skip
    return found.reshape(log_loss.shape[:-1])


def _critical(log_loss: FloatArray, excess: FloatArray, eps: float) -> float:
    outside = np.flatnonzero(~(excess <= eps))
    if not len(outside):
        return float(log_loss[0])
    last = int(outside[-1])
    if last + 1 == len(log_loss):
        return -np.inf
    pair = slice(last, last + 2)
    if not (np.isfinite(excess[last]) and excess[last + 1] > 0.0 and log_loss[last] < 0.0):
        return float(log_loss[last + 1])
    share = np.diff(np.log(excess[pair])).item()
    x = (np.log(eps) - np.log(excess[last])) / share
    logs = np.log(-log_loss[pair])
    return float(-np.exp(logs[0] + x * (logs[1] - logs[0])))
