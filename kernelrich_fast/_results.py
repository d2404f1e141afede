"""What every result shares: runs by index, a short description, labelled arrays and tables."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ._device import to_host
from ._types import ArrayLike, FloatArray, IntArray
from .status import Status, named, status_attrs

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["FlowResult", "Result"]

# Names of batch axes, or these with the values along them.
Dims = str | Sequence[str] | Mapping[str, ArrayLike]

_LONG_NAMES = {
    "loss": "training loss",
    "penalty": "squared norm of the weights",
    "t": "gradient-flow time the row belongs to",
    "status": "how the run ended",
    "n_steps": "accepted steps",
    "n_rhs": "evaluations of the vector field",
    "n_iterations": "Newton iterations",
    "n_flops": "multiplications and additions of the dense algebra",
}
# The clocks at whose values states may be requested, and their units.  Sweeps name axes like these.
_CLOCKS = {
    "time": ("gradient-flow time", "gradient-flow time"),
    "log_loss": ("logarithm of the training loss", "1"),
    "log_t": ("logarithm of the gradient-flow time", "1"),
}


class Result:
    """Base of the results: a batch of runs with shape ``status.shape``.

    Subclasses are dataclasses; ``_dims`` names the axes that their arrays have after those of the
    batch and of time. A list of arrays counts as one field for each layer.
    """

    _dims: ClassVar[dict[str, tuple[str, ...]]] = {}
    # Properties that `to_dataset` holds too.
    _derived: ClassVar[tuple[str, ...]] = ()
    # What has an axis of times where there were any to evaluate at.
    _timeless: ClassVar[tuple[str, ...]] = (
        "status", "n_steps", "n_rhs", "n_iterations", "n_flops", "weights0", "biases0", "balance",
        "layer_sign", "depth",
    )  # fmt: skip

    loss: Any
    status: Any
    backend: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", named(self.status))

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which runs ended as `Status.CONVERGED`: they reached the requested loss."""
        return np.asarray(to_host(self.status) == int(Status.CONVERGED))

    def __len__(self) -> int:
        if self.status.ndim == 0:
            raise TypeError("a result of one run without a batch axis has no length")
        return int(self.status.shape[0])

    def __bool__(self) -> bool:
        return True  # not by length, which one run has not

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Self:
        """The result of the runs at an index into the batch."""
        if isinstance(index, str):
            raise TypeError(f"index: expected one into the runs, got {index!r}; fields are "
                            f"attributes, result.{index}")  # fmt: skip
        shape = self.status.shape
        if not (shape or index is ... or isinstance(index, tuple)):
            raise IndexError(f"index: this result is of one run, which has no batch axis to index, "
                            f"got {index!r}")  # fmt: skip
        chosen = np.arange(self.status.size).reshape(shape)[index]

        def runs(array: Any) -> Any:
            part = array.reshape(self.status.size, *array.shape[len(shape) :])[chosen]
            return np.asarray(part) if isinstance(part, np.generic) else part

        changed = {}
        for name, value in self._fields():
            if isinstance(value, list):
                changed[name] = [runs(each) for each in value]
            elif hasattr(value, "shape"):
                changed[name] = runs(value)
        return dataclasses.replace(self, **changed)  # type: ignore[type-var]

    def __repr__(self) -> str:
        lines = self._described()
        width = max(len(name) for name, _ in lines)
        head = f"{type(self).__name__}: {self._size()}"
        return "\n".join([head, *(f"  {name:{width}}  {text}" for name, text in lines)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self._described()
        )
        head = html.escape(f"{type(self).__name__}: {self._size()}")
        return f"<div><b>{head}</b><table>{rows}</table></div>"

    def to_dataset(self, dims: Dims | None = None) -> xr.Dataset:
        """The arrays with named dimensions, in host memory.

        Parameters
        ----------
        dims : str, sequence of str, or mapping of str to array_like, optional
            Names of the batch axes, one string for one axis; by default batch_0, batch_1, ... A
            mapping also gives the values along each axis, as ``{"alpha": [0.1, 1.0]}``; without
            them runs are selected by position, and `plot` refuses the axis.

        Returns
        -------
        xarray.Dataset
            A variable per array (per layer, for lists). Where there were evaluation times, ``time``
            is a dimension with the times as its coordinate; of flows of a margin loss it may be
            ``log_loss`` or ``log_t``, and the values that each run reached are then the variable
            ``reached_log_loss`` or ``reached_log_t``. ``status`` holds integers, which the
            attributes ``flag_values`` and ``flag_meanings`` explain: compare it with
            ``krf.Status.CONVERGED`` and the other members of `Status`. It is never equal to a
            string.

        Raises
        ------
        ValueError
            If there are not as many names as batch axes, one of them is that of another axis or of
            a variable, or there are not as many values as runs along an axis.

        Examples
        --------
        >>> import kernelrich_fast as krf
        >>> flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=[0.1, 1.0])
        >>> dict(flow.to_dataset(["alpha"]).beta.sizes)
        {'alpha': 2, 'feature': 2}
        >>> flow.to_dataset({"alpha": [0.1, 1.0]}).beta.sel(alpha=0.1).values.round(2)
        array([0.1 , 0.95])
        >>> flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=1.0, t_eval=[0.0, 0.1, 1.0])
        >>> flow.to_dataset().beta.sel(time=0.1).values.round(2)
        array([0.39, 0.8 ])
        """
        import xarray as xr

        axes = self._axes(dims)
        clock, times = self._clock()
        variables: dict[str, Any] = {}
        derived = [(name, getattr(self, name)) for name in self._derived]
        for name, value in [*self._fields(), *derived]:
            if not (isinstance(value, list) or hasattr(value, "shape")):
                continue
            if name == "depth" and name in axes:
                _expect_depths(dims, axes.index(name), value)
                continue
            layers = value if isinstance(value, list) else [value]
            for i, each in enumerate(layers):
                array = np.asarray(to_host(each))
                own = f"{name}_{i + 1}" if isinstance(value, list) else name
                own = f"reached_{own}" if own == clock else own
                lead = axes + ((clock,) if self._timed and name not in self._timeless else ())
                inner = self._inner(name, i, array.ndim - len(lead))
                variables[own] = ((*lead, *inner), array, self._attrs(name))
        _expect_free(axes, variables)
        coords = _coordinates(dims, self.status.shape) if isinstance(dims, Mapping) else {}
        if times is not None:
            long_name, units = _CLOCKS[clock]
            coords[clock] = (clock, times, {"long_name": long_name, "units": units})
        attrs = {"backend": self.backend, "result": type(self).__name__}
        return xr.Dataset(variables, coords, attrs)

    def to_dataframe(self, dims: Dims | None = None) -> pd.DataFrame:
        """A table of all scalar variables, a row per run (and evaluation time); statuses are names.

        Parameters
        ----------
        dims : str, sequence of str, or mapping of str to array_like, optional
            Names of the batch axes, which become the index, and the values along them; as in
            `to_dataset`.

        Returns
        -------
        pandas.DataFrame
            Columns loss, t, status, n_steps and so on.

        Examples
        --------
        >>> import kernelrich_fast as krf
        >>> flow = krf.flow_diagonal([[1.0, 2.0]], [2.0], alpha=[0.1, 1.0])
        >>> flow.to_dataframe({"alpha": [0.1, 1.0]}).status.to_dict()
        {0.1: 'CONVERGED', 1.0: 'CONVERGED'}
        """
        ds = self.to_dataset(dims)
        axes = {*self._axes(dims), self._clock()[0]}
        scalars = ds[[name for name in ds.data_vars if set(ds[name].dims) <= axes]]
        if not scalars.dims:
            scalars = scalars.expand_dims("run")
        table = scalars.to_dataframe()
        table["status"] = [Status(s).name for s in table["status"]]
        return table

    @property
    def _timed(self) -> bool:
        return bool(self.loss.ndim > self.status.ndim)

    def _clock(self) -> tuple[str, FloatArray | None]:
        """Name of the axis of times, and the values along it if they are known."""
        return "time", None

    def _fields(self) -> list[tuple[str, Any]]:
        """Name and value of every field, a model's own before those of all flows."""
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        names.sort(key=_ENDS.__contains__)
        return [(name, getattr(self, name)) for name in names]

    def _axes(self, dims: Dims | None) -> tuple[str, ...]:
        count = self.status.ndim
        if dims is None:
            return tuple(f"batch_{i}" for i in range(count))
        dims = (dims,) if isinstance(dims, str) else dims
        if len(dims) != count:
            raise ValueError(
                f"dims: expected {count} name{'s' * (count != 1)}, one for each batch axis, got "
                f"{len(dims)}, {list(dims)}"
            )
        return tuple(dims)

    def _inner(self, name: str, layer: int, count: int) -> tuple[str, ...]:
        """Names of the axes after batch and time; those of layers name the units they connect."""
        if name in self._dims:
            return self._dims[name]
        units = {
            "weights": (f"unit_{layer + 1}", f"unit_{layer}"),
            "biases": (f"unit_{layer + 1}",),
        }
        own = units.get(name.removesuffix("0"), ())
        return (("copy",) if count > len(own) else ()) + own

    @staticmethod
    def _attrs(name: str) -> dict[str, Any]:
        attrs: dict[str, Any] = {"long_name": _LONG_NAMES[name]} if name in _LONG_NAMES else {}
        return attrs | (status_attrs() if name == "status" else {})

    def _size(self) -> str:
        shape, count = self.status.shape, self.status.size
        text = "1 run" if count == 1 else f"{count} runs"
        if len(shape) > 1 or shape == (1,):
            text += f", batch {shape}"
        if self._timed:
            text += f", {self.loss.shape[-1]} times"
        return text

    def _described(self) -> list[tuple[str, str]]:
        """Name and text of every line; no runs have no values to speak of."""
        status = np.asarray(to_host(self.status))
        counts = [(s.name, int(np.count_nonzero(status == s))) for s in Status]
        lines = [("status", ", ".join(f"{name} {n}" for name, n in counts if n) or "no runs")]
        last = np.asarray(to_host(self.loss))
        last = last[..., -1] if self._timed else last
        if last.size == 1:
            lines.append(("loss", f"{last.item():.3g}"))
        elif last.size:
            lines.append(("loss", f"{last.min():.3g} to {last.max():.3g}"))
        for name, value in self._fields():
            if name not in self._timeless and name != "loss" and hasattr(value, "shape"):
                lines.append((name, f"array {tuple(value.shape)}"))
            elif name in ("n_steps", "n_iterations") and value.size:
                low, high = int(value.min()), int(value.max())
                lines.append((name, f"{low}" if low == high else f"{low} to {high}"))
            elif isinstance(value, list) and name not in self._timeless:
                lines.append((name, ", ".join(str(tuple(each.shape)) for each in value)))
        return [*lines, ("backend", self.backend)]


def _expect_free(axes: tuple[str, ...], variables: dict[str, Any]) -> None:
    """Raise where a batch axis has the name of something else in the Dataset."""
    inner = {dim for dims, *_ in variables.values() for dim in dims[len(axes) :]}
    for i, name in enumerate(axes):
        if not isinstance(name, str):
            raise TypeError(f"dims: expected names of batch axes, got {name!r}")
        for taken, what in (
            (axes[:i], "another batch axis"), (inner, "another axis"), (variables, "a variable"),
        ):  # fmt: skip
            # A variable along this axis alone is its coordinate.
            if name in taken and not (taken is variables and variables[name][0] == (name,)):
                raise ValueError(f"dims: {name!r} is the name of {what} of the Dataset; choose one "
                                 "that is free")  # fmt: skip


def _expect_depths(dims: Dims | None, axis: int, depth: Any) -> None:
    """Raise where values of the axis "depth" are not the depths of the runs along it."""
    if not isinstance(dims, Mapping):
        return
    runs = np.moveaxis(np.asarray(to_host(depth)), axis, -1)
    given = np.asarray(to_host(dims["depth"]))
    if given.shape == runs.shape[-1:] and np.any(given != runs):
        raise ValueError(
            f"dims: expected values of 'depth' that the runs have, "
            f"{runs.reshape(-1, runs.shape[-1])[0]}, got {given}"
        )


def _coordinates(values: Mapping[str, ArrayLike], shape: tuple[int, ...]) -> dict[str, Any]:
    """The values along named batch axes of the shape."""
    coords = {name: np.asarray(to_host(along)) for name, along in values.items()}
    for (name, along), size in zip(coords.items(), shape, strict=True):
        if along.shape != (size,):
            raise ValueError(
                f"dims: expected {size} values of {name!r}, one for each run along its axis, got "
                f"an array of shape {along.shape}"
            )
    return coords


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FlowResult(Result):
    """What every flow returns; B is the batch shape, T the number of evaluation times.

    Attributes
    ----------
    loss, t : ndarray, B or B + (T,)
        Training loss, and the time each row belongs to (a run that ended early repeats its last
        state, and says so here).
    status : ndarray of int, B
        A `Status` per run; ``status.names`` are their names, ``status.name`` that of a single run.
    n_steps, n_rhs : ndarray of int, B
        Accepted steps, and evaluations of the vector field.
    n_flops : ndarray, B
        Multiplications and additions of the dense algebra, the elementwise functions left out; zero
        from the backend "numpy", which does not count them.
    backend : str
        The backend that ran.
    requested : (str, ndarray (T,)) or None
        The clock of the requested states, "time", "log_t" or "log_loss", and its values there.
    """

    loss: FloatArray
    t: FloatArray
    status: IntArray
    n_steps: IntArray
    n_rhs: IntArray
    n_flops: FloatArray
    backend: str
    requested: tuple[str, FloatArray] | None = dataclasses.field(default=None, kw_only=True)

    def _clock(self) -> tuple[str, FloatArray | None]:
        if self.requested is not None:
            return self.requested
        return super()._clock()


_ENDS = {field.name for field in dataclasses.fields(FlowResult)}
