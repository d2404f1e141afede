"""The NumPy backend: one run after the other, in plain NumPy and SciPy."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from .._blas import one_blas_thread
from ._numpy.dual_system import DualSystem
from ._numpy.factor_system import FactorSystem
from ._numpy.flow import FlowRun, integrate_flow
from ._numpy.limit import solve_limit
from ._numpy.measurements import Measurements
from ._numpy.mirror import make_mirror
from ._numpy.mlp_flow import MLPRun
from ._numpy.network import Network
from ._numpy.system import System
from .base import FactorRaw, FlowOptions, FlowRaw, LimitOptions, LimitRaw, MLPRaw
from .batch import DiagonalBatch
from .factor_batch import FactorBatch
from .mlp_batch import MLPBatch

__all__ = ["NumpyBackend"]


@final
class NumpyBackend:
    """The specification: what csrc computes fast, computed readably."""

    name = "numpy"

    @one_blas_thread()
    def flow_diagonal(self, batch: DiagonalBatch, options: FlowOptions) -> FlowRaw:
        runs = []
        for b in range(len(batch)):
            plus, minus = _weights(batch, b)
            system = DualSystem(
                batch.X[batch.x_index[b]],
                batch.y[batch.y_index[b]],
                make_mirror(int(batch.depth[b]), plus, minus),
            )
            runs.append(_run(system, b, options, float(batch.loss_offset[batch.y_index[b]])))
        return FlowRaw(**_rows(runs), **_ends(runs))

    @one_blas_thread()
    def flow_factorization(self, batch: FactorBatch, options: FlowOptions) -> FactorRaw:
        X = Measurements(batch.p, batch.c0, batch.row, batch.column, batch.X)
        runs = []
        for b in range(len(batch)):
            system = FactorSystem(X, batch.y[batch.y_index[b]], batch.start(b))
            runs.append(_run(system, b, options, 0.0))
        return FactorRaw(
            W=[run.rows["W"] for run in runs],
            loss=np.stack([run.rows["loss"] for run in runs]),
            t=np.stack([run.rows["t"] for run in runs]),
            **_ends(runs),
        )

    @one_blas_thread()
    def flow_mlp(self, batch: MLPBatch, options: FlowOptions) -> MLPRaw:
        runs = []
        for b in range(len(batch)):
            X, y = batch.X[batch.x_index[b]], batch.y[batch.y_index[b]]
            run = MLPRun(
                Network(batch.layout, X, y, batch.loss),
                batch.start(b),
                rtol=float(options.rtol[b]),
                atol=options.atol,
                t_max=float(options.t_max[b]),
                stop_loss=float(options.stop_loss[b]),
                max_steps=options.max_steps,
                method=options.method,
                step_size=batch.step_size,
                t_eval=options.t_eval,
            )
            runs.append(run.integrate())
            if options.progress is not None:
                options.progress(b + 1)
        return MLPRaw(**_rows(runs), **_ends(runs))

    @one_blas_thread()
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


def _run(system: System, b: int, options: FlowOptions, loss_offset: float) -> FlowRun:
    run = integrate_flow(
        system,
        rtol=float(options.rtol[b]),
        atol=options.atol,
        t_max=float(options.t_max[b]),
        stop_loss=float(options.stop_loss[b]),
        loss_offset=loss_offset,
        max_steps=options.max_steps,
        method=options.method,
        t_eval=options.t_eval,
    )
    if options.progress is not None:
        options.progress(b + 1)
    return run


def _rows(runs: list[FlowRun]) -> dict[str, Any]:
    return {name: np.stack([run.rows[name] for run in runs]) for name in runs[0].rows}


def _ends(runs: list[FlowRun]) -> dict[str, Any]:
    """What every run says of itself at its end."""
    return {
        "status": np.array([run.status for run in runs], dtype=np.int64),
        "n_steps": np.array([run.n_steps for run in runs], dtype=np.int64),
        "n_rhs": np.array([run.n_rhs for run in runs], dtype=np.int64),
        "n_flops": np.zeros(len(runs)),
    }
