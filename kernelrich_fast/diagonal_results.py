"""What flows and limits of diagonal networks return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ._results import FlowResult, Result
from ._types import FloatArray, IntArray

__all__ = ["DiagonalFlow", "DiagonalLimit"]

_DIMS: dict[str, tuple[str, ...]] = {
    "beta": ("feature",), "w_plus": ("feature",), "w_minus": ("feature",), "dual": ("sample",),
    "layer_sign": ("feature",), "beta_mean": ("feature",),
}  # fmt: skip


class _Layers:
    """What both results say of their weights."""

    w_plus: FloatArray
    w_minus: FloatArray
    model: str

    @property
    def penalty(self) -> FloatArray:
        """|w|^2, of which weight decay lambda adds lambda |w|^2 to the loss."""
        total: FloatArray = (self.w_plus**2).sum(axis=-1) + (self.w_minus**2).sum(axis=-1)
        return total if self.model == "difference" else 2.0 * total


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalFlow(_Layers, FlowResult):
    """Result of `flow_diagonal`; B is the batch shape, T the number of evaluation times.

    Arrays are NumPy's; CuPy's where X, y or a profile was on a CUDA device.

    Attributes
    ----------
    beta, w_plus, w_minus : ndarray, B + (n_features,) or B + (T, n_features)
        Predictor w_plus^D - w_minus^D and the weights. Of a product u v these are |u + v| / 2 and
        |u - v| / 2; of two products w_plus^2 = (u_plus + v_plus)^2 / 4 + (u_minus - v_minus)^2 / 4
        and w_minus^2 = (u_plus - v_plus)^2 / 4 + (u_minus + v_minus)^2 / 4.
    dual : ndarray, B + (n_samples,) or B + (T, n_samples)
        nu(t), the integral of the residual y - X beta over time; under weight decay lambda that of
        exp(-2 (D - 2) Lambda) (y - X beta), Lambda the integral of lambda.
    beta_mean : ndarray, B + (n_features,) or B + (T, n_features), or None
        With ``averaged``, the mean of beta from time 0 on; without weight decay
        y - X beta_mean = nu / t, up to the error of beta_mean.
    penalty : ndarray, B or B + (T,)
        |w|^2 = |w_plus|^2 + |w_minus|^2; of the models of products the squares of all layers.
    model, balance, layer_sign : str, ndarray or None, B, and ndarray or None, B + (n_features,)
        The model; where it has layers, the balance they started from, and the sign of
        (u + v) (u - v), as far as they are known.
    depth : ndarray, B
        D, the number of layers.
    loss, t : ndarray, B or B + (T,)
        L = ``loss_scale`` |X beta - y|^2, and the time each row belongs to (a run that ended early
        repeats its last state, and says so here).
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
    At all times w_plus and w_minus are exp(-2 Lambda) times functions of X^T nu, those of the flow
    without weight decay.

    ``flow[i]`` is the result of some of the runs, ``to_dataset`` and ``to_dataframe`` return
    labelled arrays and a table, and ``converged`` says which runs reached the requested loss.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = _DIMS
    _derived: ClassVar[tuple[str, ...]] = ("penalty",)

    beta: FloatArray
    w_plus: FloatArray
    w_minus: FloatArray
    dual: FloatArray
    model: str = "difference"
    balance: FloatArray | None = None
    layer_sign: FloatArray | None = None
    beta_mean: FloatArray | None = None
    depth: FloatArray | None = None


@dataclass(frozen=True, eq=False, repr=False)
class DiagonalLimit(_Layers, Result):
    """Result of `limit_diagonal`; fields as in `DiagonalFlow`, at ``t`` = infinity.

    ``n_steps`` is another name of ``n_iterations``.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = _DIMS
    _derived: ClassVar[tuple[str, ...]] = ("penalty",)

    beta: FloatArray
    w_plus: FloatArray
    w_minus: FloatArray
    dual: FloatArray
    loss: FloatArray
    status: IntArray
    n_iterations: IntArray
    backend: str
    model: str = "difference"
    balance: FloatArray | None = None
    layer_sign: FloatArray | None = None
    depth: FloatArray | None = None

    @property
    def t(self) -> FloatArray:
        """The time of a limit, infinity, in the shape of the batch."""
        return np.full(self.status.shape, np.inf)

    @property
    def n_steps(self) -> IntArray:
        """The number of iterations."""
        return self.n_iterations
