"""Data of a state, and long computations cut into short pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from .._runs import thread_count
from .._types import FloatArray
from ..status import Status
from ..sweeps._measures import least_norms
from .files import UserData

__all__ = [
    "MAX_STEPS",
    "N_TIMES",
    "Problem",
    "ended",
    "fitted_samples",
    "half_the_cores",
    "pieces",
    "split",
    "times",
]

_NONE = np.zeros(0)
_PIECE = 0.02  # seconds between two looks at whether the result is still wanted


N_TIMES = 64
_BEGIN = 1e-5  # the first time, as a share of the last
MAX_STEPS = 5000  # of a flow of the page: what needs more is left out, and said to be


@dataclass(eq=False)
class Problem:
    """Samples to fit, and the truth or other samples to test on."""

    X: FloatArray
    y: FloatArray
    beta_star: FloatArray | None = None
    X_test: FloatArray = field(default_factory=lambda: _NONE)
    y_test: FloatArray = field(default_factory=lambda: _NONE)

    @cached_property
    def least_norms(self) -> tuple[float, float]:
        """The least l1 and l2 norm of what fits all samples, NaN where nothing does."""
        l1, l2 = least_norms(self.X, self.y, ())
        return float(l1), float(l2)


def split(user: UserData, held_out: float, seed: int) -> Problem:
    """The user's samples, a share of them drawn at random and held out, one at least.

    Examples
    --------
    >>> from kernelrich_fast.explorer.files import user_data
    >>> from kernelrich_fast.explorer.problems import split
    >>> split(user_data("three", [[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0]), 0.4, 0).y.size
    2
    """
    n = len(user.y)
    fitted = fitted_samples(n, held_out)
    order = np.random.default_rng(seed).permutation(n)
    fit, test = order[:fitted], order[fitted:]
    return Problem(user.X[fit], user.y[fit], None, user.X[test], user.y[test])


def fitted_samples(n_samples: int, held_out: float) -> int:
    """How many samples are fitted, with at least one on either side."""
    return min(max(n_samples - round(held_out * n_samples), 1), n_samples - 1)


def pieces(count: int, seconds: float) -> Iterator[tuple[float, slice]]:
    """Slices of a grid of runs that take ``seconds`` each, and the share done after each slice.

    Examples
    --------
    >>> from kernelrich_fast.explorer.problems import pieces
    >>> [part for _, part in pieces(3, 0.01)]
    [slice(0, 2, None), slice(2, 3, None)]
    """
    size = max(1, min(count, int(_PIECE / seconds)))
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield stop / count, slice(start, stop)


def times(flow: Any, losses_at: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Times that show a flow from where its loss begins to fall to where it ends.

    ``losses_at`` computes losses at given times. It is asked only for a flow that did not fit its
    data, which may end long after anything happens.
    """
    last = float(flow.t)
    if not 0.0 < last < np.inf:
        return np.geomspace(_BEGIN, 1.0, N_TIMES)
    if int(flow.status) != int(Status.CONVERGED):
        probed = np.geomspace(1e-14 * last, last, 60)
        losses = losses_at(probed)
        still = losses > losses[-1] + 1e-3 * (losses[0] - losses[-1])
        if still.any():
            last = float(probed[min(int(np.flatnonzero(still)[-1]) + 2, probed.size - 1)])
    return np.geomspace(_BEGIN * last, last, N_TIMES)


def half_the_cores() -> int:
    """Threads of work in the background, which leaves the others to the flow at hand."""
    return max(1, thread_count(None) // 2)


def ended(ds: xr.Dataset) -> xr.Dataset:
    """A sweep with NaN in place of runs that did not end as they should."""
    return ds.where(ds.status < int(Status.MAX_STEPS))
