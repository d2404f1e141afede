"""The manifest of a store: what the sweep was called with, and what its bits depend on."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .._types import FloatArray
from ..backends import BACKENDS, get_backend
from ..config import __version__
from .plan import SweepPlan

__all__ = ["described", "difference", "expect_manifest", "is_array", "versions_for"]

# Up to so many values of an argument are written out for people to read.
_SHOWN = 16


def expect_manifest(path: Path, manifest: Any, plan: SweepPlan) -> None:
    """A store may come from anywhere: what its manifest says is looked at before it is used."""

    def wrong(what: str) -> ValueError:
        return ValueError(
            f"store: expected the store of a sweep, got {path}, whose manifest has no legal "
            f"{what}; nothing was changed"
        )

    kinds = {"function": str, "arguments": dict, "backend": str, "block_shape": list,
             "variables": list, "versions": dict}  # fmt: skip
    if not isinstance(manifest, dict):
        raise wrong("entries")
    for name, kind in kinds.items():
        if not isinstance(manifest.get(name), kind):
            raise wrong(name)
    if manifest["backend"] not in BACKENDS:
        raise wrong("backend")
    if not all(isinstance(v, str) and v.isidentifier() for v in manifest["variables"]):
        raise wrong("variables")
    if not isinstance(manifest["versions"].get("kernelrich_fast"), str):
        raise wrong("versions")
    shape = manifest["block_shape"]
    if manifest["function"] == plan.function and not (
        all(type(n) is int and n >= 1 for n in shape) and len(shape) == len(plan.shape)
    ):
        raise wrong("block_shape")


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.number | int | float) and not isinstance(value, bool)


def described(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as JSON: text as it is, numbers by shape, digest, and value if there are few."""
    out: dict[str, Any] = {}
    for name, value in arguments.items():
        if not is_array(value):
            out[name] = list(value) if isinstance(value, tuple) else value
            continue
        array = _plain(value)
        out[name] = {
            "shape": list(np.shape(value)),
            "sha256": hashlib.sha256(array.data).hexdigest(),
        }
        if array.size <= _SHOWN:
            out[name]["values"] = [_number(x) for x in array.ravel().tolist()]
    plain: dict[str, Any] = json.loads(json.dumps(out))
    return plain


def _plain(value: Any) -> FloatArray:
    """Numbers in which those that are the same have the same bits: 100 and 100.0, 0.0 and -0.0."""
    array = np.ascontiguousarray(value, dtype=np.float64)
    unknown = np.isnan(array)
    if unknown.any() or (array == 0.0).any():
        array = array + 0.0
        array[unknown] = np.nan
    return array


def _number(x: float) -> str:
    return repr(int(x)) if x.is_integer() and abs(x) < 2.0**53 else repr(x)


def difference(there: Any, given: Any, stored: Any, value: Any) -> str:
    """What a store has of an argument, and what it was called with; of many values the first."""
    if stored is not None and is_array(value) and np.shape(stored) == np.shape(value):
        a, b = _plain(stored), _plain(value)
        where = np.argwhere((a != b) & ~(np.isnan(a) & np.isnan(b)))
        if a.size > _SHOWN and len(where):
            at = tuple(int(i) for i in where[0])
            return (
                f"{len(where)} of {a.size} values differ, the first at {at}: it has "
                f"{_number(float(a[at]))}, got {_number(float(b[at]))}"
            )
    if shown(there) == shown(given):  # too many to show, and those that are stored are damaged
        return f"it has {shown(there)}, got other ones"
    return f"it has {shown(there)}, got {shown(given)}"


def shown(description: Any) -> str:
    if not isinstance(description, dict):
        return repr(description)
    shape = tuple(description["shape"])
    if "values" in description:
        values = ", ".join(description["values"])
        return values if not shape else f"[{values}]"
    return f"values of shape {shape}"


def versions_for(backend: str) -> dict[str, str]:
    """What the bits of results depend on beside the arguments."""
    packages = ("numpy", "scipy", "xarray", "zarr")
    return {
        "kernelrich_fast": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{package: version(package) for package in packages},
        "instruction_set": getattr(get_backend(backend), "instruction_set", ""),
    }
