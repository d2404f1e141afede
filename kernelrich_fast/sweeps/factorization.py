"""Sweeps of matrix completion over width, scale and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from .. import _validate as check
from .._types import ArrayLike, FloatArray, IntArray, Progress
from ..backends.cost import factorization_seconds
from ..backends.crossover import factorization_crossover
from ..config import __version__
from ..datasets import observed_entries
from ..factor_start import check_gaussian_scale
from ..factorization import flow_factorization
from ..initialization import gaussian_factor
from ..measurements import check_sensing
from ..theory.matrices import completion_kernel_distance, nuclear_norm
from .execute import run_sweep, sweep_options
from .plan import Block, SweepPlan, Variables, grid_axes, subset

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
        Passed to `flow_factorization`; ``t_eval`` adds a last dimension "time"; rtol, t_max and
        stop_loss broadcast to the sweep's dimensions.

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (width, alpha, seed, time); arguments that
        are not swept are scalar coordinates, and other options are attributes.  Variables: loss,
        status, n_steps; t, with ``t_eval`` only where a run ended before its last time; test_rmse,
        the root mean square of M - Y_star over unobserved entries; with "norms" nuclear_norm,
        excess_nuclear_norm (over that of Y_star; this and test_rmse only where all of Y_star is
        known), unobserved_movement and unobserved_rms (Frobenius norm, and root mean square, of the
        change of the unobserved entries since the start) and kernel_distance (cosine distance of
        the tangent kernels at start and end); M if kept.

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
    truth, where = _observed(Y_star, n_observed, entries, mask)
    scales = check.positive_array("alpha", alpha)
    widths = check.integer_array("width", width, low=1)
    numbers = check.integer_array("seeds", seeds, low=0)
    for name, array, most in (
        ("Y_star", truth, 3), ("alpha", scales, 1), ("width", widths, 1), ("seeds", numbers, 1),
    ):  # fmt: skip
        if array.ndim > most:
            raise ValueError(f"{name}: expected at most {most} dimensions, got {array.shape}")
    if truth.ndim == 3 and truth.shape[:1] != numbers.shape:
        raise ValueError(
            f"Y_star: expected one matrix, or one for each of {numbers.size} seeds, got shape "
            f"{truth.shape}"
        )
    groups = check.choices("keep", keep, _KEEP)
    check_gaussian_scale(scales)
    options, threads = sweep_options(flow_factorization, flow_options, _OWN)
    axes = grid_axes(
        {"width": ("width", widths), "alpha": ("alpha", scales), "seed": ("seeds", numbers)},
        options["t_eval"],
    )
    plan = _FactorizationPlan(
        dims=tuple(axes), shape=tuple(axes.values()), options=options, Y_star=truth, alpha=scales,
        width=widths, seeds=numbers, n_observed=where, keep=groups,
    )  # fmt: skip
    return run_sweep(plan, num_threads=threads, progress=progress, store=store, client=client)


def _observed(
    Y_star: ArrayLike, n_observed: int | None, entries: Any, mask: Any
) -> tuple[FloatArray, int | IntArray]:
    """The matrix, and how many of its entries are drawn or (2, n_samples) which are observed."""
    given = [
        name
        for name, value in (("n_observed", n_observed), ("entries", entries), ("mask", mask))
        if value is not None
    ]
    if len(given) != 1:
        raise ValueError(
            f"{given[-1] if given else 'n_observed'}: expected exactly one of n_observed, entries "
            f"and mask, got {' and '.join(given) or 'none'}"
        )
    if n_observed is not None:
        truth = check.real_array("Y_star", Y_star, ndim=2)
        size = truth.shape[-2] * truth.shape[-1]
        return truth, check.integer("n_observed", n_observed, low=1, high=size)
    truth = check.real_array("Y_star", Y_star, ndim=2, nan=True)
    dims = truth.shape[-2:]
    if mask is not None:
        seen = check.host_array("mask", mask)
        if seen.dtype != np.bool_ or seen.shape != dims or not seen.any():
            raise ValueError(
                f"mask: expected booleans of shape {dims}, some of them True, got {seen.dtype} of "
                f"shape {seen.shape}"
            )
        entries = np.nonzero(seen)
    sensing = check_sensing(entries, None, dims, False, None)
    where = np.stack([sensing.row, sensing.column])
    if not np.isfinite(truth[..., where[0], where[1]]).all():
        raise ValueError("Y_star: expected finite values where it is observed, got NaN or infinity")
    return truth, where


@dataclass(frozen=True)
class _FactorizationPlan(SweepPlan):
    Y_star: FloatArray
    alpha: FloatArray
    width: IntArray
    seeds: IntArray
    n_observed: int | IntArray  # drawn for every seed, or which
    keep: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether all that M can be compared with is there."""
        return bool(np.isfinite(self.Y_star).all())

    @property
    def n_samples(self) -> int:
        one = self.n_observed
        return one if isinstance(one, int) else one.shape[1]

    function: ClassVar[str] = "sweep_factorization"

    def coords(self) -> dict[str, Any]:
        """Coordinates of the Dataset."""
        coords: dict[str, Any] = {"width": self.width, "alpha": self.alpha, "seed": self.seeds}
        if self.times is not None:
            coords["time"] = self.times
        if "M" in self.keep:
            coords["row"], coords["column"] = map(np.arange, self.Y_star.shape[-2:])
        return {k: (k if v.ndim else (), v) for k, v in coords.items()}

    def attrs(self) -> dict[str, Any]:
        """Attributes of the Dataset."""
        return {
            "model": "matrix factorisation",
            "d1": self.Y_star.shape[-2],
            "d2": self.Y_star.shape[-1],
            "n_observed": self.n_samples,
            "backend": self.options["backend"],
            "kernelrich_fast": __version__,
        }

    def arguments(self) -> dict[str, Any]:
        """Everything that the results depend on."""
        names = ("Y_star", "alpha", "width", "seeds", "n_observed", "keep")
        return {**{k: getattr(self, k) for k in names}, **self.numeric_options()}

    def seconds(self) -> FloatArray:
        """The same for all widths and seeds."""
        one = factorization_seconds(self.n_samples, self.alpha)
        return np.asarray(one.reshape(one.shape + (1,) * self.seeds.ndim))

    def crossover(self) -> float:
        return factorization_crossover(self.n_samples)

    def bytes_per_run(self) -> int:
        """Gram matrix and factor, at the start and at the end, and their comparison."""
        d1, d2 = self.Y_star.shape[-2:]
        rows = 1 if self.times is None else self.times.size
        return int(8 * rows * (8 * (d1 + d2) ** 2 + 3 * d1 * d2))

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """One batch of all seeds, each with its own observed entries."""
        scales = subset(self.dims, block, "alpha", self.alpha)
        widths = subset(self.dims, block, "width", self.width)
        seeds = subset(self.dims, block, "seed", self.seeds)
        truths = self.Y_star
        if truths.ndim == 3:
            truths = subset(self.dims, block, "seed", truths)
        dims = (truths.shape[-2], truths.shape[-1])
        of_alpha = scales.reshape(scales.shape + (1,) * seeds.ndim)
        of_width = widths.reshape(widths.shape + (1,) * of_alpha.ndim)
        row, column = _entries_of(seeds, self.n_observed, dims)
        which = (np.arange(len(truths))[:, None],) if truths.ndim == 3 else ()
        flow = flow_factorization(
            truths[(*which, row, column)], entries=(row, column), dims=dims, alpha=of_alpha,
            width=of_width, seed=seeds, num_threads=num_threads, progress=progress,
            **self.options_in(block),
        )  # fmt: skip
        timed = ("time",) * (self.times is not None)
        variables: Variables = {"status": ((), flow.status), "n_steps": ((), flow.n_steps)}
        variables |= {"loss": (timed, flow.loss), "t": (timed, flow.t)}
        hidden = _Hidden(row, column, dims, len(timed))
        if timed:  # every truth stands for all times
            truths = truths[..., None, :, :]
        if self.known:
            variables["test_rmse"] = (timed, _rms(hidden(flow.M - truths)))
        if "norms" in self.keep:
            start = start_gram(sum(dims), of_alpha, of_width, seeds)
            if timed:
                start = start[..., None, :, :]
            moved = hidden(flow.M - start[..., : dims[0], dims[0] :])
            norm = nuclear_norm(flow.M)
            variables["nuclear_norm"] = (timed, norm)
            if self.known:
                variables["excess_nuclear_norm"] = (timed, norm - nuclear_norm(truths))
            variables["unobserved_movement"] = (timed, np.linalg.norm(moved, axis=-1))
            variables["unobserved_rms"] = (timed, _rms(moved))
            distance = completion_kernel_distance(start, flow.gram, hidden.seen)
            variables["kernel_distance"] = (timed, distance)
        if "M" in self.keep:
            variables["M"] = ((*timed, "row", "column"), flow.M)
        return variables


def _entries_of(
    seeds: IntArray, n_observed: int | IntArray, dims: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """Rows and columns of what every seed observes, (seed, n_samples) each."""
    if isinstance(n_observed, int):
        each = [observed_entries(*dims, n_observed, int(seed)) for seed in seeds.ravel()]
        row, column = np.swapaxes(np.array(each), 0, 1).reshape(2, *seeds.shape, n_observed)
    else:
        row, column = (np.broadcast_to(one, (*seeds.shape, one.size)) for one in n_observed)
    return row, column


class _Hidden:
    """Picks what was not observed from matrices (..., seed, time, d1, d2), onto one axis.

    That axis is contiguous: the order of summation must not depend on the batch.
    """

    def __init__(self, row: IntArray, column: IntArray, dims: tuple[int, int], timed: int) -> None:
        seen = np.zeros((*row.shape[:-1], dims[0] * dims[1]), dtype=bool)
        np.put_along_axis(seen, row * dims[1] + column, True, axis=-1)
        count = seen.shape[-1] - row.shape[-1]
        # What was observed, as numbers (seed, time, d1, d2).
        self.seen = seen.astype(np.float64).reshape(*row.shape[:-1], *(1,) * timed, *dims)
        self.at = np.nonzero(~seen)[-1].reshape(*row.shape[:-1], *(1,) * timed, count)

    def __call__(self, values: FloatArray) -> FloatArray:
        flat = values.reshape(*values.shape[:-2], -1)
        at = self.at.reshape((1,) * (flat.ndim - self.at.ndim) + self.at.shape)
        return np.ascontiguousarray(np.take_along_axis(flat, at, axis=-1))


def start_gram(n: int, alpha: FloatArray, width: IntArray, seeds: IntArray) -> FloatArray:
    """[U; V] [U; V]^T at the start, (width, alpha, seed, n, n)."""
    factors = [[gaussian_factor(n, int(k), int(s)) for s in seeds.ravel()] for k in width.ravel()]
    gram = np.array([[W @ W.T for W in row] for row in factors])
    shape = np.broadcast_shapes(width.shape, (1,) * (alpha.ndim - seeds.ndim) + seeds.shape)
    return np.asarray(gram.reshape(*shape, n, n) * (alpha**2)[..., None, None])


def _rms(values: FloatArray) -> FloatArray:
    """Root mean square over the last axis; NaN where it is empty."""
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(np.sqrt(np.mean(values**2, axis=-1)))
