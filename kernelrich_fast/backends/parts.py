"""Batches whose problems differ in size: those of each size are solved by themselves.

Where smaller problems were filled up with zeros instead, sums would be rounded in another order,
and the bits of a run would depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from .._device import namespace
from .._types import IntArray, Progress
from .base import Backend, Batch, Options, RichPathBackend, RichPathOptions, RichPathRaw, Rows
from .batch import DiagonalBatch

__all__ = ["follow_paths", "solve_batch"]

Part = TypeVar("Part")
Found = TypeVar("Found")


def solve_batch(backend: Backend, family: str, batch: Batch, options: Options) -> Rows:
    """The results of a batch; zeros fill up the dual of a problem that has fewer rows."""
    parts = batch.parts()
    if not parts:
        return backend.solve(family, batch, options)

    def solve(runs: IntArray, part: Batch, progress: Progress | None) -> Rows:
        return backend.solve(family, part, options.of_runs(runs, progress))

    found = _each(parts, solve, options.progress)
    names = found[0][1]
    return {
        name: _joined(len(batch), [(runs, rows[name]) for runs, rows in found]) for name in names
    }


def follow_paths(
    backend: RichPathBackend, batch: DiagonalBatch, options: RichPathOptions
) -> RichPathRaw:
    """The same of the paths as alpha -> 0."""
    parts = batch.parts()
    if not parts:
        return backend.rich_path(batch, options)

    def follow(runs: IntArray, part: DiagonalBatch, progress: Progress | None) -> RichPathRaw:
        return backend.rich_path(part, options.of_runs(runs, progress))

    found = _each(parts, follow, options.progress)
    own = {int(b): path for runs, raw in found for b, path in zip(runs, raw.saddles, strict=True)}
    arrays = {
        field.name: _joined(len(batch), [(runs, getattr(raw, field.name)) for runs, raw in found])
        for field in fields(RichPathRaw)
        if field.name != "saddles"
    }
    return RichPathRaw(saddles=[own[b] for b in range(len(batch))], **arrays)


def _each(
    parts: Sequence[tuple[IntArray, Part]],
    solve: Callable[[IntArray, Part, Progress | None], Found],
    progress: Progress | None,
) -> list[tuple[IntArray, Found]]:
    """What every part gives; of its progress is told what all parts have done."""
    found, done = [], 0
    for runs, part in parts:
        found.append((runs, solve(runs, part, _shifted(progress, done))))
        done += len(runs)
    return found


def _shifted(progress: Progress | None, before: int) -> Progress | None:
    if progress is None:
        return None
    told = progress
    return lambda done: told(before + done)


def _joined(count: int, found: list[tuple[IntArray, Any]]) -> Any:
    """One array of the arrays of all parts, of which the first are the largest."""
    first = found[0][1]
    xp = namespace(first)
    joined = xp.zeros((count, *first.shape[1:]), dtype=first.dtype)
    for which, values in found:
        runs = xp.asarray(which)
        if values.ndim == 1:
            joined[runs] = values
        else:
            joined[runs, ..., : values.shape[-1]] = values
    return joined
