"""The NumPy backend: one run after the other, in plain NumPy and SciPy."""

from __future__ import annotations

from typing import final

import numpy as np

from ._numpy.flow import integrate_flow
from ._numpy.limit import solve_limit
from ._numpy.mirror import make_mirror
from .base import FlowOptions, FlowRaw, LimitOptions, LimitRaw
from .batch import DiagonalBatch

__all__ = ["NumpyBackend"]


@final
class NumpyBackend:
    """The specification: what csrc computes fast, computed readably."""

    name = "numpy"

    def flow_diagonal(self, batch: DiagonalBatch, options: FlowOptions) -> FlowRaw:
        runs = []
        for b in range(len(batch)):
            plus, minus = _weights(batch, b)
            runs.append(
                integrate_flow(
                    batch.X[batch.x_index[b]],
                    batch.y[batch.y_index[b]],
                    make_mirror(int(batch.depth[b]), plus, minus),
                    rtol=float(options.rtol[b]),
                    atol=options.atol,
                    t_max=float(options.t_max[b]),
                    stop_loss=float(options.stop_loss[b]),
                    loss_offset=float(batch.loss_offset[batch.y_index[b]]),
                    max_steps=options.max_steps,
                    method=options.method,
                    t_eval=options.t_eval,
                )
            )
            if options.progress is not None:
                options.progress(b + 1)
        return FlowRaw(
            *(np.stack([getattr(run, name) for run in runs]) for name in FlowRaw.__annotations__)
        )

    def limit_diagonal(self, batch: DiagonalBatch, options: LimitOptions) -> LimitRaw:
        runs = []
        for b in range(len(batch)):
            plus, minus = _weights(batch, b)
            runs.append(
                solve_limit(
                    batch.X[batch.x_index[b]],
                    batch.y[batch.y_index[b]],
                    make_mirror(int(batch.depth[b]), plus, minus),
                    0.5 * float(np.mean(np.log(plus) + np.log(minus))),
                    tol=options.tol,
                    max_iter=options.max_iter,
                    loss_offset=float(batch.loss_offset[batch.y_index[b]]),
                )
            )
            if options.progress is not None:
                options.progress(b + 1)
        return LimitRaw(
            *(np.stack([getattr(run, name) for run in runs]) for name in LimitRaw.__annotations__)
        )


def _weights(batch: DiagonalBatch, b: int) -> tuple[np.ndarray, np.ndarray]:
    w = batch.w_index[b]
    return batch.alpha[b] * batch.profile_plus[w], batch.alpha[b] * batch.profile_minus[w]
