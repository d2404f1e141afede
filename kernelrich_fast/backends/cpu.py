"""The compiled CPU executor: worker threads over whole runs, vectorised within a run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, final

import numpy as np

from .._blas import one_blas_thread
from .._types import Progress
from .base import RichPathOptions, RichPathRaw, Rows, Saddles
from .batch import DiagonalBatch
from .native import NativeBackend

__all__ = ["CpuBackend"]


@final
class CpuBackend(NativeBackend):
    """The compiled module `_core`, which also follows the paths alpha -> 0."""

    name = "cpu"

    def __init__(self) -> None:
        from .. import _core

        self.core = _core
        self.instruction_set: str = _core.instruction_set
        # Samples of a network from which on LAPACK decomposes its tangent kernel.
        self.lapack_order: int = _core.lapack_order
        self.detail = f"instruction set {self.instruction_set}"

    def run(
        self,
        family: str,
        arguments: dict[str, Any],
        *,
        threads: int,
        progress: Progress | None,
        on_device: bool,
    ) -> Rows:
        if family == "mlp_flow" and arguments["X"].shape[-2] >= self.lapack_order:
            self._take_lapack()
            # Its sums must not depend on the number of its threads.
            with one_blas_thread():
                large: Rows = self.core.run(family, arguments, threads=threads, progress=progress)
            return large
        rows: Rows = self.core.run(family, arguments, threads=threads, progress=progress)
        return rows

    def _take_lapack(self) -> None:
        """Tell the compiled module, which has eigenvectors of its own, where SciPy's LAPACK is."""
        # Where SciPy offers none, or one of 64-bit integers.
        with suppress(ImportError, AttributeError, KeyError, ValueError):
            from scipy.linalg import cython_lapack

            self.core.use_lapack(cython_lapack.__pyx_capi__["dsyevd"])

    def rich_path(self, batch: DiagonalBatch, options: RichPathOptions) -> RichPathRaw:
        native = self.core.RichPathBatch(
            X=batch.X,
            y=batch.y,
            loss_offset=batch.loss_offset,
            bound=options.bound,
            x_index=batch.x_index,
            y_index=batch.y_index,
            bound_index=options.bound_index,
            reduced=batch.basis is not None,
        )
        raw = self.core.rich_path(
            native,
            max_jumps=options.max_jumps,
            threads=options.num_threads,
            progress=options.progress,
        )
        raw["saddles"] = [Saddles(*arrays) for arrays in raw["saddles"]]
        raw["status"] = raw["status"].astype(np.int64)
        return RichPathRaw(**raw)
