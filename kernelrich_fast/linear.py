"""Linear networks of two layers and several outputs: their gradient flow at any width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import _validate as check
from ._device import contiguous, namespace
from ._results import FlowResult
from ._runs import STOP_LOSS, flow_options, solve_flows
from ._types import ArrayLike, FloatArray, Progress
from .backends import BACKENDS, LinearBatch, per_run, run_index
from .backends.batch import batch_shape
from .factor_start import FactorStart, drawn_start, explicit_start, given_start
from .linear_data import LinearData, linear_data

__all__ = ["LinearFlow", "flow_linear"]

# csrc/core/linear/grid_kernel.hpp: what the factors of the stiff method may take.
_MAX_DOUBLES = 2**26


@dataclass(frozen=True, eq=False, repr=False)
class LinearFlow(FlowResult):
    """Result of `flow_linear`; B is the batch shape, T the number of evaluation times.

    Arrays are NumPy arrays, or CuPy arrays if data or weights were on a CUDA device.

    Attributes
    ----------
    M : ndarray, B + (d_out, d_in) or B + (T, d_out, d_in)
        The product W2 W1: the network is x -> M x.
    gram : ndarray, B + (n, n) or B + (T, n, n)
        The Gram matrix W W^T of W = [W2; W1^T], with n = d_out + d_in. The flow of M depends on the
        weights only through it.
    W1, W2 : ndarray or None, B + (k, d_in) and B + (d_out, k), or with T before the last two axes
        The layers themselves if all runs have the same width k <= n, and None otherwise.
    loss, t, status, n_steps, n_rhs, n_flops, backend
        As in `FactorizationFlow`; the loss is |X M^T - Y|^2, or, if only S and C are given, its
        excess over the minimum.

    Notes
    -----
    Indexing, ``to_dataset``, ``to_dataframe`` and ``converged`` are those of `DiagonalFlow`.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "M": ("output", "input"), "gram": ("unit", "unit_2"), "W1": ("hidden", "input"),
        "W2": ("output", "hidden"),
    }  # fmt: skip

    M: FloatArray
    gram: FloatArray
    W1: FloatArray | None
    W2: FloatArray | None


def flow_linear(
    X: ArrayLike | None = None,
    Y: ArrayLike | None = None,
    *,
    S: ArrayLike | None = None,
    C: ArrayLike | None = None,
    y_norm2: ArrayLike | None = None,
    width: ArrayLike | None = None,
    alpha: ArrayLike | None = None,
    seed: ArrayLike | None = None,
    W1: ArrayLike | None = None,
    W2: ArrayLike | None = None,
    t_eval: ArrayLike | None = None,
    t_max: ArrayLike = np.inf,
    stop_loss: ArrayLike = STOP_LOSS,
    rtol: ArrayLike = 1e-6,
    atol: float = 0.0,
    method: str = "auto",
    max_steps: int = 100_000,
    backend: str = "auto",
    num_threads: int | None = None,
    progress: bool | Progress = False,
) -> LinearFlow:
    """Integrate the gradient flow of two-layer linear networks, a whole batch in one call.

    The network is x -> W2 W1 x with W1 (k, d_in) and W2 (d_out, k), the loss is L = |X M^T - Y|^2
    with M = W2 W1, and the flow is dW/dt = -grad L for both layers. The leading axes of the data,
    of the start (alpha, width, seed, or W1 and W2) and of t_max, stop_loss and rtol broadcast to
    the batch shape B.

    Parameters
    ----------
    X, Y : array_like, (..., n_samples, d_in) and (..., n_samples, d_out), optional
        Inputs, of size 1e-50 to 1e50, and targets, the largest of a problem 0 or from 1e-80 to
        1e50.
    S, C : array_like, (..., d_in, d_in) and (..., d_out, d_in), optional
        The second moments X^T X and Y^T X instead of samples; for a distribution, the expectations.
    y_norm2 : array_like, (...), optional
        |Y|^2, if S and C are given. Without it, the loss is its excess over the minimum, and
        ``stop_loss`` is relative to that excess at M = 0.
    width : array_like of int, (...)
        Hidden units k >= 1. Beyond d_in + d_out their number changes neither the cost nor the
        memory.
    alpha : array_like, (...)
        Standard deviation of the i.i.d. Gaussian initial weights, 1e-140 to 1e140.
    seed : array_like of int, (...), optional
        Seed of the draw, 0 by default. Equal (seed, width) give equal weights up to the factor
        alpha, in any batch.
    W1, W2 : array_like, (..., k, d_in) and (..., d_out, k), optional
        Initial weights, instead of alpha, width and seed.
    t_eval : array_like, (T,), optional
        Ascending times at which to return the flow; adds an axis T to the results. Integration then
        ends at t_eval[-1] or t_max, whatever the loss. The status is CONVERGED if L at the last
        time is at most 1e-12 of that of the zero predictor, STATIONARY if the run is at rest above
        that, else T_END.
    t_max : array_like, (...)
        Time at which a run ends.
    stop_loss : array_like, (...)
        A run ends once L <= stop_loss * |Y|^2; not together with ``t_eval``.
    rtol : array_like, (...)
        Relative accuracy, 1e-12 to 0.1.
    atol : float
        Absolute part of the tolerance on |M|.
    method : {"auto", "dopri5", "radau5"}
        "dopri5" is explicit and "radau5" implicit, for stiff problems. "auto" chooses for each run
        and may switch during it. If d_out r^2 exceeds 2.2e7, where r is the rank of X, only
        "dopri5" is available.
    max_steps : int
        Largest number of attempted steps per run.
    backend : {"auto", "cuda", "cpu", "numpy"}
        Where to compute. "auto" takes a GPU if there are enough runs for it (docs/gpu.md); "numpy",
        the fallback, is slower and promises less (docs/promises.md). If data or weights are on a
        CUDA device (CuPy arrays, or others through DLPack), they stay there, the results are CuPy
        arrays, and the backend must be "cuda" or "auto".
    num_threads : int, optional
        Threads of the CPU backend; by default all cores this process may use. Each takes a run at a
        time; threads without one help those whose matrices are large. On a given backend results
        do not depend on it.
    progress : bool or callable
        Whether to show a progress bar, or a function that is called with the number of finished
        runs a few times a second.

    Returns
    -------
    LinearFlow
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
    With X = sum_j sigma_j u_j v_j^T the loss is sum_oj (sigma_j <M_o, v_j> - <u_j, Y_o>)^2 plus a
    constant, the part that no M can fit. The flow is thus that of completing a matrix whose entries
    in the basis v_j are all observed, with weights sigma_j. As in `flow_factorization`, W = [W2;
    W1^T] obeys dW/dt = -A W, where A is symmetric and depends only on W W^T, so a factor with d_in
    + d_out columns represents any width [1]_. For samples, sigma is computed from X itself, never
    from X^T X, and modes are resolved down to about 1e-7 of the largest sigma; from moments, down
    to 1e-5.  Accuracy: M at t_eval and at the end lies within 10 rtol of the exact flow, in the
    Frobenius norm relative to |M|. The flow conserves W2^T W2 - W1 W1^T, and the returned weights
    have its initial value restored; from small weights at an rtol above 1e-6 that may not succeed,
    and the difference is then an error of the order of rtol |M|. Runs whose targets no M fits end
    as STATIONARY. Evaluating the velocity costs 3 d_out r (d_in + d_out) multiplications, where r
    is the rank of X. In the basis of the eigenvectors of W2 W2^T the tangent kernel consists of
    d_out blocks of size r, so a stiff step adds about d_out r^3.

    References
    ----------
    .. [1] Woodworth et al., Kernel and Rich Regimes in Overparametrized Models, COLT 2020,
       section 6 and Theorem 4 (the lifted matrix).
    .. [2] Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in
       deep linear neural networks, ICLR 2014.

    Examples
    --------
    Modes are learned one after the other from a small start:

    >>> import numpy as np, kernelrich_fast as krf
    >>> flow = krf.flow_linear(
    ...     np.eye(3), np.diag([3.0, 2.0, 1.0]), width=50, alpha=1e-4, t_eval=[1.5, 2.5, 9.0]
    ... )
    >>> [(np.linalg.svd(M)[1] > 0.1).sum().item() for M in flow.M]
    [1, 2, 3]
    """
    check.choice("backend", backend, ("auto", *BACKENDS))
    options = flow_options(
        rtol=rtol, t_max=t_max, stop_loss=stop_loss, t_eval=t_eval, atol=atol,
        max_steps=max_steps, method=method, num_threads=num_threads,
    )  # fmt: skip
    data = linear_data(X, Y, S, C, y_norm2)
    modes = data.sigma.shape[-1]
    if method == "radau5" and 3 * data.d_out * (-(-modes // 8) * 8) ** 2 > _MAX_DOUBLES:
        raise ValueError(
            f"method: 'radau5' is for d_out times the squared rank of X up to 2.2e7, got d_out "
            f"{data.d_out} and rank {modes}"
        )
    start = _start(data, alpha, width, seed, W1, W2)
    batch, basis = _batch(data, start, options.shapes)
    solved = solve_flows(
        "flow_linear", "linear_flow", batch, options, data.zero_loss[batch.problem_index],
        backend=backend, progress=progress,
    )  # fmt: skip
    d_out = data.d_out
    factors = batch.factors(solved.rows["W"])
    xp = namespace(factors[0])
    for b, factor in enumerate(factors):  # W1 back in the caller's coordinates
        turned = xp.swapaxes(basis[batch.problem_index[b]], 0, 1) @ factor[:, d_out:]
        factors[b] = xp.concatenate([factor[:, :d_out], turned], axis=1)
    gram = solved.shaped(xp.stack([W @ xp.swapaxes(W, -1, -2) for W in factors]))
    first = second = None
    if start.common_width is not None and start.common_width <= batch.n:
        W = solved.shaped(xp.stack(factors))
        second, first = W[..., :d_out, :], contiguous(xp.swapaxes(W[..., d_out:, :], -1, -2))
    return LinearFlow(
        M=contiguous(gram[..., :d_out, d_out:]), gram=gram, W1=first, W2=second, **solved.ends
    )


def _start(data: LinearData, alpha: Any, width: Any, seed: Any, W1: Any, W2: Any) -> FactorStart:
    names = ("W2", "W1")
    layers = explicit_start(W2, W1, False, names)
    if layers is None:
        return drawn_start(data.d_out + data.d_in, alpha, width, seed, "W1 and W2")
    if not (alpha is None and width is None and seed is None):
        raise ValueError("W1: expected either W1 and W2 or alpha, width and seed, got both")
    second, first = layers
    _expect_layers(data, first, second)
    xp = namespace(first)
    return given_start(
        (data.d_out, data.d_in), second, xp.swapaxes(first, -1, -2), symmetric=False, names=names
    )


def _expect_layers(data: LinearData, W1: FloatArray, W2: FloatArray) -> None:
    """Raise unless W2 W1 is a matrix of the shape of the data."""
    shapes = f"got W1 of shape {W1.shape} and W2 of shape {W2.shape}"
    if W1.shape[-2] == data.d_out and W2.shape[-1] == data.d_in and W1.shape[-1] == W2.shape[-2]:
        swapped = W1.shape[-1] != data.d_in or W2.shape[-2] != data.d_out
        shapes += "; they may have been swapped" if swapped else ""
    if W1.shape[-1] != data.d_in:
        raise ValueError(f"W1: expected shape (..., k, {data.d_in}), {shapes}")
    if W2.shape[-2] != data.d_out:
        raise ValueError(f"W2: expected shape (..., {data.d_out}, k), {shapes}")
    if W1.shape[-2] != W2.shape[-1]:
        raise ValueError(f"W1: expected {W2.shape[-1]} rows, the columns of W2, {shapes}")


def _batch(
    data: LinearData, start: FactorStart, options: dict[str, tuple[int, ...]]
) -> tuple[LinearBatch, FloatArray]:
    """The batch, and the bases (problems, d_in, d_in) its problems are in."""
    leads = {"data": data.lead, "start": start.index.shape}
    shape = batch_shape(leads, options, "sweep_linear")
    problem = run_index(data.lead, shape)
    # A start is turned into the basis of every problem that it is used with.
    pairs, which = np.unique(
        np.column_stack([problem, per_run(start.index, shape)]), axis=0, return_inverse=True
    )
    which = np.asarray(which.reshape(-1), dtype=np.int64)
    xp = namespace(data.basis, start.factors[0])
    basis = xp.asarray(data.basis)
    batch = LinearBatch(
        shape=shape,
        n=data.d_out + data.d_in,
        starts=[_turned(xp, basis[p], start.factors[s], data.d_out) for p, s in pairs],
        scale=per_run(start.scale, shape),
        start_index=which,
        sigma=xp.asarray(data.sigma),
        target=xp.asarray(data.target),
        loss_offset=xp.asarray(data.loss_offset),
        problem_index=problem,
        n_modes=data.modes,
    )
    return batch, basis


def _turned(xp: Any, basis: FloatArray, factor: FloatArray, d_out: int) -> FloatArray:
    W = xp.asarray(factor)
    return contiguous(xp.concatenate([W[:d_out], basis @ W[d_out:]], axis=0))
