"""What pictures take from a Dataset: checks, curves over the scale, means and their errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from .._types import FloatArray
from ..status import Status

__all__ = [
    "Curve",
    "counts_of",
    "expanded",
    "kind_of",
    "mean_and_error",
    "one_value_of",
    "over_scale",
    "scales_of",
    "spread_title",
    "unfinished",
    "with_variable",
    "with_variables",
]

# Results of one call, and the sweep that makes a Dataset of them.
_SWEEPS = {
    "DiagonalFlow": "sweep_diagonal",
    "DiagonalLimit": "sweep_diagonal",
    "FactorizationFlow": "sweep_factorization",
    "FactorizationMarginFlow": "sweep_factorization",
    "LinearFlow": "sweep_linear",
    "MLPFlow": "sweep_mlp",
    "MarginFlow": "sweep_diagonal",
    "RichPath": "plot.rich_path",
}
# What does not depend on how the runs ended.
_WITHOUT_RUNS = ("kernel_error", "kernel_rmse", "last_layer_error", "last_layer_rmse")
_DIAGONAL, _RELU = "diagonal network", "ReLU network"
# What adds a variable to the sweeps of a model.
_ADDED_BY: dict[str, tuple[str | tuple[str, ...], str]] = {
    "beta": (_DIAGONAL, 'run the sweep with keep=("norms", "beta")'),
    "population_error": (_DIAGONAL, "give beta_star= to sweep_diagonal"),
    "seed": ("", "give seeds= to the sweep"),
    "time": ("", "give t_eval= to the sweep"),
    "width": ("", "give width= to the sweep"),
    **dict.fromkeys(
        ("excess_l1", "excess_l2"), (_DIAGONAL, 'run the sweep with "norms" among keep=')
    ),
    **dict.fromkeys(
        ("test_rmse", "test_error"),
        ((_RELU, _DIAGONAL), "give X_test= and y_test= to the sweep"),
    ),
    **dict.fromkeys(
        _WITHOUT_RUNS,
        (_RELU, 'run sweep_mlp with keep=("norms", "kernel_predictors")'),
    ),
}
# What no sweep makes: the figure whose data have it, and the file.
_OF_FIGURES = {
    "critical_alpha": ("fig1", "fig1c.nc"),
    "ratio": ("fig3", "fig3b.nc"),
    "linear_spline": ("fig7", "fig7.nc"),
    "r": ("fig2", "fig2.nc"),
    "q": ("fig3", "fig3a.nc"),
}
# Shares of wrong classes, and what the squared loss has in their place.
_OF_CLASSES = {
    f"{name}_error": f"{name}_rmse" for name in ("test", "kernel", "last_layer")
}  # fmt: skip
# Dimensions that are averaged over, and need no values; all others are drawn or named.
_REPEATED = ("problem", "seed")
_UNFINISHED = [int(Status.MAX_STEPS), int(Status.FAILED)]


class Curve(NamedTuple):
    """A variable over the scales of one depth or width, and which points did not converge."""

    at: float
    scale: FloatArray
    values: xr.DataArray
    unfinished: NDArray[np.bool_]


def kind_of(value: object) -> str:
    """Its type in words, and nothing of its contents."""
    name = type(value).__name__
    vowel = name[0] in "AEIOUaeiou" or name.startswith(("MLP", "nd"))
    return f"{'an' if vowel else 'a'} {name}"


def _instead(value: object, names: tuple[str, ...]) -> str:
    """What to use for the result of one call, as the end of a message."""
    name = _SWEEPS.get(type(value).__name__)
    if name is None:
        return ""
    if name.startswith("sweep") and "time" in names:
        return f'; use {name}, or to_dataset({{"alpha": values}}) of a flow with t_eval='
    return _of_figure(names) or f"; use {name}"


def _of_figure(names: Iterable[str]) -> str:
    """The figure that has such data, as the end of a message; nothing where a sweep makes them."""
    found = [made for name, made in _OF_FIGURES.items() if name in names]
    return f"; `kernelrich reproduce {found[0][0]}` writes one, {found[0][1]}" if found else ""


def _advice(ds: xr.Dataset, names: list[str]) -> str:
    """How a sweep gets what is missing, as the end of a message."""
    # Its seeds and numbers of samples are those of no sweep either.
    critical = ["critical_alpha"] if "critical_alpha" in ds.variables else []
    made = _of_figure(names + critical)
    if made:
        return made
    model = ds.attrs.get("model", "")
    # Of a variable that has its counterpart of the squared loss, the loss alone is missing.
    there = [name for name in names if _OF_CLASSES.get(name) in ds.variables]
    known = [_ADDED_BY[name] for name in names if name in _ADDED_BY and name not in there]
    if any(name in _OF_CLASSES for name in names):
        known.append((_RELU, 'train on classes with loss="cross_entropy"'))
    if "test_rmse" in names and str(model).startswith("matrix"):
        known.append(("matrix", "give a Y_star without NaN to sweep_factorization"))
    if "result" in ds.attrs and "alpha" in names:
        batch = any(str(dim).startswith("batch_") for dim in ds.dims)
        how = 'name the batch axes by to_dataset({"alpha": values})'
        known.append(("", how if batch else "give the scale by ds.assign_coords(alpha=value)"))
    fitting = [text for of, text in known if not model or str(model).startswith(of)]
    if "kernel_error" in names and model and not str(model).startswith(_RELU):
        return "; `kernelrich reproduce fig6c` writes one, fig6c.nc"
    return "".join(f"; {text}" for text in dict.fromkeys(fitting))


def with_variables(ds: xr.Dataset, *names: str) -> None:
    """Refuse what is not a Dataset with these variables, or values along these dimensions."""
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"ds: expected an xarray.Dataset, got {kind_of(ds)}{_instead(ds, names)}")
    missing = [name for name in names if name not in ds.variables and name not in ds.dims]
    if missing:
        there = ", ".join(sorted(map(str, ds.variables)))
        raise ValueError(
            f"ds: expected a Dataset with {', '.join(missing)}, got one with "
            f"{there}{_advice(ds, missing)}"
        )
    # xarray would number the positions, and these would be drawn as if they were values.
    bare = [name for name in names if name not in ds.variables and name not in _REPEATED]
    if bare:
        dim = bare[0]
        source = "t_eval= of a sweep" if dim == "time" else f'to_dataset({{"{dim}": values}})'
        raise ValueError(
            f"ds: expected values along {dim}, got a dimension without a coordinate; give them by "
            f"ds.assign_coords({dim}=values) or {source}"
        )


def with_variable(ds: xr.Dataset, variable: str, *dims: str) -> xr.DataArray:
    """The variable of that name; an error names it if it is missing or lacks one of ``dims``."""
    with_variables(ds, *dims)
    if not isinstance(variable, str):
        raise TypeError(f"variable: expected a name, got {variable!r}")
    if variable not in ds.data_vars:
        there = ", ".join(map(str, ds.data_vars))
        raise ValueError(
            f"variable: expected one of {there}, got {variable!r}{_advice(ds, [variable])}"
        )
    values = ds[variable]
    lacking = [dim for dim in dims if dim not in values.dims]
    if lacking:
        raise ValueError(
            f"variable: expected one with dimensions {', '.join(dims)}, got {variable!r} with "
            f"{', '.join(map(str, values.dims)) or 'none'}"
            f"{_advice(ds, [dim for dim in lacking if dim not in ds.dims])}"
        )
    return values


def one_value_of(values: xr.DataArray, *drawn: str) -> None:
    """Refuse dimensions that are not drawn, and values without a number."""
    others = ", ".join(sorted(str(dim) for dim in values.dims if dim not in drawn))
    if others:
        raise ValueError(f"ds: expected one value of {others}; select it with ds.isel or ds.sel")
    if not bool(values.notnull().any()):
        raise ValueError(f"ds: expected numbers in {values.name}, got NaN everywhere")


def expanded(values: xr.DataArray, *dims: str) -> xr.DataArray:
    """The values with these dimensions, of length one where a coordinate is a scalar."""
    for dim in dims:
        values = values if dim in values.dims else values.expand_dims(dim)
    return values


def scales_of(ds: xr.Dataset) -> xr.DataArray:
    """The scales; where every depth has its own grid, ``alpha`` only counts their positions."""
    return ds["scale"] if "scale" in ds.variables else ds["alpha"]


def over_scale(ds: xr.Dataset, variable: str, each: str | None = None) -> list[Curve]:
    """The curves of a variable over the scale, sorted by it, one for each depth or width.

    Their values have the dimension alpha, also where it is a scalar, and those of problems and
    seeds. All other dimensions are refused by name.
    """
    own = () if each is None else (each,)
    with_variables(ds, "alpha", *own)
    one_value_of(ds[variable], "alpha", *_REPEATED, *own)
    values = expanded(ds[variable], "alpha", *own)
    scales = expanded(scales_of(ds), "alpha")
    bad = unfinished(ds if variable not in _WITHOUT_RUNS else ds[[]], "alpha", *own)
    curves = []
    for k, at in enumerate(values[each].values.tolist() if each else [np.nan]):
        here: dict[Any, Any] = {each: k} if each else {}
        scale = np.asarray(scales.isel(here, missing_dims="ignore"), dtype=np.float64)
        order = np.argsort(scale)
        marked = np.broadcast_to(bad.isel(here, missing_dims="ignore").values, scale.shape)
        curves.append(Curve(at, scale[order], values.isel(here).isel(alpha=order), marked[order]))
    return curves


def unfinished(ds: xr.Dataset, *dims: str) -> xr.DataArray:
    """Where, along those of these dimensions that ``status`` has, a run is MAX_STEPS or FAILED."""
    if "status" not in ds.variables:
        return xr.DataArray(False)
    bad = ds["status"].isin(_UNFINISHED)
    return bad.any([dim for dim in bad.dims if dim not in dims])


def mean_and_error(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Mean over problems and seeds, of what is not NaN, and its standard error.

    The error is NaN where there are fewer than two values, and None if there is one problem and
    one seed.
    """
    over = [dim for dim in _REPEATED if dim in values.dims]
    mean = values.mean(over) if over else values
    if values.size == mean.size:
        return mean, None
    count = values.notnull().sum(over)
    count = count.where(count > 1)
    squares = ((values - mean) ** 2).sum(over)
    return mean, (squares / (count - 1) / count) ** 0.5


def spread_title(*values: xr.DataArray, **words: str) -> str | None:
    """What a curve and its band are, for the title of a legend; None if there is no band.

    All of ``values`` have the same problems and seeds; ``words`` may give these another name, such
    as ``seed="start"``.
    """
    sizes = {dim: v.sizes[dim] for dim in _REPEATED for v in values if dim in v.dims}
    names = [f"{size} {words.get(dim, dim)}s" for dim, size in sizes.items() if size > 1]
    if not names:
        return None
    title = f"mean and standard error, {' and '.join(names)}"
    total, there = int(np.prod(list(sizes.values()))), counts_of(list(sizes), *values)
    return title if there == str(total) else f"{title}\n({there} of {total} are not NaN)"


def counts_of(over: list[str], *values: xr.DataArray) -> str:
    """How many numbers the means over these dimensions are of, such as "2 to 3"."""
    counts = np.concatenate([np.ravel(each.notnull().sum(over)) for each in values])
    counts = counts[counts > 0]
    return " to ".join(map(str, np.unique([counts.min(), counts.max()])))
