"""A batch of diagonal problems by index into shared arrays: what every backend is given.

Broadcasting over leading axes would repeat X for every alpha; instead the distinct arrays are
kept once and each run carries indices.  Problems with more samples than features are turned into
square ones here (the flow sees y only through X^T y), so backends always have N <= d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .._device import namespace, on_device, to_host
from .._types import FloatArray, IntArray

__all__ = ["DiagonalBatch", "make_batch", "per_run", "run_index"]

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
    depth: IntArray
    x_index: IntArray
    y_index: IntArray
    w_index: IntArray
    y_norm2: FloatArray  # of the whole y, per run
    basis: FloatArray | None  # (n_X, n_samples, n): columns span the samples, where reduced
    y_rest: FloatArray | None  # (n_y, n_samples): the part of y no beta can reach

    def __len__(self) -> int:
        return len(self.alpha)

    @property
    def on_device(self) -> bool:
        return on_device(self.X)

    def to_samples(self, dual: FloatArray, t: FloatArray) -> FloatArray:
        """Dual vectors (B, T, n) at times (B, T), in the caller's samples (B, T, n_samples)."""
        if self.basis is None or self.y_rest is None:
            return dual
        xp = namespace(self.basis)
        x_index, y_index, t = (xp.asarray(a) for a in (self.x_index, self.y_index, t))
        lifted: FloatArray = xp.einsum("bsn,btn->bts", self.basis[x_index], dual)
        # The unreachable residual is constant, so its integral grows with t; at t = inf it is left.
        with np.errstate(invalid="ignore"):
            rest = t[:, :, None] * self.y_rest[y_index][:, None, :]
        lifted += xp.where(xp.isfinite(rest), rest, 0.0)
        return lifted


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
    depth: IntArray,
    profile_plus: FloatArray,
    profile_minus: FloatArray,
    extra: tuple[tuple[int, ...], ...] = (),
) -> DiagonalBatch:
    """Broadcast validated arguments; ``extra`` are the shapes of further per-run options."""
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
    try:
        shape = np.broadcast_shapes(*leads.values(), *extra)
    except ValueError:
        raise ValueError(
            "leading shapes do not broadcast: "
            + ", ".join(f"{name} {lead}" for name, lead in leads.items())
        ) from None
    y_norm2 = to_host(xp.sum(y * y, axis=-1)).ravel()[run_index(y.shape[:-1], shape)]
    basis = y_rest = None
    n_samples, d = X.shape[-2:]
    if n_samples > d:
        basis, R = xp.linalg.qr(X)
        reduced = xp.squeeze(xp.swapaxes(basis, -1, -2) @ y[..., None], -1)
        y_rest = y - xp.squeeze(basis @ reduced[..., None], -1)
        # What rounding leaves of a consistent y is not an obstacle.
        floor = 1e-14 * xp.linalg.norm(y, axis=-1)
        y_rest = xp.where((xp.linalg.norm(y_rest, axis=-1) <= floor)[..., None], 0.0, y_rest)
        X, y = R, reduced
        basis = basis.reshape(-1, n_samples, d)
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
        basis=basis,
        y_rest=None if y_rest is None else y_rest.reshape(-1, n_samples),
    )
