"""The paper's figures, one module each: `reproduce` writes pictures, data and a table."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import ModuleType

from .. import _validate as check
from .._runs import thread_count
from ..backends import BACKENDS
from ..config import output_folder, writable
from . import (
    decay,
    depths,
    fig1,
    fig2,
    fig3,
    fig5,
    fig6,
    fig6c,
    fig6d,
    fig7,
    image,
    lasso,
    margins,
    saddles,
)
from .output import WITH_DATA, Settings
from .report import Section, write_report

__all__ = ["EXTRA", "FIGURES", "Settings", "files_of", "prepare", "reproduce"]

# Each has ABOUT and run(settings).
FIGURES: dict[str, ModuleType] = {
    "fig1": fig1,
    "fig2": fig2,
    "fig3": fig3,
    "fig5": fig5,
    "fig6": fig6,
    "fig6c": fig6c,
    "fig7": fig7,
    "image": image,
    "saddles": saddles,
    "lasso": lasso,
    "decay": decay,
    "depths": depths,
    "margins": margins,
}
# The same, but they need packages that the others do not, so that "all" leaves them out.
EXTRA: dict[str, ModuleType] = {"fig6d": fig6d}


def reproduce(
    figure: str,
    out: str | Path = ".",
    *,
    quick: bool = False,
    backend: str = "auto",
    progress: bool = False,
    data: str | Path | None = None,
    seed: int = 0,
    num_threads: int | None = None,
    force: bool = False,
) -> str:
    """Compute a figure of the paper and write it to a directory.

    Parameters
    ----------
    figure : {"fig1", "fig2", "fig3", "fig5", "fig6", "fig6c", "fig6d", "fig7", "image", \
            "saddles", "lasso", "decay", "depths", "margins", "all"}
        Which figure of the paper to make, with all panels ("fig6" has panels a and b). Beyond the
        paper, "image" completes a photograph, "saddles" compares flows with their exact path as
        alpha -> 0, "lasso" compares the mean of a flow with the lasso path (in the setting of
        Berthier 2025, and closer to the limit), "decay" shows how weight decay switches regimes (in
        the setting of Jacobs and Burkholz 2024, late, and switched off), "depths" shows which l1
        minimisers depths from 2 to 4 choose, and "margins" follows classification down to a loss of
        exp(-1e12). "fig6d" trains a convolutional network in PyTorch and needs the extra [torch].
        "all" makes every figure but fig6d, and writes report.html, which shows each beside the
        paper's settings and says whether the paper's qualitative findings hold.
    out : path
        Directory for FIGURE.png, FIGURE.pdf and the data, one NetCDF file per panel. Each file
        holds a line that says which figure it is, and the values of quick, seed, backend and data.
        Files of the same figure and settings are replaced, whichever version of the package wrote
        them. Anything else that has one of these names is refused.
    quick : bool
        Whether to make a small version, to try it out.
    backend : str
        As in `flow_diagonal`.
    progress : bool
        Show a progress bar.
    data : path, optional
        Data to use instead of the digits that ship with scikit-learn. For "fig6c" (and "all") an
        .npz file with x_train, y_train, x_test and y_test, such as that of MNIST. For "fig6d" the
        folder of CIFAR-10, in its binary or Python version; without ``quick`` the training is that
        of the paper, which needs a GPU.
    seed : int
        The first seed of the random data and starts; 0 gives the figures of the documentation.
    num_threads : int, optional
        Threads; by default all cores this process may use.
    force : bool
        Whether to replace also files that `reproduce` did not write, that were edited since, or
        that were written with other settings.

    Returns
    -------
    str
        A short table of the results.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, or ``data`` is given for a figure that takes none.
    ImportError
        If a package is missing that the figure needs.
    FileExistsError
        If a file would be lost; this is checked before anything is computed.
    OSError
        If ``out`` cannot be written to; this is checked before anything is computed.

    References
    ----------
    Woodworth et al. (COLT 2020).

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     print(reproduce("fig2", folder).splitlines()[0])
    figure 2: implicit q and explicit r
    """
    settings = prepare(
        figure, out, quick=quick, backend=backend, progress=progress, data=data, seed=seed,
        num_threads=num_threads, force=force,
    )  # fmt: skip
    if figure != "all":
        return str((FIGURES | EXTRA)[figure].run(settings).text)
    sections = []
    for name, module in FIGURES.items():
        start = time.perf_counter()
        outcome = module.run(settings)
        sections.append(Section(name, module.ABOUT, outcome, time.perf_counter() - start))
    write_report(settings, sections)
    return "\n\n".join(section.outcome.text for section in sections)


def prepare(
    figure: str,
    out: str | Path = ".",
    *,
    quick: bool = False,
    backend: str = "auto",
    progress: bool = False,
    data: str | Path | None = None,
    seed: int = 0,
    num_threads: int | None = None,
    force: bool = False,
) -> Settings:
    """Check what `reproduce` is given, and the directory; nothing is computed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     prepare("fig2", folder, seed=7).seeds(2)
    (7, 8)
    """
    check.choice("figure", figure, (*FIGURES, *EXTRA, "all"))
    if data is not None and figure not in WITH_DATA:
        raise ValueError(f"data: expected only for fig6c and fig6d, got it for {figure}")
    check.choice("backend", backend, ("auto", *BACKENDS))
    seed = check.integer("seed", seed, low=0, high=2**31)
    if num_threads is not None:
        thread_count(num_threads)
    settings = Settings(
        output_folder(out), check.flag("quick", quick), backend, check.flag("progress", progress),
        None if data is None else _data_path(data), seed, num_threads, check.flag("force", force),
    )  # fmt: skip
    for name, files in files_of(figure, settings.quick).items():
        settings.expect_replaceable(name, files)
    writable(settings.out)
    return settings


def _data_path(data: object) -> Path:
    if not isinstance(data, str | os.PathLike) or isinstance(os.fspath(data), bytes):
        raise TypeError(f"data: expected the path of a file or a folder, got {data!r}")
    if not os.fspath(data):
        raise ValueError("data: expected the path of a file or a folder, got an empty string")
    return Path(os.path.expanduser(data))


def files_of(figure: str, quick: bool = False) -> dict[str, list[str]]:
    """The names of the files that `reproduce` writes, by figure.

    Examples
    --------
    >>> files_of("fig3")
    {'fig3': ['fig3.png', 'fig3.pdf', 'fig3a.nc', 'fig3b.nc', 'fig3c.nc']}
    """
    if figure != "all":
        return {figure: (FIGURES | EXTRA)[figure].ABOUT.files(figure, quick)}
    each = {name: module.ABOUT.files(name, quick) for name, module in FIGURES.items()}
    return {"all": ["report.html"], **each}
