"""What came, in the messages of errors about arguments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import numpy as np

from ._types import FloatArray

__all__ = ["one_that_is", "refuse_not_finite", "what_came"]


def refuse_not_finite(name: str, value: Any, array: FloatArray, finite: bool) -> NoReturn:
    """Say where the values are: in a table by its columns, else at which index first."""
    wanted = "finite values" if finite else "no NaN"
    bad = ~np.isfinite(array) if finite else np.isnan(array)
    columns = getattr(value, "columns", None)
    if columns is not None and array.ndim == 2 and len(columns) == array.shape[1]:
        named = _names(columns[i] for i in np.flatnonzero(np.any(bad, axis=0)))
        raise ValueError(
            f"{name}: expected {wanted}, got missing or infinite ones in the columns {named}; drop "
            "these rows or fill in the values"
        )
    if array.ndim == 0:
        raise ValueError(f"{name}: expected {wanted}, got {array}")
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    count = int(np.count_nonzero(bad))
    more = f", and {count - 1} more like it" if count > 1 else ""
    where = first[0] if len(first) == 1 else first
    raise ValueError(f"{name}: expected {wanted}, got {array[first]} at index {where}{more}")


def _names(names: Iterable[Any], most: int = 8) -> str:
    """Names in a row, of many the first."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def what_came(value: Any, array: Any) -> str:
    """What came instead of numbers, and how to pass it where it holds some.

    ``array`` is what NumPy makes of ``value``. Of a table the columns are named.

    Examples
    --------
    >>> what_came(None, np.asarray(None))
    'None'
    >>> what_came([1.0, None], np.asarray([1.0, None]))
    'an array of Python objects, among them None'
    """
    dtypes = getattr(value, "dtypes", None)
    if dtypes is not None and hasattr(dtypes, "items"):
        columns = _names(k for k, v in dtypes.items() if getattr(v, "kind", "O") not in "fiub")
        return f"the non-numeric columns {columns}; encode or drop them"
    if array.dtype.kind != "O":
        return f"dtype {array.dtype}"
    if isinstance(value, Iterator):
        return f"a {type(value).__name__}; pass list(...) of it"
    if array.ndim == 0:
        kind = type(value).__name__
        if isinstance(value, int):
            return "an integer beyond the floating-point numbers"
        if _is_real(value):
            return f"an object of type {kind}; pass float(...) of it"
        return "None" if value is None else f"an object of type {kind}"
    strange = [each for each in array.ravel() if not _is_real(each)]
    if not strange:
        return "numbers as Python objects; pass them with .astype(float)"
    first = "None" if strange[0] is None else f"one of type {type(strange[0]).__name__}"
    return f"an array of Python objects, among them {first}"


def _is_real(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def one_that_is(bad: Any, values: Any) -> str:
    """The first value that is bad, and its index, as text.

    Examples
    --------
    >>> one_that_is(np.array([False, True]), np.array([0.1, 2.0]))
    '2.0 at index 1'
    >>> one_that_is(np.array(True), np.array(2.0))
    '2.0'
    """
    if values.ndim == 0:
        return str(values)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    return f"{values[first]} at index {first[0] if len(first) == 1 else first}"
