"""Stores: a sweep on disk, as a Zarr hierarchy that grows block by block."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr

from ..config import __version__
from ..errors import StoreError
from ._labels import variable_attrs
from .plan import Block, SweepPlan, Variables

try:
    import filelock
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec
except ImportError as error:
    raise ImportError(
        f"store: needs zarr and filelock ({error}); pip install 'kernelrich_fast[zarr]'"
    ) from error

__all__ = ["SweepStore"]

_MANIFEST, _ARGUMENTS = "kernelrich_fast_sweep", "arguments"
# What integers hold where no run has ended yet; real numbers are NaN there.
_PENDING = -1
# Up to so many values of an argument are written out in the manifest for people to read.
_SHOWN = 16


class SweepStore:
    """A store at ``path`` for ``plan``; inside the with statement it may be written to.

    The array ``status`` is the record of what is done: a block's other variables are written first,
    each file under another name and then renamed, so a block whose status is there is whole.

    Raises
    ------
    ValueError
        If something else lies at ``path``, a sweep with other arguments say; nothing is changed.
    """

    def __init__(self, path: str | os.PathLike[str], plan: SweepPlan) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"store: expected a path, got {path!r}")
        if isinstance(path, str) and "://" in path:
            raise ValueError(f"store: expected a path on this machine's file systems, got {path!r}")
        self.path = Path(os.path.abspath(path))
        self.plan = plan
        self.arguments = _described(plan.arguments())
        self.block_shape: tuple[int, ...] | None = None
        self.manifest: dict[str, Any] | None = None
        self._group: Any = None
        self._lock = filelock.FileLock(f"{self.path}.lock", timeout=0)
        self._open()

    @property
    def complete(self) -> bool:
        """Whether every run is there."""
        return self._group is not None and not np.any(self._group["status"][...] == _PENDING)

    def __enter__(self) -> SweepStore:
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise StoreError(
                f"store: {self.path} is being written by another call; wait for it to end"
            ) from None
        except OSError as error:
            raise StoreError(
                f"store: cannot write beside {self.path} ({error}); nothing was changed"
            ) from error
        try:
            self._open()  # what another process wrote until now
            if self._group is not None and not os.access(self.path, os.W_OK):
                raise StoreError(
                    f"store: {self.path} is incomplete and read-only; make it writable to resume"
                )
            self._clean()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def plan_blocks(self, plan: SweepPlan, shape: tuple[int, ...]) -> None:
        """Fix the backend and the blocks; a store that exists has its own."""
        self.plan, self.block_shape = plan, shape

    def has(self, block: Block) -> bool:
        """Whether a block is there, complete and legible."""
        if self._group is None or np.any(self._group["status"][block] == _PENDING):
            return False
        assert self.block_shape is not None
        index = [s.start // n for s, n in zip(block, self.block_shape, strict=True)]
        try:
            for name in self._names:
                array = self._group[name]
                # A file that is not there would read as pending; inner dimensions are never cut.
                place = [*index, *[0] * (array.ndim - len(index))]
                if not self.path.joinpath(name, "c", *map(str, place)).is_file():
                    return False
                array[block]
        except (OSError, ValueError, RuntimeError):  # a checksum or a length that is off
            return False
        return True

    def write(self, block: Block, variables: Variables) -> None:
        """Put a block down, its status last."""
        with self._explained(block):
            if self._group is None:
                self._create(variables)
            for name in self._names:
                self._group[name][block] = variables[name][1]

    def dataset(self) -> xr.Dataset:
        """All of the store; values are read when they are used."""
        ds: xr.Dataset = xr.open_zarr(
            self.path, consolidated=False, chunks=None, decode_times=False
        )
        assert self.manifest is not None
        ds = ds[self.manifest["variables"]]
        del ds.attrs[_MANIFEST]
        return ds

    @property
    def _draft(self) -> Path:
        return self.path.with_name(f".{self.path.name}.kernelrich-draft")

    @property
    def _names(self) -> list[str]:
        assert self.manifest is not None
        return [*(n for n in self.manifest["variables"] if n != "status"), "status"]

    def _clean(self) -> None:
        """Remove what a process that was killed left half written."""
        shutil.rmtree(self._draft, ignore_errors=True)
        if self._group is not None:
            for name in self._names:
                for file in self.path.joinpath(name).rglob("*.partial"):
                    file.unlink(missing_ok=True)

    def _open(self) -> None:
        """Read the manifest and compare, if there is anything."""
        self.manifest = self._group = None
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        try:
            group = _group(self.path)
            manifest: dict[str, Any] = group.attrs[_MANIFEST]
        except PermissionError as error:
            raise StoreError(f"store: {self.path} cannot be read ({error})") from error
        except Exception:
            raise ValueError(
                f"store: expected a new path or the store of a sweep, got {self.path}, which is "
                "something else; nothing was changed"
            ) from None
        self._compare(manifest)
        self.manifest, self._group = manifest, group
        self.block_shape = tuple(manifest["block_shape"])
        if not self.complete and manifest["versions"]["kernelrich_fast"] != __version__:
            raise ValueError(
                f"store: {self.path} was begun by kernelrich_fast "
                f"{manifest['versions']['kernelrich_fast']}, this is {__version__}, whose results "
                "may differ in rounding; finish it there or choose another path"
            )

    def _compare(self, manifest: dict[str, Any]) -> None:
        if manifest["function"] != self.plan.function:
            raise ValueError(
                f"store: {self.path} is of {manifest['function']}, not of {self.plan.function}; "
                "nothing was changed"
            )
        there = manifest["arguments"]
        for name in [*there, *self.arguments]:
            if there.get(name) != self.arguments.get(name):
                raise ValueError(
                    f"store: {self.path} holds a sweep with other arguments; {name}: it has "
                    f"{_shown(there.get(name))}, got {_shown(self.arguments.get(name))}; nothing "
                    "was changed"
                )

    def _create(self, variables: Variables) -> None:
        """A whole store of pending runs, which appears at its path at once."""
        assert self.block_shape is not None
        plan = self.plan
        manifest = {
            "function": plan.function,
            "arguments": self.arguments,
            "backend": plan.options["backend"],
            "block_shape": list(self.block_shape),
            "variables": list(variables),
            "versions": _versions(),
        }
        coords, attrs = plan.labels()
        xr.Dataset(coords=coords, attrs={**attrs, _MANIFEST: manifest}).to_zarr(
            self._draft, mode="w", zarr_format=3, consolidated=False
        )
        arrays = {k: np.asarray(v) for k, v in plan.arguments().items() if _is_array(v)}
        xr.Dataset(
            {k: ([f"{k}_{i}" for i in range(v.ndim)], v) for k, v in arrays.items()}
        ).to_zarr(self._draft, group=_ARGUMENTS, mode="w", zarr_format=3, consolidated=False)
        group = _group(self._draft)
        for name, (extra, values) in variables.items():
            inner = values.shape[len(plan.shape) :]
            group.create_array(
                name,
                shape=plan.shape + inner,
                chunks=self.block_shape + inner,
                dtype=values.dtype,
                fill_value=np.nan if values.dtype.kind == "f" else _PENDING,
                dimension_names=[*plan.dims, *extra],
                attributes=variable_attrs(name),
                compressors=[ZstdCodec(level=3), Crc32cCodec()],
            )
        with warnings.catch_warnings():  # that version 3 of the format has no word on it yet
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(self._draft, zarr_format=3)
        os.replace(self._draft, self.path)
        self.manifest, self._group = manifest, _group(self.path)

    @contextmanager
    def _explained(self, block: Block) -> Iterator[None]:
        """Say what a failed write means for what was there."""
        try:
            with zarr.config.set({"array.write_empty_chunks": True}):
                yield
        except OSError as error:
            shutil.rmtree(self._draft, ignore_errors=True)
            where = ", ".join(f"{s.start}:{s.stop}" for s in block)
            raise StoreError(
                f"store: could not write block [{where}] to {self.path} ({error}); what was "
                "finished before is kept and readable, and the same call goes on from there"
            ) from error


def _group(path: Path) -> Any:
    return zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.number | int | float) and not isinstance(value, bool)


def _described(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as JSON: text as it is, numbers by shape, digest, and value if there are few."""
    out: dict[str, Any] = {}
    for name, value in arguments.items():
        if not _is_array(value):
            out[name] = list(value) if isinstance(value, tuple) else value
            continue
        array = np.ascontiguousarray(value)
        out[name] = {
            "dtype": array.dtype.str,
            "shape": list(np.shape(value)),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        if array.size <= _SHOWN:
            out[name]["values"] = [repr(x) for x in array.ravel().tolist()]
    plain: dict[str, Any] = json.loads(json.dumps(out))
    return plain


def _shown(description: Any) -> str:
    if not isinstance(description, dict):
        return repr(description)
    shape = tuple(description["shape"])
    if "values" in description:
        values = ", ".join(description["values"])
        return values if not shape else f"[{values}]"
    return f"other values of shape {shape}"


def _versions() -> dict[str, str]:
    packages = ("numpy", "scipy", "xarray", "zarr")
    return {
        "kernelrich_fast": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{package: version(package) for package in packages},
    }
