"""How a run ended."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .errors import ConvergenceWarning

__all__ = ["Status"]


class Status(IntEnum):
    """How a run ended.

    Examples
    --------
    >>> Status(1).name
    'T_END'
    """

    CONVERGED = 0
    """The loss reached ``stop_loss``, or the limit its tolerance."""
    T_END = 1
    """The last requested time was reached first."""
    STATIONARY = 2
    """The gradient vanished above ``stop_loss``: no weights fit the data."""
    MAX_STEPS = 3
    """The step or iteration budget was used up, or rounding allowed no further progress."""
    FAILED = 4
    """No step could be made, or the problem leaves the floating-point range."""


# Per thread, which the filters of the module warnings are not.
_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def without_convergence_warnings() -> Iterator[None]:
    """Leave it to the caller to count what did not converge."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def warn_unless_converged(status: NDArray[np.int64], what: str, frames: int = 1) -> None:
    """Warn once, with counts, if any run ended as MAX_STEPS or FAILED.

    ``frames`` says how far up the public function was called from.
    """
    if _silent.get() or int(status.max()) < int(Status.MAX_STEPS):
        return
    counts = {s.name: int(np.count_nonzero(status == s)) for s in (Status.MAX_STEPS, Status.FAILED)}
    bad = [f"{count} {name}" for name, count in counts.items() if count]
    if bad:
        warnings.warn(
            f"{what}: of {status.size} runs, {' and '.join(bad)}; see the status field",
            ConvergenceWarning,
            stacklevel=2 + frames,
        )
