"""Matrix factorisation U V^T (and W W^T): its gradient flow, at any width for the price of one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _validate as check
from ._device import contiguous, namespace, to_host
from ._runs import STOP_LOSS, Solved, flow_options, solve_flows
from ._types import ArrayLike, FloatArray, Progress
from .backends import (
    BACKENDS,
    MARGIN_LOSSES,
    FactorBatch,
    FactorMarginBatch,
    per_run,
    run_index,
)
from .backends.base import FlowOptions
from .backends.batch import batch_shape
from .equations.factorization import Sensing
from .factor_start import (
    LARGEST,
    FactorStart,
    drawn_start,
    expect_common_width,
    explicit_start,
    given_start,
)
from .factorization_results import FactorizationFlow, FactorizationMarginFlow
from .margin_clock import MarginClock, margin_clock, refuse_squared_options, refuse_without_margins
from .measurements import check_sensing, observed_mask

__all__ = ["FactorizationFlow", "FactorizationMarginFlow", "flow_factorization"]

# csrc/core/factorization/problem.hpp: the stiff method holds several matrices of that size.
_MAX_STIFF_SAMPLES = 4096
# Below, squares of velocities underflow.
_SMALLEST_TARGET = 1e-100


def flow_factorization(
    y: ArrayLike,
    *,
    entries: tuple[ArrayLike, ArrayLike] | ArrayLike | None = None,
    measurements: ArrayLike | None = None,
    dims: tuple[int, int] | None = None,
    symmetric: bool = False,
    alpha: ArrayLike | None = None,
    width: ArrayLike | None = None,
    seed: ArrayLike | None = None,
    U0: ArrayLike | None = None,
    V0: ArrayLike | None = None,
    loss: str = "squared",
    t_eval: ArrayLike | None = None,
    t_max: ArrayLike = np.inf,
    stop_loss: ArrayLike = STOP_LOSS,
    stop_log_loss: ArrayLike | None = None,
    log_loss_eval: ArrayLike | None = None,
    log_t_eval: ArrayLike | None = None,
    rtol: ArrayLike = 1e-6,
    atol: float = 0.0,
    method: str = "auto",
    max_steps: int = 100_000,
    backend: str = "auto",
    num_threads: int | None = None,
    progress: bool | Progress = False,
) -> FactorizationFlow:
    """Integrate the gradient flow of matrix factorisation, a whole batch in one call.

    The model is M = U V^T with U (d1, k), V (d2, k) (or M = W W^T, W (d1, k)), the loss is L =
    sum_i (<X_i, M> - y_i)^2, or with ``loss`` a sum over margins y_i <X_i, M> (1-bit completion),
    and the flow is dU/dt = -dL/dU and likewise for V or W. The leading axes of y, of entries, of
    the start (alpha, width, seed, or U0 and V0) and of t_max, stop_loss, stop_log_loss and rtol
    broadcast to the batch shape B; all runs share the measurements.

    Parameters
    ----------
    y : array_like, (..., n_samples)
        Targets, the largest of a run 0 or from 1e-100 to 1e140; with a margin loss labels, -1 or
        +1.
    entries : pair of integer array_like, (..., n_samples) each, or boolean array_like, (d1, d2)
        For matrix completion: rows and columns of the observed entries, without repetition (in the
        symmetric model (i, j) and (j, i) are the same entry). Leading axes give every run its own
        entries. Or a boolean matrix of shape dims that is True at the observed entries; y then
        lists them row by row.
    measurements : array_like, (n_samples, d1, d2)
        For matrix sensing: the matrices X_i, instead of ``entries``.
    dims : (int, int), optional
        The shape (d1, d2); required with ``entries``, unless they are boolean or U0 is given.
    symmetric : bool
        Use M = W W^T, with W drawn or given as U0.
    alpha : array_like, (...)
        Standard deviation of the i.i.d. Gaussian initial weights, 1e-140 to 1e140.
    width : array_like of int, (...)
        Number of columns k >= 1. Beyond d1 + d2 it changes neither the cost nor the memory.
    seed : array_like of int, (...), optional
        Seed of the draw, 0 by default. Equal (seed, width) give equal weights up to the factor
        alpha, in any batch.
    U0, V0 : array_like, (..., d1, k) and (..., d2, k), optional
        Initial weights, instead of alpha, width and seed.
    loss : {"squared", "exponential", "logistic"}
        The loss. The other two are margin losses, sum_i exp(-m_i) and sum_i log(1 + exp(-m_i)) of
        the margins m_i = y_i <X_i, M>; with these the result is a `FactorizationMarginFlow`.
    t_eval : array_like, (T,), optional
        Ascending times at which to return the flow; adds an axis T to the results. Integration then
        ends at t_eval[-1] or t_max, whatever the loss. The status is CONVERGED if L at the last
        time is at most 1e-12 of that of the zero predictor (with a margin loss, if L is at most
        1e-12), STATIONARY if the run is at rest above that, else T_END.
    t_max : array_like, (...)
        Time at which a run ends.
    stop_loss : array_like, (...)
        A run ends once L <= stop_loss * sum(y^2); not together with ``t_eval``, nor with a margin
        loss.
    stop_log_loss : array_like, (...), optional
        With a margin loss, the ln L at which a run ends: log(1e-12) by default, at least -1e12.
    log_loss_eval, log_t_eval : array_like, (T,), optional
        With a margin loss, instead of ``t_eval``: descending values of ln L, or ascending values of
        ln t, at which to return the flow. A run ends at the last of them.
    rtol : array_like, (...)
        Relative accuracy, 1e-12 to 0.1.
    atol : float
        Absolute part of the tolerance on |M|.
    method : {"auto", "dopri5", "radau5"}
        "dopri5" is explicit and "radau5" implicit, for stiff problems. "auto" chooses for each run
        and may switch during it. Above 4096 samples only "dopri5" is available. Margin losses take
        "radau5" alone, and up to 4096 samples.
    max_steps : int
        Largest number of attempted steps per run.
    backend : {"auto", "cuda", "cpu", "numpy"}
        Where to compute. "auto" takes a GPU if there are enough runs for it (docs/gpu.md); "numpy",
        the fallback, is slower and promises less (docs/promises.md). If y, measurements, U0 or V0
        are on a CUDA device (CuPy arrays, or others through DLPack), they stay there, the results
        are CuPy arrays, and the backend must be "cuda" or "auto".
    num_threads : int, optional
        Threads of the CPU backend; by default all cores this process may use. Each takes a run at a
        time; threads without one help those whose matrices are large. On a given backend results
        do not depend on it.
    progress : bool or callable
        Whether to show a progress bar, or a function that is called with the number of finished
        runs a few times a second.

    Returns
    -------
    FactorizationFlow
        Arrays with leading shape B; a `FactorizationMarginFlow` with a margin loss.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it, and nothing has been computed.
    BackendUnavailableError
        If the requested backend does not work on this machine.

    Warns
    -----
    ConvergenceWarning
        Once, if runs ended as MAX_STEPS or FAILED.

    Notes
    -----
    With W = [U; V] the flow is dW/dt = -S W, where S is symmetric and depends only on W W^T. Any
    factor of W W^T with n = d1 + d2 columns therefore represents every width k [1]_. For k > n such
    a factor of an i.i.d. Gaussian start is drawn directly (Bartlett), with the exact distribution;
    for k <= n W itself is drawn. Accuracy: M at t_eval and at the end lies within 10 rtol of the
    exact flow, in the Frobenius norm relative to |M|, from weights of 1e-20 or more; the error
    grows with the logarithm of smaller ones, and 30 rtol hold at 1e-60. The flow conserves U^T U -
    V^T V, and the returned factors have its initial value restored. Evaluating the velocity dW/dt
    costs 3 n_samples n multiplications for entries, and (2 n_samples + 3 n) d1 d2 for measurements;
    a stiff step adds about n_samples^3.

    With a margin loss the flow is integrated in the integral of sum_i -l'(m_i) over time, in which
    W grows at a rate of order one while ln L falls to -1e12. M at a given ln L is as accurate as
    stated above, and ln t lies within 100 rtol, relative to -ln L where that is more than one. If
    no M of that width fits the labels, a run ends STATIONARY at a minimum; where the loss falls
    towards a minimum at infinity, it goes on to the last time, or to MAX_STEPS. Margins of more
    than 1e13 (alpha of about 1e6) are not known to a fraction of one: such runs end as MAX_STEPS
    at once. As L falls, the factors' direction tends to a stationary point of the least |U|_F^2 +
    |V|_F^2 with all margins at least one [2]_; for wide factors that least value is twice the
    smallest nuclear norm of such an M.

    References
    ----------
    .. [1] Woodworth et al., Kernel and Rich Regimes in Overparametrized Models, COLT 2020,
       section 6 and Theorem 4 (the lifted matrix).
    .. [2] Lyu and Li, Gradient Descent Maximizes the Margin of Homogeneous Neural Networks, ICLR
       2020.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> observed = ([0, 0, 1], [0, 1, 0])  # of [[1, 2], [2, ?]]
    >>> flow = krf.flow_factorization(
    ...     [1.0, 2.0, 2.0], entries=observed, dims=(2, 2), alpha=[1e-6, 1.0], width=3
    ... )
    >>> krf.theory.effective_rank(flow.M).round(2)  # rich: rank one
    array([1.  , 1.48])
    >>> signs = krf.flow_factorization(  # of a matrix of rank one, to L = exp(-1e6)
    ...     [1, 1, -1], entries=observed, dims=(2, 2), alpha=1e-6, width=3, loss="logistic",
    ...     stop_log_loss=-1e6,
    ... )
    >>> signs.direction.round(2)
    array([[ 1.,  1.],
           [-1., -1.]])
    """
    check.choice("backend", backend, ("auto", *BACKENDS))
    check.choice("loss", loss, ("squared", *MARGIN_LOSSES))
    common: dict[str, Any] = {
        "rtol": rtol, "atol": atol, "method": method, "max_steps": max_steps,
        "num_threads": num_threads,
    }  # fmt: skip
    of_margins = {
        "stop_log_loss": stop_log_loss, "log_loss_eval": log_loss_eval, "log_t_eval": log_t_eval,
    }  # fmt: skip
    options, clock = _options(loss, common, of_margins, t_max, stop_loss, t_eval)
    mask = None if entries is None else observed_mask(entries)
    if mask is not None:
        _refuse_whole_matrix(y, mask)
        entries = mask
    targets = _targets(y, loss)
    check.flag("symmetric", symmetric)
    factors = explicit_start(U0, V0, symmetric)
    source = "dims"
    if factors is not None:
        expect_common_width(*factors)
        if dims is None and mask is None and measurements is None:
            dims = (factors[0].shape[-2], factors[1].shape[-2])
            source = "U0" if symmetric else "U0 and V0"
    sensing = check_sensing(
        entries, measurements, dims, symmetric, targets.shape[-1], sets=True, source=source
    )
    _expect_few_samples(options, targets, "method: 'radau5'" if clock is None else f"y: {loss=}")
    if factors is None:
        start = drawn_start(sensing.n, alpha, width, seed)
    elif not (alpha is None and width is None and seed is None):
        raise ValueError("U0: expected either U0 (and V0) or alpha, width and seed, got both")
    else:
        start = given_start(sensing.dims, *factors, symmetric=symmetric)
    batch, y_norm2 = _batch(sensing, targets, start, options.shapes)
    family = "factorization_flow"
    if clock is not None:
        batch = FactorMarginBatch(**vars(batch), loss=loss)
        family = "factorization_margin_flow"
    solved = solve_flows(
        "flow_factorization", family, batch, options, y_norm2, backend=backend, progress=progress
    )
    return _result(batch, solved, sensing, start, clock)


def _options(
    loss: str,
    common: dict[str, Any],
    of_margins: dict[str, Any],
    t_max: ArrayLike,
    stop_loss: ArrayLike,
    t_eval: ArrayLike | None,
) -> tuple[FlowOptions, MarginClock | None]:
    """The checked options, and the clock of a flow of a margin loss."""
    if loss == "squared":
        refuse_without_margins(**of_margins)
        return flow_options(t_max=t_max, stop_loss=stop_loss, t_eval=t_eval, **common), None
    refuse_squared_options(loss, t_max, stop_loss)
    clock = margin_clock(t_eval=t_eval, **of_margins)
    return clock.options(**common), clock


def _expect_few_samples(options: FlowOptions, targets: FloatArray, what: str) -> None:
    if options.method == "radau5" and targets.shape[-1] > _MAX_STIFF_SAMPLES:
        raise ValueError(
            f"{what} is for at most {_MAX_STIFF_SAMPLES} samples, got {targets.shape[-1]}"
        )


def _result(
    batch: FactorBatch,
    solved: Solved,
    sensing: Sensing,
    start: FactorStart,
    clock: MarginClock | None,
) -> FactorizationFlow | FactorizationMarginFlow:
    factors = batch.factors(solved.rows["W"])
    gram = _stacked(namespace(factors[0]), [_gram_of(W) for W in factors])
    M = gram if sensing.symmetric else contiguous(gram[..., : sensing.dims[0], sensing.c0 :])
    fields = {
        "M": solved.shaped(M), "gram": solved.shaped(gram),
        **_factors(solved, factors, sensing, start),
    }  # fmt: skip
    if isinstance(batch, FactorMarginBatch) and clock is not None:
        margins = solved.shaped(batch.margins(M))
        return FactorizationMarginFlow(**fields, margins=margins, **clock.ends(solved))
    return FactorizationFlow(**fields, **solved.ends)


def _gram_of(W: FloatArray) -> FloatArray:
    gram: FloatArray = W @ namespace(W).swapaxes(W, -1, -2)
    return gram


def _factors(
    solved: Solved, factors: list[FloatArray], sensing: Sensing, start: FactorStart
) -> dict[str, Any]:
    """U and V, where they have the width that the caller gave."""
    if start.common_width is None or start.common_width > sensing.n:
        return {"U": None, "V": None}
    W = solved.shaped(_stacked(namespace(factors[0]), factors))
    U = W[..., : sensing.dims[0], :]
    return {"U": U, "V": U if sensing.symmetric else W[..., sensing.dims[0] :, :]}


def _refuse_whole_matrix(y: Any, mask: Any) -> None:
    """Raise where y is a matrix like the boolean mask: its rows would be taken for runs."""
    shape = tuple(y.shape if hasattr(y, "shape") else check.host_array("y", y).shape)
    if shape == mask.shape:
        raise ValueError(
            "y: expected the observed values, one for each entry of the mask entries=, got a "
            f"matrix of its shape {shape}; pass y[entries], of NumPy arrays"
        )


def _targets(y: ArrayLike, loss: str) -> FloatArray:
    if loss != "squared":
        return check.labels(y, device=True)
    targets = check.real_array("y", y, ndim=1, device=True)
    sizes = np.abs(targets).max(axis=-1)
    if sizes.max() > LARGEST:
        raise ValueError(f"y: expected values up to {LARGEST}, got {sizes.max()}")
    if ((sizes > 0.0) & (sizes < _SMALLEST_TARGET)).any():
        raise ValueError(
            f"y: expected the largest value of a run to be 0 or at least {_SMALLEST_TARGET}, got "
            f"{sizes[sizes > 0.0].min()}; multiply y and M by a constant"
        )
    return targets


def _stacked(xp: Any, arrays: list[FloatArray]) -> FloatArray:
    """One array of them; of one, without the copy that small calls feel."""
    stacked: FloatArray = xp.stack(arrays) if len(arrays) > 1 else arrays[0][None]
    return stacked


def _batch(
    sensing: Sensing, y: FloatArray, start: FactorStart, options: dict[str, tuple[int, ...]]
) -> tuple[FactorBatch, FloatArray]:
    sets = sensing.row.shape[:-1]
    leads = {"y": y.shape[:-1], "entries": sets, "start": start.index.shape}
    shape = batch_shape(leads, options, "sweep_factorization")
    rows = (math.prod(sets), sensing.row.shape[-1])
    flat = contiguous(y.reshape(-1, y.shape[-1]))
    y_index = run_index(y.shape[:-1], shape)
    batch = FactorBatch(
        shape=shape,
        n=sensing.n,
        p=sensing.dims[0],
        c0=sensing.c0,
        row=sensing.row.reshape(rows),
        column=(sensing.column + sensing.c0).reshape(rows),
        X=sensing.X,
        y=flat,
        starts=start.factors,
        scale=per_run(start.scale, shape),
        y_index=y_index,
        start_index=per_run(start.index, shape),
        entry_index=run_index(sets, shape),
    )
    return batch, to_host((flat * flat).sum(axis=-1))[y_index]
