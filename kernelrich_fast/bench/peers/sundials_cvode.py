"""CVODE of SUNDIALS through scikit-sundae, run after run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..formulation import Formulation, Outcome
from . import PeerError

__all__ = ["prepare"]

MOST_STEPS = 1_000_000


def prepare(method: str, form: Formulation, rtol: float) -> Callable[[], Outcome]:
    from sksundae.cvode import CVODE

    # As its documentation recommends.
    solver = "lapackdense" if form.start.shape[1] >= 100 else "dense"

    def run() -> Outcome:
        ends, fields, steps = [], 0, 0
        for b in range(len(form.start)):
            own = tuple(each[b] for each in form.own)
            extra: dict[str, Any] = {}
            if form.jacobian is not None:
                extra["jacfn"] = partial(_fill_jacobian, form.jacobian, form.shared, own)
            if form.first_step is not None:
                extra["first_step"] = form.first_step[b]
            with np.errstate(all="ignore"):
                integrator = CVODE(
                    partial(_fill_field, form.field, form.shared, own), method=method, rtol=rtol,
                    atol=rtol * form.atol[b], linsolver=solver, max_num_steps=MOST_STEPS, **extra,
                )  # fmt: skip
                out = integrator.solve(np.array([0.0, form.times[b]]), form.start[b])
            if not out.success:
                raise PeerError(str(out.message))
            ends.append(out.y[-1])
            fields += int(out.nfev)
            steps += len(out.t) - 1
        return Outcome(form.read(np.stack(ends)), steps, fields)

    return run


def _fill_field(field: Any, shared: Any, own: Any, t: float, w: Any, out: Any) -> None:
    out[:] = field(np, w, shared, own)


def _fill_jacobian(
    jacobian: Any, shared: Any, own: Any, t: float, w: Any, field: Any, out: Any
) -> None:
    out[:] = jacobian(w, shared, own)
