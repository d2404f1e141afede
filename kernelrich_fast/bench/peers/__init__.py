"""Other people's solvers, each in its best honest configuration, on one thread in float64.

A peer is ``prepare(formulation, rtol) -> run``: what needs no repetition (compilation, the search
for a step) is in ``prepare``, and ``run()`` returns an `Outcome`. A solver that gives up raises
`PeerError` with its own words; one whose "success" is not finite is found out by its error.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..formulation import Outcome

__all__ = ["PEERS", "PeerError", "prepare"]

Run = Callable[[], Outcome]


class PeerError(Exception):
    """A solver says that it failed."""


# name: module, function, its first argument
PEERS = {
    "SciPy DOP853": ("scipy_ivp", "DOP853"),
    "SciPy RK45": ("scipy_ivp", "RK45"),
    "SciPy LSODA": ("scipy_ivp", "LSODA"),
    "SciPy BDF": ("scipy_ivp", "BDF"),
    "SUNDIALS CVODE": ("sundials_cvode", "BDF"),
    "diffrax Tsit5": ("diffrax_vmap", "Tsit5"),
    "diffrax Kvaerno5": ("diffrax_vmap", "Kvaerno5"),
    "torchode Tsit5": ("torchode_batch", "Tsit5"),
    "PyTorch descent": ("torch_descent", "descent"),
    "CVXPY + Clarabel": ("convex", "clarabel"),
    "HiGHS dual simplex": ("convex", "highs-ds"),
    "HiGHS interior point": ("convex", "highs-ipm"),
}


def prepare(name: str, problem: Any, formulation: str | None, rtol: float | None) -> Run:
    """The peer's run on a problem; ImportError where it is not installed."""
    module, method = PEERS[name]
    subject = problem if formulation is None else problem.formulation(formulation)
    run: Run = import_module(f".{module}", __name__).prepare(method, subject, rtol)
    return run
