"""torchode: a batch with a step size of its own for every run, float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..formulation import Formulation, Outcome
from . import PeerError

__all__ = ["prepare"]


def prepare(method: str, form: Formulation, rtol: float) -> Callable[[], Outcome]:
    import torch
    import torchode

    torch.set_num_threads(1)
    shared = tuple(torch.as_tensor(each) for each in form.shared)
    own = tuple(torch.as_tensor(each) for each in form.own)
    batched = torch.func.vmap(lambda w, own: form.field(torch, w, shared, own))

    def field(t: Any, w: Any) -> Any:
        return batched(w, own)

    term = torchode.ODETerm(field)
    control = torchode.IntegralController(atol=0.0, rtol=rtol, term=term)
    # A tolerance for every run; what its constructor would copy, it warns of.
    control.atol = torch.as_tensor(rtol * form.atol)[:, None]
    solver = torchode.AutoDiffAdjoint(getattr(torchode, method)(term=term), control)
    problem = torchode.InitialValueProblem(
        y0=torch.as_tensor(form.start), t_start=torch.zeros(len(form.times), dtype=torch.float64),
        t_end=torch.as_tensor(form.times),
    )  # fmt: skip

    def run() -> Outcome:
        with torch.no_grad():
            out = solver.solve(problem)
        if bool((out.status != 0).any()):
            raise PeerError(f"status {out.status.unique().tolist()}")
        w = out.ys[:, -1].numpy()
        return Outcome(
            form.read(np.asarray(w)), int(out.stats["n_steps"].sum()),
            int(out.stats["n_f_evals"].sum()),
        )  # fmt: skip

    return run
