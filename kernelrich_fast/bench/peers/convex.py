"""Limits as convex programs: CVXPY with Clarabel for Q_alpha, HiGHS for the l1 norm."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linprog

from ..formulation import Outcome
from . import PeerError

__all__ = ["prepare"]


def prepare(method: str, problem: Any, rtol: float | None) -> Callable[[], Outcome]:
    return _clarabel(problem) if method == "clarabel" else _highs(method, problem)


def _clarabel(problem: Any) -> Callable[[], Outcome]:
    """The minimum of Q_alpha by relative entropies of the squares of the weights."""
    import cvxpy as cp

    X, y, half = problem.X, problem.y, problem.alpha**2

    def run() -> Outcome:
        plus, minus = cp.Variable(X.shape[1]), cp.Variable(X.shape[1])
        ones = np.full(X.shape[1], half)
        objective = cp.sum(cp.kl_div(plus, ones) + cp.kl_div(minus, ones)) / half
        program = cp.Problem(cp.Minimize(objective), [X @ (plus - minus) == y])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program.solve(solver=cp.CLARABEL)
        except cp.SolverError as error:
            raise PeerError(str(error)) from error
        if plus.value is None or minus.value is None:
            raise PeerError(program.status)
        return Outcome((plus.value - minus.value)[None], program.solver_stats.num_iters or 0, 0)

    return run


def _highs(method: str, problem: Any) -> Callable[[], Outcome]:
    X, y = problem.X, problem.y
    d = X.shape[1]

    def run() -> Outcome:
        solve: Any = linprog  # its stubs know each method by name alone
        out = solve(
            np.ones(2 * d), A_eq=np.hstack([X, -X]), b_eq=y, bounds=(0.0, None), method=method
        )
        if out.status != 0:
            raise PeerError(out.message)
        return Outcome((out.x[:d] - out.x[d:])[None], int(out.nit), 0)

    return run
