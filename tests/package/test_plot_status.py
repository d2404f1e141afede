"""Pictures show which runs did not converge, and draw nothing at positions that have no values."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from test_plot_images import PICTURES, path, saddles

import kernelrich_fast as krf
from kernelrich_fast.plot._axes import UNFINISHED

# Pictures of runs, and the dimensions of their grid: alpha, of which every point is one, and the
# dimension with a curve each.
GRIDS = {
    "population_error": ("depth", "alpha"), "excess_norms": ("depth", "alpha"),
    "factorization_error": ("width", "alpha", "seed"), "network_curves": ("depth", "alpha", "seed"),
    "class_errors": ("alpha", "seed"),
}  # fmt: skip


def with_status(ds, dims, bad):
    """All converged except the runs at these indices, in turn as MAX_STEPS and FAILED."""
    status = np.zeros([ds.sizes[dim] for dim in dims], dtype=np.int64)
    for k, index in enumerate(bad):
        status[index] = (krf.Status.MAX_STEPS, krf.Status.FAILED)[k % 2]
    return ds.assign(status=(dims, status))


def named(ax):
    legend = ax.get_legend()
    texts = [] if legend is None else [text.get_text() for text in legend.get_texts()]
    return [text for text in texts if text in UNFINISHED]


def hollow(axes):
    """Points of curves that are drawn with the marker of runs that did not converge."""
    points = []
    for line in (line for ax in axes for line in ax.get_lines()):
        if line.get_linestyle() == "None" and line.get_markerfacecolor() == "white":
            points += [*zip(line.get_xdata(), line.get_ydata(), strict=True)]
    return np.array(points, dtype=float).reshape(-1, 2)


@pytest.mark.parametrize("kind", GRIDS)
def test_points_of_runs_that_did_not_converge_are_hollow(kind):
    make, draw = PICTURES[kind]
    ds, dims = make(), GRIDS[kind]
    bad = [np.unravel_index(k, [ds.sizes[dim] for dim in dims]) for k in (1, 6, 8)]
    ax = draw(with_status(ds, dims, bad))
    per_axes = {(k[: dims.index("alpha") + 1]) for k in bad}
    count = len(per_axes) * (2 if kind == "excess_norms" else 1)
    points = hollow(ax.figure.axes)
    assert len(points) == count
    drawn = {
        (float(x), float(y))
        for axis in ax.figure.axes for line in axis.get_lines() if line.get_linestyle() != "None"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }  # fmt: skip
    assert {tuple(point) for point in points} <= drawn
    assert named(ax) == [UNFINISHED["seed" in dims]]
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize("kind", GRIDS)
def test_nothing_changes_where_all_runs_are_fine(kind):
    make, draw = PICTURES[kind]
    ds, dims = make(), GRIDS[kind]
    for status in ("CONVERGED", "T_END", "STATIONARY"):
        fine = ds.assign(status=(dims, np.full([ds.sizes[d] for d in dims], krf.Status[status])))
        ax, before = draw(fine), draw(ds)
        assert len(ax.get_children()) == len(before.get_children())
        assert np.array_equal(ax.figure.get_size_inches(), before.figure.get_size_inches())
        assert not len(hollow(ax.figure.axes))


def test_one_point_is_hollow_too():
    make, draw = PICTURES["population_error"]
    ds = with_status(make(), ("depth", "alpha"), [(1, 2)]).isel(alpha=2)
    faces = [line.get_markerfacecolor() for line in draw(ds).get_lines() if len(line.get_xdata())]
    assert [face == "white" for face in faces if face != "none"].count(True) == 1


def test_baselines_do_not_depend_on_how_flows_ended():
    ds = PICTURES["class_errors"][0]()
    ax = krf.plot.class_errors(with_status(ds, ("alpha", "seed"), np.ndindex(6, 3)))
    assert len(hollow([ax])) == ds.sizes["alpha"]


def test_cells_of_runs_that_did_not_converge_are_hatched():
    make, draw = PICTURES["factorization_heatmap"]
    ds = make()
    grid = ("width", "alpha", "seed")
    ax = draw(with_status(ds, grid, [(0, 6, 1), (2, 0, 0), (2, 0, 1)]))
    cells = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_hatch()]
    # Rows are sorted from the largest scale down, columns by width.
    assert sorted(cell.get_xy() for cell in cells) == [(-0.5, -0.5), (1.5, 5.5)]
    assert named(ax) == [UNFINISHED[True]]
    plain = draw(with_status(ds, grid, []))
    assert not plain.patches
    assert plain.get_legend() is None
    ax.figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert not legend.overlaps(ax.xaxis.label.get_window_extent())


@pytest.mark.parametrize("variable", ["loss", "beta"])
def test_a_path_ends_where_its_run_did(variable):
    """The rows after that repeat the last state."""
    ds = path().isel(alpha=[0, 1])
    reached = np.minimum(ds.time, 1.0).broadcast_like(ds.loss).where(ds.alpha < 1e-4, ds.time)
    ds = with_status(ds.assign(t=reached), ("alpha",), [(0,)])
    ds["beta"] = ds.loss.expand_dims(feature=2).transpose("alpha", "time", "feature")
    ax = krf.plot.paths(ds, variable)
    ends = sorted({float(np.max(line.get_xdata())) for line in ax.get_lines() if
                   line.get_linestyle() != "None" and len(line.get_xdata()) > 1})  # fmt: skip
    assert ends == [1.0, 10.0]
    assert set(hollow([ax])[:, 0]) == {1.0}
    assert named(ax) == [UNFINISHED[False]]


def test_a_path_of_jumps_says_how_it_ended():
    X, y, _ = krf.datasets.sparse_regression(5, 12, 2)
    flows = saddles()[1]
    with pytest.warns(krf.ConvergenceWarning):
        cut = krf.rich_path(X, y, max_jumps=2)
    texts = [text.get_text() for text in krf.plot.rich_path(cut, flows=flows).get_legend().texts]
    assert texts[:2] == [r"$\alpha \to 0$, exact (MAX_STEPS)", r"$\alpha=10^{-20}$"]


@pytest.mark.parametrize(
    ("kind", "dim"),
    [
        ("population_error", "alpha"), ("population_error", "depth"), ("excess_norms", "alpha"),
        ("excess_norms", "depth"), ("critical_alpha", "depth"), ("critical_alpha", "n_samples"),
        ("potentials", "z"), ("depth_potentials", "depth"), ("depth_potentials", "z"),
        ("sparsity_ratio", "depth"), ("sparsity_ratio", "log_scale"),
        ("factorization_heatmap", "alpha"), ("factorization_heatmap", "width"),
        ("factorization_error", "alpha"), ("factorization_error", "width"),
        ("network_curves", "alpha"), ("network_curves", "depth"), ("class_errors", "alpha"),
        ("univariate_functions", "alpha"), ("univariate_functions", "x"), ("paths", "alpha"),
        ("paths", "time"),
    ],
)  # fmt: skip
def test_positions_are_not_drawn_as_values(kind, dim):
    make, draw = PICTURES[kind]
    with pytest.raises(
        ValueError, match=rf"^ds: expected values along {dim}, got a dimension"
    ) as e:
        draw(make().drop_vars(dim))
    assert f"assign_coords({dim}=values)" in str(e.value)
    other = "t_eval= of a sweep" if dim == "time" else f'to_dataset({{"{dim}": values}})'
    assert str(e.value).endswith(other)


def test_what_is_averaged_needs_no_values():
    for kind, dim in (("factorization_error", "seed"), ("network_curves", "seed")):
        make, draw = PICTURES[kind]
        assert draw(make().drop_vars(dim)).get_lines()


def test_results_of_one_call_are_drawn_at_their_values():
    X, y, _ = krf.datasets.sparse_regression(5, 12, 2)
    flow = krf.flow_diagonal(X, y, alpha=[0.1, 1.0], t_eval=[0.1, 2.0, 6.0])
    for ds in (flow.to_dataset(), flow.to_dataset(["alpha"])):
        with pytest.raises(ValueError, match=r'to_dataset\(\{"alpha": values\}\)$'):
            krf.plot.paths(ds)
    ax = krf.plot.paths(flow.to_dataset({"alpha": [0.1, 1.0]}))
    assert ax.get_lines()[0].get_xdata().tolist() == [0.1, 2.0, 6.0]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [r"$\alpha=0.1$", r"$\alpha=1$"]


@pytest.mark.parametrize(
    ("clock", "values", "drawn", "label"),
    [
        ("log_loss", [0.5, -1.0, -30.0, -1e3], [-0.5, 1.0, 30.0, 1e3], r"$-\ln L$"),
        ("log_t", [-2.0, 0.0, 3.0, 50.0], [-2.0, 0.0, 3.0, 50.0], r"$\ln t$"),
    ],
)
@pytest.mark.parametrize("variable", ["excess_l1", "beta"])
def test_paths_of_margin_losses_are_over_their_own_clock(variable, clock, values, drawn, label):
    ds = krf.sweep_diagonal(
        np.eye(2), np.ones(2), alpha=[0.1, 1.0], loss="exponential", keep=("norms", "beta"),
        progress=False, **{f"{clock}_eval": values},
    )  # fmt: skip
    ax = krf.plot.paths(ds, variable)
    curves = [line for line in ax.get_lines() if len(line.get_xdata()) == 4]
    assert len(curves) == (4 if variable == "beta" else 2)
    for line in curves:
        np.testing.assert_allclose(line.get_xdata(), drawn)
    assert ax.get_xlabel() == label
    # A run that did not converge ends where it came to.
    status, reached = ds.status.copy(), ds[clock].broadcast_like(ds.margin).copy()
    status[0], reached[{"alpha": 0, clock: 3}] = int(krf.Status.MAX_STEPS), values[2]
    ax = krf.plot.paths(ds.assign({"status": status, f"reached_{clock}": reached}), variable)
    last = {line.get_xdata()[-1] for line in ax.get_lines() if len(line.get_xdata()) == 4}
    assert last == {drawn[2], drawn[3]}
