"""The paper's figures, one module each: `reproduce` writes pictures, data and a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import fig1, fig2, fig3, fig5, fig6, fig6c, fig7, image
from .output import Settings

__all__ = ["FIGURES", "Settings", "reproduce"]

FIGURES: dict[str, Callable[[Settings], str]] = {
    "fig1": fig1.run,
    "fig2": fig2.run,
    "fig3": fig3.run,
    "fig5": fig5.run,
    "fig6": fig6.run,
    "fig6c": fig6c.run,
    "fig7": fig7.run,
    "image": image.run,
}


def reproduce(
    figure: str,
    out: str | Path = ".",
    *,
    quick: bool = False,
    backend: str = "auto",
    progress: bool = False,
    data: str | Path | None = None,
) -> str:
    """Compute a figure of the paper and write it to a directory.

    Parameters
    ----------
    figure : {"fig1", "fig2", "fig3", "fig5", "fig6", "fig6c", "fig7", "image"}
        Which figure of the paper, all panels ("fig6": a and b); or the completion of an image.
        Panel d of figure 6 trains a convolutional network, which is out of scope.
    out : path
        Directory for FIGURE.png, FIGURE.pdf and one NetCDF file of data per panel.
    quick : bool
        A small version of the same, for trying out.
    backend : str
        As in `flow_diagonal`.
    progress : bool
        Show a progress bar.
    data : path, optional
        For "fig6c": an .npz file with x_train, y_train, x_test and y_test, such as MNIST's, instead
        of the digits that ship with scikit-learn.

    Returns
    -------
    str
        A short table of the results.

    Raises
    ------
    ValueError
        If there is no such figure, or ``data`` is given for another one.

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
    if figure not in FIGURES:
        raise ValueError(f"figure: expected one of {', '.join(FIGURES)}, got {figure!r}")
    if data is not None and figure != "fig6c":
        raise ValueError(f"data: expected only for fig6c, got it for {figure}")
    file = None if data is None else Path(data)
    return FIGURES[figure](Settings(Path(out), quick, backend, progress, file))
