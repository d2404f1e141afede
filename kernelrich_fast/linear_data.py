"""The data of linear networks, in the basis of the inputs' singular vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _validate as check
from ._device import namespace, to_host
from ._types import FloatArray, IntArray

__all__ = ["LinearData", "linear_data"]

# Squares of rates must be floating-point numbers: of the data, and of their moments.
_LARGEST, _LARGEST_MOMENT = 1e50, 1e100
# Squares of velocities must be, too, unless all targets are zero.
_SMALLEST = 1e-80
_OUTSIDE = 1e-8  # part of C that rounding may leave outside the range of S


@dataclass(frozen=True)
class LinearData:
    """P problems of batch shape ``lead``.

    The loss of M (d_out, d_in) is sum_oj (sigma_j <M_o, basis_j> - target_oj)^2 + loss_offset.
    """

    lead: tuple[int, ...]
    basis: FloatArray  # (P, d_in, d_in), orthonormal rows
    sigma: FloatArray  # (P, n_modes), not negative, descending; 0 beyond the rank
    target: FloatArray  # (P, d_out, n_modes); 0 beyond the rank
    loss_offset: FloatArray  # (P,)
    zero_loss: FloatArray  # (P,) of M = 0, on the host
    modes: IntArray | None  # (P,) of each problem, where they differ; zeros follow these

    @property
    def d_in(self) -> int:
        return int(self.basis.shape[-1])

    @property
    def d_out(self) -> int:
        return int(self.target.shape[-2])


def linear_data(X: Any, Y: Any, S: Any, C: Any, y_norm2: Any) -> LinearData:
    """Checked data: samples X and Y, or their moments S = X^T X, C = Y^T X and |Y|^2."""
    given = [name for name, value in (("X", X), ("Y", Y), ("S", S), ("C", C)) if value is not None]
    if given == ["X", "Y"]:
        if y_norm2 is not None:
            raise ValueError("y_norm2: expected only with S and C, got X and Y")
        return _of_samples(*_samples(X, Y))
    if given == ["S", "C"]:
        return _of_moments(*_moments(S, C), y_norm2)
    raise ValueError(f"X: expected X and Y, or S and C, got {' and '.join(given) or 'none'}")


def _samples(X: Any, Y: Any) -> tuple[FloatArray, FloatArray]:
    X = check.inputs("X", X, device=True)
    Y = check.real_array("Y", Y, ndim=2, device=True)
    if X.shape[-2] != Y.shape[-2]:
        raise ValueError(
            f"Y: expected {X.shape[-2]} samples (rows) to match X of shape {X.shape}, got shape "
            f"{Y.shape}"
        )
    _expect_ordinary("X", X, "Y", Y, _LARGEST)
    check.expect_ordinary_targets("Y", Y, _SMALLEST, axes=2)
    return X, Y


def _moments(S: Any, C: Any) -> tuple[FloatArray, FloatArray]:
    S = check.real_array("S", S, ndim=2, device=True)
    C = check.real_array("C", C, ndim=2, device=True)
    if S.shape[-1] != S.shape[-2] or C.shape[-1] != S.shape[-1]:
        raise ValueError(
            f"C: expected S (d_in, d_in) and C (d_out, d_in), got shapes {S.shape} and {C.shape}"
        )
    _expect_ordinary("S", S, "C", C, _LARGEST_MOMENT)
    size = np.abs(S).max()
    if (off := np.abs(S - np.swapaxes(S, -1, -2)).max()) > 1e-12 * size:
        raise ValueError(
            f"S: expected a symmetric matrix, X^T X, got entries that differ from their mirror "
            f"image by up to {off:.3g}"
        )
    # In units in which the largest input is about one, as for samples.
    unit = float(np.sqrt(to_host(np.abs(S).max())))
    check.expect_ordinary_targets("C", C, _SMALLEST * unit, axes=2)
    return S, C


def _expect_ordinary(
    inputs: str, X: FloatArray, targets: str, Y: FloatArray, largest: float
) -> None:
    for name, array in ((inputs, X), (targets, Y)):
        if np.abs(array).max() > largest:
            raise ValueError(f"{name}: expected values up to {largest}, got {np.abs(array).max()}")
    sizes = np.abs(X).max(axis=(-2, -1))
    if bool(((sizes > 0.0) & (sizes < 1.0 / largest)).any()):
        raise ValueError(
            f"{inputs}: expected values of size {1.0 / largest} and more, got {sizes.min()}; use "
            "other units, which change the unit of time"
        )


def _together(
    xp: Any, a: FloatArray, b: FloatArray, names: str
) -> tuple[tuple[int, ...], FloatArray, FloatArray]:
    """Both with one leading axis of problems, and the shape that this axis stands for.

    ``names`` has a letter for each.
    """
    lead = check.broadcast(**{names[0]: a.shape[:-2], names[1]: b.shape[:-2]})
    a, b = (
        xp.broadcast_to(xp.asarray(each), lead + each.shape[-2:]).reshape(-1, *each.shape[-2:])
        for each in (a, b)
    )
    return lead, a, b


def _of_samples(X: FloatArray, Y: FloatArray) -> LinearData:
    """By the singular values of X, whose squares never appear."""
    xp = namespace(X, Y)
    lead, X, Y = _together(xp, X, Y, "XY")
    n_samples, d_in = X.shape[-2:]
    zero_loss = to_host((Y * Y).sum(axis=(1, 2)))
    rest = 0.0
    if n_samples > d_in:
        Q, X = xp.linalg.qr(X)
        inside = xp.swapaxes(Q, -1, -2) @ Y
        left = Y - Q @ inside
        rest, Y = (left * left).sum(axis=(1, 2)), inside
    U, sigma, basis = xp.linalg.svd(X, full_matrices=True)
    target = xp.swapaxes(xp.swapaxes(U, -1, -2) @ Y, -1, -2)[..., : sigma.shape[-1]]
    kept = sigma > max(n_samples, d_in) * np.finfo(np.float64).eps * sigma[..., :1]
    lost = xp.where(kept[..., None, :], 0.0, target)
    offset = rest + (lost * lost).sum(axis=(1, 2))
    return _data(xp, lead, basis, sigma, target, kept, offset, zero_loss)


def _of_moments(S: FloatArray, C: FloatArray, y_norm2: Any) -> LinearData:
    xp = namespace(S, C)
    lead, S, C = _together(xp, S, C, "SC")
    d_in = S.shape[-1]
    # Of -S they come in descending order, and the basis of S = c I is the identity.
    values, vectors = xp.linalg.eigh(-S)
    values, basis = -values, xp.swapaxes(vectors, -1, -2)
    largest = xp.abs(values).max(axis=-1, keepdims=True)
    if bool((values < -1e-12 * largest).any()):
        raise ValueError(
            f"S: expected no negative eigenvalues, as X^T X has none, got {values.min():.3g}"
        )
    kept = values > d_in * np.finfo(np.float64).eps * largest
    sigma = xp.sqrt(xp.where(kept, values, 0.0))
    turned = C @ xp.swapaxes(basis, -1, -2)
    outside = xp.where(kept[..., None, :], 0.0, turned)
    if bool((xp.abs(outside).max(axis=(1, 2)) > _OUTSIDE * xp.abs(C).max(axis=(1, 2))).any()):
        raise ValueError("C: expected rows in the range of S, as those of Y^T X are")
    target = turned / xp.where(kept, sigma, 1.0)[..., None, :]
    fitted = to_host(xp.where(kept[..., None, :], target**2, 0.0).sum(axis=(1, 2)))
    if y_norm2 is None:
        total = fitted
    else:
        norm2 = check.positive_array("y_norm2", y_norm2, zero=True)
        try:
            total = np.broadcast_to(norm2, lead).reshape(-1)
        except ValueError:
            raise ValueError(f"y_norm2: expected a shape that broadcasts to {lead}") from None
        if np.any(total < fitted * (1.0 - 1e-9)):
            raise ValueError(
                f"y_norm2: expected at least {fitted.max()}, the part that M can fit, got {y_norm2}"
            )
    offset = xp.asarray(np.maximum(total - fitted, 0.0))
    return _data(xp, lead, basis, sigma, target, kept, offset, total)


def _data(
    xp: Any,
    lead: tuple[int, ...],
    basis: FloatArray,
    sigma: FloatArray,
    target: FloatArray,
    kept: Any,
    offset: FloatArray,
    zero_loss: FloatArray,
) -> LinearData:
    """Without the modes that no problem has."""
    own = np.maximum(to_host(kept.sum(axis=-1)), 1).astype(np.int64)
    modes = int(own.max())
    # What rounding leaves of consistent targets is not an obstacle.
    floor = 1e-28 * xp.asarray(zero_loss)
    return LinearData(
        lead=lead,
        basis=xp.ascontiguousarray(basis),
        sigma=xp.ascontiguousarray(xp.where(kept, sigma, 0.0)[..., :modes]),
        target=xp.ascontiguousarray(xp.where(kept[..., None, :], target, 0.0)[..., :modes]),
        loss_offset=xp.where(offset <= floor, 0.0, offset),
        zero_loss=zero_loss,
        modes=None if np.all(own == modes) else own,
    )
