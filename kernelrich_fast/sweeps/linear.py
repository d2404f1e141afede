"""Sweeps of linear networks over width, scale and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import xarray as xr

from .. import _validate as check
from .._types import ArrayLike, FloatArray, IntArray, Progress
from ..backends.cost import linear_seconds
from ..backends.crossover import factorization_crossover
from ..config import __version__
from ..factor_start import check_gaussian_scale
from ..linear import flow_linear
from ..linear_data import LinearData, linear_data
from ..theory.matrices import completion_kernel_distance, effective_rank, nuclear_norm
from ._factorization_plan import start_gram
from .execute import run_sweep, sweep_options
from .plan import Block, SweepPlan, Variables, grid_axes, subset

if TYPE_CHECKING:
    from distributed import Client
else:  # for typing.get_type_hints, without the extra
    Client = Any

__all__ = ["sweep_linear"]

_KEEP = ("norms", "modes", "M")
# Arguments of the flow that the sweep sets.
_OWN = ("X", "Y", "S", "C", "y_norm2", "alpha", "width", "seed", "W1", "W2")


def sweep_linear(
    X: ArrayLike | None = None,
    Y: ArrayLike | None = None,
    *,
    alpha: ArrayLike,
    width: ArrayLike,
    seeds: ArrayLike = 0,
    S: ArrayLike | None = None,
    C: ArrayLike | None = None,
    y_norm2: float | None = None,
    M_star: ArrayLike | None = None,
    keep: Sequence[str] = ("norms",),
    store: str | PathLike[str] | None = None,
    client: Client | None = None,
    progress: bool | None = None,
    **flow_options: Any,
) -> xr.Dataset:
    """Sweep two-layer linear networks over widths, scales and seeds.

    Parameters
    ----------
    X, Y : array_like, (n_samples, d_in) and (n_samples, d_out), optional
        Inputs and targets.
    alpha : float or array_like, (alpha,)
        Standard deviations of the initial weights.
    width : int or array_like of int, (width,)
        Numbers of hidden units; beyond d_in + d_out they do not change the cost.
    seeds : int or array_like of int, (seed,)
        Seeds of the initial weights.
    S, C, y_norm2 : array_like, optional
        Moments in place of samples, as in `flow_linear`.
    M_star : array_like, (d_out, d_in), optional
        The true matrix, for ``distance``.
    keep : sequence of {"norms", "modes", "M"}
        Groups of variables to keep.
    store : path, optional
        A directory for the results, in Zarr format 3. The same call, repeated, resumes where the
        last one stopped. The Dataset then reads its values only when they are used.
    client : dask.distributed.Client, optional
        Compute on the workers of this cluster, a block of runs per thread of a worker.
    progress : bool, optional
        Whether to show a progress bar; by default on terminals and in notebooks.
    **flow_options
        Passed to `flow_linear`; ``t_eval`` adds a last dimension "time"; rtol, t_max and stop_loss
        broadcast to the sweep's dimensions.

    Returns
    -------
    xarray.Dataset
        One dimension per swept argument, in the order (width, alpha, seed, time); arguments that
        are not swept are scalar coordinates, and other options are attributes.  Variables: loss,
        status, n_steps; t, with ``t_eval`` only where a run ended before its last time; distance,
        the Frobenius norm of M - M_star, where M_star is given; with "norms" nuclear_norm,
        effective_rank and kernel_distance (cosine distance of the tangent kernels at start and
        end); with "modes" singular_values (..., mode); M if kept.

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
    Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks, ICLR 2014.

    Examples
    --------
    A small start learns the modes of the data one by one, a large one all at once:

    >>> import numpy as np, kernelrich_fast as krf
    >>> ds = krf.sweep_linear(
    ...     np.eye(3), np.diag([3.0, 2.0, 1.0]), alpha=[1e-4, 1.0], width=50,
    ...     t_eval=np.linspace(0.0, 9.0, 10), keep=("norms", "modes"),
    ... )
    >>> dict(ds.sizes)
    {'alpha': 2, 'time': 10, 'mode': 3}
    >>> (ds.singular_values > 0.9 * np.array([3.0, 2.0, 1.0])).sum("mode").values[0].tolist()
    [0, 0, 1, 2, 2, 3, 3, 3, 3, 3]
    """
    data = linear_data(X, Y, S, C, y_norm2)
    scales = check.positive_array("alpha", alpha)
    widths = check.integer_array("width", width, low=1)
    numbers = check.integer_array("seeds", seeds, low=0)
    if data.lead:
        raise ValueError(
            f"{'S' if X is None else 'X'}: expected one problem, got leading axes {data.lead}"
        )
    for name, array in (("alpha", scales), ("width", widths), ("seeds", numbers)):
        if array.ndim > 1:
            raise ValueError(f"{name}: expected at most 1 dimension, got {array.shape}")
    truth = None if M_star is None else check.real_array("M_star", M_star, ndim=2)
    if truth is not None and truth.shape != (data.d_out, data.d_in):
        raise ValueError(
            f"M_star: expected shape {(data.d_out, data.d_in)}, got shape {truth.shape}"
        )
    groups = check.choices("keep", keep, _KEEP)
    check_gaussian_scale(scales)
    options, threads = sweep_options(sweep_linear, flow_linear, flow_options, _OWN)
    axes = grid_axes(
        {"width": ("width", widths), "alpha": ("alpha", scales), "seed": ("seeds", numbers)},
        options["t_eval"],
    )
    moments = {"X": X, "Y": Y, "S": S, "C": C, "y_norm2": y_norm2}
    plan = _LinearPlan(
        dims=tuple(axes), shape=tuple(axes.values()), options=options, data=data,
        given={k: np.asarray(v, dtype=np.float64) for k, v in moments.items() if v is not None},
        M_star=truth, alpha=scales, width=widths, seeds=numbers, keep=groups,
    )  # fmt: skip
    return run_sweep(plan, num_threads=threads, progress=progress, store=store, client=client)


@dataclass(frozen=True)
class _LinearPlan(SweepPlan):
    given: dict[str, Any]  # the data as the caller gave them
    data: LinearData
    M_star: FloatArray | None
    alpha: FloatArray
    width: IntArray
    seeds: IntArray
    keep: tuple[str, ...]

    function: ClassVar[str] = "sweep_linear"

    @property
    def n_entries(self) -> int:
        """Of M, in the basis of the inputs that there are."""
        return self.data.d_out * int(self.data.sigma.shape[-1])

    def coords(self) -> dict[str, Any]:
        """Coordinates of the Dataset."""
        coords: dict[str, Any] = {"width": self.width, "alpha": self.alpha, "seed": self.seeds}
        if self.times is not None:
            coords["time"] = self.times
        named: dict[str, Any] = {k: (k if v.ndim else (), v) for k, v in coords.items()}
        if self.M_star is not None and "M" in self.keep:
            named["M_star"] = (("output", "input"), self.M_star)
        return named

    def attrs(self) -> dict[str, Any]:
        """Attributes of the Dataset."""
        return {
            "model": "linear network",
            "loss": "squared",
            "data": "moments" if "S" in self.given else "samples",
            **({"y_norm2": self.given["y_norm2"].item()} if "y_norm2" in self.given else {}),
            "d_in": self.data.d_in,
            "d_out": self.data.d_out,
            "backend": self.options["backend"],
            "kernelrich_fast": __version__,
        }

    def arguments(self) -> dict[str, Any]:
        """Everything that the results depend on."""
        names = ("alpha", "width", "seeds", "M_star", "keep")
        own = {k: getattr(self, k) for k in names}
        return {**self.given, **own, **self.numeric_options()}

    def seconds(self) -> FloatArray:
        """The same for all widths and seeds."""
        d_out, modes = self.data.target.shape[-2:]
        one = linear_seconds(d_out, modes, d_out + self.data.d_in, self.alpha)
        return np.asarray(one.reshape(one.shape + (1,) * self.seeds.ndim))

    def crossover(self) -> float:
        return factorization_crossover(self.n_entries)

    def bytes_per_run(self) -> int:
        """Gram matrix and factor, at the start and at the end, and their comparison."""
        d_out, d_in = self.data.d_out, self.data.d_in
        rows = 1 if self.times is None else self.times.size
        return int(8 * rows * (10 * (d_out + d_in) ** 2 + 3 * d_out * d_in))

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """One batch of all widths, scales and seeds of the block."""
        scales = subset(self.dims, block, "alpha", self.alpha)
        widths = subset(self.dims, block, "width", self.width)
        seeds = subset(self.dims, block, "seed", self.seeds)
        of_alpha = scales.reshape(scales.shape + (1,) * seeds.ndim)
        of_width = widths.reshape(widths.shape + (1,) * of_alpha.ndim)
        flow = flow_linear(
            **self.given, alpha=of_alpha, width=of_width, seed=seeds, num_threads=num_threads,
            progress=progress, **self.options_in(block),
        )  # fmt: skip
        timed = ("time",) * (self.times is not None)
        variables: Variables = {"status": ((), flow.status), "n_steps": ((), flow.n_steps)}
        variables |= {"loss": (timed, flow.loss), "t": (timed, flow.t)}
        if self.M_star is not None:
            left = (flow.M - self.M_star).reshape(*flow.loss.shape, -1)
            variables["distance"] = (timed, np.linalg.norm(left, axis=-1))
        if "norms" in self.keep:
            n = self.data.d_out + self.data.d_in
            start = start_gram(n, of_alpha, of_width, seeds)
            variables["nuclear_norm"] = (timed, nuclear_norm(flow.M))
            variables["effective_rank"] = (timed, effective_rank(flow.M))
            variables["kernel_distance"] = (timed, self.kernel_distance(start, flow.gram, timed))
        if "modes" in self.keep:
            modes = np.linalg.svd(flow.M, compute_uv=False)
            variables["singular_values"] = ((*timed, "mode"), modes)
        if "M" in self.keep:
            variables["M"] = ((*timed, "output", "input"), flow.M)
        return variables

    def kernel_distance(
        self, start: FloatArray, end: FloatArray, timed: tuple[str, ...]
    ) -> FloatArray:
        """As of completion, whose entries are those of M in the basis of the inputs."""
        d_out, sigma = self.data.d_out, self.data.sigma[0]
        if timed:
            start = start[..., None, :, :]
        n = d_out + sigma.size
        turn = np.eye(n, d_out + self.data.d_in)
        turn[d_out:, d_out:] = self.data.basis[0][: sigma.size]
        seen = np.broadcast_to(sigma**2, (d_out, sigma.size))
        first, last = (turn @ G @ turn.T for G in (start, end))
        return completion_kernel_distance(first, last, seen)
