"""The pictures of the page: Bokeh figures that are filled with tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    ColorBar,
    ColumnDataSource,
    CrosshairTool,
    DataRange1d,
    FixedTicker,
    HoverTool,
    Legend,
    LegendItem,
    LinearColorMapper,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from .._types import FloatArray
from .packing import Frame
from .tables import Now, Table, alphas
from .words import CURVES, OVER_ALPHA, OVER_TIME, VIEWS, X_LABELS, Y_LABELS

__all__ = ["Picture", "Pictures"]

# Okabe-Ito, told apart without colour vision; dashes keep curves apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("solid", "dashed", "dotdash", "dotted", "dashdot", "8 3")
_GREY = "#bfc3c9"
_MOST_CURVES = 4
_LOG_Y = ("loss", "error_alpha", "kernel_alpha", "norms_alpha")
_MOST_OTHERS = 400  # thin lines that are drawn, the largest; "save data" has them all
_FLOOR = 1e-30  # smallest number on a logarithmic axis


@dataclass
class Picture:
    """A figure, its sources, and the legend entries of its curves."""

    figure: Any
    source: ColumnDataSource
    items: list[LegendItem]
    others: ColumnDataSource | None = None
    present: ColumnDataSource | None = None


class Pictures:
    """All pictures of a page, linked: one axis of time, one of alpha, one present point.

    ``height`` is that of a picture in pixels.
    """

    def __init__(self, height: int = 184) -> None:
        self.height = height
        # Set with the data: found by four pictures in turn, it would make them draw twice.
        self.time = Range1d(0.1, 1.0, name="time_range")
        self.alpha = Range1d(1e-6, 10.0)
        self.present_alpha = Span(
            name="present_alpha",
            dimension="height",
            location=1.0,
            line_color="black",
            line_dash="dashed",
            line_width=1,
        )
        self._time_cross = Span(dimension="height", line_dash="dotted", line_width=1)
        self._rows: tuple[float, ...] = ()
        self.by_view = {view: self._made(view) for view in VIEWS}

    def _made(self, view: str) -> Picture:
        if view == "phase":
            return self._phase()
        options: dict[str, Any] = {"x_range": DataRange1d(range_padding=0.0, only_visible=True)}
        if view in OVER_TIME:
            options = {"x_range": self.time, "x_axis_type": "log"}
        elif view in OVER_ALPHA:
            options = {"x_range": self.alpha, "x_axis_type": "log"}
        options["y_range"] = DataRange1d(only_visible=True)
        fig = self._figure(view, y_axis_type="log" if view in _LOG_Y else "linear", **options)
        picture = self._paths(fig) if view == "paths" else self._curves(fig)
        if view in OVER_TIME:
            fig.add_tools(CrosshairTool(overlay=self._time_cross))
        if view in OVER_ALPHA:
            self._mark_present(fig, picture)
        return picture

    def _figure(self, view: str, **options: Any) -> Any:
        fig = figure(
            height=self.height, sizing_mode="stretch_width", min_width=240, tools="",
            toolbar_location=None, name=view, **options,
        )  # fmt: skip
        fig.xaxis.axis_label = X_LABELS.get(view, "time t" if view in OVER_TIME else "scale α")
        for axis in (*fig.xaxis, *fig.yaxis):
            axis.axis_label_text_font_size = "12px"
            axis.axis_label_text_font_style = "normal"
            axis.major_label_text_font_size = "11px"
            axis.minor_tick_line_color = None
            axis.axis_label_standoff = 2
        if view in OVER_TIME or view in OVER_ALPHA:
            fig.xaxis.ticker.desired_num_ticks = 5
        fig.min_border_right = 14
        fig.output_backend = "canvas"
        return fig

    def _curves(self, fig: Any) -> Picture:
        names = [f"y{index}" for index in range(_MOST_CURVES)]
        # A point from the start: an empty logarithmic axis has no range.
        source = ColumnDataSource({"x": [1.0], **{name: [1.0] for name in names}})
        items = []
        for index, name in enumerate(names):
            line = fig.line(
                "x", name, source=source, line_width=2.2, color=COLOURS[index],
                line_dash=DASHES[index],
            )  # fmt: skip
            items.append(LegendItem(label=name, renderers=[line], visible=False))
        self._add_legend(fig, items)
        fig.add_tools(HoverTool(tooltips=[("x", "@x"), *((n, f"@{n}") for n in names[:1])],
                                mode="vline", renderers=[items[0].renderers[0]]))  # fmt: skip
        source.name = f"{fig.name}_source"
        return Picture(fig, source, items)

    def _paths(self, fig: Any) -> Picture:
        others = ColumnDataSource({"x": [1.0], "y": [1.0]}, name="paths_others")
        faint = fig.line("x", "y", source=others, color=_GREY, line_width=0.7)
        source = ColumnDataSource(
            {"xs": [], "ys": [], "colour": [], "dash": [], "label": []}, name="paths_source"
        )
        bold = fig.multi_line(
            "xs", "ys", source=source, color="colour", line_dash="dash", line_width=2.2
        )
        items = [
            LegendItem(label="true", renderers=[bold], index=0),
            LegendItem(label="others", renderers=[faint]),
        ]
        self._add_legend(fig, items)
        fig.add_tools(HoverTool(tooltips="@label", renderers=[bold]))
        return Picture(fig, source, items, others)

    def _phase(self) -> Picture:
        fig = self._figure("phase", x_range=self.alpha, x_axis_type="log", y_range=Range1d(0, 1))
        source = ColumnDataSource(
            {"image": [], "x": [], "y": [], "dw": [], "dh": []}, name="phase_source"
        )
        mapper = LinearColorMapper(palette="Viridis256", nan_color="#dddddd")
        fig.image("image", "x", "y", "dw", "dh", source=source, color_mapper=mapper)
        bar = ColorBar(
            color_mapper=mapper, width=10, padding=4, ticker=BasicTicker(desired_num_ticks=4),
            title="log10 error", title_text_font_size="11px", title_text_font_style="normal",
            major_label_text_font_size="11px",
        )  # fmt: skip
        fig.add_layout(bar, "right")
        fig.grid.visible = False
        fig.xaxis.ticker.desired_num_ticks = 3
        picture = Picture(fig, source, [])
        self._mark_present(fig, picture)
        return picture

    def _mark_present(self, fig: Any, picture: Picture) -> None:
        picture.present = ColumnDataSource({"x": [1.0], "y": [1.0]}, name=f"{fig.name}_present")
        fig.add_layout(self.present_alpha)
        fig.scatter(
            "x", "y", source=picture.present, marker="diamond", size=14, fill_color="white",
            line_color="black", line_width=2,
        )  # fmt: skip

    @staticmethod
    def _add_legend(fig: Any, items: list[LegendItem]) -> None:
        legend = Legend(
            items=items, orientation="horizontal", border_line_color=None, padding=0, margin=2,
            spacing=6, label_text_font_size="11px", glyph_width=24, glyph_height=10,
            label_height=12, label_standoff=3, background_fill_alpha=0.0,
        )  # fmt: skip
        fig.add_layout(legend, "above")

    def label(self, model: str, over: str) -> None:
        """Write the names of a model's curves and axes."""
        grid = alphas(model, 2)
        # Room for the mark of the present point at either end.
        self.alpha.start, self.alpha.end = float(grid[0]) / 1.5, float(grid[1]) * 1.5
        for view, picture in self.by_view.items():
            label = over if view == "phase" else Y_LABELS[model].get(view, "")
            picture.figure.yaxis[0].axis_label = Y_LABELS["over"].get(label, label)
            names = CURVES[model].get(view, ())
            for item, name in zip(picture.items, names, strict=False):
                item.label = {"value": name}
            for index, item in enumerate(picture.items):
                item.visible = index < len(names)
                if names and view != "paths":  # a hidden picture keeps a range
                    item.renderers[0].visible = item.visible

    def frame_of(self, alpha: float, now: Now, row: float) -> Frame:
        """What is drawn of the present flow and point; ``row`` is its place in the diagram."""
        frame: Frame = {
            "present_alpha": {"location": alpha},
            "time_range": {"start": float(now.times[0]), "end": float(now.times[-1])},
        }
        for view, table in now.tables.items():
            frame |= _paths_frame(table) if view == "paths" else self.curves(view, table)
        for view, values in now.present.items():
            y = [each for each in _shown(view, np.array(values)) if np.isfinite(each)]
            frame[f"{view}_present"] = {"x": [alpha] * len(y), "y": y}
        frame["phase_present"] = {"x": [alpha], "y": [row]}
        return frame

    def curves(self, view: str, table: Table) -> Frame:
        """What is drawn of a table of curves."""
        (x_name, *names) = table
        x, columns = table[x_name], [_shown(view, table[name]) for name in names]
        if view in _LOG_Y and not any(np.isfinite(column).any() for column in columns):
            # A logarithmic axis wants a number; one point makes no line.
            x, columns = np.ones(1), [np.ones(1)] * _MOST_CURVES
        columns += [np.full(x.size, np.nan)] * (_MOST_CURVES - len(columns))
        data = {f"y{index}": column for index, column in enumerate(columns)}
        return {f"{view}_source": {"x": x, **data}}

    def draw_phase(self, table: Table) -> None:
        """Draw the phase diagram."""
        fig = self.by_view["phase"].figure
        rows, scales = table["rows"], table["alpha"]
        value = np.log10(np.maximum(table["error"].T, _FLOOR))
        half = 0.5 * np.log(scales[1] / scales[0])
        low, high = scales[0] * np.exp(-half), scales[-1] * np.exp(half)
        finite = value[np.isfinite(value)]
        mapper = fig.right[0].color_mapper
        if finite.size:
            mapper.low = float(finite.min())
            mapper.high = float(max(finite.max(), finite.min() + 0.1))
        if self._rows != tuple(rows):
            self._rows = tuple(rows)
            fig.y_range.start, fig.y_range.end = -0.5, rows.size - 0.5
            fig.yaxis[0].ticker = FixedTicker(ticks=list(range(rows.size)))
            fig.yaxis[0].major_label_overrides = {
                index: (f"{row:g}" if index % 2 == 0 or rows.size < 8 else "")
                for index, row in enumerate(rows)
            }
        self.by_view["phase"].source.data = {
            "image": [value.astype(np.float32)], "x": [low], "y": [-0.5], "dw": [high - low],
            "dh": [rows.size],
        }  # fmt: skip


def _paths_frame(table: Table) -> Frame:
    t, support, others = table["t"], table["support"], table["others"]
    count = support.shape[1]
    if others.shape[1] > _MOST_OTHERS:
        size = np.abs(others).max(axis=0)
        others = others[:, np.argsort(size)[-_MOST_OTHERS:]]
    # One line with gaps, of every second time: hundreds of lines would take longer to draw.
    x, others = np.append(t[::2], [t[-1], np.nan]), others[[*range(0, t.size, 2), t.size - 1]]
    gap = np.full((1, others.shape[1]), np.nan)
    return {
        "paths_source": {
            "xs": [t] * count,
            "ys": list(support.T.copy()),
            "colour": [COLOURS[index % 6] for index in range(count)],
            "dash": [DASHES[(index + index // 6) % 6] for index in range(count)],
            "label": [f"curve {index + 1} of {count}" for index in range(count)],
        },
        "paths_others": {
            "x": np.tile(x, others.shape[1]),
            "y": np.vstack([others, gap]).T.ravel(),
        },
    }


def _shown(view: str, values: FloatArray) -> FloatArray:
    """Values as they can be drawn: on a logarithmic axis nothing below the floor."""
    values = np.asarray(values, dtype=float)
    return np.maximum(values, _FLOOR) if view in _LOG_Y else values
