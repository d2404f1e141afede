"""Sweeps of the exact path as alpha -> 0 over problems, profiles and depths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from .. import _validate as check
from .._types import ArrayLike, FloatArray, Progress
from ..config import __version__
from ..saddle_path import check_bounds, rich_path
from .execute import run_sweep, sweep_options
from .plan import Block, SweepPlan, Variables, distinct, problem_axis, subset

if TYPE_CHECKING:
    from distributed import Client
else:  # for typing.get_type_hints, without the extra
    Client = Any

__all__ = ["sweep_rich_path"]

_KEEP = ("norms", "beta", "path")


def sweep_rich_path(
    X: ArrayLike,
    y: ArrayLike,
    *,
    depth: ArrayLike = 2,
    w0: ArrayLike | None = None,
    beta_star: ArrayLike | None = None,
    keep: Sequence[str] = ("norms",),
    n_recorded: int = 10,
    store: str | PathLike[str] | None = None,
    client: Client | None = None,
    progress: bool | None = None,
    **path_options: Any,
) -> xr.Dataset:
    """Follow `rich_path` over problems, profiles and depths.

    Parameters
    ----------
    X : array_like, (n_samples, n_features) or (problem, n_samples, n_features)
        Inputs.
    y : array_like, (n_samples,) or (problem, n_samples)
        Targets.
    depth : float or array_like, (depth,)
        Numbers of layers.
    w0 : array_like, (n_features,) or (profile, n_features), optional
        Profiles of the initial weights.
    beta_star : array_like, (n_features,) or (problem, n_features), optional
        True coefficients, for the population error.
    keep : sequence of {"norms", "beta", "path"}
        Groups of variables to keep: norms of the end and times of the first and the last jump; beta
        at the end; and, over the dimension "jump", the first ``n_recorded`` jumps.
    n_recorded : int
        How many jumps "path" keeps.
    store, client, progress
        As in `sweep_diagonal`.
    **path_options
        Passed to `rich_path`: max_jumps, backend, num_threads.

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (problem, profile, depth); arguments that are
        not swept are scalar coordinates or attributes, as other options are. Variables: loss,
        status, unique, n_jumps, n_pivots; with "norms" l1_norm, l2_norm, n_active (features other
        than zero at the end), first_jump and last_jump (NaN where there is none), in units of
        `RichPath.time_unit`; population_error if beta_star is given; beta; with "path" jump_time
        (infinite beyond the last), saddle_loss, saddle_l1_norm and, if beta_star is given,
        saddle_error, the population error after every jump.

        ``status`` holds integers: compare it with ``krf.Status.CONVERGED`` and the other members.

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid (the message names it), or the store holds something else.
    StoreError
        If the store is written by another call, read-only or full.

    Warns
    -----
    ConvergenceWarning
        Once, if paths ended as MAX_STEPS or FAILED.

    Examples
    --------
    >>> import numpy as np
    >>> import kernelrich_fast as krf
    >>> draws = [krf.datasets.sparse_regression(10, 20, 2, seed=s) for s in range(3)]
    >>> ds = krf.sweep_rich_path(
    ...     np.stack([p.X for p in draws]), np.stack([p.y for p in draws]), keep=("norms", "path")
    ... )
    >>> dict(ds.jump_time.sizes)
    {'problem': 3, 'jump': 10}
    """
    X, y = check.data_pair(X, y)
    layers = check.depth_array("depth", depth)
    for name, array, most in (("X", X, 3), ("y", y, 2), ("depth", layers, 1)):
        if array.ndim > most:
            raise ValueError(
                f"{name}: expected at most {most} dimension{'s' * (most > 1)}, got {array.shape}"
            )
    d = X.shape[-1]
    profiles = check.profile("w0", 1.0 if w0 is None else w0, d)
    if profiles.ndim > 2:
        raise ValueError(
            f"w0: expected one profile, or (profile, n_features), got {profiles.shape}"
        )
    check_bounds(profiles, layers)
    groups = check.choices("keep", keep, _KEEP)
    recorded = check.integer("n_recorded", n_recorded, low=1, high=2**20)
    X, y, problems = problem_axis(X, y)
    star = None
    if beta_star is not None:
        star = check.real_array("beta_star", beta_star, ndim=1)
        if star.shape not in ((d,), (*problems, d)):
            raise ValueError(f"beta_star: expected shape {(*problems, d)}, got {star.shape}")
    options, threads = sweep_options(sweep_rich_path, rich_path, path_options, ("depth", "w0"))
    check.choice("backend", options["backend"], ("auto", "cpu", "numpy"))
    check.integer("max_jumps", options["max_jumps"], low=1)
    distinct("depth", layers)
    axes = {
        **({"problem": problems[0]} if problems else {}),
        **({"profile": len(profiles)} if profiles.ndim == 2 else {}),
        **({"depth": layers.size} if layers.ndim else {}),
    }
    plan = _RichPathPlan(
        dims=tuple(axes), shape=tuple(axes.values()), options=options, X=X, y=y, depth=layers,
        w0=profiles, beta_star=star, keep=groups, n_recorded=recorded,
    )  # fmt: skip
    return run_sweep(plan, num_threads=threads, progress=progress, store=store, client=client)


@dataclass(frozen=True)
class _RichPathPlan(SweepPlan):
    X: FloatArray
    y: FloatArray
    depth: FloatArray
    w0: FloatArray
    beta_star: FloatArray | None
    keep: tuple[str, ...]
    n_recorded: int

    function: ClassVar[str] = "sweep_rich_path"

    def on(self, backend: str) -> SweepPlan:
        """The same sweep; a GPU follows no paths."""
        return super().on("numpy" if backend == "cuda" else backend)

    def coords(self) -> dict[str, Any]:
        """Coordinates of the Dataset."""
        coords: dict[str, Any] = {"depth": self.depth}
        for dim, size in zip(self.dims, self.shape, strict=True):
            if dim != "depth":
                coords[dim] = np.arange(size)
        if "beta" in self.keep or "profile" in self.dims:
            coords["feature"] = np.arange(self.X.shape[-1])
        if "path" in self.keep:
            coords["jump"] = np.arange(1, self.n_recorded + 1)
        named: dict[str, Any] = {k: (k if np.ndim(v) else (), v) for k, v in coords.items()}
        if "profile" in self.dims:
            named["w0"] = (("profile", "feature"), self.w0)
        return named

    def attrs(self) -> dict[str, Any]:
        """Attributes of the Dataset."""
        return {
            "model": "diagonal network, alpha to 0",
            "n_samples": self.X.shape[-2],
            "n_features": self.X.shape[-1],
            **({} if self.w0.ndim == 2 else {"w0": _shortest(self.w0)}),
            "backend": self.options["backend"],
            "kernelrich_fast": __version__,
        }

    def arguments(self) -> dict[str, Any]:
        """Everything that the results depend on."""
        own = ("X", "y", "depth", "w0", "beta_star", "keep", "n_recorded")
        return {**{k: getattr(self, k) for k in own}, **self.numeric_options()}

    def seconds(self) -> FloatArray:
        """1.6 n jumps, each a pass over X and fits of n^2."""
        n, d = self.X.shape[-2:]
        rank = min(n, d)
        return np.asarray(1e-4 + 1.6 * rank * (1e-6 + 5e-10 * rank * d + 5e-9 * rank * rank))

    def crossover(self) -> float:
        return np.inf

    def bytes_per_run(self) -> int:
        """All saddles, three times while they are gathered."""
        n, d = self.X.shape[-2:]
        return int(24 * d * (2 * min(n, d) + 4))

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """Paths of a block, and what is measured on them."""
        X = subset(self.dims, block, "problem", self.X) if self.X.ndim == 3 else self.X
        y = subset(self.dims, block, "problem", self.y) if self.y.ndim == 2 else self.y
        layers = subset(self.dims, block, "depth", self.depth)
        w0 = subset(self.dims, block, "profile", self.w0)
        after = (1,) * layers.ndim
        inner = (1,) * (w0.ndim - 1) + after
        path = rich_path(
            X.reshape(X.shape[:-2] + (inner if X.ndim == 3 else ()) + X.shape[-2:]),
            y.reshape(y.shape[:-1] + (inner if y.ndim == 2 else ()) + y.shape[-1:]),
            depth=layers,
            w0=w0.reshape(w0.shape[:-1] + after + w0.shape[-1:]) if w0.ndim == 2 else w0,
            num_threads=num_threads,
            progress=progress,
            **self.options_in(block),
        )
        end = path.beta[..., -1, :]
        variables: Variables = {
            name: ((), getattr(path, name))
            for name in ("loss", "status", "unique", "n_jumps", "n_pivots")
        }
        if "norms" in self.keep:
            variables |= {
                "l1_norm": ((), np.abs(end).sum(axis=-1)),
                "l2_norm": ((), np.linalg.norm(end, axis=-1)),
                "n_active": ((), np.count_nonzero(end, axis=-1)),
            }
            padded = np.concatenate(
                [path.jump_times, np.full((*path.status.shape, 1), np.inf)], axis=-1
            )
            last = np.max(padded, axis=-1, where=np.isfinite(padded), initial=-np.inf)
            for name, t in (("first_jump", padded[..., 0]), ("last_jump", last)):
                variables[name] = ((), np.where(np.isfinite(t), t, np.nan))
        star = self._star(block, end.ndim - 1)
        if star is not None:
            variables["population_error"] = ((), np.sum((end - star) ** 2, axis=-1))
        if "beta" in self.keep:
            variables["beta"] = (("feature",), end)
        if "path" in self.keep:
            variables |= self._recorded(path, star)
        return variables

    def _star(self, block: Block, n_axes: int) -> FloatArray | None:
        """The teacher, shaped to broadcast over the runs of a block."""
        star = self.beta_star
        if star is None or star.ndim == 1:
            return star
        own = subset(self.dims, block, "problem", star)
        return np.asarray(own.reshape(own.shape[:1] + (1,) * (n_axes - 1) + own.shape[1:]))

    def _recorded(self, path: Any, star: FloatArray | None) -> Variables:
        """The first jumps, as many for every run."""
        count = path.jump_times.shape[-1]
        saddle = np.minimum(np.arange(1, self.n_recorded + 1), count)
        times = np.full((*path.status.shape, self.n_recorded), np.inf)
        kept = min(count, self.n_recorded)
        times[..., :kept] = path.jump_times[..., :kept]
        beta = path.beta[..., saddle, :]
        variables: Variables = {
            "jump_time": (("jump",), times),
            "saddle_loss": (("jump",), path.saddle_loss[..., saddle]),
            "saddle_l1_norm": (("jump",), np.abs(beta).sum(axis=-1)),
        }
        if star is not None:
            teacher = star[..., None, :] if star.ndim > 1 else star
            variables["saddle_error"] = (("jump",), np.sum((beta - teacher) ** 2, axis=-1))
        return variables


def _shortest(profile: FloatArray) -> float | list[float]:
    """As an attribute: one number where all values are equal."""
    values: list[float] = profile.tolist()
    return values[0] if len({*values}) == 1 else values
