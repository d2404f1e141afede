"""Where the flow of a diagonal network ends under constant weight decay."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._blas import one_blas_thread
from ._device import namespace, to_host
from ._types import FloatArray, Progress
from .backends import Backend, DiagonalBatch
from .backends.base import METHODS, FlowOptions, Rows
from .schedules import Schedule, decays, weight_decay

__all__ = ["constant_decay", "limit_under_decay"]

# Of the flow that goes there; what it leaves, Newton's iteration takes away.
_RTOL = 1e-8
# The slowest relative rates at which a coordinate may still fall, and count as one that stays.
_STAYS = (1e-4, 1e-6, 1e-2)
_ITERATIONS = 30
# The longest step of a logarithm of a weight, and the longest that may be left in the end.
_FAR, _SETTLED = 0.5, 1e-9
# How far Newton's iteration may lead from the end of the flow, in predictions.
_NEAR = 1e-3
# What rounding may leave of an inequality.
_SLACK = 1e-9


def constant_decay(value: Any) -> Schedule | None:
    """The argument ``weight_decay`` of limits: it does not change, and where it is, is positive.

    Examples
    --------
    >>> float(constant_decay(0.5).at(3.0))
    0.5
    """
    schedule = weight_decay(value)
    if schedule is None or not decays(schedule):
        return schedule
    constant = schedule.start.shape[-1] == 1 and not np.any(schedule.rate > 0.0)
    if isinstance(value, Schedule) and not constant:
        raise ValueError(
            "weight_decay: expected constant weight decay, got a schedule; follow it by "
            "flow_diagonal and take the limit from there"
        )
    if not constant or np.any(schedule.decay == 0.0):
        raise ValueError(
            f"weight_decay: expected zero, or positive values for all runs, got {value!r}"
        )
    return schedule


def limit_under_decay(
    batch: DiagonalBatch, backend: Backend, max_iter: int, threads: int, progress: Progress | None
) -> Rows:
    """The rows of a limit: the end of the flow, then Newton on the coordinates that stay."""
    count = len(batch)
    options = FlowOptions(
        rtol=np.full(count, _RTOL), t_max=np.full(count, np.inf), stop_loss=np.zeros(count),
        atol=0.0, max_steps=200 * max_iter, method="auto", methods=METHODS, t_eval=None,
        num_threads=threads, progress=progress,
    )  # fmt: skip
    ends = backend.solve("diagonal_flow", batch, options)
    xp = namespace(batch.X)
    names = ("beta", "w_plus", "w_minus", "dual")
    rows = {name: to_host(ends[name])[:, 0].copy() for name in names}
    rows["loss"] = np.asarray(ends["loss"])[:, 0].copy()
    X, y = to_host(batch.X), to_host(batch.y)
    offset = to_host(batch.loss_offset)
    with one_blas_thread():
        for b in range(count):
            data = X[batch.x_index[b]], y[batch.y_index[b]]
            lam = float(batch.decay_of(b).decay[0])  # type: ignore[union-attr]
            _finish(rows, b, *data, lam, float(batch.depth[b]), float(offset[batch.y_index[b]]))
    return {
        **{name: xp.asarray(rows[name]) for name in names},
        "loss": rows["loss"],
        "status": np.asarray(ends["status"]),
        "n_iterations": np.asarray(ends["n_steps"]),
    }


def _finish(
    rows: dict[str, FloatArray], b: int, X: FloatArray, y: FloatArray, lam: float, depth: float,
    offset: float,
) -> None:  # fmt: skip
    """The rows of one run, to the last digits where what stays and what falls can be told apart."""
    beta = rows["beta"][b]
    for stays in _STAYS:
        polished = _stationary_point(X, y, beta, lam, depth, stays)
        if polished is not None:
            beta = polished
            size = np.abs(beta) ** (1.0 / depth)
            rows["beta"][b] = beta
            rows["w_plus"][b] = np.where(beta > 0.0, size, 0.0)
            rows["w_minus"][b] = np.where(beta < 0.0, size, 0.0)
            break
    else:  # what falls too slowly to be told from what stays is left; what falls fast is zero
        size = np.abs(beta) ** (1.0 / depth)
        pull = depth * size ** (depth - 2.0) * np.sign(beta) * (X.T @ (y - X @ beta))
        gone = pull < 0.5 * lam
        beta = np.where(gone, 0.0, beta)
        rows["beta"][b] = beta
        rows["w_plus"][b] = np.where(gone, 0.0, rows["w_plus"][b])
        rows["w_minus"][b] = np.where(gone, 0.0, rows["w_minus"][b])
    residual = y - X @ beta
    rows["loss"][b] = float(residual @ residual) + offset
    rows["dual"][b] = 2.0 / lam * residual


def _stationary_point(
    X: FloatArray, y: FloatArray, beta: FloatArray, lam: float, depth: float, stays: float
) -> FloatArray | None:
    """The point near beta with D w^(D-2) sign(beta) X^T r = lambda where beta is not zero.

    None unless the others fall: |x_i^T r| <= lambda / 2 at depth 2, always at D > 2.
    """
    size = np.abs(beta) ** (1.0 / depth)
    sign = np.sign(beta)
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = depth * size ** (depth - 2.0) * sign * (X.T @ (y - X @ beta))
    on = (beta != 0.0) & (pull > lam * (1.0 - stays))
    A, s = X[:, on] * sign[on], sign[on]
    found = np.zeros_like(beta)
    if np.any(on):
        logs = np.log(size[on])
        for _ in range(_ITERATIONS):
            w = np.exp(logs)
            r = y - A @ w**depth
            slope = depth * w ** (depth - 2.0)
            field = slope * (A.T @ r) - lam
            J = np.diag((depth - 2.0) * slope * (A.T @ r))
            J -= (slope[:, None] * (A.T @ A)) * (depth * w**depth)
            # Of least norm, where features are copies of each other: their shares stay.
            step = np.linalg.lstsq(J, field, rcond=1e-13)[0]
            logs = logs - step
            if not np.max(np.abs(step)) < _FAR:
                return None
            if np.max(np.abs(step)) < 1e-14:
                break
        if np.max(np.abs(step)) > _SETTLED:
            return None
        found[on] = s * np.exp(depth * logs)
    others = np.abs(X.T @ (y - X @ found))[~on]
    falls = depth > 2.0 or not np.any(others > 0.5 * lam * (1.0 + _SLACK))
    near = np.linalg.norm(X @ (found - beta)) <= _NEAR * np.linalg.norm(y)
    return found if falls and near else None
