"""Sweeps of diagonal networks over problems, depths and scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from .. import _validate as check
from .._types import ArrayLike, FloatArray, Progress
from ..backends.cost import diagonal_flow_seconds, diagonal_limit_seconds
from ..backends.crossover import diagonal_crossover
from ..config import __version__
from ..decayed_limit import constant_decay
from ..diagonal import DiagonalFlow, DiagonalLimit, flow_diagonal, limit_diagonal
from ..diagonal_start import check_weight_range, checked_model, start_profiles
from ..schedules import Schedule, weight_decay
from ._measures import kernel_distances, least_norms
from .execute import run_sweep, sweep_options
from .plan import Block, SweepPlan, Variables, distinct, subset

if TYPE_CHECKING:
    from distributed import Client
else:  # for typing.get_type_hints, without the extra
    Client = Any

__all__ = ["sweep_diagonal"]

_KEEP = ("norms", "beta")


def sweep_diagonal(
    X: ArrayLike,
    y: ArrayLike,
    *,
    alpha: ArrayLike,
    depth: ArrayLike = 2,
    limit: bool = False,
    beta_star: ArrayLike | None = None,
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
        Take the t -> infinity limit instead of integrating the flow.
    beta_star : array_like, (n_features,) or (problem, n_features), optional
        Teacher, for the population error.
    keep : sequence of {"norms", "beta"}
        Groups of variables to keep; "norms" are the norms, their excess and the kernel distance.
    store : path, optional
        A directory for the results, in Zarr format 3; the same call again goes on where the last
        one stopped. The Dataset then reads its values when they are used.
    client : dask.distributed.Client, optional
        Compute on the workers of this cluster, a block of runs per thread of a worker.
    progress : bool, optional
        Show a progress bar; by default on terminals and in notebooks.
    **flow_options
        Passed to `flow_diagonal` (or `limit_diagonal`); ``t_eval`` adds a last dimension "time",
        profiles (w0, w_plus0, w_minus0) of shape (profile, n_features) a dimension "profile",
        ``weight_decay`` of shape (weight_decay,) a dimension of its name.
        rtol, t_max and stop_loss broadcast to the sweep's dimensions.

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (problem, profile, depth, weight_decay,
        alpha, time); what is not swept is a scalar coordinate, other options are attributes (a
        schedule of weight decay as its starts, values and rates).  Variables: loss, status,
        n_steps; t, with ``t_eval`` only where a run ended before its last time; with "norms"
        l1_norm, l2_norm, excess_l1, excess_l2 (over the minimum-norm interpolants; NaN where none
        exists) and kernel_distance (cosine distance of the tangent kernels at start and end);
        penalty, |w|^2, under weight decay; beta_mean with ``averaged``; population_error if
        beta_star is given; beta, and beta_star where it is given, if kept.

    Raises
    ------
    ValueError, TypeError
        For illegal arguments, by name; for a store that holds something else.
    StoreError
        If the store is written by another call, read-only or full; what it held it still holds.

    Warns
    -----
    ConvergenceWarning
        Once, if runs ended as MAX_STEPS or FAILED.

    Notes
    -----
    Runs are computed in blocks of at most 128 MiB (or two runs a thread). Results depend neither on
    how they are cut nor on where or on how many threads they are computed, given the same
    instruction set.
    Beyond the flows: one linear program per problem and block for excess_l1 and two Gram products
    per run for the kernel distance.

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
            raise ValueError(f"{name}: expected at most {most} dimensions, got {array.shape}")
    check.flag("limit", limit)
    groups = check.choices("keep", keep, _KEEP)
    try:
        problems = np.broadcast_shapes(X.shape[:-2], y.shape[:-1])
    except ValueError:
        raise ValueError(
            f"y: expected one for each of {len(X)} problems, got shape {y.shape}"
        ) from None
    star = None
    if beta_star is not None:
        star = check.real_array("beta_star", beta_star, ndim=1)
        shapes = ((X.shape[-1],), (*problems, X.shape[-1]))
        if star.shape not in shapes:
            raise ValueError(f"beta_star: expected shape {shapes[-1]}, got {star.shape}")
    own = ("alpha", "depth", "start", "rescale_layers")
    options, threads = sweep_options(limit_diagonal if limit else flow_diagonal, flow_options, own)
    plus, minus = start_profiles(
        X.shape[-1], options["w0"], options["w_plus0"], options["w_minus0"]
    )
    count = _profile_count(options)
    decay = _swept_decay(options.pop("weight_decay"), limit)
    swept = () if decay is None or not decay.shape else decay.decay[:, 0]
    for name, given in (
        ("alpha", scales), ("depth", layers), ("weight_decay", swept),
        ("t_eval", options.get("t_eval")),
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
    plan = _DiagonalPlan(
        dims=tuple(axes), shape=tuple(axes.values()), options=options, X=X, y=y, alpha=scales,
        depth=layers, limit=bool(limit), beta_star=star, keep=groups,
        profiles=(plus, minus), n_profiles=count, decay=decay,
    )  # fmt: skip
    return run_sweep(plan, num_threads=threads, progress=progress, store=store, client=client)


@dataclass(frozen=True)
class _DiagonalPlan(SweepPlan):
    X: FloatArray
    y: FloatArray
    alpha: FloatArray
    depth: FloatArray
    limit: bool
    beta_star: FloatArray | None
    keep: tuple[str, ...]
    profiles: tuple[FloatArray, FloatArray]
    n_profiles: int  # 0 for one that is shared
    decay: Schedule | None  # of shape () or (weight_decay,)

    function: ClassVar[str] = "sweep_diagonal"

    def coords(self) -> dict[str, Any]:
        """Coordinates of the Dataset."""
        coords: dict[str, Any] = {"depth": self.depth, "alpha": self.alpha}
        if self.decay is not None and not _changes(self.decay):
            coords["weight_decay"] = self.decay.decay[..., 0]
        if self.times is not None:
            coords["time"] = self.times
        for dim, size in zip(self.dims, self.shape, strict=True):
            if dim in ("problem", "profile"):
                coords[dim] = np.arange(size)
        if "beta" in self.keep or self.n_profiles or self.options.get("averaged"):
            coords["feature"] = np.arange(self.X.shape[-1])
        named: dict[str, Any] = {k: (k if np.ndim(v) else (), v) for k, v in coords.items()}
        for name in ("w0", "w_plus0", "w_minus0"):
            if np.ndim(self.options[name]) == 2:
                named[name] = (("profile", "feature"), np.asarray(self.options[name], dtype=float))
        if "beta" in self.keep and self.beta_star is not None:
            named["beta_star"] = (("problem", "feature")[-self.beta_star.ndim :], self.beta_star)
        return named

    def attrs(self) -> dict[str, Any]:
        """Attributes of the Dataset."""
        return {
            "model": "diagonal network",
            "limit": int(self.limit),
            "n_samples": self.X.shape[-2],
            "n_features": self.X.shape[-1],
            "backend": self.options["backend"],
            "kernelrich_fast": __version__,
            **({"weight_decay": _table(self.decay).ravel().tolist()}
               if self.decay is not None and _changes(self.decay) else {}),
        }  # fmt: skip

    def arguments(self) -> dict[str, Any]:
        """Everything that the results depend on."""
        own = {k: getattr(self, k) for k in ("X", "y", "alpha", "depth", "limit", "keep")}
        if self.decay is not None:  # stores of before know of none
            own["weight_decay"] = _table(self.decay)
        return {**own, "beta_star": self.beta_star, **self.numeric_options()}

    def seconds(self) -> FloatArray:
        """The same for all problems and profiles."""
        n, d = self.X.shape[-2:]
        swept = self.decay is not None and len(self.decay.shape)
        layers = self.depth.reshape(self.depth.shape + (1,) * (bool(swept) + self.alpha.ndim))
        if self.limit and self.decay is None:
            return diagonal_limit_seconds(n, d, self.alpha) + 0.0 * layers
        return diagonal_flow_seconds(n, d, self.alpha, layers)

    def crossover(self) -> float:
        return diagonal_crossover(min(self.X.shape[-2:]))

    def bytes_per_run(self) -> int:
        """Weights, predictor and dual at every time, twice while they are gathered."""
        n, d = self.X.shape[-2:]
        rows = 1 if self.times is None else self.times.size
        return int(16 * rows * (4 * d + n))

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """Flows (or limits) of a block, and what is measured on them."""
        X = subset(self.dims, block, "problem", self.X) if self.X.ndim == 3 else self.X
        y = subset(self.dims, block, "problem", self.y) if self.y.ndim == 2 else self.y
        scales = subset(self.dims, block, "alpha", self.alpha)
        layers = subset(self.dims, block, "depth", self.depth)
        problems = np.broadcast_shapes(X.shape[:-2], y.shape[:-1])
        starts = [self._start(side, block) for side in self.profiles]
        decay = self._decay_of(block)
        swept = 0 if decay is None else len(decay.shape)
        after = (1,) * (layers.ndim + swept + scales.ndim)
        inner = (1,) * bool(self.n_profiles) + after
        X_run = X.reshape(X.shape[:-2] + (inner if X.ndim == 3 else ()) + X.shape[-2:])
        y_run = y.reshape(y.shape[:-1] + (inner if y.ndim == 2 else ()) + y.shape[-1:])
        options = {
            **self.options_in(block),
            "alpha": scales,
            "depth": layers.reshape(layers.shape + (1,) * (swept + scales.ndim)),
            "weight_decay": 0.0 if decay is None else decay.over((1,) * scales.ndim),
            "num_threads": num_threads,
            "progress": progress,
            **self._profiles_in(starts, after),
        }
        result: DiagonalFlow | DiagonalLimit
        if self.limit:
            ended = limit_diagonal(X_run, y_run, **options)
            t = np.full(ended.status.shape, np.inf)
            n_steps, result = ended.n_iterations, ended
        else:
            flow = flow_diagonal(X_run, y_run, **options)
            t, n_steps, result = flow.t, flow.n_steps, flow
        time = () if self.times is None else ("time",)
        beta: FloatArray = result.beta
        variables: Variables = {
            "loss": (time, result.loss),
            "t": (time, t),
            "status": ((), result.status),
            "n_steps": ((), n_steps),
        }
        n_rows = beta.ndim - 1

        def per_problem(values: FloatArray) -> FloatArray:
            """A value per problem, shaped to broadcast over the rows of every run."""
            return values.reshape(values.shape[:1] + (1,) * (n_rows - 1)) if problems else values

        if decay is not None:
            variables["penalty"] = (time, result.penalty)
        if "norms" in self.keep:
            l1, l2 = np.abs(beta).sum(axis=-1), np.linalg.norm(beta, axis=-1)
            least_l1, least_l2 = least_norms(X, y, problems)
            distance = kernel_distances(X, result, starts, layers, swept, scales, problems)
            variables |= {
                "l1_norm": (time, l1),
                "l2_norm": (time, l2),
                "excess_l1": (time, l1 - per_problem(least_l1)),
                "excess_l2": (time, l2 - per_problem(least_l2)),
                "kernel_distance": (time, distance),
            }
        if self.beta_star is not None:
            star = self.beta_star
            if star.ndim == 2:
                star = subset(self.dims, block, "problem", star)
                star = star.reshape(star.shape[:1] + (1,) * (n_rows - 1) + star.shape[-1:])
            variables["population_error"] = (time, np.sum((beta - star) ** 2, axis=-1))
        if "beta" in self.keep:
            variables["beta"] = ((*time, "feature"), beta)
        mean = getattr(result, "beta_mean", None)
        if mean is not None:
            variables["beta_mean"] = ((*time, "feature"), mean)
        return variables

    def _decay_of(self, block: Block) -> Schedule | None:
        """The weight decay of a block."""
        if self.decay is None or not self.decay.shape:
            return self.decay
        return self.decay[block[self.dims.index("weight_decay")]]

    def _start(self, side: FloatArray, block: Block) -> FloatArray:
        """The profiles of a block, (profile, n_features), or the one that is shared."""
        if not self.n_profiles:
            return side
        whole = np.broadcast_to(side, (self.n_profiles, side.shape[-1]))
        return np.asarray(subset(self.dims, block, "profile", whole))

    def _profiles_in(
        self, starts: list[FloatArray], after: tuple[int, ...]
    ) -> dict[str, FloatArray | None]:
        """The profiles of a block as arguments of the flow."""
        plus, minus = (self._over_grid(side, after) for side in starts)
        if self.options["model"] in (None, "difference"):
            return {"w0": None, "w_plus0": plus, "w_minus0": minus}
        return {"w0": plus}

    @staticmethod
    def _over_grid(side: FloatArray, after: tuple[int, ...]) -> FloatArray:
        return side.reshape(side.shape[:-1] + after + side.shape[-1:]) if side.ndim == 2 else side


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
    if len(schedule.shape) > 1 or (schedule.shape and _changes(schedule)):
        raise ValueError(
            "weight_decay: expected a number, one schedule, or values (weight_decay,), got shape "
            f"{schedule.shape}"
        )
    return schedule


def _changes(schedule: Schedule) -> bool:
    """Whether weight decay is more than a number."""
    return schedule.start.shape[-1] > 1 or bool(np.any(schedule.rate > 0.0))


def _table(schedule: Schedule) -> FloatArray:
    """All that a schedule is made of."""
    return np.stack([schedule.start, schedule.decay, schedule.rate])


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
