"""Starts of two-factor models M = U V^T: drawn with any width, or given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _validate as check
from ._device import namespace
from ._types import FloatArray, IntArray
from .backends.batch import batch_shape
from .initialization import gaussian_factor, reduce_factor

__all__ = [
    "LARGEST",
    "FactorStart",
    "check_gaussian_scale",
    "drawn_start",
    "expect_common_width",
    "explicit_start",
    "given_start",
]

# Squares of column norms must be floating-point numbers.
SMALLEST, LARGEST = 1e-140, 1e140


@dataclass(frozen=True)
class FactorStart:
    """Distinct factors, and per run which one and its scale, in the shape of the start's axes."""

    factors: list[FloatArray]
    index: IntArray
    scale: FloatArray
    common_width: int | None


def explicit_start(
    U0: Any, V0: Any, symmetric: bool, names: tuple[str, str] = ("U0", "V0")
) -> tuple[FloatArray, FloatArray] | None:
    """The given factors (..., rows, k), checked; None where none is given."""
    left, right = names
    if U0 is None and V0 is None:
        return None
    if symmetric:
        if U0 is None or V0 is not None:
            raise ValueError(
                f"{right}: expected none for the symmetric model, whose start is {left}"
            )
        U = check.real_array(left, U0, ndim=2, device=True)
        return U, U
    if U0 is None or V0 is None:
        raise ValueError(f"{left}: expected {left} and {right} together, got one of them")
    xp = namespace(U0, V0)
    U = xp.asarray(check.real_array(left, U0, ndim=2, device=True))
    V = xp.asarray(check.real_array(right, V0, ndim=2, device=True))
    return U, V


def expect_common_width(U0: FloatArray, V0: FloatArray) -> None:
    """Raise unless U0 V0^T can be formed."""
    if U0.shape[-1] == V0.shape[-1]:
        return
    k = U0.shape[-1]
    advice = ""
    if V0.shape[-2] == k:
        advice = "; V0 may have been transposed: pass np.swapaxes(V0, -1, -2)"
    elif U0.shape[-2] == V0.shape[-1]:
        advice = "; U0 may have been transposed: pass np.swapaxes(U0, -1, -2)"
    raise ValueError(
        f"V0: expected shape (..., d2, {k}) with as many columns as U0, got U0 of shape "
        f"{U0.shape} and V0 of shape {V0.shape}{advice}"
    )


def given_start(
    dims: tuple[int, int],
    U: FloatArray,
    V: FloatArray,
    *,
    symmetric: bool,
    names: tuple[str, str] = ("U0", "V0"),
) -> FactorStart:
    """The start [U; V], with at most as many columns as rows."""
    for name, array, rows in ((names[0], U, dims[0]), (names[1], V, dims[1])):
        if array.shape[-2] != rows:
            raise ValueError(f"{name}: expected {rows} rows, got shape {array.shape}")
    if symmetric:
        lead, W = U.shape[:-2], U
    else:
        lead = check.broadcast(**{names[0]: U.shape[:-2], names[1]: V.shape[:-2]})
        xp = namespace(U)
        parts = [
            part if part.shape[:-2] == lead else xp.broadcast_to(part, lead + part.shape[-2:])
            for part in (U, V)
        ]
        W = xp.concatenate(parts, axis=-2)
    sizes = np.abs(W).max(axis=-2)
    if sizes.max() > LARGEST or np.any((sizes > 0) & (sizes < SMALLEST)):
        raise ValueError(
            f"{names[0]}: expected columns that are zero or of size {SMALLEST} to {LARGEST}, got "
            f"{sizes[sizes > 0].min()} to {sizes.max()}"
        )
    flat = W.reshape(-1, *W.shape[-2:])
    return FactorStart(
        factors=[_reduced(each, dims) for each in flat],
        index=np.arange(len(flat), dtype=np.int64).reshape(lead),
        scale=np.ones(lead),
        common_width=W.shape[-1],
    )


def _reduced(W: FloatArray, dims: tuple[int, int]) -> FloatArray:
    """A factor of W W^T with at most as many columns as rows; U = V remain equal."""
    U, V = W[: dims[0]], W[dims[0] :]
    if W.shape[1] > W.shape[0] and U.shape == V.shape and bool((U == V).all()):
        half = reduce_factor(U)
        both: FloatArray = namespace(half).concatenate([half, half])
        return both
    return reduce_factor(W)


def check_gaussian_scale(alpha: FloatArray) -> None:
    """Squares of drawn weights must be floating-point numbers."""
    if alpha.min() < SMALLEST or alpha.max() > LARGEST:
        raise ValueError(
            f"alpha: expected values in [{SMALLEST}, {LARGEST}], got {alpha.min()} to {alpha.max()}"
        )


def drawn_start(
    n: int, alpha: Any, width: Any, seed: Any, given: str = "U0 (and V0)"
) -> FactorStart:
    """I.i.d. N(0, alpha^2) weights of n rows; ``given`` names what could be given instead."""
    if alpha is None or width is None:
        missing = "alpha" if alpha is None else "width"
        raise ValueError(f"{missing}: expected alpha and width, or {given}, got none")
    scale = check.positive_array("alpha", alpha)
    check_gaussian_scale(scale)
    widths = check.integer_array("width", width, low=1)
    seeds = check.integer_array("seed", 0 if seed is None else seed, low=0)
    shapes = {"alpha": scale.shape, "width": widths.shape, "seed": seeds.shape}
    lead = batch_shape(shapes, {}, "the sweep functions")
    each = [np.broadcast_to(a, lead).ravel().tolist() for a in (widths, seeds)]
    place: dict[tuple[int, int], int] = {}
    index = [place.setdefault(pair, len(place)) for pair in zip(*each, strict=True)]
    return FactorStart(
        factors=[gaussian_factor(n, k, s) for k, s in place],
        index=np.array(index, dtype=np.int64).reshape(lead),
        scale=np.broadcast_to(scale, lead),
        common_width=each[0][0] if len(set(each[0])) == 1 else None,
    )
