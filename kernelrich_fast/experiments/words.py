"""The settings that ran, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["averaged", "listed", "spanned"]


def averaged(kind: str, number: int, what: str) -> str:
    """Such as "the mean of 3 seeds", or "one seed"."""
    return f"one {what}" if number == 1 else f"the {kind} of {number} {what}s"


def spanned(values: Sequence[float]) -> str:
    """How many values there are, and their ends."""
    return f"{len(values)} values from {float(values[0]):.3g} to {float(values[-1]):.3g}"


def listed(values: Iterable[float]) -> str:
    """Numbers, separated by commas."""
    return ", ".join(
        f"{float(value):,.0f}" if float(value).is_integer() else f"{float(value):.4g}"
        for value in values
    )
