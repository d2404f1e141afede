"""Sweeps of ReLU networks over depth, width, scale and seed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from .. import _validate as check
from .._runs import thread_count
from .._types import ArrayLike, FloatArray, IntArray, Progress
from ..backends.cost import network_seconds
from ..backends.crossover import network_crossover
from ..config import __version__
from ..mlp import flow_mlp
from ..mlp_start import check_layer_scales, check_size, drawn_layout, output_count
from ._held_out import HeldOut, checked_test_set
from ._networks import MOST_KERNEL_ROWS, TIMELESS, measured
from .execute import run_sweep, sweep_options
from .plan import PER_RUN, Block, SweepPlan, Variables, distinct, shifted, subset

if TYPE_CHECKING:
    from distributed import Client
else:  # for typing.get_type_hints, without the extra
    Client = Any

__all__ = ["sweep_mlp"]

_KEEP = ("norms", "predictions", "kernel_predictors")
_LOSSES = ("squared", "cross_entropy")
# Arguments of the flow that the sweep sets.
_OWN = ("depth", "width", "alpha", "seed", "weights0", "biases0")


def sweep_mlp(
    X: ArrayLike,
    y: ArrayLike,
    *,
    depth: ArrayLike = 2,
    width: ArrayLike = 30,
    alpha: ArrayLike,
    seeds: ArrayLike = 0,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    keep: Sequence[str] = ("norms",),
    store: str | PathLike[str] | None = None,
    client: Client | None = None,
    progress: bool | None = None,
    **flow_options: Any,
) -> xr.Dataset:
    """Sweep ReLU networks over depths, widths, scales and seeds.

    Parameters
    ----------
    X : array_like, (n_samples, n_features) or (seed, n_samples, n_features)
        Inputs, or those of every seed.
    y : array_like, (n_samples,) or (seed, n_samples)
        Targets, or classes with ``loss="cross_entropy"``.
    depth : int or array_like of int, (depth,)
        Layers of weights.
    width : int or array_like of int, (width,)
        Units of the hidden layers.
    alpha : float or array_like, (alpha,) or (depth, alpha)
        Scales of the start; one grid per depth if two-dimensional. The coordinate ``alpha`` then
        counts positions, and a coordinate ``scale`` (depth, alpha) carries the values.
    seeds : int or array_like of int, (seed,)
        Seeds of the random initial weights.
    X_test, y_test : array_like, like X and y, optional
        Test data; adds test_rmse, or test_error for classes.
    keep : sequence of {"norms", "predictions", "kernel_predictors"}
        Groups of variables: "norms" are the weights' norms and the kernel distances, "predictions"
        those at X_test, "kernel_predictors" the test errors of the two linearised baselines.
    store : path, optional
        A directory for the results, in Zarr format 3. The same call, repeated, resumes where the
        last one stopped. The Dataset then reads its values only when they are used.
    client : dask.distributed.Client, optional
        Compute on the workers of this cluster, a block of runs per thread of a worker.
    progress : bool, optional
        Whether to show a progress bar; by default on terminals and in notebooks.
    **flow_options
        Passed to `flow_mlp` (``weights0`` excepted); ``t_eval`` adds a last dimension "time"; rtol,
        t_max and stop_loss broadcast to the sweep's dimensions.

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (depth, width, alpha, seed, time); arguments
        that are not swept are scalar coordinates, and other options are attributes.  Variables:
        loss, status, n_steps; t, with ``t_eval`` only where a run ended before its last time;
        test_rmse or test_error; with "norms" weight_norm (Euclidean, of all weights),
        feature_distance and kernel_distance (cosine distances of the tangent features and of the
        tangent kernels from the start, for up to 2048 samples times outputs; the latter NaN where
        no unit is left alive); prediction with a dimension test; kernel_rmse and last_layer_rmse
        (or _error).

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
    Woodworth et al. (COLT 2020), figure 6.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.circle_teacher(10, seed=1)
    >>> ds = krf.sweep_mlp(
    ...     data.X, data.y, depth=[2, 3], alpha=[0.3, 2.0], seeds=[0, 1], rtol=1e-4,
    ...     X_test=data.X_test, y_test=data.y_test,
    ... )
    >>> dict(ds.sizes)
    {'depth': 2, 'alpha': 2, 'seed': 2}
    >>> moved = ds.feature_distance.mean("seed")
    >>> bool((moved.sel(alpha=0.3) > moved.sel(alpha=2.0)).all())
    True
    """
    inputs, targets = check.data_pair(X, y)
    depths = check.integer_array("depth", depth, low=2)
    widths = check.integer_array("width", width, low=1)
    scales = check.positive_array("alpha", alpha)
    numbers = check.integer_array("seeds", seeds, low=0)
    _expect_dimensions(inputs, targets, depths, widths, scales, numbers)
    groups = check.choices("keep", keep, _KEEP)
    test = checked_test_set(X_test, y_test, inputs.shape[-1], numbers.shape, "seed")
    if test is None and ("predictions" in groups or "kernel_predictors" in groups):
        raise ValueError("X_test: expected for keep='predictions' or 'kernel_predictors', got none")
    options, threads = sweep_options(sweep_mlp, flow_mlp, flow_options, _OWN)
    check.choice("loss", options["loss"], _LOSSES)
    for name, given in (
        ("depth", depths), ("width", widths), ("seeds", numbers), ("t_eval", options["t_eval"]),
    ):  # fmt: skip
        distinct(name, () if given is None else given)
    for grid in np.atleast_2d(scales):
        distinct("alpha", grid)
    outputs = output_count(options["loss"], targets, options["n_classes"])
    if outputs > 1 and test is not None:
        _check_classes(test.y, outputs)
    if outputs == 1 and options["n_classes"] is not None:
        raise ValueError(
            f"n_classes: expected only with loss='cross_entropy', got {options['n_classes']!r} "
            "with loss='squared'"
        )
    copies, bias = 2 if options["antisymmetric"] else 1, bool(options["bias"])
    for D, k in itertools.product(depths.ravel().tolist(), widths.ravel().tolist()):
        layout = drawn_layout(inputs.shape[-1], outputs, D, k, copies, bias)
        check_size(layout, targets.shape[-1], options["method"])
        if options["layer_scales"] is not None:
            check_layer_scales(layout, options["layer_scales"])
    axes = {
        **({"depth": depths.size} if depths.ndim else {}),
        **({"width": widths.size} if widths.ndim else {}),
        **({"alpha": scales.shape[-1]} if scales.ndim else {}),
        **({"seed": numbers.size} if numbers.ndim else {}),
    }
    plan = _MLPPlan(
        dims=tuple(axes), shape=tuple(axes.values()),
        options={**options, "n_classes": None if outputs == 1 else outputs}, X=inputs,
        y=targets, depth=depths, width=widths, alpha=scales, seeds=numbers, test=test, keep=groups,
    )  # fmt: skip
    return run_sweep(plan, num_threads=threads, progress=progress, store=store, client=client)


def _expect_dimensions(
    X: FloatArray,
    y: FloatArray,
    depths: IntArray,
    widths: IntArray,
    scales: FloatArray,
    seeds: IntArray,
) -> None:
    """Raise where an argument has more axes than the sweep has a name for."""
    for name, array, most in (
        ("X", X, 3), ("y", y, 2), ("depth", depths, 1), ("width", widths, 1), ("seeds", seeds, 1),
    ):  # fmt: skip
        if array.ndim > most:
            raise ValueError(
                f"{name}: expected at most {most} dimension{'s' * (most > 1)}, got {array.shape}"
            )
    if scales.ndim > 2 or (scales.ndim == 2 and scales.shape[:1] != depths.shape):
        raise ValueError(
            f"alpha: expected one grid, or one for each of {depths.size} depths, got shape "
            f"{scales.shape}"
        )
    for name, lead in (("X", X.shape[:-2]), ("y", y.shape[:-1])):
        if lead and lead != seeds.shape:
            raise ValueError(f"{name}: expected one for each of {seeds.size} seeds, got {lead}")


def _check_classes(y: FloatArray, count: int) -> None:
    """Raise where the test set has a class that networks have no output for."""
    others = np.setdiff1d(y, np.arange(count))
    if others.size:
        raise ValueError(
            f"y_test: expected classes 0 to {count - 1}, for which there are outputs, got "
            f"{others[:5]}; give n_classes if X has no sample of a class"
        )


@dataclass(frozen=True)
class _MLPPlan(SweepPlan):
    X: FloatArray
    y: FloatArray
    depth: IntArray
    width: IntArray
    alpha: FloatArray
    seeds: IntArray
    test: HeldOut | None
    keep: tuple[str, ...]

    function: ClassVar[str] = "sweep_mlp"

    def coords(self) -> dict[str, Any]:
        """Coordinates of the Dataset."""
        depths, scales, seeds = self.depth, self.alpha, self.seeds
        coords: dict[str, Any] = {
            "depth": (["depth"] if depths.ndim else [], depths),
            "width": (["width"] if self.width.ndim else [], self.width),
            "alpha": (["alpha"] if scales.ndim else [], scales),
            "seed": (["seed"] if seeds.ndim else [], seeds),
        }
        if scales.ndim == 2:  # a coordinate of two dimensions cannot carry the name of one of them
            coords["alpha"] = (["alpha"], np.arange(scales.shape[1]))
            coords["scale"] = (["depth", "alpha"], scales)
        if self.times is not None:
            coords["time"] = (["time"], self.times)
        return coords

    def attrs(self) -> dict[str, Any]:
        """Attributes of the Dataset."""
        return {
            "model": "ReLU network",
            "n_samples": self.y.shape[-1],
            "backend": self.options["backend"],
            "kernelrich_fast": __version__,
        }

    def arguments(self) -> dict[str, Any]:
        """Everything that the results depend on."""
        own = {k: getattr(self, k) for k in ("X", "y", "depth", "width", "alpha", "seeds", "keep")}
        test = self.test
        own |= {"X_test": None if test is None else test.X, "y_test": test and test.y}
        return {**own, **self.numeric_options()}

    def seconds(self) -> FloatArray:
        """The same for all seeds."""
        layers = np.atleast_1d(self.depth).astype(np.float64)[:, None, None]
        widths = np.atleast_1d(self.width).astype(np.float64)[:, None]
        scales = np.atleast_2d(self.alpha)[:, None, :]
        n_weights = self._n_weights(layers, widths)
        one = network_seconds(self.y.shape[-1], n_weights, widths, layers, scales)
        wanted = (
            *self.depth.shape, *self.width.shape, *self.alpha.shape[-1:], *(1,) * self.seeds.ndim
        )  # fmt: skip
        return np.asarray(one.reshape(wanted))

    def crossover(self) -> float:
        return network_crossover(int(self.depth.max()))

    def bytes_per_run(self) -> int:
        """Weights and their copies; what enters and leaves layers; kernels at start and end."""
        n, n_test = self.y.shape[-1], 0 if self.test is None else self.test.X.shape[-2]
        outputs, layers = int(self.options["n_classes"] or 1), int(self.depth.max())
        copies = 2 if self.options["antisymmetric"] else 1
        rows = n * outputs if n * outputs <= MOST_KERNEL_ROWS else 0
        width, times = int(self.width.max()), 1 if self.times is None else self.times.size
        inner = layers * width * (n_test + n + 4 * rows)
        n_weights = float(self._n_weights(float(layers), width))
        return int(8.0 * times * (copies * (8.0 * n_weights + inner) + 6.0 * rows**2))

    def _n_weights(self, layers: Any, width: Any) -> Any:
        classes = int(self.options["n_classes"] or 1)
        return width * (self.X.shape[-1] + classes + (layers - 2.0) * width)

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """One batch per depth and width."""
        depths = subset(self.dims, block, "depth", self.depth)
        widths = subset(self.dims, block, "width", self.width)
        seeds = subset(self.dims, block, "seed", self.seeds)
        X = subset(self.dims, block, "seed", self.X) if self.X.ndim == 3 else self.X
        y = subset(self.dims, block, "seed", self.y) if self.y.ndim == 2 else self.y
        test = None if self.test is None else self.test.of(self.dims, block)
        scales = self.alpha
        if scales.ndim == 2:
            scales = subset(self.dims, block, "depth", scales)
        if scales.ndim:
            scales = scales[..., block[self.dims.index("alpha")]]
        options = self.options_in(block)
        each = (scales.shape[-1] if scales.ndim else 1) * seeds.size
        outer = depths.shape + widths.shape
        parts = []
        for count, index in enumerate(np.ndindex(outer)):
            D = depths[index[0]] if depths.ndim else depths
            k = widths[index[-1]] if widths.ndim else widths
            grid = scales[index[0]] if scales.ndim == 2 else scales
            own = {name: v[index] if name in PER_RUN and np.ndim(v) else v
                   for name, v in options.items()}  # fmt: skip
            flow = flow_mlp(
                X, y, **own, depth=int(D), width=int(k),
                alpha=grid.reshape(grid.shape + (1,) * seeds.ndim), seed=seeds,
                num_threads=num_threads, progress=shifted(progress, count * each),
            )  # fmt: skip
            parts.append(measured(flow, X, y, test, self.keep, thread_count(num_threads)))
        runs = bool(scales.ndim) + seeds.ndim
        variables: Variables = {}
        for name in parts[0]:
            values = np.stack([part[name] for part in parts])
            timed = self.times is not None and name not in TIMELESS
            extra = ("time",) * timed + ("test", "output")
            variables[name] = (
                extra[: values.ndim - 1 - runs], values.reshape(outer + values.shape[1:])
            )  # fmt: skip
        return variables
