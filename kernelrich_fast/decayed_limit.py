"""Where the flow of a diagonal network ends under constant weight decay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg

from ._blas import one_blas_thread
from ._device import namespace, to_host
from ._lasso import lasso, zero_is_the_lasso
from ._types import FloatArray, Progress
from .backends import Backend, DiagonalBatch, solve_batch
from .backends.base import METHODS, FlowOptions, Rows
from .schedules import Schedule, decays, weight_decay
from .status import Status

__all__ = ["checked_decay", "constant_decay", "limit_under_decay"]

# Of the flow that goes there; what it leaves, Newton's iteration takes away.
_RTOL = 1e-8
# The slowest relative rates at which a coordinate may still fall, and count as one that stays.
_STAYS = (1e-4, 1e-6, 1e-2, 0.5)
# Predictions, relative to y, from which on what a coordinate adds to them may be more than nothing.
_FELT, _NOTHING = (1e-12, 1e-8), 1e-20
_ITERATIONS = 30
# The longest step of a logarithm of a weight, and the longest that may be left in the end.
_FAR, _SETTLED = 0.5, 1e-9
# How far Newton's iteration may lead from the end of the flow: in predictions relative to y, and by
# which factor the residual may grow beyond its rounding.
_NEAR, _GROWS, _ROUNDED = 1e-3, 1.5, 1e-13
# What rounding may leave of an inequality.
_SLACK = 1e-9
# Where the decay is so near, relatively, to the largest useful one, flows of depth 2 take too many
# steps: weights fall like 1 / sqrt(t).
_BESIDE = 1e-4
_EPS = float(np.finfo(np.float64).eps)


def checked_decay(value: Any) -> Schedule | None:
    """The argument ``weight_decay`` of flows; a function is refused."""
    if callable(value):
        raise TypeError(
            f"weight_decay: expected numbers, pairs (time, weight decay) or a Schedule, got the "
            f"function {value!r}; krf.schedules.exponential and krf.schedules.piecewise make "
            "schedules"
        )
    return weight_decay(value)


def constant_decay(value: Any) -> Schedule | None:
    """The argument ``weight_decay`` of limits: it does not change, and where it is, is positive.

    Examples
    --------
    >>> float(constant_decay(0.5).at(3.0))
    0.5
    """
    schedule = checked_decay(value)
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
    """The rows of a limit: the end of the flow, then Newton on the coordinates that stay.

    At depth 2 the minimiser where decay leaves nothing or almost nothing, or the flow has no end.
    """
    steps, runs = 200 * max_iter, _runs(batch)
    with one_blas_thread():
        known = {b: end for b, run in enumerate(runs) if (end := run.lasso(near_zero=True))}
    left = np.array([b for b in range(len(batch)) if b not in known], dtype=np.int64)
    rows, status, n_steps = _ends(batch, backend, left, steps, threads, progress)
    with one_blas_thread():
        resting = np.flatnonzero(status == int(Status.STATIONARY))
        duals = _duals_at_rest(batch, backend, rows, runs, resting, steps, threads)
        for b, run in enumerate(runs):
            if status[b] == int(Status.MAX_STEPS) and (end := run.lasso()):
                known[b] = end
            row = {name: array[b] for name, array in rows.items()}
            row["dual"] = row["dual"][: len(run.y)]
            if b in known:
                run.put(row, *known[b])
                status[b] = int(Status.STATIONARY)
            else:
                run.finish(row, duals.get(b))
            residual = run.y - run.X @ rows["beta"][b]
            rows["loss"][b] = float(residual @ residual) + run.offset
    xp = namespace(batch.X)
    per_lam = xp.asarray([[2.0 / run.lam] for run in runs])
    return {
        **{name: xp.asarray(rows[name]) for name in ("beta", "w_plus", "w_minus", "loss")},
        "dual": batch.with_rest(xp.asarray(rows["dual"])[:, None, :], per_lam)[:, 0],
        "status": xp.asarray(status),
        "n_iterations": xp.asarray(n_steps),
    }


def _ends(
    batch: DiagonalBatch, backend: Backend, left: Any, steps: int, threads: int,
    progress: Progress | None,
) -> tuple[dict[str, FloatArray], Any, Any]:  # fmt: skip
    """The ends of the flows of the runs that are ``left``, their status and steps; else zeros."""
    count, features, done = len(batch), batch.X.shape[-1], len(batch) - len(left)
    rows: dict[str, FloatArray] = {"loss": np.zeros(count)}
    rows["dual"] = np.zeros((count, batch.X.shape[-2]))
    rows |= {name: np.zeros((count, features)) for name in ("beta", "w_plus", "w_minus")}
    status, n_steps = np.full(count, int(Status.STATIONARY)), np.zeros(count, dtype=np.int64)
    if len(left) == 0:
        return rows, status, n_steps
    if done and progress is not None:
        told, progress = progress, lambda finished: told(done + finished)
    options = _options(np.full(len(left), np.inf), steps, threads, progress)
    ends = solve_batch(backend, "diagonal_flow", batch.some(left) if done else batch, options)
    for name in ("beta", "w_plus", "w_minus"):
        rows[name][left] = to_host(ends[name])[:, 0]
    rows["loss"][left] = to_host(ends["loss"])[:, 0]
    status[left], n_steps[left] = to_host(ends["status"]), to_host(ends["n_steps"])
    return rows, status, n_steps


def _options(t_max: FloatArray, steps: int, threads: int, progress: Progress | None) -> FlowOptions:
    return FlowOptions(
        rtol=np.full(len(t_max), _RTOL), t_max=t_max, stop_loss=np.zeros(len(t_max)), atol=0.0,
        max_steps=steps, method="auto", methods=METHODS, t_eval=None, num_threads=threads,
        progress=progress,
    )  # fmt: skip


def _runs(batch: DiagonalBatch) -> list[_Run]:
    offset, both = to_host(batch.loss_offset), to_host(batch.profile_minus) > 0.0
    runs = []
    for b in range(len(batch)):
        X, y = map(to_host, batch.data_of(b))
        lam = float(batch.decay_of(b).decay[0])  # type: ignore[union-attr]
        loss = float(offset[batch.y_index[b]])
        runs.append(_Run(X, y, both[batch.w_index[b]], lam, float(batch.depth[b]), loss))
    return runs


def _duals_at_rest(
    batch: DiagonalBatch, backend: Backend, rows: dict[str, FloatArray], runs: list[_Run],
    resting: Any, steps: int, threads: int,
) -> dict[int, FloatArray]:  # fmt: skip
    """2 (y - X beta) / lambda of the runs at rest, from flows that go on from there for a while.

    Such a flow adds the residual up over 1 / lambda; the difference y - X beta has no digits left
    where lambda is small.
    """
    if len(resting) == 0:
        return {}
    lam, depth = np.array([(runs[b].lam, runs[b].depth) for b in resting]).T
    options = _options(1.0 / (depth * lam), steps, threads, None)
    ends = solve_batch(backend, "diagonal_flow", _onward(batch, rows, runs, resting), options)
    t, sums = to_host(ends["t"])[:, 0], to_host(ends["dual"])[:, 0]
    slowing = 2.0 * (depth - 2.0) * lam
    slows = slowing > 0.0
    passed = np.where(slows, -np.expm1(-slowing * t) / np.where(slows, slowing, 1.0), t)
    good = np.isfinite(sums).all(axis=-1) & (passed > 0.0)
    return {
        int(b): 2.0 / (lam[i] * passed[i]) * sums[i, : len(runs[b].y)]
        for i, b in enumerate(resting)
        if good[i]
    }


def _onward(
    batch: DiagonalBatch, rows: dict[str, FloatArray], runs: list[_Run], resting: Any
) -> DiagonalBatch:
    """The runs at rest, to go on from their last weights."""
    count, xp = len(resting), namespace(batch.X)
    least = np.stack([runs[b].least_weights() for b in resting])
    both = np.stack([runs[b].both for b in resting])
    plus, minus = (np.maximum(rows[name][resting], least) for name in ("w_plus", "w_minus"))
    return replace(
        batch.some(resting), alpha=np.ones(count), w_index=np.arange(count),
        profile_plus=xp.asarray(plus), profile_minus=xp.asarray(np.where(both, minus, 0.0)),
    )  # fmt: skip


@dataclass(frozen=True)
class _Run:
    """Of one run the data, where it has both weights, its decay and its depth.

    The dual nu is 2 (y - X beta) / lambda. It is found beside beta, and stays accurate as lambda
    falls to zero.
    """

    X: FloatArray
    y: FloatArray
    both: Any
    lam: float
    depth: float
    offset: float

    def least_weights(self) -> FloatArray:
        """Weights below which predictions are nothing."""
        sizes = np.linalg.norm(self.X, axis=0)
        most = float(np.max(sizes))
        if most == 0.0:
            return np.ones(len(sizes))
        sizes = np.where(sizes > 0.0, sizes, most)
        tiny = float(np.finfo(np.float64).tiny)
        aim = max(float(np.linalg.norm(self.y)), tiny / _NOTHING)
        return np.asarray((_NOTHING * aim / sizes) ** (1.0 / self.depth))

    def finish(self, row: dict[str, FloatArray], dual: FloatArray | None) -> None:
        """A row to the last digits where what stays and what falls can be told apart."""
        beta = row["beta"]
        row["dual"][:] = 2.0 / self.lam * (self.y - self.X @ beta)
        if dual is None:
            return
        point = self.stationary_point(beta, dual)
        if point is None:
            gone = self._gone(beta, dual)
            for name in ("beta", "w_plus", "w_minus"):
                row[name][gone] = 0.0
            if self._noise() > self._error(beta, dual, beta != 0.0):
                row["dual"][:] = dual
            return
        self.put(row, *point)

    def put(self, row: dict[str, FloatArray], beta: FloatArray, dual: FloatArray) -> None:
        """The row of a point at which each coordinate is at rest or zero."""
        row["beta"][:], row["dual"][:] = beta, dual
        size = np.abs(beta) ** (1.0 / self.depth)
        row["w_plus"][:] = np.where(beta > 0.0, size, 0.0)
        row["w_minus"][:] = np.where(beta < 0.0, size, 0.0)

    def lasso(self, near_zero: bool = False) -> tuple[FloatArray, FloatArray] | None:
        """The end at depth 2, whatever the flow does; or only if it is zero or almost so."""
        data = self.X, self.y, self.lam, self.both, self.offset
        if self.depth > 2.0 or (near_zero and not zero_is_the_lasso(*data, near=_BESIDE)):
            return None
        return lasso(*data)

    def stationary_point(
        self, beta: FloatArray, dual: FloatArray
    ) -> tuple[FloatArray, FloatArray] | None:
        """The point near beta where each coordinate is at rest or zero, and its dual.

        None unless the others fall: |x_i^T nu| <= 1 at depth 2, always at D > 2.
        """
        for on in self._candidates(beta, dual):
            found = self._newton(beta, dual, on)
            if found is not None and self._is_end(beta, dual, *found, on):
                return found
        return None

    def _pull(self, beta: FloatArray, dual: FloatArray) -> FloatArray:
        """Rates of growth of the weights over the decay lambda: 1 where they stay."""
        size = np.abs(beta) ** (1.0 / self.depth)
        slope: FloatArray = 0.5 * self.depth * size ** (self.depth - 2.0) * np.sign(beta)
        return slope * (self.X.T @ dual)

    def _candidates(self, beta: FloatArray, dual: FloatArray) -> Iterator[Any]:
        """What may be the coordinates that stay: by their rates, then by their size."""
        pull, felt = self._pull(beta, dual), np.linalg.norm(self.X, axis=0) * np.abs(beta)
        sets = [(beta != 0.0) & (pull > 1.0 - stays) for stays in _STAYS]
        sets += [felt > least * np.linalg.norm(self.y) for least in _FELT]
        seen = set()
        for on in sets:
            if on.tobytes() not in seen:
                seen.add(on.tobytes())
                yield on

    def _newton(
        self, beta: FloatArray, dual: FloatArray, on: Any
    ) -> tuple[FloatArray, FloatArray] | None:
        """Newton for logarithms of weights and dual: y - X beta = lambda nu / 2, and pulls of 1."""
        sign, depth = np.sign(beta[on]), self.depth
        A = self.X[:, on] * sign
        Q = _range(A)
        R, aim, v = Q.T @ A, Q.T @ self.y, Q.T @ dual
        logs = np.log(np.abs(beta[on])) / depth
        unit = float(np.linalg.norm(dual)) or 1.0
        moved, off = 0.0, 0.0
        for _ in range(_ITERATIONS if len(aim) else 0):
            J, field = self._linearised(R, aim, logs, v, unit)
            if not (np.isfinite(J).all() and np.isfinite(field).all()):
                return None
            sizes = np.linalg.norm(J, axis=0)
            sizes[sizes == 0.0] = 1.0
            # Of least norm, where features are copies of each other: their shares stay.
            step = scipy.linalg.lstsq(J / sizes, field, cond=1e-13, lapack_driver="gelsy")[0]
            before, moved = moved, float(np.max(np.abs(step)))
            off = float(np.max(np.abs(field)))
            step /= sizes
            if not np.max(np.abs(step[: len(logs)])) < _FAR:
                return None
            logs, v = logs + step[: len(logs)], v + unit * step[len(logs) :]
            if moved < 1e-14 or 0.5 * before < moved < 1e-12:
                break
        if max(moved, off) > _SETTLED:  # more coordinates than may stay have no common solution
            return None
        found = np.zeros_like(beta)
        found[on] = sign * np.exp(depth * logs)
        return found, Q @ v + self._across(beta, dual, on, Q)

    def _linearised(
        self, R: FloatArray, aim: FloatArray, logs: FloatArray, v: FloatArray, unit: float
    ) -> tuple[FloatArray, FloatArray]:
        """What is to vanish, and minus its Jacobian by the logarithms and by the dual in units."""
        depth, y_norm = self.depth, float(np.linalg.norm(self.y))
        w = np.exp(logs)
        slope = 0.5 * depth * w ** (depth - 2.0)
        pull = slope * (R.T @ v)
        field = np.append((aim - R @ w**depth - 0.5 * self.lam * v) / y_norm, pull - 1.0)
        decay = 0.5 * self.lam * unit / y_norm * np.eye(len(aim))
        return np.block([
            [R * (depth * w**depth) / y_norm, decay],
            [np.diag((2.0 - depth) * pull), -unit * slope[:, None] * R.T],
        ]), field  # fmt: skip

    def _across(self, beta: FloatArray, dual: FloatArray, on: Any, Q: FloatArray) -> FloatArray:
        """The part of the dual that the coordinates that stay do not reach."""
        if Q.shape[1] == len(Q):
            return np.zeros(len(Q))
        part = 2.0 / self.lam * self.y
        if self._noise() > self._error(beta, dual, on):
            part = dual
        for _ in range(2):  # what the first leaves is rounding of the whole, not of the part
            part = part - Q @ (Q.T @ part)
        return part

    def _error(self, beta: FloatArray, dual: FloatArray, on: Any) -> float:
        """Of the dual of the flow, in which what falls may still be felt."""
        left = 2.0 / self.lam * float(np.linalg.norm(self.X[:, ~on] @ beta[~on]))
        return left + _RTOL * float(np.linalg.norm(dual))

    def _noise(self) -> float:
        """What the rounding of y - X beta makes of the dual."""
        return 8.0 * _EPS * float(np.linalg.norm(self.y)) / self.lam

    def _is_end(
        self, beta: FloatArray, dual: FloatArray, found: FloatArray, nu: FloatArray, on: Any
    ) -> bool:
        """Whether a stationary point is where the flow went: as near, and what is zero falls."""
        y_norm = float(np.linalg.norm(self.y))
        if not np.linalg.norm(self.X @ (found - beta)) <= _NEAR * y_norm:
            return False
        if not self._fits_as_well(beta, dual, found, _GROWS):
            return False
        if self.depth > 2.0:
            return True
        error = min(self._noise(), self._error(beta, dual, on))
        slack = _SLACK + 2.0 * error * np.linalg.norm(self.X, axis=0)
        pull = self.X.T @ nu
        pull = np.where(self.both, np.abs(pull), pull)
        return not np.any((pull > 1.0 + slack)[~on])

    def _fits_as_well(
        self, beta: FloatArray, dual: FloatArray, found: FloatArray, factor: float
    ) -> bool:
        """Whether another beta leaves at most ``factor`` times what the flow does, or rounding.

        The residual of the flow is that of its dual, or of its beta, whose error may be the larger.
        """
        before, after = (np.linalg.norm(self.y - self.X @ each) for each in (beta, found))
        before = max(before, 0.5 * self.lam * np.linalg.norm(dual))
        size = np.linalg.norm(self.y) + np.linalg.norm(np.abs(self.X) @ np.abs(found))
        return bool(after <= factor * before + _ROUNDED * size)

    def _gone(self, beta: FloatArray, dual: FloatArray) -> Any:
        """What falls fast and no longer adds to the predictions."""
        gone = self._pull(beta, dual) < 0.5
        left = np.where(gone, 0.0, beta)
        return gone & self._fits_as_well(beta, dual, left, 1.0 + 1e-6)


def _range(A: FloatArray) -> FloatArray:
    """An orthonormal basis of the range of A, whose columns may differ by orders of magnitude."""
    if A.shape[1] == 0:
        return np.zeros((len(A), 0))
    sizes = np.linalg.norm(A, axis=0)
    U, values, _ = np.linalg.svd(A / np.where(sizes > 0.0, sizes, 1.0), full_matrices=False)
    return np.asarray(U[:, values > max(A.shape) * _EPS * values[0]])
