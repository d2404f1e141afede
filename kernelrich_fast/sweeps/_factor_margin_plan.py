"""A sweep of 1-bit matrix completion: margins, wrong signs and the norm of the direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._types import FloatArray, Progress
from ..theory.matrices import nuclear_norm
from ._factorization_plan import FactorizationPlan
from ._margin_plan import EvaluatedPlan
from .plan import Block, Variables

__all__ = ["FactorMarginPlan"]


@dataclass(frozen=True)
class FactorMarginPlan(EvaluatedPlan, FactorizationPlan):
    """Y_star holds labels."""

    def coords(self) -> dict[str, Any]:
        return self.renamed(super().coords())

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """Flows of a block, and what is measured on them."""
        solved = self.solve(block, num_threads, progress)
        flow = solved.result
        dim, variables = self.flow_variables(flow)
        if self.known:
            agree = flow.M * solved.truths > 0.0
            wrong = np.where(np.abs(solved.truths) == 1.0, np.where(agree, 0.0, 1.0), np.nan)
            variables["test_error"] = (dim, _mean(solved.hidden(wrong)))
        if "norms" in self.keep:
            # Without a positive least margin there is no direction.
            usable = flow.margins.min(axis=-1) > 0.0
            norm = nuclear_norm(np.where(usable[..., None, None], flow.direction, 0.0))
            variables["direction_nuclear_norm"] = (dim, np.where(usable, norm, np.nan))
            variables["kernel_distance"] = (dim, solved.kernel_distance())
        if "M" in self.keep:
            variables["M"] = ((*dim, "row", "column"), flow.M)
        return variables


def _mean(values: FloatArray) -> FloatArray:
    """Over the last axis, of the entries with a label; NaN where there is none."""
    count = np.isfinite(values).sum(axis=-1)
    mean = np.nansum(values, axis=-1) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, mean, np.nan))
