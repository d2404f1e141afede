"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import kernelrich_fast

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
