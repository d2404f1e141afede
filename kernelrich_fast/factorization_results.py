"""Results of flows of a matrix factorisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ._results import FlowResult
from ._types import FloatArray
from .margin_clock import direction_of

__all__ = ["FactorizationFlow", "FactorizationMarginFlow"]


@dataclass(frozen=True, eq=False, repr=False)
class FactorizationFlow(FlowResult):
    """Result of `flow_factorization`; B is the batch shape, T the number of evaluation times.

    Arrays are NumPy arrays, or CuPy arrays if y, measurements, U0 or V0 was on a CUDA device.

    Attributes
    ----------
    M : ndarray, B + (d1, d2) or B + (T, d1, d2)
        Predictor U V^T, or W W^T for the symmetric model.
    gram : ndarray, B + (n, n) or B + (T, n, n)
        The Gram matrix W W^T, where W = [U; V] stacks the factors and n = d1 + d2 (W alone and n =
        d1 for the symmetric model). The flow of M depends on the weights only through it.
    U, V : ndarray or None, B + (d1, k) and B + (d2, k), or with T before the last two axes
        The factors themselves if all runs have the same width k <= n, and None otherwise. The
        symmetric model has V = U.
    loss, t : ndarray, B or B + (T,)
        The sum of squared residuals, and the time of each row. After a run has ended, its last
        state and time are repeated.
    status : ndarray of int, B
        A `Status` per run.
    n_steps, n_rhs : ndarray of int, B
        Accepted steps, and evaluations of the vector field.
    n_flops : ndarray, B
        Multiplications and additions of the dense linear algebra, not counting elementwise
        functions; zero for the backend "numpy", which does not count them.
    backend : str
        The backend that ran.

    Notes
    -----
    Indexing, ``to_dataset``, ``to_dataframe`` and ``converged`` are those of `DiagonalFlow`.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "M": ("row", "column"), "gram": ("unit", "unit_2"), "U": ("row", "factor"),
        "V": ("column", "factor"),
    }  # fmt: skip

    M: FloatArray
    gram: FloatArray
    U: FloatArray | None
    V: FloatArray | None


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FactorizationMarginFlow(FactorizationFlow):
    """Result of `flow_factorization` with a margin loss: a `FactorizationFlow`, and what follows.

    Attributes
    ----------
    log_loss : ndarray, B or B + (T,)
        ln L; ``loss`` is its exponential, 0 where that underflows.
    log_t : ndarray, B or B + (T,)
        ln t; ``t`` is its exponential, infinite where that overflows. In a row at t = 0 ln t is
        -inf, also in rows of ``log_loss_eval`` above the loss of the start.
    margins : ndarray, B + (n_samples,) or B + (T, n_samples)
        y_i <X_i, M>.
    direction : ndarray, B + (d1, d2) or B + (T, d1, d2)
        M over the least margin: of margins at least 1, and NaN where a margin is not positive.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **FactorizationFlow._dims, "margins": ("sample",), "direction": ("row", "column"),
    }  # fmt: skip
    _derived: ClassVar[tuple[str, ...]] = ("direction",)

    log_loss: FloatArray
    log_t: FloatArray
    margins: FloatArray

    @property
    def direction(self) -> FloatArray:
        """M over the least margin, NaN where that is not positive."""
        return direction_of(self.M, self.margins)
