"""The settings that ran, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from ..status import Status

__all__ = ["averaged", "ended", "listed", "spanned"]


def averaged(kind: str, number: int, what: str) -> str:
    """Such as "the mean of 3 seeds", or "one seed"."""
    return f"one {what}" if number == 1 else f"the {kind} of {number} {what}s"


def ended(status: xr.DataArray) -> str:
    """How many runs ended how, such as "15 runs: 13 CONVERGED, 2 MAX_STEPS"."""
    counts = {each.name: int(np.sum(status.values == each)) for each in Status}
    return f"{status.size} runs: {', '.join(f'{n} {name}' for name, n in counts.items() if n)}"


def spanned(values: Sequence[float]) -> str:
    """How many values there are, and their ends."""
    return f"{len(values)} values from {float(values[0]):.3g} to {float(values[-1]):.3g}"


def listed(values: Iterable[float]) -> str:
    """Numbers, separated by commas."""
    return ", ".join(
        f"{float(value):,.0f}" if float(value).is_integer() else f"{float(value):.4g}"
        for value in values
    )
