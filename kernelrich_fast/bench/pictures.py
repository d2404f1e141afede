"""Work-precision diagrams, scaling plots, and GPU against CPU over the number of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

__all__ = ["draw_all"]

MARKERS = "osv^D*Px<>"
AXES = {
    "B": "runs in a call, one thread", "B, all cores": "runs in a call, all cores", "N": "samples",
    "d": "features", "threads": "threads",
}  # fmt: skip


def draw_all(result: dict[str, Any], folder: Path) -> None:
    """One PNG a case, one a family for scaling, one for the crossover where there is a GPU."""
    for case in result["cases"]:
        rows = [r for r in result["rows"] if r["case"] == case["name"] and r["seconds"]]
        if rows:
            _work_precision(case, rows, folder / f"work-precision-{case['name']}.png")
    for family in sorted({p["family"] for p in result["scaling"]}):
        points = [p for p in result["scaling"] if p["family"] == family]
        _scaling(family, points, folder / f"scaling-{family}.png")
        if any(p["backend"] == "cuda" for p in points):
            _crossover(family, points, folder / f"crossover-{family}.png")


def _figure(columns: int = 1) -> tuple[Any, Any]:
    # Without pyplot: no window system, and no state of the user's is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0 * columns, 4.0), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _work_precision(case: dict[str, Any], rows: list[dict[str, Any]], path: Path) -> None:
    figure, (axes,) = _figure()
    colours = matplotlib.colormaps["tab10"]
    for i, name in enumerate(dict.fromkeys(row["contestant"] for row in rows)):
        mine = [r for r in rows if r["contestant"] == name and r["error"] is not None]
        # An error of zero has no logarithm.
        x, y = [max(r["error"], 1e-16) for r in mine], [r["seconds"] for r in mine]
        half = [r["spread"] / 2.0 for r in mine]
        axes.errorbar(
            x, y, yerr=half, marker=MARKERS[i % len(MARKERS)], color=colours(i % 10), label=name,
            linewidth=2.0 if name.startswith("kernelrich") else 1.0, markersize=5,
        )  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlabel="relative error", ylabel="seconds on one core",
        title=case["title"],
    )  # fmt: skip
    axes.title.set_fontsize(9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6)
    figure.savefig(path)


def _scaling(family: str, points: list[dict[str, Any]], path: Path) -> None:
    names = [axis for axis in AXES if any(p["axis"] == axis for p in points)]
    figure, panels = _figure(len(names))
    for axis, axes in zip(names, panels, strict=True):
        for i, backend in enumerate(dict.fromkeys(p["backend"] for p in points)):
            mine = [p for p in points if p["axis"] == axis and p["backend"] == backend]
            if not mine:
                continue
            x, y = [p["size"] for p in mine], [p["seconds"] for p in mine]
            axes.loglog(x, y, marker=MARKERS[i], label=backend)
        first = min((p for p in points if p["axis"] == axis), key=lambda p: p["size"])
        sizes = sorted({p["size"] for p in points if p["axis"] == axis})
        slope = -1.0 if axis == "threads" else 1.0
        axes.loglog(
            sizes, [first["seconds"] * (s / sizes[0]) ** slope for s in sizes], "k:", linewidth=1,
            label="1 / threads" if axis == "threads" else "linear",
        )  # fmt: skip
        axes.set(xlabel=AXES[axis], ylabel="seconds", title=family)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path)


def _crossover(family: str, points: list[dict[str, Any]], path: Path) -> None:
    figure, (axes,) = _figure()
    points = [p for p in points if p["axis"] == "B, all cores"]
    both = {
        b: {p["size"]: p["seconds"] for p in points if p["backend"] == b} for b in ("cuda", "cpu")
    }
    sizes = sorted(set(both["cuda"]) & set(both["cpu"]))
    axes.loglog(sizes, [both["cpu"][s] / both["cuda"][s] for s in sizes], "o-")
    axes.axhline(1.0, color="k", linewidth=1)
    axes.set(xlabel=AXES["B, all cores"], ylabel="CPU (all cores) / GPU", title=family)
    axes.grid(alpha=0.3)
    figure.savefig(path)
