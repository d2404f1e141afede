"""What a run reports: a row at each evaluation time, or one at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..._types import FloatArray
from ...status import Status

__all__ = ["Clock", "Run"]

Row = dict[str, FloatArray]


@dataclass
class Clock:
    """Where a run ends, which times it still owes, and the rows it has reported."""

    t_max: float
    stop_loss: float
    t_eval: FloatArray | None
    rows: list[Row] = field(default_factory=list)

    @property
    def t_end(self) -> float:
        return self.t_max if self.t_eval is None else min(self.t_max, float(self.t_eval[-1]))

    @property
    def due(self) -> float:
        """The next evaluation time; infinity where there is none."""
        times = self.t_eval
        return np.inf if times is None or len(self.rows) == len(times) else times[len(self.rows)]

    def ended(self, t: float, loss: float, at_rest: bool) -> Status | None:
        """How the run ends here, if it does."""
        reached = loss <= self.stop_loss
        if reached and (self.t_eval is None or t >= self.t_end or at_rest):
            return Status.CONVERGED
        if t >= self.t_end:
            return Status.T_END
        return Status.STATIONARY if at_rest else None

    def report(self, t: float, row: Row) -> None:
        self.rows.append({**row, "t": np.asarray(t)})

    def finish(
        self, t: float, row: Row, status: Status, n_steps: int, n_rhs: int,
        at_rest: Callable[[float], Row] | None = None,
    ) -> Run:  # fmt: skip
        """Fill the rows that are missing: a flow at rest stays, others say how far they came.

        ``at_rest`` makes the row of a later time, where that is not ``row`` itself.
        """
        if status in (Status.CONVERGED, Status.STATIONARY):
            while self.due <= self.t_max and self.due < np.inf:
                self.report(self.due, row if at_rest is None else at_rest(self.due))
        while len(self.rows) < (1 if self.t_eval is None else len(self.t_eval)):
            self.report(t, row)
        stacked = {name: np.stack([each[name] for each in self.rows]) for name in self.rows[0]}
        if not all(np.all(np.isfinite(values)) for values in stacked.values()):
            status = Status.FAILED
        return Run(stacked, status, n_steps, n_rhs)


@dataclass(frozen=True)
class Run:
    """Rows of a finished run by name, and how it ended."""

    rows: Row
    status: Status
    n_steps: int
    n_rhs: int
