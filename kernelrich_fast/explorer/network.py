"""Small ReLU networks on the page: a teacher on the unit circle, or the user's samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from .. import datasets
from .._types import FloatArray
from ..mlp import MLPFlow, flow_mlp
from ..status import Status
from ..sweeps import sweep_mlp
from ..theory import mlp_feature_distance
from .controls import OVER
from .files import UserData
from .problems import Problem, ended, half_the_cores, pieces, split, times
from .state import State
from .tables import N_ALPHAS, N_PHASE_ALPHAS, Now, Partial, Table, alphas

__all__ = ["MAX_STEPS", "RTOL", "STOP_LOSS", "now", "over_alpha", "phase", "problem"]

RTOL = 1e-3
STOP_LOSS = 1e-5
MAX_STEPS = 1000
N_TEST = 200  # equally spaced points of the circle


def problem(state: State, user: UserData | None) -> Problem:
    """Data of the state: drawn, or the user's with samples held out."""
    if user is not None:
        return split(user, state.held_out, state.seed)
    drawn = datasets.circle_teacher(state.samples, state.sparsity, N_TEST, state.seed)
    noise = state.noise * np.random.default_rng(state.seed).standard_normal(state.samples)
    return Problem(drawn.X, drawn.y + noise, None, drawn.X_test, drawn.y_test)


def layer_scales(shape: float, depth: int) -> FloatArray:
    """Factors of the layers, falling geometrically, of product one."""
    return np.logspace(shape / 2.0, -shape / 2.0, depth)


def _options(state: State, depth: int | None = None) -> dict[str, Any]:
    depth = int(state.depth) if depth is None else depth
    return {
        "depth": depth, "layer_scales": layer_scales(state.shape, depth), "rtol": RTOL,
        "max_steps": MAX_STEPS, "antisymmetric": True,
    }  # fmt: skip


def now(state: State, data: Problem) -> Now:
    """The flow at the present scale, up to a relative loss of STOP_LOSS."""
    start: dict[str, Any] = {"alpha": state.alpha, "width": state.width, **_options(state)}
    end = flow_mlp(data.X, data.y, seed=state.seed, stop_loss=STOP_LOSS, **start)
    t = times(end, lambda at: flow_mlp(data.X, data.y, seed=state.seed, t_eval=at, **start).loss)
    flow = flow_mlp(data.X, data.y, seed=state.seed, t_eval=t, **start)
    moved = mlp_feature_distance(flow.weights0, flow.weights, data.X, antisymmetric=True)
    norm = np.sqrt(sum(np.sum(layer**2, axis=(-3, -2, -1)) for layer in flow.weights))
    prediction = flow.predict(data.X_test)
    rmse = np.sqrt(np.mean((prediction - data.y_test) ** 2, axis=-1))
    strength = unit_strengths(flow)
    chosen = np.sort(np.argsort(strength[-1])[::-1][:6])
    others = np.setdiff1d(np.arange(strength.shape[1]), chosen)
    tables: dict[str, Table] = {
        "paths": {"t": t, "support": strength[:, chosen], "others": strength[:, others]},
        "loss": {"t": t, "loss": flow.loss},
        "norms": {"t": t, "weight_norm": norm},
        "kernel": {"t": t, "feature_distance": moved},
        "function": _function(data, prediction[-1]),
    }
    error = float(rmse[-1])
    facts = (
        f"N = {data.X.shape[0]} samples, d = {data.X.shape[1]} inputs, depth {start['depth']}, "
        f"width {state.width}, two copies of opposite sign",
        f"the flow ended as {Status(int(end.status)).name} at t = {float(end.t):.4g}, after "
        f"{int(end.n_steps)} steps, with loss {float(end.loss):.2g}",
        f"test RMSE {error:.4g}; feature distance {float(moved[-1]):.3g}; units beyond 1 % of "
        f"the strongest: "
        f"{int(np.sum(strength[-1] > 0.01 * strength[-1].max()))} of {strength.shape[1]}",
    )
    present: dict[str, tuple[float, ...]] = {
        "error_alpha": (error,),
        "norms_alpha": (float(norm[-1]) / _norm(flow.weights0),),
        "kernel_alpha": (float(moved[-1]),),
    }
    return Now(t, tables, present, facts)


def unit_strengths(flow: MLPFlow) -> FloatArray:
    """|incoming weights| |outgoing weights| of every unit of the first hidden layer, (T, units)."""
    into, out = flow.weights[0], flow.weights[1]  # (T, 2, k, d) and (T, 2, m, k)
    strength = np.linalg.norm(into, axis=-1) * np.linalg.norm(out, axis=-2)
    return np.asarray(strength.reshape(strength.shape[0], -1))


def _norm(weights: list[FloatArray]) -> float:
    return float(np.sqrt(sum(np.sum(layer**2) for layer in weights)))


def _function(data: Problem, prediction: FloatArray) -> Table:
    """Prediction and target on the test inputs: over the angle on a circle, else one by one."""
    at = np.argsort(_position(data.X_test))
    return {
        "position": _position(data.X_test)[at],
        "target": data.y_test[at],
        "prediction": prediction[at],
    }


def _position(X: FloatArray) -> FloatArray:
    """The angle of points in the plane in degrees, 0 to 360; of others their number."""
    if X.shape[1] != 2:
        return np.arange(X.shape[0], dtype=float)
    return np.asarray(np.degrees(np.arctan2(X[:, 1], X[:, 0])) % 360.0)


def _ends(state: State, data: Problem, alpha: Any, width: int, depth: int, keep: Any) -> xr.Dataset:
    ds = sweep_mlp(
        data.X, data.y, alpha=alpha, width=width, seeds=state.seed, X_test=data.X_test,
        y_test=data.y_test, stop_loss=STOP_LOSS, keep=keep, progress=False,
        num_threads=half_the_cores(), **_options(state, depth),
    )  # fmt: skip
    return ended(ds)


def over_alpha(state: State, data: Problem) -> Iterator[Partial]:
    """Where flows end, at every scale of the grid: errors, norms and kernel distances."""
    grid = alphas("network", N_ALPHAS)
    values = np.full((3, grid.size), np.nan)
    start = flow_mlp(
        data.X, data.y, alpha=1.0, width=state.width, seed=state.seed,
        t_eval=[1e-300], **_options(state),
    )  # fmt: skip
    norm = _norm(start.weights0)
    for done, part in pieces(grid.size, 1e-2):
        depth = int(state.depth)
        ds = _ends(state, data, grid[part], state.width, depth, ("norms",))
        values[0, part] = ds.test_rmse
        values[1, part] = ds.weight_norm / (norm * grid[part])
        values[2, part] = ds.feature_distance
        yield Partial(
            {
                "error_alpha": {"alpha": grid, "error": values[0].copy()},
                "norms_alpha": {"alpha": grid, "growth": values[1].copy()},
                "kernel_alpha": {"alpha": grid, "feature_distance": values[2].copy()},
            },
            done,
        )  # fmt: skip


def phase(state: State, data: Problem, user: UserData | None) -> Iterator[Partial]:
    """The test error over the scale and the width or the depth."""
    rows = np.array(OVER["network"][state.over], dtype=float)
    scales = alphas("network", N_PHASE_ALPHAS)
    error = np.full((rows.size, scales.size), np.nan)
    for index, row in enumerate(rows):
        width = int(row) if state.over == "width" else state.width
        depth = int(row) if state.over == "depth" else int(state.depth)
        for done, part in pieces(scales.size, 1e-2):
            ds = _ends(state, data, scales[part], width, depth, ())
            error[index, part] = ds.test_rmse
            yield Partial(
                {"phase": {"alpha": scales, "error": error.T.copy(), "rows": rows}},
                (index + done) / rows.size,
            )
