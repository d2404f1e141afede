"""Diagonal linear networks: their gradient flow and its limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import _validate as check
from ._runs import STOP_LOSS, RunBar, backend_for, flow_options, solve_flows, thread_count
from ._types import ArrayLike, Progress
from .backends import BACKENDS, MARGIN_LOSSES, solve_batch
from .backends.base import LimitOptions
from .decayed_limit import checked_decay, constant_decay, limit_under_decay
from .diagonal_results import DiagonalFlow, DiagonalLimit
from .diagonal_start import (
    checked_scale,
    diagonal_batch,
    expect_both_signs,
    layer_fields,
    start_of,
)
from .margin_clock import refuse_without_margins
from .margin_flow import MarginFlow, flow_margin, refuse_with_margins
from .schedules import Schedule, decays
from .status import warn_unless_converged

__all__ = ["DiagonalFlow", "DiagonalLimit", "flow_diagonal", "limit_diagonal"]


def flow_diagonal(
    X: ArrayLike,
    y: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    depth: ArrayLike = 2,
    w0: ArrayLike | None = None,
    w_plus0: ArrayLike | None = None,
    w_minus0: ArrayLike | None = None,
    model: str | None = None,
    balance: ArrayLike | None = None,
    start: DiagonalFlow | DiagonalLimit | None = None,
    rescale_layers: tuple[float, float] | None = None,
    loss_scale: float = 1.0,
    loss: str = "squared",
    weight_decay: ArrayLike | Schedule = 0.0,
    averaged: bool = False,
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
) -> DiagonalFlow:
    """Integrate the gradient flow of diagonal linear networks, a whole batch in one call.

    The model is f(x) = <beta, x> with beta = w_plus^D - w_minus^D (coordinate-wise), the loss
    L = ``loss_scale`` |X beta - y|^2, or with ``loss`` a sum over margins y_n <beta, x_n>, and the
    flow is dw/dt = -grad L from w(0) = alpha (w_plus0, w_minus0).  The leading axes of X, y,
    alpha, depth, the profiles, balance, weight_decay, t_max, stop_loss, stop_log_loss and rtol
    broadcast to the batch shape B.

    Parameters
    ----------
    X : array_like, (..., n_samples, n_features)
        Inputs.
    y : array_like, (..., n_samples)
        Targets, the largest of a run 0 or from 1e-140 to 1e140; with a margin loss labels, -1, +1.
    alpha : array_like, (...)
        Scale of the initial weights, positive; required without ``start``. alpha^(2D-2) and its
        inverse must be floating-point numbers (alpha from 1e-150 on at depth 2, 1e-76 at 3). At
        D > 2 some flows with alpha^(D-2) far below 1e-30 end as MAX_STEPS, not limits.
    depth : array_like, (...)
        Number of layers D >= 2, a real number.
    w0 : array_like, (..., n_features) or scalar, optional
        Positive profile of the initial weights; ones by default. Not beside both of the next two.
    w_plus0, w_minus0 : array_like, optional
        Profiles of w_plus and w_minus where they differ (a biased start). If w_minus0 is zero,
        w_minus stays zero and beta = w_plus^D >= 0.
    model : {"difference", "product", "two_products"}, optional
        beta = w_plus^D - w_minus^D (by default), u v, or u_plus v_plus - u_minus v_minus, the last
        two at depth 2.
    balance : array_like, (...), optional
        In [-1, 1], for the models of products: u(0), v(0) = alpha w0 sqrt(1 +- balance). By default
        1 for "product" (v(0) = 0), and 0 for "two_products", whose predictor does not depend on it.
    start : DiagonalFlow or DiagonalLimit, optional
        Start from the last weights of an earlier result with the same number of features, instead
        of from alpha and a profile; time starts at zero again.
    rescale_layers : (float, float), optional
        With ``start`` and a model of products, multiply u and v by these factors first.
    loss_scale : float
        c in L = c |X beta - y|^2; with 1 / (2 n_samples), half the mean of the squares;
        1e-150 to 1e150. A margin loss is multiplied by c too.
    loss : {"squared", "exponential", "logistic"}
        The loss. The other two are margin losses, sum_n exp(-m_n) and sum_n log(1 + exp(-m_n)) of
        the margins m_n = y_n <beta, x_n>; with these the result is a `MarginFlow`.
    weight_decay : array_like, (...), Schedule or sequence of pairs
        Weight decay lambda >= 0: the flow is that of L + lambda |w|^2, where |w|^2 is the
        ``penalty`` of the result. A list of tuples (t_k, lambda_k) makes it piecewise constant
        (other nested sequences are arrays), ``krf.schedules.exponential(lambda_0, rate)`` lets it
        fall. A constant lambda should be 0 or at least 1e-14 lambda_max (see `limit_diagonal`).
    averaged : bool
        Whether to compute ``beta_mean``, which is (1/t) times the integral of beta from 0 to t. All
        steps then use "radau5" and end at the times of ``t_eval``. Its error is rtol times the
        largest mean along the path: while beta grows by orders of magnitude in a step, as it does
        where it leaves a small start, few digits of the small mean up to then are right.
    t_eval : array_like, (T,), optional
        Ascending times at which to return the flow; adds an axis T to the results. Integration then
        ends at t_eval[-1] or t_max, whatever the loss. Once a run is at rest, its beta and weights
        are repeated. The status is CONVERGED if L at the last time is at most 1e-12 of that of the
        zero predictor (1e-12 itself with a margin loss), STATIONARY if the run is at rest above
        that, else T_END. Under weight decay a step ends at each of these times, and counts.
    t_max : array_like, (...)
        Time at which a run ends.
    stop_loss : array_like, (...)
        A run ends once L is at most stop_loss times the loss of the zero predictor, c |y|^2; not
        together with ``t_eval``. Under weight decay this applies only after the decay has ended;
        with constant decay a run ends when it is at rest (STATIONARY). Not with a margin loss.
    stop_log_loss : array_like, (...), optional
        With a margin loss, the ln L at which a run ends: log(1e-12) by default, at least -1e12.
        Under weight decay at least -690, and a run ends with the first step after the end of decay
        that reaches it, or, with constant decay, at rest (STATIONARY).
    log_loss_eval, log_t_eval : array_like, (T,), optional
        With a margin loss, instead of ``t_eval``: descending values of ln L, or ascending values of
        ln t, at which to return the flow. A run ends at the last of them. Under weight decay L need
        not fall, and ``log_loss_eval`` is refused.
    rtol : array_like, (...)
        Relative accuracy, 1e-12 to 0.1.
    atol : float
        Absolute part of the tolerance on |beta|. The weights keep their relative tolerance.
    method : {"auto", "dopri5", "radau5"}
        "dopri5" is explicit and "radau5" implicit, for stiff problems. "auto" chooses for each run
        and may switch during it. With a margin loss "auto" is "radau5", and "dopri5" is refused.
    max_steps : int
        Largest number of attempted steps per run.
    backend : {"auto", "cuda", "cpu", "numpy"}
        Where to compute; "auto" takes a GPU where there are enough runs for it (docs/gpu.md);
        "numpy", the fallback, promises less (docs/promises.md). X, y and profiles on a CUDA device
        (CuPy's, or any through DLPack) stay there, need "cuda" or "auto", and give CuPy arrays.
    num_threads : int, optional
        Threads of the CPU backend, by default all cores this process may use; results do not depend
        on it. Each takes a run at a time; threads without one help with large matrices.
    progress : bool or callable
        Whether to show a progress bar, or a function that is called with the number of finished
        runs a few times a second.

    Returns
    -------
    DiagonalFlow
        Arrays with leading shape B.

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
    The flow is integrated in its dual variable nu, the time integral of the residual: dnu/dt = y -
    X beta(X^T nu) is the gradient flow of a convex function in n_samples dimensions, at any depth
    [1]_ [2]_. Accuracy: beta at t_eval and at the end lies within 10 rtol of the exact flow, in the
    Euclidean norm relative to |beta| (for a time inside a step, relative to the larger |beta| at
    the step's ends), or within what one unit in the last place of t makes of it, where a coordinate
    activates. Where weight decay has let |beta| fall more than a hundredfold, relative errors may
    be larger. At D > 2, where X beta = y does not fix beta, the shares of features that can replace
    each other carry a further error of about 1e-16 alpha^(2-D); predictions are not affected. Cost
    of a stiff step: about four passes over X, forty products of an n_samples x n_samples matrix and
    a vector, and the columns of the Gram matrix that changed; an inverse (n_samples^3) every 8 to
    29 steps. Under weight decay the flow has as many dimensions, in steps of at most 2 / (D
    lambda).

    With a margin loss nu_n = y_n theta_n, where theta_n, the field ``dual``, is half the integral
    of -l'(m_n) over time. The flow is integrated in half the integral of sum_n -l'(m_n), in which
    the velocity of nu stays of order one; so losses of exp(-1e12) can be reached. beta at a given
    ln L is as accurate as stated above, and ln t lies within 100 rtol, relative to -ln L where that
    is more than one. If no beta separates the classes, a run ends STATIONARY at the minimum
    (without w_minus only under weight decay, else MAX_STEPS), or, where a part of the samples can
    be separated without harm to the others and there is none, once the gradient is 1e-9 of what one
    sample alone would cause. Under weight decay L + lambda |w|^2 has a minimum for any data, and
    time itself is followed: a start with ln L above 300 ends as FAILED. At depth 2 the end is the
    minimiser of L + lambda |beta|_1 (L + 2 lambda |beta|_1 for the models of products), for the
    logistic loss l1-penalised logistic regression.

    References
    ----------
    .. [1] Woodworth et al., Kernel and Rich Regimes in Overparametrized Models, COLT 2020,
       Theorem 1 (depth 2) and Theorem 3 with appendix (depth 3 and more).
    .. [2] Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.8.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=[1e-4, 10.0])
    >>> flow.beta.round(3)                     # rich: sparse; kernel: least squares
    array([[0. , 1. ],
           [0.4, 0.8]])
    """
    check.choice("loss", loss, ("squared", *MARGIN_LOSSES))
    check.choice("backend", backend, ("auto", *BACKENDS))
    if loss != "squared":
        refuse_with_margins(loss, t_max, stop_loss, averaged)
        fields, begin, ran = flow_margin(
            X, y,
            lambda X: start_of(X, alpha, depth, w0, w_plus0, w_minus0, model, balance, start,
                             rescale_layers),
            loss=loss, loss_scale=checked_scale(loss_scale), stop_log_loss=stop_log_loss,
            log_loss_eval=log_loss_eval, log_t_eval=log_t_eval, t_eval=t_eval, rtol=rtol,
            atol=atol, method=method, max_steps=max_steps, backend=backend,
            num_threads=num_threads, progress=progress, decay=checked_decay(weight_decay),
        )  # fmt: skip
        return MarginFlow(**fields, **layer_fields(begin, ran.shape, ran.X.shape[-1]))
    refuse_without_margins(
        stop_log_loss=stop_log_loss, log_loss_eval=log_loss_eval, log_t_eval=log_t_eval
    )
    options = flow_options(
        rtol=rtol, t_max=t_max, stop_loss=stop_loss, t_eval=t_eval, atol=atol,
        max_steps=max_steps, method=method, num_threads=num_threads,
    )  # fmt: skip
    decay = checked_decay(weight_decay)
    X, y = check.data_pair(X, y, device=True, least=check.SMALLEST_TARGET)
    begin = start_of(X, alpha, depth, w0, w_plus0, w_minus0, model, balance, start, rescale_layers)
    scale = checked_scale(loss_scale)
    pace = begin.time_factor(scale)
    integrated = options
    if check.flag("averaged", averaged):
        if options.method == "dopri5":
            raise ValueError("method: expected 'auto' or 'radau5' with averaged=True, got 'dopri5'")
        options = integrated = replace(options, method="radau5")
    if pace != 1.0:
        integrated = options.at_pace(pace)
        decay = None if decay is None else decay.at_pace(pace)
    batch = diagonal_batch(X, y, begin, options.shapes, decay)
    if averaged:
        batch = replace(batch, averaged=True)
    solved = solve_flows(
        "flow_diagonal", "diagonal_flow", batch, integrated, batch.y_norm2,
        backend=backend, progress=progress,
    )  # fmt: skip
    rows = solved.rows
    dual = batch.to_samples(rows["dual"], rows["t"])
    if pace != 1.0:
        rows["t"] = options.times_at_pace(rows["t"], pace, batch.shape)
        rows["loss"], dual = rows["loss"] * scale, dual / pace
    if w_minus0 is not None or start is not None:
        rows["w_minus"] = batch.without(rows["w_minus"], begin.minus == 0.0)
    return DiagonalFlow(
        beta=solved.shaped(rows["beta"]),
        w_plus=solved.shaped(rows["w_plus"]),
        w_minus=solved.shaped(rows["w_minus"]),
        dual=solved.shaped(dual),
        beta_mean=solved.shaped(rows["beta_mean"]) if averaged else None,
        **layer_fields(begin, batch.shape, batch.X.shape[-1]),
        **solved.ends_at(options.t_eval),
    )


def limit_diagonal(
    X: ArrayLike,
    y: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    depth: ArrayLike = 2,
    w0: ArrayLike | None = None,
    w_plus0: ArrayLike | None = None,
    w_minus0: ArrayLike | None = None,
    model: str | None = None,
    balance: ArrayLike | None = None,
    start: DiagonalFlow | DiagonalLimit | None = None,
    rescale_layers: tuple[float, float] | None = None,
    loss_scale: float = 1.0,
    weight_decay: ArrayLike = 0.0,
    tol: float = 1e-10,
    max_iter: int = 500,
    backend: str = "auto",
    num_threads: int | None = None,
    progress: bool | Progress = False,
) -> DiagonalLimit:
    """The end of the gradient flow of a diagonal network: argmin Q_alpha(beta) with X beta = y.

    Parameters
    ----------
    X, y, alpha, depth, w0, w_plus0, w_minus0, model, balance, start, rescale_layers
        As in `flow_diagonal`.
    loss_scale, backend, num_threads, progress
        As in `flow_diagonal`.
    weight_decay : array_like, (...)
        Constant weight decay, zero or positive in all runs: the flow is that of L + lambda |w|^2.
    tol : float
        Bound on |X beta - y| / |y|, 1e-14 to 0.1.
    max_iter : int
        Largest number of Newton iterations.

    Returns
    -------
    DiagonalLimit
        Arrays with leading shape B. ``dual`` is the nu with beta = beta(X^T nu); for more samples
        than features its part outside the range of X, which diverges if y does, is left out.
        Under weight decay, where nu diverges, it is 2 c (y - X beta) / lambda, all of it, half of
        that for the models of products. At depth 2 it certifies the minimiser: |x_i^T dual| <= 1,
        equal to one where beta_i is not zero (without w_minus: x_i^T dual <= 1).

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
    The limit is computed by damped Newton iterations on the convex dual function of n_samples
    variables; where these stall, the minimiser is followed in alpha from the kernel regime. No flow
    is integrated. grad Q lies in the row space of X by construction, to rounding. X beta is
    accurate to ``tol``, beta to ``tol`` times the condition number of X; features that can replace
    each other have the further error of `flow_diagonal`. If no beta fits y, which the rank of X
    decides, the status is STATIONARY and beta is the end of the least-squares flow. If rounding
    keeps the residual above ``tol``, the status is MAX_STEPS. Cost: 3 to 15 Gram products and
    Cholesky factorisations for alpha from 1 to 1e-6 at depth 2.

    Under weight decay the flow itself is integrated until the predictor and |w|^2 are at rest,
    because at D > 2 the start decides at which stationary point it ends. Newton iterations on the
    coordinates that remain, and on the dual, then finish the computation, which loses no digits as
    lambda falls to 1e-14 lambda_max, where lambda_max = 2 c max_i |x_i^T y| is the least lambda at
    which the lasso is zero; far below (1e-17 lambda_max at depth 2, 1e-30 above) runs may end as
    MAX_STEPS, and as FAILED where lambda < 1e-150. The status is STATIONARY, ``n_iterations``
    counts steps, of which ``max_iter`` allows 200 times as many. At depth 2 the limit is the lasso,
    argmin c |X beta - y|^2 + lambda |beta|_1, whatever the start; at D > 2 a stationary point of c
    |X beta - y|^2 + lambda sum |beta_i|^(2/D). For the models of products, which have depth 2, it
    is the lasso with 2 lambda. Where that is zero or almost so, no flow is integrated and
    ``n_iterations`` is 0; where the flow takes too many steps, as on the kinks of the lasso path,
    the lasso is computed from its KKT conditions, if it is unique. It is accurate to 1e-12 times
    the condition number of the features that stay. Where a coordinate falls so slowly, or is so
    small, that it cannot be told whether it stays, it is the end of the flow, to 1e-7.

    References
    ----------
    Woodworth et al. (COLT 2020), Theorem 1 (depth 2) and Theorem 3 (depth 3 and more).

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.limit_diagonal([[1.0, 2.0]], [2.0], alpha=1.0, weight_decay=0.4).beta.round(6)
    array([0.  , 0.95])
    >>> krf.limit_diagonal([[1.0, 2.0]], [2.0], alpha=1e3).beta.round(6)
    array([0.4, 0.8])
    """
    check.choice("backend", backend, ("auto", *BACKENDS))
    tolerance = check.scalar("tol", tol, low=1e-14, high=0.1, open_low=False)
    budget = check.integer("max_iter", max_iter, low=1, high=2**30)
    threads = thread_count(num_threads)
    decay = constant_decay(weight_decay)
    X, y = check.data_pair(X, y, device=True, least=check.SMALLEST_TARGET)
    begin = start_of(X, alpha, depth, w0, w_plus0, w_minus0, model, balance, start, rescale_layers)
    scale = checked_scale(loss_scale)
    decayed = decays(decay)
    if decay is not None:
        decay = decay.at_pace(begin.time_factor(scale))
    if not decayed:
        expect_both_signs(begin.minus)
    batch = diagonal_batch(X, y, begin, {}, decay)
    chosen = backend_for(backend, batch, threads)
    with RunBar(progress, len(batch), "limit_diagonal") as bar:
        if not decayed:
            options = LimitOptions(tolerance, budget, threads, bar.update)
            rows = solve_batch(chosen, "diagonal_limit", batch, options)
        else:
            rows = limit_under_decay(batch, chosen, budget, threads, bar.update)
    status = rows["status"].reshape(batch.shape)
    warn_unless_converged(status, "limit_diagonal")

    rows["loss"] = rows["loss"] * scale
    if not decayed:
        never = np.full((len(batch), 1), np.inf)
        dual = batch.to_samples(rows["dual"][:, None, :], never)[:, 0]
        rows["dual"] = dual / begin.time_factor(scale)
    return DiagonalLimit(
        **{name: array.reshape(batch.shape + array.shape[1:]) for name, array in rows.items()},
        backend=chosen.name,
        **layer_fields(begin, batch.shape, batch.X.shape[-1]),
    )
