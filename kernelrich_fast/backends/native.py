"""The compiled backends: they hand a family's arguments to csrc/core, on the CPU or on a GPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .._device import contiguous, on_device
from .._types import Progress
from .base import Batch, Options, Rows

__all__ = ["NativeBackend"]


class NativeBackend(ABC):
    """All families, by one call of compiled code for a whole batch."""

    name: str
    detail: str  # for `show_config`

    def solve(self, family: str, batch: Batch, options: Options) -> Rows:
        # On one thread, or with a thread for each run, it does not matter which begins first.
        ordered = self.name == "cuda" or 1 < options.num_threads < len(batch)
        work = batch.seconds() if ordered else np.zeros(len(batch))
        arguments = {"work": work} | batch.arguments() | options.arguments()
        return self.run(
            family,
            {name: _row_by_row(value) for name, value in arguments.items()},
            threads=options.num_threads,
            progress=options.progress,
            on_device=batch.on_device,
        )

    @abstractmethod
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


def _row_by_row(value: Any) -> Any:
    """The array aligned and in C order; it is copied only where it is not so already."""
    if type(value) is np.ndarray:
        flags = value.flags
        return value if flags.c_contiguous and flags.aligned else np.array(value, order="C")
    return contiguous(value) if on_device(value) else value
