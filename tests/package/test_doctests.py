"""Every example in a docstring runs."""

from __future__ import annotations

import builtins
import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import kernelrich_fast
from kernelrich_fast.experiments import reproduce

MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(kernelrich_fast.__path__, "kernelrich_fast.")
    if not info.name.endswith(("__main__", "._core", "._cuda", "._testing"))
)


# Shared by public functions, not called by users.
NOT_PUBLIC = (
    ".decayed_limit", ".diagonal_start", ".factor_start", ".initialization", ".linear_data",
    ".margin_clock", ".margin_flow", ".measurements", ".mlp_start",
    ".sweeps.execute", ".sweeps.plan",
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module)
    assert result.failed == 0


def test_every_public_function_has_an_example():
    for name in MODULES:
        module = importlib.import_module(name)
        if any(part.startswith("_") for part in name.split(".")) or ".backends" in name:
            continue
        for public in getattr(module, "__all__", ()):
            thing = getattr(module, public)
            home = getattr(thing, "__module__", name)
            if home != name or isinstance(thing, type) or not callable(thing):
                continue
            if any(
                part in name for part in (".experiments.", ".bench.", ".equations.", ".explorer.")
            ):
                continue
            if name.endswith(NOT_PUBLIC):
                continue
            assert ">>>" in (thing.__doc__ or ""), f"{name}.{public} has no example"


PUBLIC = {
    f"{module}{name}": getattr(home, name)
    for module, home in (
        ("", kernelrich_fast),
        *((f"{name}.", getattr(kernelrich_fast, name)) for name in kernelrich_fast.__all__),
    )
    for name in getattr(home, "__all__", ())
    if inspect.isfunction(getattr(home, name))
} | {"experiments.reproduce": reproduce}


@pytest.mark.parametrize("name", PUBLIC)
def test_docstrings_say_what_is_taken_returned_and_raised(name):
    function = PUBLIC[name]
    text = inspect.getdoc(function)
    sections = dict(re.findall(r"^(\w+)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", text, flags=re.M | re.S))
    assert {"Returns", "Examples"} <= sections.keys()
    named = {
        argument.lstrip("*")
        for line in re.findall(r"^(\S.*?)(?: :.*)?$", sections.get("Parameters", ""), flags=re.M)
        for argument in line.split(", ")
    }
    assert named == set(inspect.signature(function).parameters)
    # Every argument is checked (test_every_argument.py), so what takes one may raise.
    raised = re.findall(r"^(\S.*)$", sections.get("Raises", ""), flags=re.M)
    assert bool(raised) == bool(named)
    for error in ", ".join(raised).split(", "):
        assert not error or hasattr(builtins, error) or hasattr(kernelrich_fast, error)
