"""The paper's figures, one module each: `reproduce` writes pictures, data and a table."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType

from .. import _validate as check
from .._runs import thread_count
from ..backends import BACKENDS
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
from .output import Settings, writable
from .report import Section, write_report

__all__ = ["EXTRA", "FIGURES", "Settings", "reproduce"]

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
# Those that read a file or a folder of the user's.
WITH_DATA = ("fig6c", "fig6d", "all")


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
        Directory for FIGURE.png, FIGURE.pdf and the data, one NetCDF file per panel.
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

    Returns
    -------
    str
        A short table of the results.

    Raises
    ------
    ValueError
        If there is no such figure or backend, or ``data`` is given for a figure that takes none.
    ImportError
        If a package is missing that the figure needs.
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
    modules = FIGURES | EXTRA
    if figure not in (*modules, "all"):
        raise ValueError(f"figure: expected one of {', '.join(modules)}, all, got {figure!r}")
    if data is not None and figure not in WITH_DATA:
        raise ValueError(f"data: expected only for fig6c and fig6d, got it for {figure}")
    check.choice("backend", backend, ("auto", *BACKENDS))
    check.integer("seed", seed, low=0, high=2**31)
    if num_threads is not None:
        thread_count(num_threads)
    settings = Settings(
        writable(Path(out).expanduser()), quick, backend, progress,
        None if data is None else Path(data).expanduser(), seed, num_threads,
    )  # fmt: skip
    if figure != "all":
        return str(modules[figure].run(settings).text)
    sections = []
    for name, module in FIGURES.items():
        start = time.perf_counter()
        outcome = module.run(settings)
        sections.append(Section(name, module.ABOUT, outcome, time.perf_counter() - start))
    write_report(settings, sections)
    return "\n\n".join(section.outcome.text for section in sections)
