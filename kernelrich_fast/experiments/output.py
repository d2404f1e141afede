"""Settings, files and tables that all experiments share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "About",
    "Expectation",
    "Outcome",
    "Panels",
    "Settings",
    "rising",
    "save",
    "table",
    "writable",
]

# The largest integer that NetCDF 3 writes as one.
_MOST = int(np.iinfo(np.int32).max)
# The data of a figure by panel.
Panels = dict[str, xr.Dataset]


@dataclass(frozen=True)
class Expectation:
    """A qualitative finding of the paper, and whether the data of a figure show it."""

    text: str
    holds: Callable[[Panels], bool]


@dataclass(frozen=True)
class About:
    """A figure of the paper: its settings there and here, and the findings it must show."""

    title: str
    # The setting, its value in the paper, and its value here: a text, or a function of what ran.
    settings: tuple[tuple[str, str, str | Callable[[Panels], str]], ...]
    expectations: tuple[Expectation, ...]

    def compared(self, panels: Panels) -> list[tuple[str, str, str]]:
        """The settings of the paper beside those of these panels."""
        return [
            (what, paper, here if isinstance(here, str) else here(panels))
            for what, paper, here in self.settings
        ]


@dataclass(frozen=True)
class Outcome:
    """The outcome of an experiment: a table, and the data of its panels."""

    text: str
    panels: Panels


@dataclass(frozen=True)
class Settings:
    """Where and how to run an experiment."""

    out: Path
    quick: bool = False
    backend: str = "auto"
    progress: bool = False
    data: Path | None = None  # a local file in place of the data that ship with scikit-learn
    seed: int = 0  # the first seed of random data and starts
    jobs: int | None = None  # threads

    @property
    def how(self) -> tuple[str, bool, int | None]:
        """Backend, progress bar and number of threads, which do not change results."""
        return self.backend, self.progress, self.jobs

    def seeds(self, count: int) -> tuple[int, ...]:
        return tuple(range(self.seed, self.seed + count))


def writable(folder: Path) -> Path:
    """Create the folder and check that it can be written to, before anything is computed."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    return folder


def save(settings: Settings, name: str, figure: Figure, panels: Panels) -> None:
    """Write name.png, name.pdf, and the data of each panel as NetCDF."""
    for suffix in ("png", "pdf"):
        figure.savefig(settings.out / f"{name}.{suffix}", dpi=200)
    for panel, ds in panels.items():
        small = ds.map(_of_netcdf)
        small = small.assign_coords({k: _of_netcdf(v) for k, v in ds.coords.items()})
        small.attrs = {
            k: float(v) if isinstance(v, int) and abs(v) > _MOST else v for k, v in ds.attrs.items()
        }
        small.to_netcdf(settings.out / f"{name}{panel}.nc", engine="scipy")


def _of_netcdf(values: xr.DataArray) -> xr.DataArray:
    """NetCDF 3, which SciPy writes, has no 64-bit integers: large ones are real numbers there."""
    if values.dtype.kind != "i":
        return values
    fits = values.size == 0 or int(abs(values).max()) <= _MOST
    return values.astype(np.int32 if fits else np.float64)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A plain text table."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(text.rjust(w) for text, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([title, *lines])


def _cell(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "-" if np.isnan(value) else f"{value:.4g}"
    return str(value)


def rising(values: xr.DataArray, slack: float = 0.0) -> bool:
    """Whether at least two values grow along the last axis.

    They may fall by ``slack`` times their range; positions with NaN are left out.
    """
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[..., ~np.isnan(numbers).any(axis=tuple(range(numbers.ndim - 1)))]
    if numbers.shape[-1] < 2:
        return False
    allowed = slack * (np.nanmax(numbers) - np.nanmin(numbers))
    return bool(np.all(np.diff(numbers, axis=-1) >= -allowed))
