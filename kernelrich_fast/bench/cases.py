"""The cases, as data: which problem, at which tolerances, against whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from .formulation import Problem

__all__ = ["CASES", "FAMILIES", "QUICK", "Against", "Case", "cases_of"]

FAMILIES = ("diagonal", "margins", "factorization", "linear", "mlp")


@dataclass(frozen=True)
class Against:
    """A peer at some tolerances; None where it has none to be set."""

    peer: str
    formulation: str | None
    rtols: tuple[float | None, ...] = (None,)


@dataclass(frozen=True)
class Case:
    """A problem (a class of ``problems.<family>`` and its arguments) and who is to solve it."""

    name: str
    family: str
    title: str
    problem: str
    arguments: Mapping[str, Any]
    rtols: tuple[float, ...]
    against: tuple[Against, ...] = ()
    # Largest error that our solution may have at each of the rtols, in units of it; None where the
    # reference is another thing than what we compute.
    slack: float | None = 10.0
    backends: tuple[str, ...] = field(default=("cuda", "cpu", "numpy"))

    def build(self) -> Problem:
        """The problem itself, with its reference."""
        module = import_module(f".problems.{self.family}", __package__)
        problem: Problem = getattr(module, self.problem)(**self.arguments)
        return problem


OURS = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
WIDTHS = (10, 100, 1000, 10_000, 500_000)
SCALES = np.geomspace(1e-6, 1.0, 13)
ON_WEIGHTS = (
    Against("SciPy DOP853", "weights", (1e-3, 1e-6)),
    Against("diffrax Tsit5", "weights", (1e-3, 1e-6)),
    Against("torchode Tsit5", "weights", (1e-3, 1e-6)),
    Against("PyTorch descent", "weights"),
)
ON_THE_DUAL = (
    Against("SciPy LSODA", "dual", (1e-3, 1e-5, 1e-7, 1e-9)),
    Against("SUNDIALS CVODE", "dual", (1e-4, 1e-6, 1e-8)),
    Against("SciPy BDF", "dual", (1e-3, 1e-5, 1e-7)),
    Against("diffrax Kvaerno5", "dual", (1e-3, 1e-6)),
)
ON_THE_GRAM = (
    Against("SciPy DOP853", "Gram", (1e-3, 1e-6)),
    Against("SciPy LSODA", "Gram", (1e-3, 1e-6)),
    Against("diffrax Tsit5", "Gram", (1e-3, 1e-6)),
    Against("diffrax Kvaerno5", "Gram", (1e-3,)),
    Against("torchode Tsit5", "Gram", (1e-3, 1e-6)),
)
NETS = (
    Against("SciPy RK45", "weights", (1e-3, 1e-5)),
    Against("SciPy LSODA", "weights", (1e-3,)),
    Against("SciPy BDF", "weights", (1e-3,)),
    Against("diffrax Tsit5", "weights", (1e-3, 1e-5)),
    Against("diffrax Kvaerno5", "weights", (1e-3,)),
    Against("torchode Tsit5", "weights", (1e-3,)),
    Against("PyTorch descent", "weights"),
)


def _flow(name: str, title: str, against: tuple[Against, ...], **arguments: Any) -> Case:
    return Case(name, "diagonal", title, "DiagonalFlows", arguments, OURS, against)


def _limit(alpha: float) -> Case:
    return Case(
        f"limit-{alpha:g}", "diagonal", f"the limit at alpha = {alpha:g}, N = 100, d = 1000",
        "DiagonalLimits", {"n": 100, "d": 1000, "alpha": alpha}, (1e-6, 1e-10),
        (Against("CVXPY + Clarabel", None),),
    )  # fmt: skip


def _cell(alpha2: float, width: int) -> Case:
    descent = (Against("PyTorch descent", "weights"),) if width <= 20 else ()
    return Case(
        f"cell-{alpha2:g}-{width}", "factorization",
        f"10 x 10 completion, alpha^2 = {alpha2:g}, width {width}", "Completions",
        {"cells": ((alpha2, width),)}, OURS, ON_THE_GRAM + descent,
    )  # fmt: skip


def _net(depth: int, alpha: float) -> Case:
    return Case(
        f"net-{depth}-{alpha:g}", "mlp", f"ReLU network, depth {depth}, alpha = {alpha:g}",
        "Networks", {"depth": depth, "alphas": np.array([alpha])}, (1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
        NETS,
    )  # fmt: skip


def _linear(width: int, alpha: float) -> Case:
    weights = (
        (
            Against("SciPy LSODA", "weights", (1e-3, 1e-6)),
            Against("diffrax Tsit5", "weights", (1e-3, 1e-6)),
        )
        if width <= 50
        else ()
    )
    return Case(
        f"linear-{width}-{alpha:g}", "linear",
        f"linear network 20 -> {width} -> 30, alpha = {alpha:g}", "LinearNetworks",
        {"n": 100, "d_in": 20, "d_out": 30, "width": width, "alphas": [alpha]}, OURS,
        (Against("SciPy DOP853", "Gram", (1e-3, 1e-6)), *weights),
    )  # fmt: skip


def _margins(name: str, title: str, against: tuple[Against, ...], **arguments: Any) -> Case:
    return Case(name, "margins", title, "MarginFlows", arguments, OURS[1:], against)


CASES = (
    _flow(
        "flow-1e-6", "13 scales 1e-6 .. 1, N = 100, d = 1000, to relative loss 1e-6",
        ON_WEIGHTS + ON_THE_DUAL, n=100, d=1000, alphas=SCALES, stop_loss=1e-6,
    ),
    _flow(
        "flow-1e-12", "13 scales 1e-6 .. 1, N = 100, d = 1000, to relative loss 1e-12",
        ON_WEIGHTS + ON_THE_DUAL, n=100, d=1000, alphas=SCALES, stop_loss=1e-12,
    ),
    _flow(
        "flow-depth-3", "depth 3, 7 scales 1e-2 .. 1, N = 100, d = 1000, to relative loss 1e-6",
        ON_WEIGHTS, n=100, d=1000, depth=3, alphas=np.geomspace(1e-2, 1.0, 7), stop_loss=1e-6,
    ),
    _flow(
        "flow-many", "200 scales 1e-3 .. 1, N = 20, d = 50, to relative loss 1e-8",
        ON_WEIGHTS + ON_THE_DUAL, n=20, d=50, alphas=np.geomspace(1e-3, 1.0, 200), stop_loss=1e-8,
    ),
    _limit(1.0),
    _limit(0.1),
    _limit(0.01),
    Case(
        "min-l1", "diagonal", "minimum l1 norm, N = 100, d = 1000 (ours: the limit at 1e-100)",
        "MinimumL1", {"n": 100, "d": 1000, "alpha": 1e-100}, (1e-6, 1e-10, 1e-13),
        (Against("HiGHS dual simplex", None), Against("HiGHS interior point", None)),
        slack=None,
    ),
    _margins(
        "margins-1e-300", "exponential loss, alpha = 0.1 and 1, N = 100, d = 1000, to 1e-300",
        (
            Against("SciPy LSODA", "weights", (1e-3, 1e-6)),
            Against("SciPy LSODA", "dual", (1e-3, 1e-6)),
            Against("SciPy BDF", "dual", (1e-3, 1e-6)),
            Against("SUNDIALS CVODE", "dual", (1e-4, 1e-6)),
        ),
        n=100, d=1000, alphas=(0.1, 1.0), log_loss=float(np.log(1e-300)),
    ),
    _margins(
        "margins-1e-4", "exponential loss, alpha = 0.1 and 1, N = 20, d = 50, to 1e-4",
        (
            Against("SciPy DOP853", "time", (1e-3, 1e-6)),
            Against("SciPy LSODA", "weights", (1e-3, 1e-6)),
            Against("PyTorch descent", "time"),
        ),
        n=20, d=50, alphas=(0.1, 1.0), log_loss=float(np.log(1e-4)),
    ),
    Case(
        "margins-completion", "margins",
        "signs of a 10 x 10 matrix, exponential loss, alpha = 1e-3 and 1, width 10, to 1e-300",
        "MarginCompletions",
        {"width": 10, "alphas": (1e-3, 1.0), "log_loss": float(np.log(1e-300))}, OURS[1:],
        (
            Against("SciPy DOP853", "weights", (1e-3, 1e-6)),
            Against("SciPy LSODA", "weights", (1e-3, 1e-6)),
            Against("diffrax Tsit5", "weights", (1e-3, 1e-6)),
        ),
    ),
    _cell(1e-2, 10),
    _cell(1e-2, 500_000),
    _cell(1e-4, 1000),
    _cell(1e-6, 10),
    _cell(1e-8, 10),
    Case(
        "cells-55", "factorization", "all 55 cells of figure 5 in one call", "Completions",
        {"cells": tuple((10.0**-e, k) for e in range(11) for k in WIDTHS)},
        OURS, ON_THE_GRAM,
    ),
    _linear(50, 1e-3),
    _linear(50, 0.1),
    _linear(1000, 0.1),
    _net(2, 0.1),
    _net(2, 1.0),
    _net(3, 0.1),
    _net(3, 3.0),
    _net(5, 0.5),
    _net(5, 2.5),
)  # fmt: skip

QUICK = (
    _flow(
        "quick-flow", "3 scales 1e-3 .. 1, N = 10, d = 30, to relative loss 1e-6",
        (
            Against("SciPy DOP853", "weights", (1e-6,)),
            Against("SciPy LSODA", "dual", (1e-6,)),
            Against("SciPy BDF", "dual", (1e-6,)),
            *(Against(a.peer, a.formulation, a.rtols[-1:]) for a in ON_WEIGHTS[1:]),
        ),
        n=10, d=30, alphas=np.geomspace(1e-3, 1.0, 3), stop_loss=1e-6,
    ),
    Case(
        "quick-limit", "diagonal", "the limit at alpha = 0.1, N = 10, d = 30", "DiagonalLimits",
        {"n": 10, "d": 30, "alpha": 0.1}, (1e-8,), (Against("CVXPY + Clarabel", None),),
    ),
    Case(
        "quick-l1", "diagonal", "minimum l1 norm, N = 10, d = 30 (ours: the limit at 1e-100)",
        "MinimumL1", {"n": 10, "d": 30, "alpha": 1e-100}, (1e-8, 1e-13),
        (Against("HiGHS dual simplex", None),), slack=None,
    ),
    _margins(
        "quick-margins", "exponential loss, two scales, N = 8, d = 20, to 1e-100",
        (
            Against("SciPy LSODA", "weights", (1e-6,)),
            Against("SciPy LSODA", "dual", (1e-6,)),
        ),
        n=8, d=20, alphas=(0.1, 1.0), log_loss=float(np.log(1e-100)),
    ),
    Case(
        "quick-signs", "margins", "signs of a 10 x 10 matrix, exponential loss, width 3, to 1e-30",
        "MarginCompletions", {"width": 3, "alphas": (0.1, 1.0), "log_loss": float(np.log(1e-30))},
        (1e-3, 1e-6), (Against("SciPy DOP853", "weights", (1e-6,)),),
    ),
    Case(
        "quick-cells", "factorization", "3 cells of figure 5", "Completions",
        {"cells": ((1e-2, 10), (1e-4, 10), (1e-4, 10_000))}, (1e-3, 1e-6, 1e-8),
        (Against("SciPy DOP853", "Gram", (1e-6,)),),
    ),
    Case(
        "quick-linear", "linear", "linear networks 4 -> 6 -> 3, two scales", "LinearNetworks",
        {"n": 20, "d_in": 4, "d_out": 3, "width": 6, "alphas": [1e-3, 0.3]}, (1e-3, 1e-6, 1e-8),
        (Against("SciPy DOP853", "Gram", (1e-6,)), Against("SciPy LSODA", "weights", (1e-6,))),
    ),
    Case(
        "quick-nets", "mlp", "ReLU networks, depth 2, two scales", "Networks",
        {"depth": 2, "alphas": np.array([1.0, 3.0])}, (1e-3, 1e-5),
        (Against("SciPy RK45", "weights", (1e-5,)),),
    ),
)  # fmt: skip


def cases_of(families: tuple[str, ...], quick: bool) -> tuple[Case, ...]:
    """The cases of some families."""
    return tuple(case for case in (QUICK if quick else CASES) if case.family in families)
