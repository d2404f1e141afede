"""How settings that ran are put into words."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["averaged", "listed"]


def averaged(kind: str, number: int, what: str) -> str:
    """The mean of 3 seeds; one seed."""
    return f"one {what}" if number == 1 else f"the {kind} of {number} {what}s"


def listed(values: Iterable[float]) -> str:
    """Numbers in a row."""
    return ", ".join(
        f"{float(value):,.0f}" if float(value).is_integer() else f"{float(value):.4g}"
        for value in values
    )
