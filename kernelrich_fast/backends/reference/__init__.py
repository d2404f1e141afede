"""The backend "numpy": the equations, by the solvers of NumPy and SciPy, one run after the other.

It needs nothing compiled. What it promises is less than the compiled backends do, and stated in
docs/promises.md: outside its range a run ends as FAILED or MAX_STEPS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, final

import numpy as np

from ..._blas import one_blas_thread
from ..._types import Progress
from ...equations.factorization import Sensing
from ...errors import BackendUnavailableError
from ..base import (
    FlowOptions,
    LimitOptions,
    MarginOptions,
    RichPathOptions,
    RichPathRaw,
    Rows,
)
from ..batch import DiagonalBatch, MarginBatch
from ..factor_batch import FactorBatch, FactorMarginBatch, FactorStarts, LinearBatch
from ..mlp_batch import MLPBatch
from .averaged import Averaged
from .decay import NO_DECAY, DecayFlow, MarginError, SquaredError
from .diagonal import DualFlow, RowSpace, solve_limit
from .factor_margins import FactorMargins
from .factorization import FactorFlow
from .margins import MarginDual, follow_margins
from .networks import descend, follow_network
from .rich_path import follow_rich_path
from .rows import Run
from .scipy_flow import ScipyProblem, follow

__all__ = ["ReferenceBackend"]


@final
class ReferenceBackend:
    """One run after the other.

    What overflows on the way to a result shows in the result, and there it is judged.
    """

    name = "numpy"

    @one_blas_thread()
    @np.errstate(all="ignore")
    def solve(self, family: str, batch: Any, options: Any) -> Rows:
        return _FAMILIES[family](batch, options)

    @one_blas_thread()
    @np.errstate(all="ignore")
    def rich_path(self, batch: DiagonalBatch, options: RichPathOptions) -> RichPathRaw:
        def one(b: int) -> Any:
            X, y = batch.X[batch.x_index[b]], batch.y[batch.y_index[b]]
            offset = float(batch.loss_offset[batch.y_index[b]])
            bound = options.bound[options.bound_index[b]]
            reduced = batch.basis is not None
            return follow_rich_path(X, y, offset, bound, options.max_jumps, reduced)

        saddles, runs, statuses = zip(*_each(len(batch), one, options.progress), strict=True)
        return RichPathRaw(
            saddles=list(saddles),
            dual=np.stack([run.s for run in runs]),
            at_bound=np.stack([run.side for run in runs]).astype(np.int8),
            t=np.array([run.t for run in runs]),
            loss=np.array([run.loss(run.beta) for run in runs]),
            status=np.array(statuses, dtype=np.int64),
            n_pivots=np.array([run.n_pivots for run in runs], dtype=np.int64),
        )


def _flow_diagonal(batch: DiagonalBatch, options: FlowOptions) -> Rows:
    space = _row_spaces(batch)

    def one(b: int) -> Run:
        plus, minus = _weights(batch, b)
        offset = float(batch.loss_offset[batch.y_index[b]])
        depth, decay = float(batch.depth[b]), batch.decay_of(b)
        if decay is not None or np.any(minus == 0.0):
            X, error = batch.X[batch.x_index[b]], SquaredError(batch.y[batch.y_index[b]], offset)
            timed = options.t_eval is not None
            schedule = decay or NO_DECAY
            flow: ScipyProblem = DecayFlow(X, error, plus, minus, depth, schedule, timed)
        else:
            flow = DualFlow(space(b), plus, minus, depth, offset)
        return follow(Averaged(flow) if batch.averaged else flow, **_options(options, b))

    runs = list(_each(len(batch), one, options.progress))
    return _rows(runs) | _ends(runs)


def _flow_margin(batch: MarginBatch, options: MarginOptions) -> Rows:
    def one(b: int) -> Run:
        plus, minus = _weights(batch, b)
        X, y, depth = batch.X[batch.x_index[b]], batch.y[batch.y_index[b]], float(batch.depth[b])
        if (decay := batch.decay_of(b)) is not None:
            error, timed = MarginError(y, batch.loss), options.t_eval is not None
            decayed = DecayFlow(X, error, plus, minus, depth, decay, timed)
            return _with_logarithms(follow(decayed, **_options(_real_time(options), b)))
        if np.any(minus == 0.0):
            raise BackendUnavailableError(
                "backend 'numpy': expected positive w_minus0 with a margin loss; use backend='cpu'"
            )
        flow = MarginDual(X, y, plus, minus, depth, batch.loss)
        return follow_margins(flow, **_margin_options(options, b))

    runs = list(_each(len(batch), one, options.progress))
    return _rows(runs) | _ends(runs)


def _limit_diagonal(batch: DiagonalBatch, options: LimitOptions) -> Rows:
    space = _row_spaces(batch)

    def one(b: int) -> Any:
        return solve_limit(
            space(b), *_weights(batch, b), float(batch.depth[b]), tol=options.tol,
            max_iter=options.max_iter, loss_offset=float(batch.loss_offset[batch.y_index[b]]),
        )  # fmt: skip

    rows, statuses, counts = zip(*_each(len(batch), one, options.progress), strict=True)
    found: Rows = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return found | {
        "status": np.array(statuses, dtype=np.int64),
        "n_iterations": np.array(counts, dtype=np.int64),
    }


def _flow_factorization(batch: FactorBatch, options: FlowOptions) -> Rows:
    def one(b: int) -> Run:
        flow = FactorFlow(_sensing(batch, b), batch.y[batch.y_index[b]], batch.start(b))
        return follow(flow, **_options(options, b))

    return _factor_rows(batch, list(_each(len(batch), one, options.progress)))


def _flow_factor_margins(batch: FactorMarginBatch, options: MarginOptions) -> Rows:
    def one(b: int) -> Run:
        y = batch.y[batch.y_index[b]]
        flow = FactorMargins(_sensing(batch, b), y, batch.start(b), batch.loss)
        return follow_margins(flow, **_margin_options(options, b))

    return _factor_rows(batch, list(_each(len(batch), one, options.progress)))


def _flow_linear(batch: LinearBatch, options: FlowOptions) -> Rows:
    outputs, modes = batch.target.shape[1:]
    row, column = (each.ravel() for each in np.indices((outputs, modes)))

    def one(b: int) -> Run:
        which = batch.problem_index[b]
        weight = batch.sigma[which][column]
        sensing = Sensing((outputs, batch.n - outputs), False, row, column, None, weight)
        offset = float(batch.loss_offset[which])
        flow = FactorFlow(sensing, batch.target[which].ravel(), batch.start(b), offset)
        return follow(flow, **_options(options, b))

    return _factor_rows(batch, list(_each(len(batch), one, options.progress)))


def _flow_mlp(batch: MLPBatch, options: FlowOptions) -> Rows:
    def one(b: int) -> Run:
        X, y = batch.X[batch.x_index[b]], batch.y[batch.y_index[b]]
        problem = (batch.layout, X, y, batch.loss, batch.start(b))
        if options.method == "gradient_descent":
            return descend(*problem, batch.step_size, **_options(options, b))
        return follow_network(*problem, **_options(options, b))

    runs = list(_each(len(batch), one, options.progress))
    return _rows(runs) | _ends(runs)


_FAMILIES: dict[str, Callable[[Any, Any], Rows]] = {
    "diagonal_flow": _flow_diagonal,
    "diagonal_limit": _limit_diagonal,
    "margin_flow": _flow_margin,
    "factorization_flow": _flow_factorization,
    "factorization_margin_flow": _flow_factor_margins,
    "linear_flow": _flow_linear,
    "mlp_flow": _flow_mlp,
}


def _each(count: int, one: Callable[[int], Any], progress: Progress | None) -> Iterator[Any]:
    for b in range(count):
        yield one(b)
        if progress is not None:
            progress(b + 1)


def _row_spaces(batch: DiagonalBatch) -> Callable[[int], RowSpace]:
    """The decomposition that run b needs; runs that share data share it."""
    found: dict[tuple[int, int], RowSpace] = {}

    def space(b: int) -> RowSpace:
        pair = int(batch.x_index[b]), int(batch.y_index[b])
        if pair not in found:
            found[pair] = RowSpace(batch.X[pair[0]], batch.y[pair[1]])
        return found[pair]

    return space


def _weights(batch: DiagonalBatch, b: int) -> tuple[np.ndarray, np.ndarray]:
    w = batch.w_index[b]
    return batch.alpha[b] * batch.profile_plus[w], batch.alpha[b] * batch.profile_minus[w]


def _options(options: FlowOptions, b: int) -> dict[str, Any]:
    """The options of one run."""
    return {
        "rtol": float(options.rtol[b]),
        "atol": options.atol,
        "t_max": float(options.t_max[b]),
        "stop_loss": float(options.stop_loss[b]),
        "max_steps": options.max_steps,
        "method": options.method,
        "t_eval": options.t_eval,
    }


def _margin_options(options: MarginOptions, b: int) -> dict[str, Any]:
    """The options of one run of a margin loss."""
    return {
        "rtol": float(options.rtol[b]),
        "end": float(options.t_max[b]),
        "values": options.t_eval,
        "by_time": options.by_time,
        "max_steps": options.max_steps,
    }


def _real_time(options: MarginOptions) -> FlowOptions:
    """Those of a flow that is asked for the same in time itself, and for the loss itself."""
    times = None if options.t_eval is None else np.exp(options.t_eval)
    stop = np.exp(-options.t_max) if times is None else np.zeros(len(options.t_max))
    return replace(
        options, method="auto", t_eval=times, t_max=np.full(len(stop), np.inf), stop_loss=stop
    )


def _with_logarithms(run: Run) -> Run:
    """Rows of ln L and ln t."""
    logs = {name: np.log(run.rows[name]) for name in ("loss", "t")}
    return replace(run, rows=run.rows | logs)


def _sensing(batch: FactorBatch, b: int) -> Sensing:
    """What run b observes."""
    row, column = (each[batch.entry_index[b]] for each in (batch.row, batch.column))
    dims = batch.p, batch.n - batch.c0
    return Sensing(dims, batch.c0 == 0, row, column - batch.c0, batch.X)


def _factor_rows(batch: FactorStarts, runs: list[Run]) -> Rows:
    """Rows of factors, each filled up to the widest."""
    rows: Rows = {name: np.stack([run.rows[name] for run in runs]) for name in ("loss", "t")}
    return rows | _ends(runs) | {"W": batch.padded([run.rows["W"] for run in runs])}


def _rows(runs: list[Run]) -> dict[str, Any]:
    return {name: np.stack([run.rows[name] for run in runs]) for name in runs[0].rows}


def _ends(runs: list[Run]) -> dict[str, Any]:
    """What every run says of itself at its end."""
    return {
        "status": np.array([run.status for run in runs], dtype=np.int64),
        "n_steps": np.array([run.n_steps for run in runs], dtype=np.int64),
        "n_rhs": np.array([run.n_rhs for run in runs], dtype=np.int64),
        "n_flops": np.zeros(len(runs)),
    }
