"""Positive numbers as (m, e) = m 2^e, with e a whole float: their powers need not be doubles."""

from __future__ import annotations

import numpy as np

from .._types import FloatArray

__all__ = ["Split", "joined", "power", "split"]

Split = tuple[FloatArray, FloatArray]

_FAR = 5e3  # an exponent of two beyond which every number is 0 or infinity


def split(x: FloatArray) -> Split:
    """X as mantissa and exponent."""
    mantissa, exponent = np.frexp(x)
    return mantissa, exponent.astype(np.float64)


def power(x: Split, n: float) -> Split:
    """x^n with a mantissa around 1, its relative error being n units in the last place."""
    shift = n * x[1]
    whole_shift = np.rint(shift)
    bits = n * np.log2(x[0]) + (shift - whole_shift)
    whole = np.rint(bits)
    return np.exp2(bits - whole), whole + whole_shift


def joined(mantissa: FloatArray, exponent: FloatArray) -> FloatArray:
    """The nearest double: infinity or 0 if there is no other, but 0 where the mantissa is."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.ldexp(mantissa, np.clip(exponent, -_FAR, _FAR).astype(np.int32)))
