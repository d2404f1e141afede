"""What to say of an option that there is not."""

from __future__ import annotations

import difflib

__all__ = ["nearest", "unknown_option"]


def unknown_option(name: str, function: str, names: list[str]) -> str:
    """What to say of an option that a function has not: the one that was meant, or all.

    Examples
    --------
    >>> unknown_option("rtoll", "sweep_diagonal", ["rtol", "atol"])
    'rtoll: not an option of sweep_diagonal; did you mean rtol?'
    """
    near = nearest(name, names)
    if near is not None:
        return f"{name}: not an option of {function}; did you mean {near}?"
    return f"{name}: not an option of {function}, which takes {', '.join(names)}"


def nearest(name: str, names: list[str]) -> str | None:
    """The one that is spelt almost like ``name``, if any is."""
    plain = {each.replace("_", "").lower(): each for each in names}
    near = difflib.get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=0.75)
    return plain[near[0]] if near else None
