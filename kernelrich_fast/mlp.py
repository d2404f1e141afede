"""Small fully connected ReLU networks: gradient flow through their kinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import _validate as check
from ._device import contiguous, namespace, to_host
from ._results import FlowResult
from ._runs import STOP_LOSS, flow_options, solve_flows
from ._types import ArrayLike, FloatArray, IntArray, Progress
from .backends import (
    BACKENDS,
    MLP_METHODS,
    MLPBatch,
    MLPLayout,
    per_run,
    run_index,
)
from .backends.batch import batch_shape
from .mlp_start import (
    SMALLEST_TARGET,
    check_size,
    drawn_layout,
    drawn_start,
    given_start,
    output_count,
    refuse_other_start,
    rescaled_start,
)
from .theory.networks import mlp_predict

__all__ = ["MLPFlow", "flow_mlp"]

_LOSSES = ("squared", "cross_entropy")
_STARTS = ("he_uniform", "he_normal")


@dataclass(frozen=True, eq=False, repr=False)
class MLPFlow(FlowResult):
    """Result of `flow_mlp`; B is the batch shape, T the number of evaluation times.

    Attributes
    ----------
    weights : list of ndarray, B + (fan_out, fan_in) or B + (T, fan_out, fan_in)
        Weights of the layers; an antisymmetric model has an axis for its two copies before the last
        two.
    biases : list of ndarray, B + (fan_out,) or B + (T, fan_out), or None
        Biases of the layers, likewise.
    weights0, biases0 : list of ndarray, without the T axis
        The initial weights and biases, including the factor alpha.
    loss, t : ndarray, B or B + (T,)
        The loss, and the time of each row. After a run has ended, its last state and time are
        repeated.
    status : ndarray of int, B
        A `Status` per run.
    n_steps, n_rhs : ndarray of int, B
        Accepted steps, and evaluations of the gradient of the loss.
    antisymmetric : bool
        Whether the predictor is the difference of two copies.
    n_flops : ndarray, B
        Multiplications and additions of the dense linear algebra, not counting elementwise
        functions; zero for the backend "numpy", which does not count them.
    backend : str
        The backend that ran.

    Notes
    -----
    Indexing, ``to_dataset``, ``to_dataframe`` and ``converged`` are those of `DiagonalFlow`.
    """

    weights: list[FloatArray]
    biases: list[FloatArray] | None
    weights0: list[FloatArray]
    biases0: list[FloatArray] | None
    antisymmetric: bool

    def predict(self, X_new: ArrayLike) -> FloatArray:
        """Predictions of the trained networks at X_new.

        Parameters
        ----------
        X_new : array_like, (n_new, n_features)
            Inputs.

        Returns
        -------
        ndarray, B + (n_new,) or B + (T, n_new); with classes, one more axis for their scores
            Predictions.

        Raises
        ------
        ValueError, TypeError
            If X_new is not an array of finite numbers with as many features as the training inputs.

        Examples
        --------
        >>> import kernelrich_fast as krf
        >>> flow = krf.flow_mlp([[1.0, 2.0]], [1.0], width=5, alpha=1.0)
        >>> flow.predict([[1.0, 2.0]]).round(4)
        array([1.])
        """
        n_features = self.weights[0].shape[-1]
        new = check.real_array("X_new", X_new, device=True)
        if new.ndim < 2:
            raise ValueError(f"X_new: expected shape (n_new, {n_features}), got {new.shape}")
        if new.shape[-1] != n_features:
            raise ValueError(f"X_new: expected {n_features} features, got {new.shape}")
        return mlp_predict(self.weights, new, biases=self.biases, antisymmetric=self.antisymmetric)


def flow_mlp(
    X: ArrayLike,
    y: ArrayLike,
    *,
    depth: int = 2,
    width: int = 30,
    alpha: ArrayLike = 1.0,
    seed: ArrayLike = 0,
    weights0: Sequence[ArrayLike] | None = None,
    biases0: Sequence[ArrayLike] | None = None,
    bias: bool = False,
    antisymmetric: bool = False,
    init: str = "he_uniform",
    layer_scales: ArrayLike | None = None,
    loss: str = "squared",
    n_classes: int | None = None,
    step_size: float | None = None,
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
) -> MLPFlow:
    """Integrate the gradient flow of many small ReLU networks, a whole batch in one call.

    The network has ``depth`` layers of weights with ReLUs between them, the loss is L = sum_n
    (f(x_n) - y_n)^2 (or the sum of cross-entropies), and the flow is dw/dt = -dL/dw from w(0) =
    alpha w0. The leading axes of X, y, the initial weights, alpha, seed, t_max, stop_loss and rtol
    broadcast to the batch shape B.

    Parameters
    ----------
    X : array_like, (..., n_samples, n_features)
        Inputs.
    y : array_like, (..., n_samples)
        Targets, the largest of a run 0 or from 1e-80 to 1e140; or classes 0, 1, ... for
        ``loss="cross_entropy"``.
    depth : int
        Layers of weights, 2 to 8: depth 2 has one hidden layer.
    width : int
        Units of every hidden layer, up to 16,384.
    alpha : array_like, (...)
        Scale of the start.
    seed : array_like of int, (...)
        Seed of the random w0; equal seeds give equal w0 at any alpha.
    weights0 : sequence of array_like, (..., fan_out, fan_in) each, optional
        Weights of w0, instead of random ones; they then determine depth and width. ``seed`` has no
        effect beside them, and arguments that contradict them are refused.
    biases0 : sequence of array_like, (..., fan_out) each, optional
        Biases in w0, with ``weights0``; zero by default.
    bias : bool
        Whether every layer has trained biases.
    antisymmetric : bool
        Use the unbiased model, the difference of two copies with equal initial weights, so that its
        initial output is zero. Both copies are trained.
    init : {"he_uniform", "he_normal"}
        Distribution of the random weights: uniform on +-sqrt(6 / fan_in), or N(0, 2 / fan_in).
    layer_scales : float or array_like, (depth,), optional
        Factors that multiply the layers of w0, including biases: the shape of the start. If their
        product is one, the initial outputs of a network without biases do not change.
    loss : {"squared", "cross_entropy"}
        Loss; "cross_entropy" has one output per class.
    n_classes : int, optional
        Number of classes, for ``loss="cross_entropy"``; by default one more than the largest in y.
    step_size : float, optional
        Step of ``method="gradient_descent"``; a step of size h advances t by h.
    t_eval : array_like, (T,), optional
        Ascending times at which to return the flow; adds an axis T to the results. Integration then
        ends at t_eval[-1] or t_max, whatever the loss. The status is CONVERGED if L at the last
        time is at most 1e-12 of that of the zero predictor, STATIONARY if the run is at rest above
        that, else T_END. With ``method="gradient_descent"`` a row is the first state at or after
        its time; the time of that state is in ``t``.
    t_max : array_like, (...)
        Time at which a run ends.
    stop_loss : array_like, (...)
        A run ends once L <= stop_loss times the loss of the zero predictor, which is sum(y^2), or
        n_samples log(n_classes).
    rtol : array_like, (...)
        Tolerance, 1e-12 to 0.1, of a step: relative to the weights of each unit, and for the
        predictions relative to the norm of y.
    atol : float
        Absolute part of the tolerance on the norm of the predictions.
    method : {"auto", "dopri5", "exponential", "gradient_descent"}
        "exponential" treats the tangent kernel exactly (squared loss, up to 1024 samples), and
        "dopri5" is explicit; "auto" chooses between them during each run. "gradient_descent" takes
        full-batch steps of ``step_size``.
    max_steps : int
        Largest number of attempted steps per run.
    backend : {"auto", "cuda", "cpu", "numpy"}
        Where to compute. "auto" takes a GPU if there are enough runs for it (docs/gpu.md); "numpy",
        the fallback, is slower and promises less (docs/promises.md). If X, y, weights0 or biases0
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
    MLPFlow
        Weights and losses with leading shape B; `MLPFlow.predict` evaluates the networks.

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
    The velocity dw/dt jumps where the input of a unit crosses zero (a kink). A step holds the state
    of every unit (on or off) fixed, so that the velocity within the step is smooth. The error that
    this causes after a crossing is added to the error estimate, and if the sum exceeds ``rtol`` the
    step is shortened to end just after the first crossing. Where the velocities on both sides of a
    kink point towards it, the trajectory slides along the kink [2]_ until one of them points away.
    Along the flow, predictions lie within 10 rtol times the norm of y of the exact flow. Tests
    check this against extrapolated gradient descent, which resolves about 1e-5, and, where no kink
    is crossed, against SciPy for rtol down to 1e-10. Where several kinks meet in one point the flow
    may depend discontinuously on its start, and errors may be larger (docs/promises.md says in how
    many random networks). The derivative relu'(0) is 0. STATIONARY means a local minimum, or a
    network all of whose units are off.

    A step of the exponential method costs four gradients, four products with the Jacobian, and an
    eigendecomposition of the n_samples x n_samples tangent kernel. A flow near the kernel regime
    takes a few dozen steps.

    References
    ----------
    .. [1] Woodworth et al., Kernel and Rich Regimes in Overparametrized Models, COLT 2020,
       section 7, figures 6 and 7.
    .. [2] Filippov, Differential Equations with Discontinuous Righthand Sides, 1988.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.circle_teacher(10, seed=1)
    >>> flow = krf.flow_mlp(data.X, data.y, depth=2, alpha=[0.1, 1.0], seed=[[0], [1]])
    >>> flow.predict(data.X).shape, flow.status.tolist()
    ((2, 2, 10), [[0, 0], [0, 0]])
    """
    check.choice("backend", backend, ("auto", *BACKENDS))
    check.choice("loss", loss, _LOSSES)
    check.choice("init", init, _STARTS)
    check.flag("bias", bias)
    check.flag("antisymmetric", antisymmetric)
    options = flow_options(
        rtol=rtol, t_max=t_max, stop_loss=stop_loss, t_eval=t_eval, atol=atol,
        max_steps=max_steps, method=method, num_threads=num_threads, methods=MLP_METHODS,
    )  # fmt: skip
    step = _step(method, step_size)
    inputs, targets = check.data_pair(X, y, device=True, least=SMALLEST_TARGET)
    outputs = output_count(loss, targets, n_classes)
    scale = check.positive_array("alpha", alpha)
    copies = 2 if antisymmetric else 1
    if weights0 is None:
        if biases0 is not None:
            raise ValueError("biases0: expected weights0 too, got biases0 alone")
        layout = drawn_layout(inputs.shape[-1], outputs, depth, width, copies, bool(bias))
        w0, w_index = drawn_start(layout, init, check.integer_array("seed", seed, low=0))
    else:
        layout, w0, w_index = given_start(
            weights0, biases0, bool(bias), copies, inputs.shape[-1], outputs
        )
        refuse_other_start(layout, depth, width, seed, init)
    check_size(layout, targets.shape[-1], method)
    if layer_scales is not None:
        w0 = rescaled_start(layout, w0, layer_scales)
    batch, zero_loss = _batch(
        layout, loss, step, inputs, targets, w0, w_index, scale, options.shapes,
        "seed" if weights0 is None else "weights0",
    )  # fmt: skip
    solved = solve_flows(
        "flow_mlp", "mlp_flow", batch, options, zero_loss, backend=backend, progress=progress
    )
    w = solved.rows["w"]
    xp = namespace(w)
    start = xp.asarray(batch.alpha)[:, None] * xp.asarray(w0)[xp.asarray(batch.w_index)]
    weights, biases = _layers(layout, solved.shaped(w))
    first, first_biases = _layers(layout, start.reshape(batch.shape + start.shape[1:]))
    return MLPFlow(
        weights=weights,
        biases=biases,
        weights0=first,
        biases0=first_biases,
        antisymmetric=bool(antisymmetric),
        **solved.ends,
    )


def _step(method: str, step_size: float | None) -> float:
    if method == "gradient_descent":
        if step_size is None:
            raise ValueError("step_size: expected with method='gradient_descent', got none")
        return check.scalar("step_size", step_size, low=0.0, high=1e300)
    if step_size is not None:
        raise ValueError(f"step_size: expected only with 'gradient_descent', got method {method!r}")
    return 0.0


def _batch(
    layout: MLPLayout,
    loss: str,
    step_size: float,
    X: FloatArray,
    y: FloatArray,
    w0: FloatArray,
    w_index: IntArray,
    alpha: FloatArray,
    options: dict[str, tuple[int, ...]],
    start: str,
) -> tuple[MLPBatch, FloatArray]:
    leads = {
        "X": X.shape[:-2], "y": y.shape[:-1], "alpha": alpha.shape, start: w_index.shape,
    }  # fmt: skip
    shape = batch_shape(leads, options, "sweep_mlp")
    flat = contiguous(y.reshape(-1, y.shape[-1]))
    y_index = run_index(y.shape[:-1], shape)
    zero_loss = (
        to_host((flat * flat).sum(axis=-1))
        if loss == "squared"
        else np.full(len(flat), y.shape[-1] * np.log(layout.units[-1]))
    )
    batch = MLPBatch(
        shape=shape,
        layout=layout,
        loss=loss,
        step_size=step_size,
        X=contiguous(X.reshape(-1, *X.shape[-2:])),
        y=flat,
        w0=w0,
        alpha=per_run(alpha, shape),
        x_index=run_index(X.shape[:-2], shape),
        y_index=y_index,
        w_index=per_run(w_index, shape),
    )
    return batch, zero_loss[y_index]


def _layers(
    layout: MLPLayout, flat: FloatArray
) -> tuple[list[FloatArray], list[FloatArray] | None]:
    """Weights and biases as callers see them."""
    layers = layout.split(flat)
    if layout.copies == 1:
        layers = [layer[..., 0, :, :] for layer in layers]
    if not layout.bias:
        return [contiguous(layer) for layer in layers], None
    return (
        [contiguous(layer[..., :-1]) for layer in layers],
        [contiguous(layer[..., -1]) for layer in layers],
    )
