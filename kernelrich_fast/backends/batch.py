"""A batch of diagonal problems by index into shared arrays: what every backend is given; and what
the batches of all families share, `batch_shape`, `per_run` and `run_index`.

Broadcasting over leading axes would repeat X for every alpha; instead the distinct arrays are
kept once and each run carries indices.  Problems with more samples than features are reduced here
to as many as X has independent columns (the flow sees y only through X^T y), so backends always
have N <= d. Where these numbers differ, `parts` has a batch of each: rows of zeros change bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _validate as check
from .._device import namespace, on_device, to_host
from .._types import FloatArray, IntArray
from ..schedules import Schedule, decays
from .cost import diagonal_flow_seconds
from .crossover import MARGIN_CROSSOVER, diagonal_crossover
from .reduction import reduced
from .sizes import by_size, used

__all__ = [
    "MARGIN_LOSSES", "DiagonalBatch", "MarginBatch", "batch_shape", "make_batch", "per_run",
    "run_index",
]  # fmt: skip

# Positions are the numbers of csrc/core/loss.hpp.
MARGIN_LOSSES = ("exponential", "logistic")
# Compiled code numbers the entries of X, and of a matrix of samples, by 32-bit integers.
MOST_ROWS, MOST_ENTRIES = 46_000, 2**31 - 2**24

Number = TypeVar("Number", np.float64, np.int64)


@dataclass(frozen=True)
class DiagonalBatch:
    """Runs ``b`` of ``X[x_index[b]], y[y_index[b]]`` from ``alpha[b] * profile[w_index[b]]``.

    Data and profiles are all in host memory or all on a device; numbers per run are the host's.
    """

    shape: tuple[int, ...]
    X: FloatArray
    y: FloatArray
    loss_offset: FloatArray
    profile_plus: FloatArray
    profile_minus: FloatArray
    alpha: FloatArray
    depth: FloatArray
    x_index: IntArray
    y_index: IntArray
    w_index: IntArray
    y_norm2: FloatArray  # of the whole y, per run
    decay: Schedule | None  # weight decay, a row for each of some schedules
    decay_index: IntArray | None
    basis: FloatArray | None  # (n_X, n_samples, n): columns span those of X, where reduced
    y_rest: FloatArray | None  # (n_y, n_samples): the part of y no beta can reach
    averaged: bool = False  # whether the mean of beta over time is wanted
    n_rows: IntArray | None = None  # of each X, where they differ; rows of zeros follow these

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def on_device(self) -> bool:
        return on_device(self.X)

    @property
    def crossover(self) -> float:
        """Runs for each thread of the CPU from which on a GPU pays."""
        return diagonal_crossover(self.X.shape[-2])

    def seconds(self) -> FloatArray:
        """Expected, of every run."""
        n_samples, n_features = self.X.shape[-2:]
        return diagonal_flow_seconds(n_samples, n_features, self.alpha, self.depth)

    def arguments(self) -> dict[str, Any]:
        return {
            "X": self.X, "y": self.y, "loss_offset": self.loss_offset,
            "profile_plus": self.profile_plus, "profile_minus": self.profile_minus,
            "alpha": self.alpha, "depth": self.depth,
            "averaged": int(self.averaged),
            "x_index": self.x_index, "y_index": self.y_index, "w_index": self.w_index,
            **({} if self.decay is None else {
                "decay_start": self.decay.start, "decay_lambda": self.decay.decay,
                "decay_rate": self.decay.rate, "decay_index": self.decay_index,
            }),
        }  # fmt: skip

    def some(self, runs: IntArray) -> DiagonalBatch:
        """Some of the runs, on the same arrays."""
        return replace(
            self, shape=(len(runs),), alpha=self.alpha[runs], depth=self.depth[runs],
            x_index=self.x_index[runs], y_index=self.y_index[runs], w_index=self.w_index[runs],
            y_norm2=self.y_norm2[runs],
            decay_index=None if self.decay_index is None else self.decay_index[runs],
        )  # fmt: skip

    def parts(self) -> list[tuple[IntArray, DiagonalBatch]]:
        """Where problems differ in size, the runs of each size, the largest first; else none."""
        if self.n_rows is None:
            return []
        return [(runs, self._of_size(runs, n)) for n, runs in by_size(self.n_rows[self.x_index])]

    def _of_size(self, runs: IntArray, n: int) -> DiagonalBatch:
        xp = namespace(self.X)
        x_used, x_index = used(self.x_index[runs])
        y_used, y_index = used(self.y_index[runs])
        x_used, y_used = xp.asarray(x_used), xp.asarray(y_used)
        return replace(
            self.some(runs), x_index=x_index, y_index=y_index,
            X=xp.ascontiguousarray(self.X[x_used][:, :n]),
            y=xp.ascontiguousarray(self.y[y_used][:, :n]), loss_offset=self.loss_offset[y_used],
            # Paths are followed in another way where there is a basis.
            basis=None if self.basis is None else self.basis[x_used][..., :n],
            y_rest=None, n_rows=None,
        )  # fmt: skip

    def data_of(self, run: int) -> tuple[FloatArray, FloatArray]:
        """X and y of a run, without rows that only fill them up."""
        x = int(self.x_index[run])
        n = self.X.shape[-2] if self.n_rows is None else int(self.n_rows[x])
        return self.X[x, :n], self.y[int(self.y_index[run]), :n]

    def without(self, weights: FloatArray, absent: Any) -> FloatArray:
        """Weights (B, T, d) with zeros where a profile, of which ``absent`` tells, has none."""
        if not bool(absent.any()):
            return weights
        xp = namespace(weights)
        flat = xp.asarray(absent).reshape(-1, absent.shape[-1])[xp.asarray(self.w_index)]
        zeroed: FloatArray = xp.where(flat[:, None, :], 0.0, weights)
        return zeroed

    def decay_of(self, run: int) -> Schedule | None:
        """The weight decay of a run, if it has any."""
        if self.decay is None or self.decay_index is None:
            return None
        schedule = self.decay[self.decay_index[run]]
        return schedule if np.any(schedule.decay > 0.0) else None

    def to_samples(self, dual: FloatArray, t: FloatArray) -> FloatArray:
        """Dual vectors (B, T, n) at times (B, T), in the caller's samples (B, T, n_samples)."""
        if self.basis is None or self.y_rest is None:
            return dual
        # The unreachable residual is constant, so its integral grows with t; at t = inf it is left.
        if self.decay is not None:
            t = self._dual_times(to_host(t))
        return self.with_rest(dual, t)

    def with_rest(self, dual: FloatArray, share: FloatArray) -> FloatArray:
        """Dual vectors (B, T, n) in the caller's samples, where y_rest adds ``share`` (B, T) times.

        What is not finite is left out.
        """
        if self.basis is None or self.y_rest is None:
            return dual
        xp = namespace(self.basis)
        y_index, share = xp.asarray(self.y_index), xp.asarray(share)
        lifted = self._lifted(dual)
        with np.errstate(invalid="ignore"):
            rest = share[:, :, None] * self.y_rest[y_index][:, None, :]
        lifted += xp.where(xp.isfinite(rest), rest, 0.0)
        return lifted

    def _lifted(self, dual: FloatArray) -> FloatArray:
        """The dual (B, T, n) in the basis, by problems of one size: zeros would change the sums."""
        xp, basis = namespace(self.basis), self.basis
        assert basis is not None
        if self.n_rows is None:
            lifted: FloatArray = xp.einsum("bsn,btn->bts", basis[xp.asarray(self.x_index)], dual)
            return lifted
        lifted = xp.empty((*dual.shape[:2], basis.shape[-2]))
        for n, runs in by_size(self.n_rows[self.x_index]):
            x_index, runs = xp.asarray(self.x_index[runs]), xp.asarray(runs)
            own, part = (
                xp.ascontiguousarray(each[..., :n]) for each in (basis[x_index], dual[runs])
            )
            lifted[runs] = xp.einsum("bsn,btn->bts", own, part)
        return lifted

    def _dual_times(self, t: FloatArray) -> FloatArray:
        """The integral over time of what the dual takes of the residual under weight decay."""
        times = t.copy()
        for b, row in enumerate(times):
            schedule, excess = self.decay_of(b), float(self.depth[b]) - 2.0
            if schedule is not None and excess > 0.0:
                for i, end in enumerate(row):
                    row[i] = schedule.integral_of_share(2.0 * excess, float(end))
        return times


@dataclass(frozen=True)
class MarginBatch(DiagonalBatch):
    """Runs with a margin loss, whose y are labels."""

    loss: str = MARGIN_LOSSES[0]

    @property
    def crossover(self) -> float:
        """No number was measured for margin losses."""
        return MARGIN_CROSSOVER

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"loss": MARGIN_LOSSES.index(self.loss)}

    def labels(self) -> FloatArray:
        """Y of every run, with an axis for its times."""
        xp = namespace(self.y)
        labels: FloatArray = self.y[xp.asarray(self.y_index)][:, None, :]
        return labels

    def margins(self, beta: FloatArray) -> FloatArray:
        """Y times the predictions of beta (B, T, d), without a copy of X for every run."""
        xp = namespace(self.X)
        found = xp.empty((*beta.shape[:2], self.X.shape[-2]))
        for which in np.unique(self.x_index):
            runs = xp.asarray(np.flatnonzero(self.x_index == which))
            found[runs] = beta[runs] @ self.X[int(which)].T
        margins: FloatArray = found * self.labels()
        return margins


def batch_shape(
    leads: dict[str, tuple[int, ...]], options: dict[str, tuple[int, ...]], sweep: str
) -> tuple[int, ...]:
    """The shape to which the leading axes of the arguments broadcast.

    ``options`` has the shapes of options of each run; ``sweep`` is the function that forms the
    grid of its arguments.

    Examples
    --------
    >>> batch_shape({"X": (), "alpha": (3, 1), "depth": (2,)}, {}, "sweep_diagonal")
    (3, 2)
    """
    swept = [name for name in ("alpha", "depth", "width", "seed") if leads.get(name)]
    example = swept[0] if swept else "alpha"
    return check.broadcast(
        f"for a grid give each argument an axis of its own, as in {example}[:, None], or use "
        f"{sweep}",
        **leads,
        **options,
    )


def per_run(array: NDArray[Number], shape: tuple[int, ...]) -> NDArray[Number]:
    """The entry of ``array`` that each run of a batch of shape ``shape`` uses."""
    if array.size == 1:  # broadcast_to takes longer than all else that a single small run needs
        return np.full(math.prod(shape), array.item(), dtype=array.dtype)
    return np.ascontiguousarray(np.broadcast_to(array, shape).ravel())


def run_index(lead: tuple[int, ...], shape: tuple[int, ...]) -> IntArray:
    """For every run, which of an argument's entries (leading shape ``lead``) it uses."""
    return per_run(np.arange(math.prod(lead), dtype=np.int64).reshape(lead), shape)


def make_batch(
    X: FloatArray,
    y: FloatArray,
    alpha: FloatArray,
    depth: FloatArray,
    profile_plus: FloatArray,
    profile_minus: FloatArray,
    options: dict[str, tuple[int, ...]] | None = None,
    decay: Schedule | None = None,
    *,
    reduce: bool = True,
    sweep: str = "the sweep functions",
) -> DiagonalBatch:
    """Broadcast validated arguments; ``options`` has the shapes of options of each run.

    Without ``reduce`` more samples than features stay as they are. ``sweep`` as in `batch_shape`.
    """
    xp = namespace(X, y, profile_plus, profile_minus)
    X, y = xp.asarray(X), xp.asarray(y)
    profile_plus, profile_minus = xp.broadcast_arrays(
        xp.asarray(profile_plus), xp.asarray(profile_minus)
    )
    leads = {
        "X": X.shape[:-2],
        "y": y.shape[:-1],
        "alpha": alpha.shape,
        "depth": depth.shape,
        "w0": profile_plus.shape[:-1],
    }
    if decay is not None:
        leads["weight_decay"] = decay.shape
    if not decays(decay):
        decay = None
    shape = batch_shape(leads, options or {}, sweep)
    y_norm2 = to_host(xp.sum(y * y, axis=-1)).ravel()[run_index(y.shape[:-1], shape)]
    basis = y_rest = n_rows = None
    n_samples, d = X.shape[-2:]
    rows = min(n_samples, d) if reduce else n_samples
    if rows > MOST_ROWS:
        what = "samples, or features" if reduce else "samples"
        raise ValueError(f"X: expected at most {MOST_ROWS} {what}, got shape {(n_samples, d)}")
    if (rows + 8) * (d + 8) > MOST_ENTRIES:  # padded
        raise ValueError(
            f"X: expected at most {MOST_ENTRIES:,} entries, got shape {(n_samples, d)}"
        )
    if reduce and n_samples > d:
        basis, X, y, y_rest, n_rows = reduced(xp, X, y)
    offset = xp.zeros(y.shape[:-1]) if y_rest is None else xp.sum(y_rest**2, axis=-1)
    return DiagonalBatch(
        shape=shape,
        X=xp.ascontiguousarray(X.reshape(-1, *X.shape[-2:])),
        y=xp.ascontiguousarray(y.reshape(-1, y.shape[-1])),
        loss_offset=offset.ravel(),
        profile_plus=xp.ascontiguousarray(profile_plus.reshape(-1, d)),
        profile_minus=xp.ascontiguousarray(profile_minus.reshape(-1, d)),
        alpha=per_run(alpha, shape),
        depth=per_run(depth, shape),
        x_index=run_index(leads["X"], shape),
        y_index=run_index(y.shape[:-1], shape),
        w_index=run_index(leads["w0"], shape),
        y_norm2=y_norm2,
        decay=None if decay is None else decay.flat(),
        decay_index=None if decay is None else run_index(decay.shape, shape),
        basis=basis,
        y_rest=None if y_rest is None else y_rest.reshape(-1, n_samples),
        n_rows=n_rows,
    )
