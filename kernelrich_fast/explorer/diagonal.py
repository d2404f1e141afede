"""Diagonal networks on the page: data, the present flow, its end over alpha, the phase diagram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from .. import datasets
from .._types import FloatArray
from ..diagonal import DiagonalFlow, flow_diagonal
from ..status import Status
from ..sweeps import sweep_diagonal
from ..theory import kernel_distance, tangent_kernel
from .controls import OVER
from .files import UserData
from .problems import (
    Problem,
    ended,
    fitted_samples,
    half_the_cores,
    pieces,
    split,
    times,
)
from .state import State
from .tables import N_ALPHAS, N_PHASE_ALPHAS, Now, Partial, Table, alphas

__all__ = ["STOP_LOSS", "now", "over_alpha", "phase", "phase_rows", "problem", "profile"]

STOP_LOSS = 1e-10  # of the flow that finds the last time


def problem(state: State, user: UserData | None) -> Problem:
    """Data of the state: drawn, or the user's with samples held out unless the truth is known."""
    if user is None:
        drawn = datasets.sparse_regression(
            state.samples, state.features, state.sparsity, state.noise**2, state.seed
        )
        return Problem(drawn.X, drawn.y, drawn.beta_star)
    if user.beta_star is not None:
        return Problem(user.X, user.y, user.beta_star)
    return split(user, state.held_out, state.seed)


def profile(state: State, n_features: int) -> FloatArray:
    """w0, falling geometrically from the first feature to the last, of geometric mean one."""
    half = state.shape / 2.0
    return np.logspace(half, -half, n_features)


def now(state: State, data: Problem) -> Now:
    """The flow at the present scale, up to a relative loss of STOP_LOSS."""
    options: dict[str, Any] = {"alpha": state.alpha, "depth": state.depth}
    options["w0"] = profile(state, data.X.shape[1])
    end = flow_diagonal(data.X, data.y, stop_loss=STOP_LOSS, **options)
    t = times(end, lambda at: flow_diagonal(data.X, data.y, t_eval=at, **options).loss)
    run = flow_diagonal(data.X, data.y, t_eval=t, **options)
    beta = run.beta
    moved = _kernel_movement(state, data, options["w0"], run)
    l1, l2 = np.abs(beta).sum(axis=-1), np.linalg.norm(beta, axis=-1)
    least_l1, least_l2 = data.least_norms
    true = np.flatnonzero(data.beta_star) if data.beta_star is not None else largest(beta[-1])
    others = np.setdiff1d(np.arange(beta.shape[1]), true)
    tables: dict[str, Table] = {
        "paths": {"t": t, "support": beta[:, true], "others": beta[:, others]},
        "loss": {"t": t, "loss": run.loss},
        "norms": {
            "t": t,
            "l1_norm": l1,
            "least_l1": np.full(t.size, least_l1),
            "l2_norm": l2,
            "least_l2": np.full(t.size, least_l2),
        },
        "kernel": {"t": t, "kernel_distance": moved},
    }
    error = float(errors(beta[-1:], data)[0])
    ratios = (float(l1[-1]) / least_l1, float(l2[-1]) / least_l2)
    name = "population error" if data.beta_star is not None else "test error"
    facts: tuple[str, ...] = (
        f"N = {data.X.shape[0]} samples, d = {data.X.shape[1]} features",
        f"the flow ended as {Status(int(end.status)).name} at t = {float(end.t):.4g}, after "
        f"{int(end.n_steps)} steps, with loss {float(end.loss):.2g}",
        f"{name} {error:.4g}; kernel distance {float(moved[-1]):.3g}; features beyond 1 % of the "
        f"largest: "
        f"{int(np.sum(np.abs(beta[-1]) > 0.01 * np.abs(beta[-1]).max()))}",
    )
    if not np.isfinite(least_l2):
        facts += ("no coefficients fit all samples, so that norms have no minima to compare with",)
    present = {
        "error_alpha": (error,),
        "norms_alpha": ratios,
        "kernel_alpha": (float(moved[-1]),),
    }
    return Now(t, tables, present, facts)


def _kernel_movement(state: State, data: Problem, w0: FloatArray, run: DiagonalFlow) -> FloatArray:
    """Distance of the tangent kernel from the one at the start, at every time."""
    # A kernel's direction does not depend on the unit of the weights, but powers of tiny ones do.
    start = tangent_kernel(data.X, w0, w0, state.depth)
    along = tangent_kernel(data.X, run.w_plus / state.alpha, run.w_minus / state.alpha, state.depth)
    return kernel_distance(start, along)


def largest(beta: FloatArray) -> Any:
    """The six features of largest coefficients, where the true ones are not known."""
    return np.sort(np.argsort(np.abs(beta))[::-1][:6])


def errors(beta: FloatArray, data: Problem) -> FloatArray:
    """Population error |beta - beta_star|^2, or the mean square on the samples held out."""
    if data.beta_star is not None:
        return np.asarray(np.sum((beta - data.beta_star) ** 2, axis=-1))
    return np.asarray(np.mean((beta @ data.X_test.T - data.y_test) ** 2, axis=-1))


def _limits(X: FloatArray, y: FloatArray, alpha: Any, depth: Any, w0: Any, keep: Any) -> xr.Dataset:
    ds = sweep_diagonal(
        X, y, alpha=alpha, depth=depth, w0=w0, limit=True, keep=keep, progress=False,
        num_threads=half_the_cores(),
    )  # fmt: skip
    return ended(ds)


def over_alpha(state: State, data: Problem) -> Iterator[Partial]:
    """Where flows end, at every scale of the grid: errors, norms and kernel distances."""
    w0 = profile(state, data.X.shape[1])
    grid = alphas("diagonal", N_ALPHAS)
    values = np.full((4, grid.size), np.nan)
    for done, part in pieces(grid.size, cost(data.X)):
        ds = _limits(data.X, data.y, grid[part], state.depth, w0, ("norms", "beta"))
        values[0, part] = errors(ds.beta.transpose("alpha", "feature").values, data)
        values[1, part] = ds.l1_norm / (ds.l1_norm - ds.excess_l1)
        values[2, part] = ds.l2_norm / (ds.l2_norm - ds.excess_l2)
        values[3, part] = ds.kernel_distance
        yield Partial(
            {
                "error_alpha": {"alpha": grid, "error": values[0].copy()},
                "norms_alpha": {"alpha": grid, "l1": values[1].copy(), "l2": values[2].copy()},
                "kernel_alpha": {"alpha": grid, "kernel_distance": values[3].copy()},
            },
            done,
        )


def phase_rows(state: State, user: UserData | None) -> FloatArray:
    """Values on the second axis of the phase diagram; of the user's samples ten numbers."""
    if user is None or state.over != "samples":
        return np.array(OVER["diagonal"][state.over], dtype=float)
    n = len(user.y) if user.beta_star is not None else fitted_samples(len(user.y), state.held_out)
    return np.unique(np.linspace(max(1.0, 0.1 * n), n, 10).astype(int)).astype(float)


def phase(state: State, data: Problem, user: UserData | None) -> Iterator[Partial]:
    """The error where flows end, over the scale and the samples or the depth."""
    rows = phase_rows(state, user)
    w0 = profile(state, data.X.shape[1])
    scales = alphas("diagonal", N_PHASE_ALPHAS)
    error = np.full((rows.size, scales.size), np.nan)
    for index, row in enumerate(rows):
        own, depth = data, state.depth
        if state.over == "depth":
            depth = float(row)
        else:
            own = _first_rows(state, data, user, int(row))
        for done, part in pieces(scales.size, cost(own.X)):
            ds = _limits(own.X, own.y, scales[part], depth, w0, ("beta",))
            error[index, part] = errors(ds.beta.transpose("alpha", "feature").values, own)
            yield Partial(
                {"phase": {"alpha": scales, "error": error.T.copy(), "rows": rows}},
                (index + done) / rows.size,
            )


def _first_rows(state: State, data: Problem, user: UserData | None, n: int) -> Problem:
    """The problem with n samples: draws of one seed are nested, the user's are taken in order."""
    if user is None:
        drawn = datasets.sparse_regression(
            n, state.features, state.sparsity, state.noise**2, state.seed
        )
        return Problem(drawn.X, drawn.y, drawn.beta_star)
    return Problem(data.X[:n], data.y[:n], data.beta_star, data.X_test, data.y_test)


def cost(X: FloatArray) -> float:
    """About how many seconds one limit takes."""
    n, d = X.shape
    least = min(n, d)
    return 5e-4 + 1e-8 * float(least * n * d)
