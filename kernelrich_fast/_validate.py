"""Checks at the public boundary: every message names the argument, what came, what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ._device import device_view, on_device, to_host
from ._messages import refuse_not_finite, what_came
from ._types import FloatArray, IntArray

__all__ = [
    "SMALLEST_TARGET",
    "broadcast",
    "choice",
    "choices",
    "data_pair",
    "depth_array",
    "depth_number",
    "expect_ordinary_targets",
    "flag",
    "host_array",
    "inputs",
    "integer",
    "integer_array",
    "labelled_pair",
    "labels",
    "pair",
    "positive_array",
    "profile",
    "real_array",
    "real_arrays",
    "scalar",
    "time_grid",
]

# Of the targets of a diagonal network, unless they are zero: 1e-12 of their squares, where a run
# ends, must be a floating-point number with all its digits.
SMALLEST_TARGET = 1e-140

# Of a diagonal network.
_MOST_LAYERS = 2**20 - 1
# Integers without a bound of their own; below the largest of 64 bits.
_MOST = 2**62


def real_array(
    name: str, value: Any, *, ndim: int | None = None, finite: bool = True, nan: bool = False,
    flags: bool = True, device: bool = False,
) -> FloatArray:  # fmt: skip
    """A float64 array from anything real; never written to, so that inputs are not changed.

    ``nan`` accepts all values, for arrays of which parts are never read; ``flags`` accepts True and
    False as 1 and 0. An array on a CUDA device is copied to the host or, with ``device``, stays
    there as a CuPy array.
    """
    stays = on_device(value)
    if stays:
        value = device_view(name, value)
        stays = device
        value = value if device else to_host(value)
    array = value if stays else host_array(name, value)
    if array.dtype.kind not in ("fiub" if flags else "fiu"):
        raise TypeError(f"{name}: expected real numbers, got {what_came(value, array)}")
    if stays:
        array = array.astype(np.float64, order="C", copy=False)
    elif array.dtype != np.float64 or not (array.flags.c_contiguous and array.flags.aligned):
        array = np.require(array, np.float64, ["C", "A"]).reshape(array.shape)
    if ndim is not None and array.ndim < ndim:
        raise ValueError(
            f"{name}: expected at least {ndim} dimension{'s' * (ndim > 1)}, got shape {array.shape}"
        )
    if array.size == 0:
        raise ValueError(f"{name}: expected a non-empty array, got shape {array.shape}")
    if nan:
        pass
    elif not np.isfinite(array).all() if finite else np.isnan(array).any():
        refuse_not_finite(name, value, to_host(array), finite)
    checked: FloatArray = array
    return checked


def inputs(name: str, value: Any, *, device: bool = False) -> FloatArray:
    """Inputs (..., n_samples, n_features)."""
    array = real_array(name, value, device=device)
    if array.ndim < 2:
        advice = (
            f"; pass {name}[:, None] for one feature, {name}[None, :] for one sample"
            if array.ndim
            else ""
        )
        raise ValueError(
            f"{name}: expected at least 2 dimensions, (n_samples, n_features), got shape "
            f"{array.shape}{advice}"
        )
    return array


def host_array(name: str, value: Any) -> Any:
    """Convert to a NumPy array; a TypeError names the argument if that is not possible."""
    if np.ma.is_masked(value):
        count = int(np.count_nonzero(np.ma.getmaskarray(value)))
        raise TypeError(
            f"{name}: expected no masked values, got {count}; drop these samples, list the "
            "observed entries in entries= (matrices), or replace masked values with .filled()"
        )
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name}: expected a dense array, got a sparse one; pass .toarray()")
    try:
        return np.asarray(_plain(value))
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TypeError(
            f"{name}: expected a rectangular array of real numbers that NumPy can read ({reason})"
        ) from None


def _plain(value: Any) -> Any:
    """A table, a column or an array of pandas, all of numbers or booleans, as NumPy's.

    Left to NumPy, columns of several kinds, and such as may miss values, become Python objects.
    Missing values become NaN.
    """
    if type(value) is np.ndarray or not hasattr(value, "to_numpy"):
        return value
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or not hasattr(dtypes, "items"):
        dtypes = {"": getattr(value, "dtype", None)}
    kinds = {getattr(dtype, "kind", "O") for _, dtype in dtypes.items()}
    if not kinds <= set("fiub"):
        return value
    if len(kinds) == 1 and all(isinstance(dtype, np.dtype) for _, dtype in dtypes.items()):
        return value
    if kinds == {"b"} and not np.any(value.isna()):
        return value.to_numpy(dtype=bool)
    return value.to_numpy(dtype=np.float64, na_value=np.nan)


def real_arrays(name: str, value: Any, *, ndim: int, device: bool = False) -> list[FloatArray]:
    """Float64 arrays from a sequence of them, layers say."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: expected a sequence of arrays, got {value!r}")
    return [
        real_array(f"{name}[{i}]", each, ndim=ndim, device=device) for i, each in enumerate(value)
    ]


def positive_array(
    name: str, value: Any, *, zero: bool = False, finite: bool = True, device: bool = False
) -> FloatArray:
    array = real_array(name, value, finite=finite, flags=False, device=device)
    low = array.min()
    if low < 0 or (low == 0 and not zero):
        raise ValueError(
            f"{name}: expected {'non-negative' if zero else 'positive'} values, got {low}"
        )
    return array


def integer_array(name: str, value: Any, *, low: int, high: int = 2**53) -> IntArray:
    array = host_array(name, to_host(value))
    finite = array.dtype.kind == "f" and bool(np.isfinite(array).all())
    whole = array.dtype.kind in "iu" or (finite and bool(np.all(array % 1 == 0)))
    if not whole:
        raise TypeError(f"{name}: expected integers, got {value!r}")
    if array.size == 0:
        raise ValueError(f"{name}: expected a non-empty array, got shape {array.shape}")
    if array.min() < low:
        raise ValueError(f"{name}: expected values of at least {low}, got {array.min()}")
    if array.max() > high:
        raise ValueError(f"{name}: expected values of at most {high}, got {array.max()}")
    whole_numbers: IntArray = array.astype(np.int64)
    return whole_numbers


def depth_array(name: str, value: Any) -> FloatArray:
    """Depths of diagonal networks, real numbers from 2."""
    if type(value) is int and 2 <= value <= _MOST_LAYERS:
        return np.array(float(value))
    array = real_array(name, value, flags=False)
    if array.min() < 2.0:
        raise ValueError(f"{name}: expected values of at least 2, got {array.min():g}")
    if array.max() > _MOST_LAYERS:
        raise ValueError(f"{name}: expected values of at most {_MOST_LAYERS}, got {array.max()}")
    return array


def depth_number(name: str, value: Any) -> float:
    """One depth of formulas of diagonal networks."""
    return scalar(name, value, low=2.0, high=1e300, open_low=False)


def scalar(
    name: str, value: Any, *, low: float, high: float = np.inf, open_low: bool = True
) -> float:
    if isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_:
        raise TypeError(f"{name}: expected a number, got {value!r}")
    array = real_array(name, value, finite=False)
    if array.ndim:
        raise TypeError(f"{name}: expected a single number, got shape {array.shape}")
    x = float(array)
    if x < low or (open_low and x == low) or x > high or x == np.inf:
        left, right = "(" if open_low else "[", "]" if np.isfinite(high) else ")"
        raise ValueError(f"{name}: expected a value in {left}{low}, {high}{right}, got {x}")
    return x


def integer(name: str, value: Any, *, low: int, high: int = _MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if not low <= value <= high:
        wanted = f"of at least {low}" if high == _MOST else f"in [{low}, {high}]"
        raise ValueError(f"{name}: expected an integer {wanted}, got {value}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def pair(name: str, value: Any, what: str) -> tuple[Any, Any]:
    """Two things in a tuple, a list or an array, not yet looked at."""
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        raise TypeError(f"{name}: expected a pair {what}, got {value!r}")
    return value[0], value[1]


def broadcast(advice: str = "", /, **shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which leading axes of arguments broadcast; an error names the first misfit.

    ``advice`` says what to do instead.

    Examples
    --------
    >>> broadcast(beta=(3, 1), alpha=(2,))
    (3, 2)
    """
    found: tuple[int, ...] = ()
    for name, shape in shapes.items():
        try:
            found = np.broadcast_shapes(found, shape)
        except ValueError:
            others = ", ".join(f"{k} {v}" for k, v in shapes.items() if k != name and v)
            raise ValueError(
                f"{name}: expected leading axes that broadcast with those of {others}, got {shape}"
                f"{advice and '; ' + advice}"
            ) from None
    return found


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
    return value


def choices(name: str, value: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Several of ``allowed``, or one alone; in their order there."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable):
        raise TypeError(f"{name}: expected one or more of {', '.join(allowed)}, got {value!r}")
    chosen = {choice(name, each, allowed) for each in value}
    return tuple(each for each in allowed if each in chosen)


def largest_size(array: Any) -> float:
    """The largest absolute value, without an array of absolute values.

    Examples
    --------
    >>> largest_size(np.array([1.0, -3.0]))
    3.0
    """
    return max(float(array.max()), -float(array.min()))


def data_pair(
    X: Any, y: Any, *, device: bool = False, least: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Inputs and targets; the largest target of each run is zero or at least ``least``."""
    X = inputs("X", X, device=device)
    y = real_array("y", y, ndim=1, device=device)
    if y.ndim > 1 and y.shape[-2:] == (X.shape[-2], 1) and X.shape[-2] > 1:
        raise ValueError(
            f"y: expected shape {y.shape[:-1]}, got {y.shape}: one column; pass y[..., 0]"
        )
    if X.shape[-2] != y.shape[-1]:
        raise ValueError(
            f"y: expected {X.shape[-2]} samples to match X of shape {X.shape}, got shape {y.shape}"
        )
    for name, array in (("X", X), ("y", y)):
        # Squares are summed everywhere.
        if (most := largest_size(array)) > 1e140:
            raise ValueError(f"{name}: expected values up to 1e140, got {most}")
    # Most calls are of one run, whose largest target is known by now.
    if least > 0.0 and (y.ndim > 1 or most < least):
        expect_ordinary_targets("y", y, least)
    return X, y


def expect_ordinary_targets(name: str, y: FloatArray, least: float, axes: int = 1) -> None:
    """Raise where the targets of a run, on the last ``axes`` axes, are tiny but not all zero."""
    sizes = to_host(abs(y).max(axis=tuple(range(-axes, 0))))
    tiny = (sizes > 0.0) & (sizes < least)
    if tiny.any():
        raise ValueError(
            f"{name}: expected the largest value of a run to be 0 or at least {least}, got "
            f"{sizes[tiny].min()}; use other units"
        )


def labelled_pair(X: Any, y: Any, *, device: bool = False) -> tuple[FloatArray, FloatArray]:
    """Inputs, and labels of -1 and +1.

    Examples
    --------
    >>> labelled_pair([[1.0, 2.0]], [-1])[1]
    array([-1.])
    """
    X, y = data_pair(X, y, device=device)
    return X, _expect_labels(y)


def labels(y: Any, *, name: str = "y", device: bool = False) -> FloatArray:
    """Labels of -1 and +1 alone.

    Examples
    --------
    >>> labels([1, -1])
    array([ 1., -1.])
    """
    return _expect_labels(real_array(name, y, ndim=1, device=device), name)


def _expect_labels(y: FloatArray, name: str = "y") -> FloatArray:
    if not bool((abs(y) == 1.0).all()):
        raise ValueError(f"{name}: expected labels -1 and +1, got {np.unique(to_host(y))[:5]}")
    return y


def profile(
    name: str, value: Any, n_features: int, *, device: bool = False, zero: bool = False
) -> FloatArray:
    """A positive weight profile (..., n_features); a scalar means a constant one."""
    array = positive_array(name, value, device=device, zero=zero)
    if array.ndim == 0:
        return np.full(n_features, float(array))
    if array.shape[-1] != n_features:
        raise ValueError(
            f"{name}: expected {n_features} values on the last axis, got shape {array.shape}"
        )
    return array


def time_grid(name: str, value: Any) -> FloatArray:
    array = real_array(name, value, flags=False)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected a one-dimensional array, got shape {array.shape}")
    if array[0] < 0 or np.any(np.diff(array) < 0):
        raise ValueError(f"{name}: expected ascending times from 0 on, got {array}")
    return array
