"""Sweeps of matrix completion over width, scale and seed."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .. import _validate as check
from .._types import ArrayLike, FloatArray, IntArray
from ..backends import MARGIN_LOSSES
from ..factor_start import check_gaussian_scale
from ..factorization import flow_factorization
from ..margin_clock import margin_clock, refuse_squared_options
from ..measurements import check_sensing
from ._factor_margin_plan import FactorMarginPlan
from ._factorization_plan import FactorizationPlan
from ._margin_plan import EVALUATED, without_unset
from .execute import run_sweep, sweep_options
from .plan import distinct, grid_axes

if TYPE_CHECKING:
    from distributed import Client
else:  # for typing.get_type_hints, without the extra
    Client = Any

__all__ = ["sweep_factorization"]

_KEEP = ("norms", "M")
# Arguments of the flow that the sweep sets.
_OWN = (
    "alpha", "width", "seed", "entries", "measurements", "dims", "symmetric", "U0", "V0",
)  # fmt: skip


def sweep_factorization(
    Y_star: ArrayLike,
    *,
    alpha: ArrayLike,
    width: ArrayLike,
    seeds: ArrayLike = 0,
    n_observed: int | None = None,
    entries: tuple[ArrayLike, ArrayLike] | None = None,
    mask: ArrayLike | None = None,
    keep: Sequence[str] = ("norms",),
    store: str | PathLike[str] | None = None,
    client: Client | None = None,
    progress: bool | None = None,
    **flow_options: Any,
) -> xr.Dataset:
    """Sweep matrix completion over widths, scales and seeds.

    Parameters
    ----------
    Y_star : array_like, (d1, d2) or (seed, d1, d2)
        The matrix to complete, or one per seed. With ``mask`` or ``entries`` it may be NaN where it
        is not observed.
    alpha : float or array_like, (alpha,)
        Standard deviations of the initial weights.
    width : int or array_like of int, (width,)
        Widths k; beyond d1 + d2 they do not change the cost.
    seeds : int or array_like of int, (seed,)
        A seed determines the initial weights, and with ``n_observed`` which entries are observed.
    n_observed : int, optional
        Number of observed entries, which every seed draws anew.
    entries : pair of integer array_like, (n_samples,) each, optional
        Rows and columns of the observed entries, the same for all seeds, instead of n_observed.
    mask : boolean array_like, (d1, d2), optional
        True where Y_star is observed, instead of n_observed or ``entries``.
    keep : sequence of {"norms", "M"}
        Groups of variables to keep; "norms" are the norms, the movement and the kernel distance.
    store : path, optional
        A directory for the results, in Zarr format 3. The same call, repeated, resumes where the
        last one stopped. The Dataset then reads its values only when they are used.
    client : dask.distributed.Client, optional
        Compute on the workers of this cluster, a block of runs per thread of a worker.
    progress : bool, optional
        Whether to show a progress bar; by default on terminals and in notebooks.
    **flow_options
        Passed to `flow_factorization`; ``t_eval`` adds a last dimension "time"; rtol, t_max,
        stop_loss and stop_log_loss broadcast to the sweep's dimensions. With a margin loss
        (``loss="exponential"`` or ``"logistic"``) what is observed of Y_star are labels, -1 or +1,
        and ``log_loss_eval`` or ``log_t_eval`` add a last dimension "log_loss" or "log_t".

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (width, alpha, seed, time); arguments that
        are not swept are scalar coordinates, and other options are attributes. With ``mask`` or
        ``entries`` the coordinate observed (row, column) is 1 where Y_star is. Variables: loss,
        status, n_steps; t, with ``t_eval`` only where a run ended before its last time; test_rmse,
        the root mean square of M - Y_star over unobserved entries; with "norms" nuclear_norm,
        excess_nuclear_norm (over that of Y_star; this and test_rmse only where all of Y_star is
        known), unobserved_movement and unobserved_rms (Frobenius norm, and root mean square, of the
        change of the unobserved entries since the start) and kernel_distance (cosine distance of
        the tangent kernels at start and end); M if kept.

        With a margin loss: loss, t, status and n_steps; log_loss and log_t, the logarithms of the
        first two (where one of them is the last dimension, reached_log_loss or reached_log_t stands
        beside it if a run ended before); margin, the least one; test_error, the share of hidden
        entries whose label, where Y_star has one, is not the sign of M; with "norms"
        direction_nuclear_norm, the nuclear norm of M over the least margin (NaN where that is not
        positive), and kernel_distance; M if kept.

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

    References
    ----------
    Woodworth et al. (COLT 2020), figure 5.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.low_rank_completion(6, 6, 1, 24)
    >>> ds = krf.sweep_factorization(
    ...     data.Y_star, alpha=[1e-3, 1.0], width=[6, 10_000], seeds=[0, 1], n_observed=24
    ... )
    >>> dict(ds.sizes)
    {'width': 2, 'alpha': 2, 'seed': 2}
    >>> excess = ds.excess_nuclear_norm.mean("seed")
    >>> bool(excess.sel(width=6, alpha=1e-3) < excess.sel(width=10_000, alpha=1.0))
    True
    """
    truth, where, given_as = _observed(Y_star, n_observed, entries, mask)
    scales = check.positive_array("alpha", alpha)
    widths = check.integer_array("width", width, low=1)
    numbers = check.integer_array("seeds", seeds, low=0)
    for name, array, most in (
        ("Y_star", truth, 3), ("alpha", scales, 1), ("width", widths, 1), ("seeds", numbers, 1),
    ):  # fmt: skip
        if array.ndim > most:
            raise ValueError(
                f"{name}: expected at most {most} dimension{'s' * (most > 1)}, got {array.shape}"
            )
    if truth.ndim == 3 and truth.shape[:1] != numbers.shape:
        raise ValueError(
            f"Y_star: expected one matrix, or one for each of {numbers.size} seeds, got shape "
            f"{truth.shape}"
        )
    groups = check.choices("keep", keep, _KEEP)
    check_gaussian_scale(scales)
    options, threads = sweep_options(sweep_factorization, flow_factorization, flow_options, _OWN)
    without_unset(options)
    margin = check.choice("loss", options["loss"], ("squared", *MARGIN_LOSSES)) != "squared"
    if margin:
        _check_margins(options, truth, where)
    else:
        del options["loss"]  # stores of before know of none
    axes = grid_axes(
        {"width": ("width", widths), "alpha": ("alpha", scales), "seed": ("seeds", numbers)},
        options["t_eval"],
    )
    for name in EVALUATED:
        distinct(name, () if options.get(name) is None else options[name])
    plan = (FactorMarginPlan if margin else FactorizationPlan)(
        dims=tuple(axes), shape=tuple(axes.values()), options=options, Y_star=truth, alpha=scales,
        width=widths, seeds=numbers, n_observed=where, keep=groups, given_as=given_as,
    )  # fmt: skip
    return run_sweep(plan, num_threads=threads, progress=progress, store=store, client=client)


def _observed(
    Y_star: ArrayLike, n_observed: int | None, entries: Any, mask: Any
) -> tuple[FloatArray, int | IntArray, str]:
    """The matrix, how many entries are drawn or (2, n_samples) which are observed, and by what."""
    given = [
        name
        for name, value in (("n_observed", n_observed), ("entries", entries), ("mask", mask))
        if value is not None
    ]
    if len(given) != 1:
        advice = "; of a masked array pass Y_star.filled(0) with mask=~Y_star.mask"
        raise ValueError(
            f"{given[-1] if given else 'n_observed'}: expected exactly one of n_observed, entries "
            f"and mask, got {' and '.join(given) or 'none'}"
            f"{advice if not given and np.ma.isMaskedArray(Y_star) else ''}"
        )
    if n_observed is not None:
        truth = check.real_array("Y_star", Y_star, ndim=2)
        size = truth.shape[-2] * truth.shape[-1]
        return truth, check.integer("n_observed", n_observed, low=1, high=size), given[0]
    truth = check.real_array("Y_star", Y_star, ndim=2, nan=True)
    dims = truth.shape[-2:]
    if mask is not None:
        entries = np.nonzero(_seen(mask, dims))
    sensing = check_sensing(entries, None, dims, False, None)
    where = np.stack([sensing.row, sensing.column])
    if not np.isfinite(truth[..., where[0], where[1]]).all():
        raise ValueError("Y_star: expected finite values where it is observed, got NaN or infinity")
    return truth, where, given[0]


def _seen(mask: Any, dims: tuple[int, int]) -> NDArray[np.bool_]:
    """The argument ``mask``, True where an entry of Y_star is observed."""
    seen: NDArray[np.bool_] = check.host_array("mask", mask)
    if seen.dtype != np.bool_:
        raise ValueError(
            "mask: expected True where an entry is observed and False elsewhere, got an array of "
            f"{seen.dtype}; pass it with .astype(bool)"
        )
    if seen.shape != dims:
        raise ValueError(f"mask: expected shape {dims}, that of Y_star, got {seen.shape}")
    if not seen.any():
        raise ValueError("mask: expected True where an entry is observed, got False everywhere")
    return seen


def _check_margins(options: dict[str, Any], truth: FloatArray, where: int | IntArray) -> None:
    """What the flow would refuse in the first block, before any work."""
    seen = truth if isinstance(where, int) else truth[..., where[0], where[1]]
    if not np.all(np.abs(seen) == 1.0):
        raise ValueError(
            f"Y_star: expected labels -1 and +1 with loss={options['loss']!r}, got "
            f"{np.unique(seen)[:5]}"
        )
    refuse_squared_options(options["loss"], options["t_max"], options["stop_loss"])
    asked: dict[str, Any] = {name: options.get(name) for name in ("stop_log_loss", *EVALUATED)}
    margin_clock(**asked)
