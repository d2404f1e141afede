"""Array types used in signatures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ArrayLike", "FloatArray", "IntArray", "Progress"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
# Called with the number of finished runs, a few times a second.
Progress = Callable[[int], None]
