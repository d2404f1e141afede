"""A page with two sliders that needs no server: everything it can show is computed before."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import file_html
from bokeh.resources import INLINE
from jinja2 import Environment

from . import diagonal
from .packing import Frame
from .state import State, default_state
from .views import Pictures
from .words import TITLES

__all__ = ["write_static"]

_VIEWS = ("paths", "norms", "kernel", "error_alpha")
_SCALES = np.geomspace(1e-6, 10.0, 22)
_DEPTHS = (2.0, 3.0, 4.0)
_FIRST = 15  # the scale that is shown first
_EVERY = 2  # of the times


def write_static(path: str | PathLike[str]) -> None:
    """Write a page of diagonal networks with sliders for the scale and the depth.

    Parameters
    ----------
    path : path
        The HTML file to write; about 2 MB, BokehJS within it, so that it loads nothing.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from kernelrich_fast.explorer.static import write_static
    >>> with TemporaryDirectory() as folder:
    ...     write_static(Path(folder, "static.html"))
    ...     print(Path(folder, "static.html").read_text(encoding="utf-8")[:15])
    <!DOCTYPE html>
    """
    pictures = Pictures(height=190)
    pictures.label("diagonal", "samples")
    start = replace(default_state(), samples=20, features=40, sparsity=3)
    frames = []
    for depth in _DEPTHS:
        base = replace(start, depth=depth)
        problem = diagonal.problem(base, None)
        (*_, last) = diagonal.over_alpha(base, problem)
        curves = pictures.curves("error_alpha", last.tables["error_alpha"])
        frames.append(
            [_frame(replace(base, alpha=_rounded(a)), problem, pictures, curves) for a in _SCALES]
        )
    resources = files(__package__)
    template = Environment(autoescape=False).from_string(
        (resources / "static.html").read_text(encoding="utf-8")
    )
    html = file_html(
        [pictures.by_view[view].figure for view in _VIEWS],
        resources=INLINE,
        title="From the kernel to the rich regime",
        template=template,
        template_variables={
            "style": (resources / "page.css").read_text(encoding="utf-8"),
            "frames": _packed({"data": frames}),
            "titles": TITLES["diagonal"],
            "n_alphas": len(_SCALES),
            "n_depths": len(_DEPTHS),
            "first": _FIRST,
        },
    )
    Path(path).write_text(html, encoding="utf-8")


def _frame(state: State, problem: Any, pictures: Pictures, curves: Frame) -> dict[str, Any]:
    """What every source holds at this scale and depth."""
    now = diagonal.now(state, problem)
    thinned = {
        view: {name: values[::_EVERY] for name, values in table.items()}
        for view, table in now.tables.items()
    }
    found = pictures.frame_of(state.alpha, replace(now, tables=thinned), 0.0) | curves
    drawn = {f"{view}_{kind}" for view in _VIEWS for kind in ("source", "others", "present")}
    sources = {
        name: {column: _short(values) for column, values in found[name].items()}
        for name in sorted(drawn & set(found))
    }
    time = found["time_range"]
    return {"alpha": state.alpha, "depth": state.depth, "time": time, "sources": sources}


def _packed(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":")).encode("utf-8")
    return base64.b64encode(gzip.compress(text, mtime=0)).decode("ascii")


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _short(values: Any) -> Any:
    """Numbers to four digits, as many as a picture shows; null where there is none."""
    if isinstance(values, str):
        return values
    if np.ndim(values) == 0:
        return None if np.isnan(values) else float(f"{values:.4g}")
    return [_short(value) for value in values]
