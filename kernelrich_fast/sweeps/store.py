"""Stores: a sweep on disk, as a Zarr hierarchy that grows block by block."""

from __future__ import annotations

import os
import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr

from ..errors import StoreError
from ._manifest import described, difference, expect_manifest, is_array, versions_for
from .plan import Block, SweepPlan, Variables, cut

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
# What integers hold where no run has ended yet; real numbers are NaN there, flags False.
_PENDING = -1
# A block may hold what pending runs hold. Set for each array: zarr.config is of all threads.
_WRITTEN_ALWAYS: Any = {"write_empty_chunks": True}
# The filters of the module warnings are of all threads, too.
_filters = threading.Lock()
# Up to so many bytes a complete store is read, and so checked, before it is returned.
_READ_WHOLE = 2**30


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
        if not os.fspath(path):
            raise ValueError("store: expected the path of a directory, got an empty string")
        # Of a link, what it leads to: there the lock has to be.
        self.path = Path(os.path.realpath(os.path.expanduser(path)))
        if self.path.is_symlink():
            raise ValueError(
                f"store: expected the path of a directory, got {path}, a link that leads to itself"
            )
        self.plan = plan
        self.arguments = described(plan.arguments())
        self.block_shape: tuple[int, ...] | None = None
        self.manifest: dict[str, Any] | None = None
        self._group: Any = None
        self._made = False  # by this call, and empty
        self._consolidated = False  # by this call, for readers that look in one place
        self._lock = filelock.FileLock(f"{self.path}.lock", timeout=0)
        self._open()

    @property
    def complete(self) -> bool:
        """Whether every run is there, and whole.

        Up to 1 GiB all values are read, and so their checksums compared; beyond, what every block
        needs must be there and not be empty.
        """
        if self._group is None or self.block_shape is None or not self._names[:-1]:
            return False
        whole = sum(self._bytes(name) for name in self._names) <= _READ_WHOLE
        return all(self.has(block, read=whole) for block in cut(self.plan.shape, self.block_shape))

    def __enter__(self) -> SweepStore:
        try:
            self._lock.acquire()
        except filelock.Timeout:
            if not os.path.exists(self._lock.lock_file):  # where no file can be made
                raise self._not_writable("no lock file can be made") from None
            raise StoreError(
                f"store: {self.path} is being written by another call; wait for it to end"
            ) from None
        except OSError as error:
            raise self._not_writable(str(error)) from error
        try:
            self._open()  # what another process wrote until now
            self._expect_same_bits()
            if self._group is not None and not os.access(self.path, os.W_OK):
                raise StoreError(
                    f"store: {self.path} is incomplete or damaged, and read-only; make it writable "
                    "to resume"
                )
            self._clean()
        except BaseException:
            self._lock.release()
            raise
        return self

    def _not_writable(self, reason: str) -> StoreError:
        return StoreError(f"store: cannot write beside {self.path} ({reason}); nothing was changed")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A call that turns out to be illegal leaves nothing that it made.
        if self._made and kind is not None and issubclass(kind, ValueError | TypeError):
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    def plan_blocks(self, plan: SweepPlan, shape: tuple[int, ...]) -> None:
        """Fix the backend and the blocks; a store that exists has its own."""
        self.plan, self.block_shape = plan, shape
        if self._group is None:
            with self._explained("the store"):
                self._create()

    def has(self, block: Block, read: bool = True) -> bool:
        """Whether a block is there, complete and (where it is to be read) legible."""
        if self._group is None:
            return False
        assert self.block_shape is not None
        index = [s.start // n for s, n in zip(block, self.block_shape, strict=True)]
        try:
            if np.any(self._group["status"][block] == _PENDING):
                return False
            for name in self._names:
                array = self._group[name]
                # A file that is not there would read as pending; inner dimensions are never cut.
                place = [*index, *[0] * (array.ndim - len(index))]
                file = self.path.joinpath(name, "c", *map(str, place))
                if not file.is_file() or file.stat().st_size == 0:
                    return False
                if read:
                    array[block]
        except Exception:  # a checksum or a length that is off, an array without its description
            return False
        return True

    def write(self, block: Block, variables: Variables) -> None:
        """Put a block down, its status last."""
        where = ", ".join(f"{s.start}:{s.stop}" for s in block)
        with self._explained(f"block [{where}]"):
            self._add(variables)
            self._made = False
            for name in self._names:
                array = self._group[name]
                whole = zarr.AsyncArray(array.metadata, array.store_path, _WRITTEN_ALWAYS)
                zarr.Array(whole)[block] = variables[name][1]

    def dataset(self) -> xr.Dataset:
        """All of the store; values are read when they are used."""
        assert self.manifest is not None
        coords = self.plan.labels()[0]  # as they were asked for: those on disk may be damaged
        try:
            ds: xr.Dataset = xr.open_zarr(
                self.path, consolidated=False, chunks=None, decode_times=False,
                drop_variables=list(coords),
            )  # fmt: skip
        except Exception as error:
            raise StoreError(
                f"store: {self.path} cannot be read ({error}); restore it, or choose another path"
            ) from error
        ds = ds[self.manifest["variables"]].assign_coords(coords)
        ds["status"].attrs |= self.plan.attrs_of("status")  # arrays again; old stores have none
        del ds.attrs[_MANIFEST]
        return ds

    @property
    def _draft(self) -> Path:
        return self.path.with_name(f".{self.path.name}.kernelrich-draft")

    @property
    def _names(self) -> list[str]:
        assert self.manifest is not None
        return [*(n for n in self.manifest["variables"] if n != "status"), "status"]

    def _bytes(self, name: str) -> int:
        try:
            return int(self._group[name].nbytes)
        except Exception:  # without a description; `has` finds it
            return 0

    def _clean(self) -> None:
        """Remove what a process that was killed left half written, in the store itself alone."""
        shutil.rmtree(self._draft, ignore_errors=True)
        if self._group is None:
            return
        for name in self._names:
            folder = self.path / name
            if folder.is_symlink():
                raise StoreError(f"store: {folder} is a link; a store has none")
            for file in folder.rglob("*.partial"):
                if file.resolve().is_relative_to(self.path.resolve()):
                    file.unlink(missing_ok=True)

    def _open(self) -> None:
        """Read the manifest and compare, if there is anything."""
        self.manifest = self._group = None
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            if self.path == Path(os.path.realpath(os.getcwd())):
                raise ValueError(
                    f"store: expected a directory of its own, got the current one, {self.path}; "
                    "give a new name in it"
                )
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
        expect_manifest(self.path, manifest, self.plan)
        self._compare(manifest)
        self.manifest, self._group = manifest, group
        self.block_shape = tuple(manifest["block_shape"])

    def _compare(self, manifest: dict[str, Any]) -> None:
        if manifest["function"] != self.plan.function:
            raise ValueError(
                f"store: {self.path} is of {manifest['function']}, not of {self.plan.function}; "
                "nothing was changed"
            )
        there, values = manifest["arguments"], self.plan.arguments()
        for name in [*there, *self.arguments]:
            if there.get(name) != self.arguments.get(name):
                what = difference(
                    there.get(name), self.arguments.get(name), self._argument(name),
                    values.get(name),
                )  # fmt: skip
                raise ValueError(
                    f"store: {self.path} holds a sweep with other arguments; "
                    f"{self.plan.called(name)}: {what}; nothing was changed"
                )

    def _argument(self, name: str) -> Any:
        try:
            return _group(self.path)[_ARGUMENTS][name][...]
        except Exception:  # text, or damaged: then its description has to do
            return None

    def _expect_same_bits(self) -> None:
        """Refuse to add results that would differ in rounding from those that are there."""
        if self.manifest is None:
            return
        there = self.manifest["versions"]
        here = versions_for(self.manifest["backend"])
        for name, what, advice in (
            ("kernelrich_fast", "kernelrich_fast", "finish it there"),
            (
                "instruction_set",
                "the instruction set",
                f"set KRF_ISA={there.get('instruction_set')}",
            ),
        ):
            if there.get(name, here[name]) != here[name]:
                raise ValueError(
                    f"store: {self.path} was begun by {what} {there[name]}, this is {here[name]}, "
                    f"whose results may differ in rounding; {advice}, or choose another path"
                )

    def _create(self) -> None:
        """A store of pending runs, which appears at its path at once; before any run."""
        assert self.block_shape is not None
        plan = self.plan
        manifest = {
            "function": plan.function,
            "arguments": self.arguments,
            "backend": plan.options["backend"],
            "block_shape": list(self.block_shape),
            "variables": [],  # known once a block is computed
            "versions": versions_for(plan.options["backend"]),
        }
        coords, attrs = plan.labels()
        xr.Dataset(coords=coords, attrs={**attrs, _MANIFEST: manifest}).to_zarr(
            self._draft, mode="w", zarr_format=3, consolidated=False
        )
        arrays = {k: np.asarray(v) for k, v in plan.arguments().items() if is_array(v)}
        xr.Dataset(
            {k: ([f"{k}_{i}" for i in range(v.ndim)], v) for k, v in arrays.items()}
        ).to_zarr(self._draft, group=_ARGUMENTS, mode="w", zarr_format=3, consolidated=False)
        self._array(_group(self._draft), "status", (), np.dtype(np.int64), ())
        _consolidate(self._draft)
        os.replace(self._draft, self.path)
        self._made = True
        self.manifest, self._group = manifest, _group(self.path)

    def _add(self, variables: Variables) -> None:
        """The arrays of the variables that have none, before any block is called done."""
        assert self.manifest is not None
        missing = [
            name for name, (_, values) in variables.items()
            if not self._stored(name, values.shape[len(self.plan.shape) :])
        ]  # fmt: skip
        for name in missing:
            extra, values = variables[name]
            inner = values.shape[len(self.plan.shape) :]
            self._array(self._group, name, inner, values.dtype, extra)
        if missing or not self.manifest["variables"]:
            self.manifest["variables"] = list(variables)
            self._group.attrs[_MANIFEST] = self.manifest
            self._consolidated = False
        if not self._consolidated:  # or not by the call that wrote the manifest, which was killed
            _consolidate(self.path)
            self._consolidated = True

    def _stored(self, name: str, inner: tuple[int, ...]) -> bool:
        try:
            return bool(self._group[name].shape == self.plan.shape + inner)
        except Exception:  # none, or without its description
            return False

    def _array(
        self, group: Any, name: str, inner: tuple[int, ...], dtype: Any, extra: tuple[str, ...]
    ) -> None:
        assert self.block_shape is not None
        group.create_array(
            name,
            shape=self.plan.shape + inner,
            chunks=self.block_shape + inner,
            dtype=dtype,
            fill_value={"f": np.nan, "b": False}.get(dtype.kind, _PENDING),
            dimension_names=[*self.plan.dims, *extra],
            attributes={k: _as_json(v) for k, v in self.plan.attrs_of(name).items()},
            compressors=[ZstdCodec(level=3), Crc32cCodec()],
            overwrite=True,
        )

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Say what a failed write means for what was there."""
        try:
            yield
        except OSError as error:
            shutil.rmtree(self._draft, ignore_errors=True)
            raise StoreError(
                f"store: could not write {what} to {self.path} ({error}); what was "
                "finished before is kept and readable, and the same call goes on from there"
            ) from error


def _as_json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _consolidate(path: Path) -> None:
    with _filters, warnings.catch_warnings():  # that version 3 of the format has no word on it yet
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path, zarr_format=3)


def _group(path: Path) -> Any:
    return zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False)
