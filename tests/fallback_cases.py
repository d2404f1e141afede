"""Chooses the cases of a test that the backend "numpy" runs too, where all of them take it long.

The compiled backends run every case.  The fallback is Python, up to a hundred times slower, and
solves the same equations by SciPy: a case or two for every branch of it show what it promises.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

__all__ = ["fallback_takes", "on_the_fallback", "pytest_pycollect_makeitem"]


def fallback_takes(*cases: dict[str, Any]) -> pytest.MarkDecorator:
    """Of the parameters of a test the fallback takes those that agree with one of these cases.

    A case gives values by name; of parameters that it does not name the fallback takes all.
    """
    return pytest.mark.fallback_takes(*cases)


def on_the_fallback(parameters: dict[str, Any]) -> bool:
    """Whether a test with these parameters runs it."""
    method = parameters.get("backend_and_method", (None,))
    return "numpy" in (parameters.get("backend"), parameters.get("host"), method[0])


def agrees(case: dict[str, Any], parameters: dict[str, Any]) -> bool:
    return all(parameters[name] == value for name, value in case.items())


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Leaves the other cases out of what is collected; one that no parameters have is an error."""
    made = yield
    if not isinstance(made, list):
        return made
    marked = [item for item in made if item.get_closest_marker("fallback_takes")]
    slow = [item for item in marked if on_the_fallback(item.callspec.params)]
    chosen = []
    for case in slow[0].get_closest_marker("fallback_takes").args if slow else ():
        found = [item for item in slow if agrees(case, item.callspec.params)]
        if not found:
            raise collector.CollectError(f"{slow[0].originalname}: no parameters are {case}")
        chosen += found
    return [item for item in made if item not in slow or item in chosen]
