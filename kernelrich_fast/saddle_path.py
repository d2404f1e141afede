"""The exact path of the gradient flow of diagonal networks as alpha -> 0."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.optimize import nnls

from . import _validate as check
from ._results import Result
from ._runs import RunBar, thread_count
from ._types import ArrayLike, FloatArray, IntArray, Progress
from .backends import DiagonalBatch, follow_paths, get_rich_path_backend, make_batch
from .backends.base import RichPathOptions, RichPathRaw
from .equations.diagonal import rich_bound, rich_time_unit
from .equations.linear_systems import has_uneven_rows
from .status import Status, warn_unless_converged

__all__ = ["RichPath", "check_bounds", "rich_path"]

# A unit column depends on others if the norm of its part orthogonal to them is below the first.
# Columns have no combination of zero, with non-negative weights of sum one, if the least norm of
# such a combination is above the second.
_DEPENDENT = 1e-12
_VANISHING = 1e-9
_LARGEST_BOUND = 1e150  # times features of up to 1e140
# The most samples, if they are more than the features, that are not reduced where their units
# differ. The reduction would lose small rows; without it a square matrix of this size is stored.
_MOST_UNEVEN = 2048
_FITS, _ORTHOGONAL = 1e-11, 1e-9  # of the terms of a row, and of x_i^T r


@dataclass(frozen=True, eq=False, repr=False)
class RichPath(Result):
    """Result of `rich_path`; B is the batch shape, J the largest number of jumps in the batch.

    If a problem has fewer jumps than J, its remaining jump times are infinite and its last saddle
    is repeated.

    Attributes
    ----------
    jump_times : ndarray, B + (J,)
        Times of the jumps, ascending, in units of `time_unit`.
    beta : ndarray, B + (J + 1, n_features)
        The saddles: beta[..., 0, :] = 0, then the saddle after each jump; the last one is the end
        of the path.
    active : ndarray of bool, B + (J + 1, n_features)
        Which features are not zero at each saddle.
    saddle_loss : ndarray, B + (J + 1,)
        |X beta - y|^2 at every saddle.
    dual : ndarray, B + (n_samples,)
        The dual variable s of the Notes at the last jump. It certifies the end: |x_i^T s| <=
        w0_i^(2-D) for all i; where beta_i is not zero, equality holds and x_i^T s has the sign of
        beta_i.
    loss : ndarray, B
        |X beta - y|^2 at the end.
    unique : ndarray of bool, B
        Whether the end is the only minimiser of the weighted l1 norm among all beta that fit (or,
        if none fits, among all least-squares solutions).
    n_jumps, n_pivots : ndarray of int, B
        Numbers of jumps and of least-squares fits.
    depth : ndarray, B
        Number of layers.
    status : ndarray of int, B
        A `Status` per problem: CONVERGED if beta fits y, STATIONARY if no beta does, FAILED where
        rounding does not let that be told.
    backend : str
        The backend that ran.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "jump_times": ("jump",), "beta": ("saddle", "feature"), "active": ("saddle", "feature"),
        "saddle_loss": ("saddle",), "dual": ("sample",),
    }  # fmt: skip
    _timeless: ClassVar[tuple[str, ...]] = ("status", "n_jumps", "n_pivots", "depth", "unique")

    jump_times: FloatArray
    beta: FloatArray
    active: NDArray[np.bool_]
    saddle_loss: FloatArray
    dual: FloatArray
    loss: FloatArray
    unique: NDArray[np.bool_]
    n_jumps: IntArray
    n_pivots: IntArray
    depth: FloatArray
    status: IntArray
    backend: str

    def time_unit(self, alpha: float) -> Any:
        """The time of the gradient flow from scale ``alpha`` that is time 1 on this path.

        Parameters
        ----------
        alpha : float
            Scale of the initial weights, between 0 and 1.

        Returns
        -------
        ndarray, B
            log(1 / alpha^2) / 8 at depth 2, (alpha^(2-D) - 1) / (2 D (D - 2)) at depth D > 2.

        Examples
        --------
        >>> import kernelrich_fast as krf
        >>> path = krf.rich_path([[1.0, 2.0]], [2.0])
        >>> t = path.jump_times[0] * path.time_unit(1e-100)
        >>> flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=1e-100, t_eval=[0.9 * t, 1.1 * t])
        >>> flow.beta.round(3)
        array([[0., 0.],
               [0., 1.]])
        """
        scale = check.scalar("alpha", alpha, low=0.0, high=1.0)
        return rich_time_unit(scale, self.depth)

    def at(self, times: ArrayLike) -> FloatArray:
        """The path at given times; at the time of a jump, the saddle after it.

        Parameters
        ----------
        times : array_like, (T,)
            Times in units of `time_unit`.

        Returns
        -------
        ndarray, B + (T, n_features)
            beta.

        Examples
        --------
        >>> import kernelrich_fast as krf
        >>> krf.rich_path([[1.0, 2.0]], [2.0]).at([0.0, 0.2, 0.3])
        array([[0., 0.],
               [0., 0.],
               [0., 1.]])
        """
        t = check.real_array("times", times)
        if t.ndim != 1:
            raise ValueError(f"times: expected a one-dimensional array, got shape {t.shape}")
        saddle = np.sum(self.jump_times[..., None, :] <= t[:, None], axis=-1)
        return np.take_along_axis(self.beta, saddle[..., None], axis=-2)


def rich_path(
    X: ArrayLike,
    y: ArrayLike,
    *,
    depth: ArrayLike = 2,
    w0: ArrayLike | None = None,
    max_jumps: int = 100_000,
    backend: str = "auto",
    num_threads: int | None = None,
    progress: bool | Progress = False,
) -> RichPath:
    """Follow the gradient flow of diagonal networks in the limit alpha -> 0, from saddle to saddle.

    As the initial weights shrink, the flow of `flow_diagonal` rests at one saddle after another and
    jumps between them. On the time scale of `RichPath.time_unit` its limit is piecewise constant
    and is computed exactly, without integrating a flow and without choosing an alpha. The leading
    axes of X, y, depth and w0 broadcast to the batch shape B.

    Parameters
    ----------
    X : array_like, (..., n_samples, n_features)
        Inputs.
    y : array_like, (..., n_samples)
        Targets.
    depth : array_like, (...)
        Number of layers D >= 2. With w0 = 1 the saddles and jump times do not depend on it.
    w0 : array_like, (..., n_features) or scalar, optional
        Positive profile (shape) of the initial weights alpha w0; ones by default. It matters at
        depth 3 and more.
    max_jumps : int
        Largest number of jumps.
    backend : {"auto", "cpu", "numpy"}
        Where to compute; arrays on a CUDA device are copied to the host.
    num_threads : int, optional
        Number of threads, which share the problems; by default all cores that this process may use.
        Threads without a problem help with the products of large X.
    progress : bool or callable
        Whether to show a progress bar, or a function that is called with the number of finished
        problems a few times a second.

    Returns
    -------
    RichPath
        Saddles, jump times, the end and its certificate, with leading shape B.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it, and nothing has been computed.
    BackendUnavailableError
        If the requested backend does not work on this machine.

    Warns
    -----
    ConvergenceWarning
        Once, if paths ended as MAX_STEPS or FAILED.

    Notes
    -----
    Let s be the time integral of the residual y - X beta in units of `RichPath.time_unit` (the dual
    variable). Between jumps beta is constant and s moves along a straight line. A feature whose
    x_i^T s reaches the bound +-w0_i^(2-D) (+-1 at depth 2) can leave zero; beta then jumps to the
    least-squares fit over the features at their bounds, each with the sign of its bound [1]_ [2]_.
    If a feature has returned to zero and the residual moves its x_i^T s inwards, it leaves its
    bound again. The path ends at the interpolant that minimises sum_i w0_i^(2-D) |beta_i|, or, if
    no beta fits, at the least-squares solution that minimises this norm.

    s, the jump times, X beta and the loss are unique. If features are linearly dependent, beta need
    not be: several beta then have the same predictions and the same norm. The one returned uses
    independent features, while the flow tends to one that depends on the depth. `unique` says
    whether the end is unique.

    Features that reach their bounds within 1e-12 of each other jump together. Saddles are accurate
    to 1e-15 times the condition number of their features, because they are computed by orthogonal
    factorisation; tests compare the path with rational arithmetic. A path ends CONVERGED only if
    every row fits to 1e-11 of its terms (of more samples than features, in units within 1e4: if
    the residual is below 1e-11 |y|), and STATIONARY only if the residual is orthogonal to all
    features; where rounding leaves neither, it ends FAILED. Rows may have any units: where they
    differ by more than 1e4, a slower factorisation bounds the rounding error of each row. Beside
    rows that contradict each other, rows below 1e-7 of them may be left out of the fit. More than
    2048 samples, if they are also more than the features, are not treated so: they can end FAILED.

    A jump costs 4 n_samples n_features operations and one to two fits of a few n_samples^2
    operations each; with rows of different units a feature that leaves costs about n_samples^3 more
    (up to 64 samples; beyond, every n_samples / 64 of them do). Random data have about 1.6
    n_samples jumps; in the worst case their number is exponential. The result holds J + 1 rows of
    n_features numbers.

    References
    ----------
    .. [1] Pesme and Flammarion, Saddle-to-saddle dynamics in diagonal linear networks, NeurIPS
       2023, Algorithm 1 (depth 2).
    .. [2] Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> path = krf.rich_path([[1.0, 0.5, 0.7, 0.0], [0.5, 1.0, 0.1, 0.7]], [1.0, 0.0])
    >>> path.jump_times.round(3)
    array([1.   , 4.   , 5.633])
    >>> path.beta.round(3)
    array([[ 0.   ,  0.   ,  0.   ,  0.   ],
           [ 0.8  ,  0.   ,  0.   ,  0.   ],
           [ 0.   ,  0.   ,  1.4  ,  0.   ],
           [ 0.   ,  0.   ,  1.429, -0.204]])
    """
    check.choice("backend", backend, ("auto", "cpu", "numpy"))
    budget = check.integer("max_jumps", max_jumps, low=1)
    threads = thread_count(num_threads)
    X, y = check.data_pair(X, y)
    layers = check.depth_array("depth", depth)
    profile = check.profile("w0", 1.0 if w0 is None else w0, X.shape[-1])
    check_bounds(profile, layers)
    uneven = X.shape[-2] > X.shape[-1] and has_uneven_rows(X, y)
    reduce = not uneven or X.shape[-2] > _MOST_UNEVEN
    batch = make_batch(X, y, np.ones(()), layers, profile, profile, reduce=reduce)
    bound, bound_index = _bounds(batch)
    chosen = get_rich_path_backend(backend)
    with RunBar(progress, len(batch), "rich_path") as bar:
        options = RichPathOptions(bound, bound_index, budget, threads, bar.update)
        raw = follow_paths(chosen, batch, options)
    status = raw.status.reshape(batch.shape)
    path = _result(batch, raw, status, chosen.name)
    if uneven and reduce:
        path = replace(path, status=_judged(X, y, path))
    warn_unless_converged(path.status, "rich_path")
    return path


def _judged(X: FloatArray, y: FloatArray, path: RichPath) -> IntArray:
    """Statuses by the rows of X, FAILED where these show neither a fit nor a stationary point."""
    beta = path.beta[..., -1, :]
    residual = y - np.squeeze(X @ beta[..., None], -1)
    terms = np.abs(y) + np.squeeze(np.abs(X) @ np.abs(beta)[..., None], -1)
    fits = np.all(np.abs(residual) <= _FITS * terms, axis=-1)
    gradient = np.squeeze(residual[..., None, :] @ X, -2)
    parts = np.squeeze(np.abs(residual)[..., None, :] @ np.abs(X), -2)
    rests = np.all(np.abs(gradient) <= _ORTHOGONAL * parts, axis=-1)
    found = np.where(
        fits, int(Status.CONVERGED), np.where(rests, int(Status.STATIONARY), int(Status.FAILED))
    )
    return np.where(path.status <= int(Status.STATIONARY), found, path.status)


def _bounds(batch: DiagonalBatch) -> tuple[FloatArray, IntArray]:
    """Bounds of every depth and profile that occur together, and which of them a run has."""
    pairs, index = np.unique(
        np.column_stack([batch.depth, batch.w_index]), axis=0, return_inverse=True
    )
    bound = np.stack([rich_bound(batch.profile_plus[int(w)], D) for D, w in pairs])
    return bound, index.ravel().astype(np.int64)


def check_bounds(w0: FloatArray, depth: FloatArray) -> None:
    """Raise unless w0^(2-D) is a floating-point number far from the ends of their range.

    Examples
    --------
    >>> import numpy as np
    >>> check_bounds(np.array([0.5, 2.0]), np.array(3))
    """
    with np.errstate(all="ignore"):
        ends = np.array([w0.min(), w0.max()]) ** (2.0 - float(depth.max()))
    if ends.max() > _LARGEST_BOUND or ends.min() < 1.0 / _LARGEST_BOUND:
        raise ValueError(
            f"w0: expected w0^(2-D) between {1 / _LARGEST_BOUND:g} and {_LARGEST_BOUND:g}, got "
            f"{ends.min():g} to {ends.max():g}"
        )


def _result(batch: DiagonalBatch, raw: RichPathRaw, status: IntArray, name: str) -> RichPath:
    counts = np.array([len(saddles.t) for saddles in raw.saddles], dtype=np.int64)
    most, d = int(counts.max()), batch.X.shape[-1]
    times = np.full((len(batch), most), np.inf)
    beta = np.zeros((len(batch), most + 1, d))
    loss = np.tile(batch.y_norm2[:, None], most + 1)
    for b, saddles in enumerate(raw.saddles):
        count = counts[b]
        times[b, :count] = saddles.t
        rows = np.repeat(np.arange(1, count + 1), np.diff(saddles.first))
        beta[b, rows, saddles.feature] = saddles.value
        beta[b, count + 1 :] = beta[b, count]
        loss[b, 1 : count + 1] = saddles.loss
        loss[b, count + 1 :] = loss[b, count]
    last = beta[:, most]
    unique = np.array(
        [_only_minimiser(batch.data_of(b)[0], raw.at_bound[b], last[b]) for b in range(len(batch))]
    )

    def shaped(array: Any) -> Any:
        return array.reshape(batch.shape + array.shape[1:])

    return RichPath(
        jump_times=shaped(times),
        beta=shaped(beta),
        active=shaped(beta != 0.0),
        saddle_loss=shaped(loss),
        dual=shaped(batch.to_samples(raw.dual[:, None], raw.t[:, None])[:, 0]),
        loss=shaped(raw.loss),
        unique=shaped(unique),
        n_jumps=shaped(counts),
        n_pivots=shaped(raw.n_pivots),
        depth=shaped(batch.depth),
        status=status,
        backend=name,
    )


def _only_minimiser(X: FloatArray, side: NDArray[np.int8], beta: FloatArray) -> bool:
    """Whether no other coefficients of the features at their bounds predict the same.

    Another minimiser gives weight, of the sign of its bound, to features at their bounds with
    beta_i = 0, and changes the others so that the predictions stay. It exists if and only if some
    combination of the parts of these features that are orthogonal to the support, with non-negative
    weights that are not all zero, is zero.
    """
    idle = np.flatnonzero((side != 0) & (beta == 0.0))
    if not len(idle):
        return True
    scaled = X[:, idle] * side[idle] / np.abs(X[:, idle]).max(axis=0)
    rest = scaled / np.linalg.norm(scaled, axis=0)
    support = np.flatnonzero(beta)
    if len(support):
        own = X[:, support] / np.abs(X[:, support]).max(axis=0)
        Q = scipy.linalg.qr(own, mode="economic")[0]
        for _ in range(2):  # the second removes what rounding left in the first
            rest = rest - Q @ (Q.T @ rest)
    if np.min(np.linalg.norm(rest, axis=0)) <= _DEPENDENT:
        return False
    weights = np.vstack([rest, np.ones(len(idle))])
    _, misfit = nnls(weights, np.append(np.zeros(len(rest)), 1.0))
    return bool(misfit > _VANISHING)
