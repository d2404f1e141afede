"""Observations of a matrix: some of its entries, or its products with given matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _validate as check
from ._device import to_host
from ._types import IntArray
from .equations.factorization import Sensing

__all__ = ["check_sensing", "observed_mask"]


def check_sensing(
    entries: Any,
    measurements: Any,
    dims: Any,
    symmetric: bool,
    n_samples: int | None,
    sets: bool = False,
    source: str = "dims",
) -> Sensing:
    """Validate ``entries`` or ``measurements`` against ``dims`` and, if given, the targets.

    With ``sets``, entries may have leading axes: a set of them for every run. ``source`` names the
    argument that dims come from.
    """
    check.flag("symmetric", symmetric)
    if (entries is None) == (measurements is None):
        got = "none" if entries is None else "both"
        raise ValueError(f"entries: expected either entries or measurements, got {got}")
    shape = None if dims is None else _dims(dims)
    none = np.empty(0, dtype=np.int64)
    if measurements is not None:
        X = check.real_array("measurements", measurements, ndim=3, device=True)
        if X.ndim != 3:
            raise ValueError(f"measurements: expected shape (n_samples, d1, d2), got {X.shape}")
        if shape is not None and X.shape[1:] != shape:
            raise ValueError(f"dims: expected {X.shape[1:]} like measurements, got {shape}")
        if (most := check.largest_size(X)) > 1e100:
            raise ValueError(f"measurements: expected values up to 1e100, got {most}")
        shape = (X.shape[1], X.shape[2])
        _expect_square(shape, symmetric)
        row = column = none
        count = len(X)
    else:
        mask = observed_mask(entries)
        if mask is not None:
            if shape not in (None, mask.shape):
                raise ValueError(f"dims: expected {mask.shape} like the mask, got {shape}")
            shape, entries = _dims(mask.shape), np.nonzero(mask)
        else:
            _refuse_other_forms(entries, shape)
        if shape is None:
            raise ValueError("dims: expected (d1, d2) together with entries, got none")
        _expect_square(shape, symmetric)
        row, column = _entries(entries, shape, symmetric, sets, source)
        X, count = None, row.shape[-1]
    if n_samples is not None and count != n_samples:
        raise ValueError(f"y: expected {count} samples like the measurements, got {n_samples}")
    if symmetric and X is not None:
        X = 0.5 * (X + np.swapaxes(X, 1, 2))
    return Sensing(shape, symmetric, row, column, X)


def _matrix(entries: Any) -> Any:
    """What may be meant as a matrix, as an array; None of two arrays of indices."""
    if isinstance(entries, tuple) or not (isinstance(entries, list) or hasattr(entries, "dtype")
                                          or hasattr(entries, "dtypes")):  # fmt: skip
        return None
    return check.host_array("entries", to_host(entries))


def observed_mask(entries: Any) -> Any:
    """A boolean matrix of what is observed, or None where ``entries`` is something else.

    Examples
    --------
    >>> observed_mask([[True, False], [False, True]]).sum()
    np.int64(2)
    >>> observed_mask(([0, 1], [0, 1])) is None
    True
    """
    array = _matrix(entries)
    if array is None or array.dtype != np.bool_:
        return None
    if array.ndim != 2 or not array.any():
        raise ValueError(
            f"entries: expected a boolean matrix with some True, got shape {array.shape}"
        )
    return array


def _refuse_other_forms(entries: Any, dims: tuple[int, int] | None) -> None:
    """Name what is meant by a matrix of numbers, if it is not two rows of indices."""
    array = _matrix(entries)
    if array is None or array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
        return
    # Rows and columns of 0 and 1 name four entries, and more of them would be repeated.
    flags = bool(((array == 0) | (array == 1)).all())
    if len(array) == 2 and not (flags and array.shape[1] > 4):
        return
    if array.shape[1] == 2 and array.shape != dims:
        raise ValueError(
            f"entries: expected two arrays (rows, columns), got pairs (row, column), shape "
            f"{array.shape}; pass entries=tuple(pairs.T) of an array of them"
        )
    kind = "an integer matrix" if array.dtype.kind in "iu" else "a matrix of real numbers"
    raise ValueError(
        f"entries: got {kind} of shape {array.shape}; pass booleans, as mask.astype(bool), or two "
        "arrays (rows, columns)"
    )


def _dims(dims: Any) -> tuple[int, int]:
    d1, d2 = (
        check.integer("dims", d, low=1, high=8192) for d in check.pair("dims", dims, "(d1, d2)")
    )
    return d1, d2


def _expect_square(shape: tuple[int, int], symmetric: bool) -> None:
    if symmetric and shape[0] != shape[1]:
        raise ValueError(f"dims: expected a square matrix for the symmetric model, got {shape}")


def _entries(
    entries: Any, dims: tuple[int, int], symmetric: bool, sets: bool, source: str
) -> tuple[IntArray, IntArray]:
    row, column = (
        check.integer_array("entries", part, low=0)
        for part in check.pair("entries", entries, "(rows, columns)")
    )
    for what, index, count in (("rows", row, dims[0]), ("columns", column, dims[1])):
        if index.max() >= count:
            raise ValueError(
                f"entries: expected {what} of at most {count - 1} in the {dims[0]} x {dims[1]} "
                f"matrix of {source}, got {index.max()}"
            )
    if row.ndim == 0 or (row.ndim > 1 and not sets) or row.shape != column.shape:
        raise ValueError(
            f"entries: expected two arrays of the same {'shape' if sets else 'length'}, got shapes "
            f"{row.shape} and {column.shape}"
        )
    low, high = (np.minimum(row, column), np.maximum(row, column)) if symmetric else (row, column)
    keys = low * dims[1] + high
    keys.sort(axis=-1)
    again = keys[..., 1:] == keys[..., :-1]
    if again.any():
        twice = keys[..., 1:][again][0]
        raise ValueError(
            f"entries: expected every entry once, got ({twice // dims[1]}, {twice % dims[1]}) twice"
        )
    return row, column
