"""A sweep of diagonal networks: its grid, its blocks, and what is measured on their runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._types import FloatArray, Progress
from ..backends.cost import diagonal_flow_seconds, diagonal_limit_seconds
from ..backends.crossover import diagonal_crossover
from ..config import __version__
from ..diagonal import DiagonalFlow, DiagonalLimit, flow_diagonal, limit_diagonal
from ..diagonal_start import checked_model
from ..schedules import Schedule, decays
from ._held_out import HeldOut
from ._measures import kernel_distances, least_norms
from .plan import Block, SweepPlan, Variables, subset

__all__ = ["DiagonalPlan", "Solved", "changes"]


@dataclass(frozen=True)
class Solved:
    """A block of runs, and what they ran on."""

    X: FloatArray
    y: FloatArray
    problems: tuple[int, ...]
    starts: list[FloatArray]
    layers: FloatArray
    n_decays: int
    scales: FloatArray
    result: Any  # DiagonalFlow or DiagonalLimit

    def per_problem(self, values: FloatArray) -> FloatArray:
        """A value per problem, shaped to broadcast over the rows of every run."""
        inner = (1,) * (self.result.beta.ndim - 2)
        return values.reshape(values.shape[:1] + inner) if self.problems else values

    def kernel_distance(self) -> FloatArray:
        return kernel_distances(
            self.X, self.result, self.starts, self.layers, self.n_decays, self.scales,
            self.problems,
        )  # fmt: skip


@dataclass(frozen=True)
class DiagonalPlan(SweepPlan):
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
    test: HeldOut | None

    function: ClassVar[str] = "sweep_diagonal"

    def coords(self) -> dict[str, Any]:
        """Coordinates of the Dataset."""
        coords: dict[str, Any] = {"depth": self.depth, "alpha": self.alpha}
        if self.decay is not None and not changes(self.decay):
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
            "model_option": checked_model(self.options["model"], None),
            "limit": int(self.limit),
            "n_samples": self.X.shape[-2],
            "n_features": self.X.shape[-1],
            "backend": self.options["backend"],
            "kernelrich_fast": __version__,
            **({"weight_decay": _table(self.decay).ravel().tolist()}
               if self.decay is not None and changes(self.decay) else {}),
        }  # fmt: skip

    def arguments(self) -> dict[str, Any]:
        """Everything that the results depend on."""
        own = {k: getattr(self, k) for k in ("X", "y", "alpha", "depth", "limit", "keep")}
        if self.decay is not None:  # stores of before know of none
            own["weight_decay"] = _table(self.decay)
        if self.test is not None:
            own |= {"X_test": self.test.X, "y_test": self.test.y}
        return {**own, "beta_star": self.beta_star, **self.numeric_options()}

    def seconds(self) -> FloatArray:
        """The same for all problems and profiles."""
        n, d = self.X.shape[-2:]
        swept = self.decay is not None and len(self.decay.shape)
        layers = self.depth.reshape(self.depth.shape + (1,) * (bool(swept) + self.alpha.ndim))
        if self.limit and not decays(self.decay):
            return diagonal_limit_seconds(n, d, self.alpha) + 0.0 * layers
        return diagonal_flow_seconds(n, d, self.alpha, layers)

    def crossover(self) -> float:
        return diagonal_crossover(min(self.X.shape[-2:]))

    def bytes_per_run(self) -> int:
        """Weights, predictor, dual and predictions at every time, twice while they are gathered."""
        n, d = self.X.shape[-2:]
        n_test = 0 if self.test is None else self.test.X.shape[-2]
        rows = 1 if self.times is None else self.times.size
        return int(16 * rows * (4 * d + n + n_test))

    def solve(self, block: Block, num_threads: int | None, progress: Progress) -> Solved:
        """Flows (or limits) of a block."""
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
        solve: Any = limit_diagonal if self.limit else flow_diagonal
        result: DiagonalFlow | DiagonalLimit = solve(X_run, y_run, **options)
        return Solved(X, y, problems, starts, layers, swept, scales, result)

    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """Flows (or limits) of a block, and what is measured on them."""
        solved = self.solve(block, num_threads, progress)
        result, problems = solved.result, solved.problems
        time = () if self.times is None else ("time",)
        beta: FloatArray = result.beta
        variables: Variables = {
            "loss": (time, result.loss),
            "t": (time, result.t),
            "status": ((), result.status),
            "n_steps": ((), result.n_steps),
        }
        if self.decay is not None:
            variables["penalty"] = (time, result.penalty)
        if "norms" in self.keep:
            l1, l2 = np.abs(beta).sum(axis=-1), np.linalg.norm(beta, axis=-1)
            least_l1, least_l2 = least_norms(solved.X, solved.y, problems)
            variables |= {
                "l1_norm": (time, l1),
                "l2_norm": (time, l2),
                "excess_l1": (time, l1 - solved.per_problem(least_l1)),
                "excess_l2": (time, l2 - solved.per_problem(least_l2)),
                "kernel_distance": (time, solved.kernel_distance()),
            }
        if self.beta_star is not None:
            error = self.population_error(block, beta)
            variables["population_error"] = (time, error)
        if self.test is not None:
            test = self.test.of(self.dims, block)
            off = test.predictions(beta, bool(time)) - test.targets(beta.ndim)
            variables["test_rmse"] = (time, np.sqrt(np.mean(off**2, axis=-1)))
        if "beta" in self.keep:
            variables["beta"] = ((*time, "feature"), beta)
        mean = getattr(result, "beta_mean", None)
        if mean is not None:
            variables["beta_mean"] = ((*time, "feature"), mean)
        return variables

    def population_error(self, block: Block, beta: FloatArray) -> FloatArray:
        """The squared distance of beta from the truth."""
        star = self.beta_star
        assert star is not None
        if star.ndim == 2:
            star = subset(self.dims, block, "problem", star)
            star = star.reshape(star.shape[:1] + (1,) * (beta.ndim - 2) + star.shape[-1:])
        return np.asarray(np.sum((beta - star) ** 2, axis=-1))

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


def changes(schedule: Schedule) -> bool:
    """Whether weight decay is more than a number."""
    return schedule.start.shape[-1] > 1 or bool(np.any(schedule.rate > 0.0))


def _table(schedule: Schedule) -> FloatArray:
    """All that a schedule is made of."""
    return np.stack([schedule.start, schedule.decay, schedule.rate])
