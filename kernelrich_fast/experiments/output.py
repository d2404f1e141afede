"""Settings, files and tables that all experiments share."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from .marks import expect_replaceable, mark, replace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "WITH_DATA",
    "About",
    "Expectation",
    "Outcome",
    "Panels",
    "Settings",
    "rising",
    "save",
    "table",
]

# The largest integer that NetCDF 3 writes as one.
_MOST = int(np.iinfo(np.int32).max)
# The data of a figure by panel.
Panels = dict[str, xr.Dataset]
# Those that read a file or a folder of the user's.
WITH_DATA = ("fig6c", "fig6d", "all")
_DPI = 200


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
    # What the names of its data files add to that of the figure, also where it is small.
    panels: tuple[str, ...] = ("",)
    quick_panels: tuple[str, ...] | None = None

    def compared(self, panels: Panels) -> list[tuple[str, str, str]]:
        """The settings of the paper beside those of these panels."""
        return [
            (what, paper, here if isinstance(here, str) else here(panels))
            for what, paper, here in self.settings
        ]

    def files(self, figure: str, quick: bool) -> list[str]:
        """The names of all files of the figure."""
        small = self.panels if self.quick_panels is None else self.quick_panels
        data = [f"{figure}{panel}.nc" for panel in (small if quick else self.panels)]
        return [f"{figure}.png", f"{figure}.pdf", *data]


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
    force: bool = False  # replace files that are not of the same figure and settings

    @property
    def how(self) -> tuple[str, bool, int | None]:
        """Backend, progress bar and number of threads, which do not change results."""
        return self.backend, self.progress, self.jobs

    def seeds(self, count: int) -> tuple[int, ...]:
        return tuple(range(self.seed, self.seed + count))

    def mark(self, figure: str) -> str:
        """The line that goes into every file of a figure.

        The backend is part of it, because backends agree within tolerances only. Threads are not,
        because their number changes no bit.
        """
        data = self._data_digest if figure in WITH_DATA else "none"
        return mark(
            figure,
            {"quick": self.quick, "seed": self.seed, "backend": self.backend, "data": data},
        )

    def expect_replaceable(self, figure: str, names: Sequence[str]) -> None:
        """Refuse files that are not of the same figure and settings, unless forced."""
        for name in names:
            expect_replaceable(self.out / name, self.mark(figure), force=self.force)

    @cached_property
    def _data_digest(self) -> str:
        """Of the contents: another file of the same name is another setting."""
        if self.data is None:
            return "none"
        try:
            files = [self.data]
            if self.data.is_dir():  # CIFAR-10, maybe in the folder that its archive makes
                within = (*self.data.glob("*batch*"), *self.data.glob("cifar-10-*/*batch*"))
                files = sorted(file for file in within if file.is_file())
            parts = hashlib.sha256()
            for file in files:
                with open(file, "rb") as opened:
                    own = hashlib.file_digest(opened, "sha256").hexdigest()
                parts.update(own.encode())
        except FileNotFoundError:
            raise ValueError(f"data: there is no file {self.data}") from None
        except OSError as error:
            raise ValueError(f"data: cannot read {self.data} ({error.strerror})") from None
        return parts.hexdigest()[:16]


def save(settings: Settings, name: str, figure: Figure, panels: Panels) -> None:
    """Write name.png, name.pdf, and the data of each panel as NetCDF."""
    line = settings.mark(name)
    files = {f"{name}.{suffix}": content for suffix, content in _pictures(figure, line).items()}
    for panel, ds in panels.items():
        small = ds.map(_of_netcdf)
        small = small.assign_coords({k: _of_netcdf(v) for k, v in ds.coords.items()})
        small.attrs = {
            k: float(v) if isinstance(v, int) and abs(v) > _MOST else v for k, v in ds.attrs.items()
        }
        small.attrs["written_by"] = line
        files[f"{name}{panel}.nc"] = bytes(small.to_netcdf(engine="scipy"))
    # Something may have come while the figure was computed.
    settings.expect_replaceable(name, list(files))
    for file, content in files.items():
        replace(settings.out / file, content)


def _pictures(figure: Figure, line: str) -> dict[str, bytes]:
    """The figure as PNG and PDF, laid out once for both: the layout takes half of the time."""
    from matplotlib import rc_context

    found = {}
    for suffix, key in (("png", "Description"), ("pdf", "Subject")):
        content = io.BytesIO()
        figure.savefig(content, format=suffix, dpi=_DPI, metadata={key: line})
        found[suffix] = content.getvalue()
        # Without a layout engine, not even a placeholder, which would cost another drawing.
        with rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)
    return found


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
