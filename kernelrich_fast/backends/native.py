"""The compiled backends: they hand a family's arguments to csrc/core, on the CPU or on a GPU."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .._types import Progress
from .base import Batch, Options, Rows

__all__ = ["Executor", "NativeBackend"]


class Executor(Protocol):
    """A compiled module, and the memory that it computes in."""

    def run(
        self,
        family: str,
        arguments: dict[str, Any],
        *,
        threads: int,
        progress: Progress | None,
        on_device: bool,
    ) -> Rows:
        """The results by name; on a device where ``on_device`` says that they belong there."""


class NativeBackend:
    """All families, by one call of the compiled code for a whole batch."""

    def __init__(self, name: str, detail: str, executor: Executor) -> None:
        self.name, self.detail, self.executor = name, detail, executor

    def solve(self, family: str, batch: Batch, options: Options) -> Rows:
        # On one thread, or with a thread for each run, it does not matter which begins first.
        ordered = self.name == "cuda" or 1 < options.num_threads < len(batch)
        work = batch.seconds() if ordered else np.zeros(len(batch))
        return self.executor.run(
            family,
            {"work": work} | batch.arguments() | options.arguments(),
            threads=options.num_threads,
            progress=options.progress,
            on_device=batch.on_device,
        )
