"""What a sweep is to those who run it: a grid of independent runs, computed block by block."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from .._types import FloatArray, Progress
from ._labels import variable_attrs

__all__ = [
    "PER_RUN",
    "Block",
    "SweepPlan",
    "Variables",
    "block_shape",
    "cut",
    "distinct",
    "grid_axes",
    "problem_axis",
    "runs_in",
    "shifted",
    "subset",
]

# One slice per dimension of the grid.
Block = tuple[slice, ...]
# Per variable its dimensions beyond the grid's, and its values over one block.
Variables = dict[str, tuple[tuple[str, ...], Any]]

# Per-run options of a flow, which broadcast to the grid.
PER_RUN = ("rtol", "t_max", "stop_loss", "stop_log_loss")


@dataclass(frozen=True)
class SweepPlan(ABC):
    """A checked sweep; `compute` depends on its block alone, not on how the grid was cut.

    ``options`` are those of the flow, without threads and progress; ``backend`` is among them.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    options: dict[str, Any]

    function: ClassVar[str]

    @abstractmethod
    def compute(self, block: Block, num_threads: int | None, progress: Progress) -> Variables:
        """Run a block; ``progress`` hears the number of finished runs of the block."""

    @abstractmethod
    def coords(self) -> dict[str, Any]:
        """Coordinates of the Dataset."""

    @abstractmethod
    def attrs(self) -> dict[str, Any]:
        """Attributes of the Dataset."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Everything that the results depend on, by the names of the caller's arguments."""

    def called(self, argument: str) -> str:
        """How the caller gave one of `arguments`."""
        return argument

    @abstractmethod
    def seconds(self) -> FloatArray:
        """Expected time per run on one thread, to about a decade, broadcasting to the grid."""

    @abstractmethod
    def bytes_per_run(self) -> int:
        """Memory that a run takes while its block is computed."""

    @abstractmethod
    def crossover(self) -> float:
        """Runs for each thread of the CPU from which on a GPU pays."""

    @property
    def times(self) -> FloatArray | None:
        """The times asked for, the last dimension of what depends on time."""
        t_eval = self.options.get("t_eval")
        return None if t_eval is None else np.asarray(t_eval, dtype=np.float64)

    @property
    def n_runs(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def on(self, backend: str) -> SweepPlan:
        """The same sweep with the backend it runs on."""
        return replace(self, options={**self.options, "backend": backend})

    def options_in(self, block: Block) -> dict[str, Any]:
        """The options of a block."""
        cut_options = dict(self.options)
        for name in PER_RUN:
            value = np.asarray(cut_options.get(name, 0.0))
            if value.ndim:
                cut_options[name] = self.broadcast(name, value)[block]
        return cut_options

    def numeric_options(self) -> dict[str, Any]:
        """The options, sequences of numbers as arrays."""
        return {
            name: value if value is None or isinstance(value, str | bool) else np.asarray(value)
            for name, value in self.options.items()
        }

    def recorded(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The options of the call: attributes for what is one value, coordinates for the rest.

        None and what the sweep's own coordinates say is left out; flags are 0 or 1, as NetCDF has
        no others.
        """
        attrs: dict[str, Any] = {}
        coords: dict[str, Any] = {}
        for name, value in self.options.items():
            if value is None or name == "t_eval":
                continue
            if isinstance(value, str):
                attrs[name] = value
                continue
            array = np.asarray(value)
            if array.dtype.kind == "b":
                array = array.astype(np.int64)
            if array.ndim == 0:
                attrs[name] = array.item()
            elif name in PER_RUN:
                dims = self.dims[len(self.dims) - array.ndim :]
                coords[name] = (
                    dims,
                    np.broadcast_to(array, self.shape[len(self.dims) - array.ndim :]),
                )
            elif array.ndim == 1:
                attrs[name] = array.tolist()
        return attrs, coords

    def check_options(self) -> None:
        """Raise where a per-run option does not fit the grid."""
        for name in PER_RUN:
            self.broadcast(name, np.asarray(self.options.get(name, 0.0)))

    def broadcast(self, name: str, value: Any) -> Any:
        try:
            return np.broadcast_to(value, self.shape)
        except ValueError:
            grid = dict(zip(self.dims, self.shape, strict=True))
            raise ValueError(
                f"{name}: expected a shape that broadcasts to the sweep's {grid}, got {value.shape}"
            ) from None

    def attrs_of(self, name: str) -> dict[str, Any]:
        """Attributes of a variable or coordinate."""
        return variable_attrs(name)

    def labels(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Coordinates and attributes of the Dataset, which share no memory with the arguments."""
        attrs, coords = self.recorded()
        own = {
            name: (dims, np.array(values), self.attrs_of(str(name)))
            for name, (dims, values) in (coords | self.coords()).items()
        }
        return own, attrs | self.attrs()

    def dataset(self, variables: Variables) -> xr.Dataset:
        """Variables over the whole grid with their names."""
        coords, attrs = self.labels()
        return xr.Dataset(
            {
                name: ((*self.dims, *extra), values, self.attrs_of(name))
                for name, (extra, values) in variables.items()
            },
            coords=coords,
            attrs=attrs,
        )


def distinct(name: str, array: Any) -> None:
    """Raise where a value of a grid is repeated: it could not be selected by its value."""
    values, counts = np.unique(np.asarray(array), return_counts=True)
    if values.size < np.size(array):
        raise ValueError(
            f"{name}: expected every value once, got {values[counts > 1][0]} "
            f"{counts[counts > 1][0]} times"
        )


def grid_axes(coordinates: dict[str, tuple[str, Any]], t_eval: Any) -> dict[str, int]:
    """Sizes of a grid's dimensions; of each, the name of its argument and its values are given."""
    times = () if t_eval is None else t_eval
    for argument, values in (*coordinates.values(), ("t_eval", times)):
        distinct(argument, values)
    return {dim: values.size for dim, (_, values) in coordinates.items() if values.ndim}


def problem_axis(X: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """X and y, and how many problems they make; one X (or y) for many y (or X) loses its axis."""
    try:
        problems = np.broadcast_shapes(X.shape[:-2], y.shape[:-1])
    except ValueError:
        raise ValueError(
            f"y: expected one for each of {len(X)} problems, got shape {y.shape}"
        ) from None
    if problems and problems[0] > 1:  # `subset` takes an axis for one of the whole grid
        X = X[0] if X.shape[:-2] == (1,) else X
        y = y[0] if y.shape[:-1] == (1,) else y
    return X, y, problems


def shifted(progress: Progress, before: int) -> Progress:
    """Progress of a part that ``before`` runs come before."""
    return lambda done: progress(before + done)


def subset(dims: tuple[str, ...], block: Block, dim: str, array: Any) -> Any:
    """The part of an array along its first axis that a block holds of ``dim``."""
    return array[block[dims.index(dim)]] if dim in dims else array


def runs_in(block: Block) -> int:
    return int(np.prod([s.stop - s.start for s in block], dtype=np.int64))


def block_shape(
    plan: SweepPlan,
    *,
    most_bytes: float,
    most_seconds: float,
    least_blocks: int = 1,
    least_runs: int = 1,
) -> tuple[int, ...]:
    """The shape of blocks within both limits, at least so many; ``least_runs`` comes first.

    Later dimensions are filled first, so that runs which share a problem stay together.
    """
    seconds = float(np.mean(np.broadcast_to(plan.seconds(), plan.shape)))
    runs = min(
        most_bytes / plan.bytes_per_run(), most_seconds / seconds, plan.n_runs / least_blocks
    )
    left = max(least_runs, int(runs))
    shape = []
    for size in reversed(plan.shape):
        pieces = -(-size // min(size, left))
        shape.append(-(-size // pieces))
        left = max(1, left // shape[-1])
    return tuple(reversed(shape))


def cut(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Block]:
    """The blocks of a grid, in the order of its runs."""
    axes = [
        [slice(i, min(i + step, size)) for i in range(0, size, step)]
        for size, step in zip(shape, block, strict=True)
    ]
    return itertools.product(*axes)
