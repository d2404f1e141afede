"""A sweep of matrix completion: its grid, its blocks, and what is measured on their runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._types import FloatArray, IntArray, Progress
from ..backends.cost import factorization_seconds
from ..backends.crossover import factorization_crossover
from ..config import __version__
from ..datasets import observed_entries
from ..factorization import flow_factorization
from ..initialization import gaussian_factor
from ..theory.matrices import completion_kernel_distance, nuclear_norm
from .plan import Block, SweepPlan, Variables, subset

__all__ = ["FactorizationPlan", "Solved", "start_gram"]


@dataclass(frozen=True)
class Solved:
    """A block of runs, and what they ran on."""

    result: Any  # FactorizationFlow
    truths: FloatArray
    start: FloatArray  # Gram matrices
    hidden: _Hidden

    @property
    def start_of_M(self) -> FloatArray:
        d1 = self.truths.shape[-2]
        return self.start[..., :d1, d1:]

    def kernel_distance(self) -> FloatArray:
        return completion_kernel_distance(self.start, self.result.gram, self.hidden.seen)


@dataclass(frozen=True)
class FactorizationPlan(SweepPlan):
    Y_star: FloatArray
    alpha: FloatArray
    width: IntArray
    seeds: IntArray
    n_observed: int | IntArray  # drawn for every seed, or which
    keep: tuple[str, ...]
    given_as: str  # n_observed, entries or mask

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
        where = self.n_observed
        if "M" in self.keep or not isinstance(where, int):
            coords["row"], coords["column"] = map(np.arange, self.Y_star.shape[-2:])
        named: dict[str, Any] = {k: (k if v.ndim else (), v) for k, v in coords.items()}
        if not isinstance(where, int):
            seen = np.zeros(self.Y_star.shape[-2:], dtype=np.int64)  # NetCDF has no flags
            seen[where[0], where[1]] = 1
            named["observed"] = (("row", "column"), seen)
        return named

    def attrs(self) -> dict[str, Any]:
        """Attributes of the Dataset."""
        return {
            "model": "matrix factorisation",
            "loss": self.options.get("loss", "squared"),
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

    def called(self, argument: str) -> str:
        """Which entries are observed is kept under one name, however it was given."""
        if argument != "n_observed":
            return argument
        return "mask (as rows, then columns)" if self.given_as == "mask" else self.given_as

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

    def solve(self, block: Block, num_threads: int | None, progress: Progress) -> Solved:
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
        timed = self.times is not None
        start = start_gram(sum(dims), of_alpha, of_width, seeds)
        if timed:  # every truth, and every start, stands for all times
            truths, start = truths[..., None, :, :], start[..., None, :, :]
        return Solved(flow, truths, start, _Hidden(row, column, dims, int(timed)))

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """Flows of a block, and what is measured on them."""
        solved = self.solve(block, num_threads, progress)
        flow, hidden = solved.result, solved.hidden
        timed = ("time",) * (self.times is not None)
        variables: Variables = {"status": ((), flow.status), "n_steps": ((), flow.n_steps)}
        variables |= {"loss": (timed, flow.loss), "t": (timed, flow.t)}
        if self.known:
            variables["test_rmse"] = (timed, _rms(hidden(flow.M - solved.truths)))
        if "norms" in self.keep:
            moved = hidden(flow.M - solved.start_of_M)
            norm = nuclear_norm(flow.M)
            variables["nuclear_norm"] = (timed, norm)
            if self.known:
                excess = norm - nuclear_norm(solved.truths)
                variables["excess_nuclear_norm"] = (timed, excess)
            variables["unobserved_movement"] = (timed, np.linalg.norm(moved, axis=-1))
            variables["unobserved_rms"] = (timed, _rms(moved))
            variables["kernel_distance"] = (timed, solved.kernel_distance())
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
