"""scipy.integrate.solve_ivp, run after run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from ..formulation import Formulation, Outcome
from . import PeerError

__all__ = ["prepare"]


def prepare(method: str, form: Formulation, rtol: float) -> Callable[[], Outcome]:
    jacobian = form.jacobian if method in ("LSODA", "BDF") else None
    integrate: Any = solve_ivp  # its stubs know each method by name alone

    def run() -> Outcome:
        ends, fields, steps = [], 0, 0
        for b in range(len(form.start)):
            own = tuple(each[b] for each in form.own)
            extra: dict[str, Any] = {}
            if jacobian is not None:
                extra["jac"] = partial(_at_any_time, jacobian, form.shared, own)
            if form.first_step is not None:
                extra["first_step"] = form.first_step[b]
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                out = integrate(
                    partial(_at_any_time, partial(form.field, np), form.shared, own),
                    (0.0, form.times[b]), form.start[b], method=method, rtol=rtol,
                    atol=rtol * form.atol[b], **extra,
                )  # fmt: skip
            if not out.success:
                raise PeerError(out.message)
            ends.append(out.y[:, -1])
            fields += out.nfev
            steps += len(out.t) - 1
        return Outcome(form.read(np.stack(ends)), steps, fields)

    return run


def _at_any_time(function: Any, shared: Any, own: Any, t: float, w: Any) -> Any:
    return function(w, shared, own)
