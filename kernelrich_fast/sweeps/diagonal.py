"""Sweeps of diagonal networks over problems, profiles, depths, weight decay, scales and times."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from .. import _validate as check
from .._runs import Default
from .._types import ArrayLike, FloatArray
from ..backends import MARGIN_LOSSES
from ..decayed_limit import constant_decay
from ..diagonal import flow_diagonal, limit_diagonal
from ..diagonal_start import check_weight_range, checked_model, start_profiles
from ..margin_clock import margin_clock
from ..margin_flow import refuse_with_margins
from ..schedules import Schedule, decays, weight_decay
from ._diagonal_plan import DiagonalPlan, changes
from ._held_out import checked_test_set
from ._margin_plan import EVALUATED, MarginPlan, without_unset
from .execute import run_sweep, sweep_options
from .plan import distinct, problem_axis

if TYPE_CHECKING:
    from distributed import Client
else:  # for typing.get_type_hints, without the extra
    Client = Any

__all__ = ["sweep_diagonal"]

_EPS = Default(0.1)
_KEEP = ("norms", "beta")
_LOSSES = ("squared", *MARGIN_LOSSES)
# Arguments of the flow that the sweep sets or has no use for.
_OWN = ("alpha", "depth", "start", "rescale_layers")


def sweep_diagonal(
    X: ArrayLike,
    y: ArrayLike,
    *,
    alpha: ArrayLike,
    depth: ArrayLike = 2,
    limit: bool = False,
    beta_star: ArrayLike | None = None,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    eps: float = _EPS,
    keep: Sequence[str] = ("norms",),
    store: str | PathLike[str] | None = None,
    client: Client | None = None,
    progress: bool | None = None,
    **flow_options: Any,
) -> xr.Dataset:
    """Sweep diagonal networks over problems, depths and scales.

    Parameters
    ----------
    X : array_like, (n_samples, n_features) or (problem, n_samples, n_features)
        Inputs.
    y : array_like, (n_samples,) or (problem, n_samples)
        Targets.
    alpha : float or array_like, (alpha,)
        Scales of the initial weights.
    depth : float or array_like, (depth,)
        Numbers of layers, real numbers from 2.
    limit : bool
        Compute the limit t -> infinity instead of integrating the flow.
    beta_star : array_like, (n_features,) or (problem, n_features), optional
        True coefficients, for the population error.
    X_test, y_test : array_like, like X and y, optional
        Test data; adds test_rmse, or with a margin loss test_error.
    eps : float
        With a margin loss alone: the excess of l1 norm below which ``critical_loss`` takes a
        direction for that of the l1 maximum margin.
    keep : sequence of {"norms", "beta"}
        Groups of variables to keep; "norms" are the norms, their excess and the kernel distance.
    store : path, optional
        A directory for the results, in Zarr format 3. The same call, repeated, resumes where the
        last one stopped. The Dataset then reads its values only when they are used.
    client : dask.distributed.Client, optional
        Compute on the workers of this cluster, a block of runs per thread of a worker.
    progress : bool, optional
        Whether to show a progress bar; by default on terminals and in notebooks.
    **flow_options
        Passed to `flow_diagonal` (or `limit_diagonal`); ``t_eval`` adds a last dimension "time",
        profiles (w0, w_plus0, w_minus0) of shape (profile, n_features) a dimension "profile",
        ``weight_decay`` of shape (weight_decay,) a dimension of its name.
        rtol, t_max, stop_loss and stop_log_loss broadcast to the sweep's dimensions. With a margin
        ``loss``, ``log_loss_eval`` and ``log_t_eval`` add a last dimension "log_loss" or "log_t".

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (problem, profile, depth, weight_decay,
        alpha, time); arguments that are not swept are scalar coordinates, and other options are
        attributes (``model`` as model_option, a schedule of weight decay as its starts, values and
        rates). Variables: loss, status, n_steps; t, with ``t_eval`` only where a run ended before
        its last time; with "norms" l1_norm, l2_norm, excess_l1, excess_l2 (the norms less those of
        the minimum-norm interpolants; NaN where none exists) and kernel_distance (cosine distance
        of the tangent kernels at start and end); penalty, |w|^2, under weight decay; beta_mean with
        ``averaged``; population_error if beta_star is given; test_rmse, the root mean square error
        on X_test, if that is given; beta, and beta_star where it is given,
        if kept. With a margin loss: log_loss and log_t (where one of them is the last dimension,
        reached_log_loss or reached_log_t stands beside it if a run ended before), and margin, the
        least one; norms are those of the direction (beta over the least margin; NaN where that is
        not positive), excess_l1 and excess_l2 are their ratios to the least norms with all margins
        at least 1, less one; critical_loss (with ``log_loss_eval``) is the ln L below which
        excess_l1 stays at most ``eps``, interpolated between the values asked for: -inf where
        excess_l1 is above at the last of them, and the first of them, as a lower bound, where it is
        nowhere above; population_error is |beta / |beta| - beta_star|^2; in the place of test_rmse
        is test_error, the share of y_test that is not the sign of X_test beta.

        ``status`` holds integers: compare it with ``krf.Status.CONVERGED`` and the other members.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid (the message names it), or the store holds something else.
    StoreError
        If another call writes to the store, or it is read-only or full; data stored before are
        unchanged.

    Warns
    -----
    ConvergenceWarning
        Once, if runs ended as MAX_STEPS or FAILED.

    Notes
    -----
    Runs are computed in blocks of at most 128 MiB (or two runs a thread). Results depend neither on
    how they are cut nor on where or on how many threads they are computed, given the same
    instruction set.
    Beyond the flows: for excess_l1 one `rich_path` per problem and block (a linear program where
    its end has no certificate, and with a margin loss), and two Gram products per run for the
    kernel distance.

    References
    ----------
    Woodworth et al. (COLT 2020), figure 1.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.sparse_regression(20, 50, 2)
    >>> ds = krf.sweep_diagonal(
    ...     data.X, data.y, alpha=[1e-3, 1.0], depth=[2, 3], beta_star=data.beta_star
    ... )
    >>> dict(ds.sizes)
    {'depth': 2, 'alpha': 2}
    >>> bool((ds.excess_l1.sel(alpha=1e-3) < ds.excess_l1.sel(alpha=1.0)).all())
    True
    """
    X, y = check.data_pair(X, y)
    scales, layers = check.positive_array("alpha", alpha), check.depth_array("depth", depth)
    for name, array, most in (("X", X, 3), ("y", y, 2), ("alpha", scales, 1), ("depth", layers, 1)):
        if array.ndim > most:
            raise ValueError(
                f"{name}: expected at most {most} dimension{'s' * (most > 1)}, got {array.shape}"
            )
    check.flag("limit", limit)
    groups = check.choices("keep", keep, _KEEP)
    near = check.scalar("eps", eps, low=0.0)
    X, y, problems = problem_axis(X, y)
    star = None
    if beta_star is not None:
        star = check.real_array("beta_star", beta_star, ndim=1)
        shapes = ((X.shape[-1],), (*problems, X.shape[-1]))
        if star.shape not in shapes:
            raise ValueError(f"beta_star: expected shape {shapes[-1]}, got {star.shape}")
    test = checked_test_set(X_test, y_test, X.shape[-1], problems, "problem")
    options, threads = _options(flow_options, limit)
    margin = options.get("loss", "squared") != "squared"
    if not (margin or isinstance(eps, Default)):
        raise ValueError(f"eps: expected only with a margin loss, got {eps!r}; leave it out")
    without_unset(options)
    plus, minus = start_profiles(
        X.shape[-1], options["w0"], options["w_plus0"], options["w_minus0"]
    )
    count = _profile_count(options)
    decay = _swept_decay(options.pop("weight_decay"), limit)
    swept = () if decay is None or not decay.shape else decay.decay[:, 0]
    for name, given in (
        ("alpha", scales), ("depth", layers), ("weight_decay", swept),
        *((name, options.get(name)) for name in EVALUATED),
    ):  # fmt: skip
        distinct(name, () if given is None else given)
    check_weight_range(scales, layers, plus, minus)
    _check_model(options)
    axes = {
        **({"problem": problems[0]} if problems else {}),
        **({"profile": count} if count else {}),
        **({"depth": layers.size} if layers.ndim else {}),
        **({"weight_decay": len(swept)} if len(swept) else {}),
        **({"alpha": scales.size} if scales.ndim else {}),
    }
    if margin:
        _check_margins(options, y, decays(decay))
        if test is not None:
            check.labels(test.y, name="y_test")
    kind = partial(MarginPlan, eps=near) if margin else DiagonalPlan
    plan = kind(
        dims=tuple(axes), shape=tuple(axes.values()), options=options, X=X, y=y, alpha=scales,
        depth=layers, limit=bool(limit), beta_star=star, keep=groups,
        profiles=(plus, minus), n_profiles=count, decay=decay, test=test,
    )  # fmt: skip
    return run_sweep(plan, num_threads=threads, progress=progress, store=store, client=client)


def _options(given: dict[str, Any], limit: bool) -> tuple[dict[str, Any], int | None]:
    """As of `sweep_options`; what only the flow, or only the limit, has a use for is refused."""
    loss = check.choice("loss", given.get("loss", "squared"), _LOSSES)
    if limit and loss != "squared":
        raise ValueError(
            f"loss: expected 'squared' with limit=True, got {loss!r}; for the limit of a margin "
            "loss see kernelrich_fast.margin_limit"
        )
    called, other = (limit_diagonal, flow_diagonal) if limit else (flow_diagonal, limit_diagonal)
    options = {k: v for k, v in given.items() if not (limit and k == "loss")}
    for name in options:
        takes = [name in inspect.signature(each).parameters for each in (called, other)]
        if takes == [False, True]:
            raise TypeError(
                f"{name}: no option of {called.__name__}, which limit={limit} calls; leave out "
                f"{name}, or give limit={not limit}"
            )
    return sweep_options(sweep_diagonal, called, options, _OWN)


def _check_margins(options: dict[str, Any], y: FloatArray, decayed: bool) -> None:
    """What the flow would refuse in the first block, before any work."""
    if not np.all(np.abs(y) == 1.0):
        raise ValueError(f"y: expected labels -1 and +1, got {np.unique(y)[:5]}")
    refuse_with_margins(
        options["loss"], options["t_max"], options["stop_loss"], options["averaged"]
    )
    asked: dict[str, Any] = {name: options.get(name) for name in ("stop_log_loss", *EVALUATED)}
    margin_clock(**asked, decayed=decayed)


def _check_model(options: dict[str, Any]) -> None:
    """What the flow would refuse in the first block, before any work."""
    model = checked_model(options["model"], None)
    balance = options["balance"]
    if model != "difference":
        for name in ("w_plus0", "w_minus0"):
            if options[name] is not None:
                raise ValueError(f"{name}: expected w0 and balance for model={model!r}")
    if balance is not None:
        check.scalar("balance", balance, low=-1.0, high=1.0, open_low=False)


def _swept_decay(value: Any, limit: bool) -> Schedule | None:
    """Checked weight decay, of one dimension at most."""
    schedule = constant_decay(value) if limit else weight_decay(value)
    if schedule is None:
        return None
    if len(schedule.shape) > 1 or (schedule.shape and changes(schedule)):
        raise ValueError(
            "weight_decay: expected a number, one schedule, or values (weight_decay,), got shape "
            f"{schedule.shape}"
        )
    return schedule


def _profile_count(options: dict[str, Any]) -> int:
    """How many profiles there are, 0 where one is shared."""
    counts = set()
    for name in ("w0", "w_plus0", "w_minus0"):
        shape = np.shape(options[name])
        if len(shape) > 2:
            raise ValueError(f"{name}: expected one profile, or (profile, n_features), got {shape}")
        if len(shape) == 2:
            counts.add(shape[0])
        if len(counts) > 1:
            raise ValueError(
                f"{name}: expected {min(counts)} profiles like the others, got {shape}"
            )
    return counts.pop() if counts else 0
