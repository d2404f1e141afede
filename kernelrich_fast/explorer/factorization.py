"""Matrix factorisation on the page: completion of a matrix of low rank from some of its entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from .. import datasets
from .._types import FloatArray
from ..factorization import flow_factorization
from ..status import Status
from ..sweeps import sweep_factorization
from .controls import OVER
from .files import UserData
from .problems import MAX_STEPS, ended, half_the_cores, pieces, times
from .state import State
from .tables import N_ALPHAS, N_PHASE_ALPHAS, Now, Partial, Table, alphas

__all__ = ["RTOL", "STOP_LOSS", "Completion", "now", "observed", "over_alpha", "phase", "problem"]

STOP_LOSS = 1e-8
RTOL = 1e-4  # of runs in the background


class Completion:
    """A matrix with noise on all its entries, of which some are observed."""

    def __init__(self, Y: FloatArray, entries: Any, truth: FloatArray) -> None:
        self.Y, self.entries, self.truth = Y, entries, truth


def observed(state: State, per_cent: float | None = None) -> int:
    """Number of observed entries."""
    share = state.samples if per_cent is None else per_cent
    return max(1, round(share * state.features**2 / 100))


def problem(state: State, user: UserData | None, per_cent: float | None = None) -> Completion:
    """The matrix of the state, its noise and its observed entries."""
    if user is not None:
        raise ValueError(
            "data: expected generated data for the factorisation, got samples (X, y); choose the "
            "diagonal or the ReLU network for them"
        )
    d, r = state.features, min(state.sparsity, state.features)
    drawn = datasets.low_rank_completion(d, d, r, observed(state, per_cent), state.seed)
    noise = state.noise * np.random.default_rng(state.seed).standard_normal((d, d))
    return Completion(drawn.Y_star + noise, drawn.entries, drawn.Y_star)


def now(state: State, data: Completion) -> Now:
    """The flow at the present scale, up to a relative loss of STOP_LOSS."""
    d = state.features
    start: dict[str, Any] = {"alpha": state.alpha, "width": state.width, "max_steps": MAX_STEPS}
    end = flow_factorization(
        data.Y[data.entries], entries=data.entries, dims=(d, d), seed=state.seed,
        stop_loss=STOP_LOSS, **start,
    )  # fmt: skip
    t = times(
        end,
        lambda at: flow_factorization(
            data.Y[data.entries], entries=data.entries, dims=(d, d), seed=state.seed, t_eval=at,
            **start,
        ).loss,
    )  # fmt: skip
    ds = sweep_factorization(
        data.Y, entries=data.entries, seeds=state.seed, t_eval=t, keep=("norms", "M"),
        progress=False, **start,
    )  # fmt: skip
    M = ds.M.transpose("time", "row", "column").values
    singular = np.linalg.svd(M, compute_uv=False)
    least = float((ds.nuclear_norm - ds.excess_nuclear_norm)[-1])
    rank = min(state.sparsity, d)
    tables: dict[str, Table] = {
        "paths": {"t": t, "support": singular[:, :rank], "others": singular[:, rank:]},
        "loss": {"t": t, "loss": ds.loss.values},
        "norms": {
            "t": t,
            "nuclear_norm": ds.nuclear_norm.values,
            "nuclear_norm_of_truth": np.full(t.size, least),
            "frobenius_norm": np.linalg.norm(M, axis=(1, 2)),
            "frobenius_norm_of_truth": np.full(t.size, np.linalg.norm(data.Y)),
        },
        "kernel": {"t": t, "kernel_distance": ds.kernel_distance.values},
    }
    error = float(ds.test_rmse[-1])
    ratios = (
        float(ds.nuclear_norm[-1]) / least, float(np.linalg.norm(M[-1]) / np.linalg.norm(data.Y))
    )  # fmt: skip
    facts = (
        f"{d} x {d} matrix of rank {rank}, {len(data.entries[0])} entries observed, width "
        f"k = {state.width}",
        f"the flow ended as {Status(int(end.status)).name} at t = {float(end.t):.4g}, after "
        f"{int(end.n_steps)} steps, with loss {float(end.loss):.2g}",
        f"RMS error on the unobserved entries {error:.4g}; kernel distance "
        f"{float(ds.kernel_distance[-1]):.3g}",
    )
    present = {
        "error_alpha": (error,),
        "norms_alpha": ratios,
        "kernel_alpha": (float(ds.kernel_distance[-1]),),
    }
    return Now(t, tables, present, facts)


def _ends(state: State, data: Completion, alpha: Any, width: int, keep: Any) -> xr.Dataset:
    ds = sweep_factorization(
        data.Y, entries=data.entries, alpha=alpha, width=width, seeds=state.seed, keep=keep,
        stop_loss=STOP_LOSS, rtol=RTOL, max_steps=MAX_STEPS, progress=False,
        num_threads=half_the_cores(),
    )  # fmt: skip
    return ended(ds)


def over_alpha(state: State, data: Completion) -> Iterator[Partial]:
    """Where flows end, at every scale of the grid: errors, norms and kernel distances."""
    grid = alphas("factorization", N_ALPHAS)
    values = np.full((4, grid.size), np.nan)
    size = np.linalg.norm(data.Y)
    for done, part in pieces(grid.size, 5e-3):
        ds = _ends(state, data, grid[part], state.width, ("norms", "M"))
        values[0, part] = ds.test_rmse
        values[1, part] = ds.nuclear_norm / (ds.nuclear_norm - ds.excess_nuclear_norm)
        values[2, part] = np.linalg.norm(ds.M.transpose("alpha", ...).values, axis=(1, 2)) / size
        values[3, part] = ds.kernel_distance
        yield Partial(
            {
                "error_alpha": {"alpha": grid, "error": values[0].copy()},
                "norms_alpha": {
                    "alpha": grid, "nuclear": values[1].copy(), "frobenius": values[2].copy()
                },
                "kernel_alpha": {"alpha": grid, "kernel_distance": values[3].copy()},
            },
            done,
        )  # fmt: skip


def phase(state: State, data: Completion, user: UserData | None) -> Iterator[Partial]:
    """The error on unobserved entries, over the scale and the width or the observed entries."""
    rows = np.array(OVER["factorization"][state.over], dtype=float)
    scales = alphas("factorization", N_PHASE_ALPHAS)
    error = np.full((rows.size, scales.size), np.nan)
    for index, row in enumerate(rows):
        own = problem(state, user, row) if state.over == "samples" else data
        width = int(row) if state.over == "width" else state.width
        for done, part in pieces(scales.size, 5e-3):
            ds = _ends(state, own, scales[part], width, ())
            error[index, part] = ds.test_rmse
            yield Partial(
                {"phase": {"alpha": scales, "error": error.T.copy(), "rows": rows}},
                (index + done) / rows.size,
            )
