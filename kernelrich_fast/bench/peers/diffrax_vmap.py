"""diffrax: vmapped over the runs, jitted, float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..formulation import Formulation, Outcome
from . import PeerError

__all__ = ["prepare"]

STAGES = {"Tsit5": 6, "Kvaerno5": 7}


def prepare(method: str, form: Formulation, rtol: float) -> Callable[[], Outcome]:
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    shared = tuple(jnp.asarray(each) for each in form.shared)
    solver = getattr(diffrax, method)()

    def one(w: Any, t: Any, atol: Any, first: Any, own: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        out = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, w, args: form.field(jnp, w, shared, own)), solver, 0.0, t,
            None if form.first_step is None else first, w,
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol * atol),
            saveat=diffrax.SaveAt(t1=True), max_steps=10_000_000, throw=False,
        )  # fmt: skip
        return out.ys[0], out.stats["num_steps"], out.result == diffrax.RESULTS.successful

    first = form.times if form.first_step is None else form.first_step
    arguments = (
        jnp.asarray(form.start), jnp.asarray(form.times), jnp.asarray(form.atol),
        jnp.asarray(first), tuple(jnp.asarray(each) for each in form.own),
    )  # fmt: skip
    compiled = jax.jit(jax.vmap(one)).lower(*arguments).compile()

    def run() -> Outcome:
        w, steps, fine = compiled(*arguments)
        if not bool(fine.all()):
            raise PeerError(f"{int((~fine).sum())} runs of {len(form.times)} not successful")
        count = int(steps.sum())
        return Outcome(form.read(np.asarray(w)), count, STAGES[method] * count)

    return run
