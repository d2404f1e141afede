"""Named grids."""

from __future__ import annotations

import typing

import numpy as np
import pytest

import kernelrich_fast as krf


def test_dimensions_and_values(medium, backend):
    X, y, star = medium
    alpha, depth = [1e-2, 1.0, 50.0], [2, 3]
    ds = krf.sweep_diagonal(
        X, y, alpha=alpha, depth=depth, beta_star=star, keep=("norms", "beta"), backend=backend,
        progress=False,
    )  # fmt: skip
    assert dict(ds.sizes) == {"depth": 2, "alpha": 3, "feature": X.shape[1]}
    assert ds.loss.dims == ("depth", "alpha")
    assert ds.attrs["backend"] == backend
    flow = krf.flow_diagonal(X, y, alpha=alpha, depth=[[2], [3]], backend=backend)
    assert np.array_equal(ds.beta, flow.beta)
    assert np.array_equal(ds.status, flow.status)
    assert np.allclose(ds.l1_norm, np.abs(flow.beta).sum(-1))
    assert np.allclose(ds.population_error, np.sum((flow.beta - star) ** 2, -1))
    least = np.abs(krf.theory.min_l1(X, y)).sum()
    assert np.allclose(ds.excess_l1, ds.l1_norm - least)
    assert np.all(ds.excess_l1 > -1e-5)
    assert np.all(ds.excess_l2 > -1e-5)
    for j, D in enumerate(depth):
        start = krf.theory.tangent_kernel(X, *[np.full(X.shape[1], 50.0)] * 2, D)
        end = krf.theory.tangent_kernel(X, flow.w_plus[j, 2], flow.w_minus[j, 2], D)
        expected = krf.theory.kernel_distance(start, end)
        assert np.isclose(ds.kernel_distance[j, 2], expected, rtol=1e-5)
    # Richer starts move the kernel more.
    assert np.all(np.diff(ds.kernel_distance.values, axis=1) < 0)


def test_scalars_problems_times_and_limits():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 4, 9)), rng.standard_normal((2, 4))
    scalar = krf.sweep_diagonal(X[0], y[0], alpha=0.1, progress=False)
    assert dict(scalar.sizes) == {}
    assert float(scalar.alpha) == 0.1
    assert int(scalar.depth) == 2
    ds = krf.sweep_diagonal(
        X, y, alpha=[0.1, 1.0], limit=True, progress=False, beta_star=rng.standard_normal((2, 9))
    )
    assert ds.loss.dims == ("problem", "alpha")
    assert np.all(np.isinf(ds.t))
    one = krf.sweep_diagonal(X[1], y[1], alpha=[0.1, 1.0], limit=True, progress=False)
    for name in ("excess_l1", "excess_l2", "kernel_distance", "loss"):
        assert np.allclose(ds[name].isel(problem=1), one[name], atol=1e-12)
    timed = krf.sweep_diagonal(
        X, y, alpha=[0.1, 1.0], t_eval=[0.0, 0.1, 0.2], progress=False, w0=np.linspace(1, 2, 9)
    )
    assert timed.loss.dims == ("problem", "alpha", "time")
    assert np.allclose(timed.kernel_distance.isel(time=0), 0.0, atol=1e-28)
    shared = krf.sweep_diagonal(X[0], y, alpha=0.5, progress=False, keep=("beta",))
    assert shared.beta.dims == ("problem", "feature")
    assert "l1_norm" not in shared


def test_no_interpolant_has_no_excess():
    rng = np.random.default_rng(0)
    ds = krf.sweep_diagonal(
        rng.standard_normal((8, 3)), rng.standard_normal(8), alpha=0.5, progress=False
    )
    assert ds.status == krf.Status.STATIONARY
    assert np.isnan(ds.excess_l1)


def test_progress_bar_moves(medium, capsys):
    X, y, _ = medium
    krf.sweep_diagonal(X, y, alpha=[0.1, 1.0], progress=True)
    assert "2/2" in capsys.readouterr().err


def test_progress_counts_up(medium, backend, monkeypatch):
    import kernelrich_fast._runs as module

    seen: list[int] = []
    original = module.RunBar

    class Spy(original):
        @property
        def update(self):
            return seen.append

    monkeypatch.setattr(module, "RunBar", Spy)
    X, y, _ = medium
    count = 3 if backend == "numpy" else 1500
    krf.flow_diagonal(X, y, alpha=np.geomspace(1e-8, 1e-4, count), backend=backend, progress=True)
    assert seen == sorted(seen)
    assert len(set(seen)) > 1


def test_profiles_are_a_dimension():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 4, 9)), rng.standard_normal((2, 4))
    w0 = np.stack([np.ones(9), np.linspace(1.0, 2.0, 9), np.linspace(3.0, 1.0, 9)])
    options = {"alpha": [0.1, 1.0], "depth": [2, 3], "keep": ("norms", "beta"), "progress": False}
    ds = krf.sweep_diagonal(X, y, w0=w0, beta_star=np.ones(9), **options)
    assert ds.loss.dims == ("problem", "profile", "depth", "alpha")
    assert np.array_equal(ds.w0, w0)
    assert np.array_equal(ds.beta_star, np.ones(9))
    for k in range(3):
        one = krf.sweep_diagonal(X, y, w0=w0[k], beta_star=np.ones(9), **options)
        for name in one.data_vars:
            assert np.array_equal(ds[name].sel(profile=k), one[name]), (k, name)
    biased = krf.sweep_diagonal(X, y, w_plus0=w0, w_minus0=w0[0], **options)
    assert np.array_equal(biased.w_plus0, w0)
    assert np.allclose(biased.l1_norm.sel(profile=0), ds.l1_norm.sel(profile=0))
    with pytest.raises(ValueError, match=r"^w_minus0: expected \d profiles like the others"):
        krf.sweep_diagonal(X, y, w_plus0=w0, w_minus0=w0[:2], **options)


@pytest.mark.usefixtures("compiled")  # the fallback promises less
def test_times_are_a_dimension_of_every_sweep():
    data = krf.datasets.low_rank_completion(5, 4, 1, 12, seed=1)
    times = [0.0, 0.2, 1.0]
    options = {"n_observed": 12, "keep": ("norms", "M"), "progress": False}
    grid = {"alpha": [1e-2, 0.3], "width": [3, 20], "seeds": [1, 2]}
    ds = krf.sweep_factorization(data.Y_star, t_eval=times, **grid, **options)
    assert ds.nuclear_norm.dims == ("width", "alpha", "seed", "time")
    assert ds.M.dims[3:] == ("time", "row", "column")
    assert ds.status.dims == ("width", "alpha", "seed")
    assert np.allclose(ds.unobserved_movement.sel(time=0.0), 0.0, atol=1e-13)
    ended = krf.sweep_factorization(data.Y_star, t_max=1.0, **grid, **options)
    for name in ("M", "loss", "test_rmse", "kernel_distance", "excess_nuclear_norm"):
        there, here = ds[name].isel(time=-1), ended[name]
        assert np.allclose(there, here, rtol=1e-4, atol=1e-7), name

    circle = krf.datasets.circle_teacher(6)
    X, y = np.stack([circle.X, -circle.X]), np.stack([circle.y, circle.y])
    for inputs, targets, test in (
        (circle.X, circle.y, (circle.X_test, circle.y_test)),
        (X, y, (np.stack([circle.X_test] * 2), np.stack([circle.y_test] * 2))),
    ):
        options = {"X_test": test[0], "y_test": test[1], "rtol": 1e-5, "progress": False}
        grid = {"depth": [2, 3], "width": [4, 7], "alpha": [0.5, 1.0], "seeds": [0, 1]}
        keep = ("norms", "predictions", "kernel_predictors")
        nets = krf.sweep_mlp(inputs, targets, t_eval=times, keep=keep, **grid, **options)
        assert nets.loss.dims == ("depth", "width", "alpha", "seed", "time")
        assert nets.prediction.dims[4:] == ("time", "test")
        assert nets.kernel_rmse.dims == ("depth", "width", "alpha", "seed")
        assert np.allclose(nets.feature_distance.sel(time=0.0), 0.0, atol=1e-14)
        ended = krf.sweep_mlp(inputs, targets, t_max=1.0, keep=keep, **grid, **options)
        for name in set(ended.data_vars) - {"t", "n_steps"}:
            there = nets[name].isel(time=-1) if "time" in nets[name].dims else nets[name]
            if name != "status":
                assert np.allclose(there, ended[name], rtol=1e-3, atol=1e-4), name
        one = krf.sweep_mlp(inputs, targets, **(grid | {"width": 7}), t_eval=times, **options)
        assert np.array_equal(nets.loss.sel(width=7), one.loss)


def test_what_ran_is_recorded(tmp_path):
    data = krf.datasets.sparse_regression(4, 9, 2)
    ds = krf.sweep_diagonal(
        data.X, data.y, alpha=[0.1, 1.0], depth=[2, 3], w0=np.linspace(1.0, 2.0, 9), atol=1e-9,
        rtol=[[1e-4], [1e-6]], max_steps=5000, method="radau5", keep="beta", progress=False,
        t_eval=[0.0, 0.1], store=tmp_path / "s.zarr",
    )  # fmt: skip
    recorded = {"atol": 1e-9, "max_steps": 5000, "method": "radau5", "loss": "squared"}
    assert {name: ds.attrs[name] for name in recorded} == recorded
    assert np.array_equal(ds.attrs["w0"], np.linspace(1.0, 2.0, 9))
    assert np.array_equal(ds.rtol, [[1e-4, 1e-4], [1e-6, 1e-6]])
    assert ds.feature.values.tolist() == list(range(9))
    for name in (*ds.data_vars, *ds.coords):
        assert ds[name].attrs["long_name"], name
        assert ds[name].attrs["units"], name
    names = ds.status.attrs["flag_meanings"].split()
    assert names == [s.name for s in krf.Status]
    assert np.array_equal(ds.status.attrs["flag_values"], list(krf.Status))
    nets = krf.sweep_mlp(
        [[1.0]], [1.0], alpha=1.0, seeds=3, width=4, bias=True, init="he_normal", progress=False,
        rtol=1e-3,
    )  # fmt: skip
    assert (int(nets.seed), int(nets.width), nets.attrs["bias"]) == (3, 4, 1)
    assert nets.attrs["init"] == "he_normal"


def test_t_stands_beside_time_only_where_it_differs():
    options = {"alpha": [0.1, 1.0], "t_eval": [0.0, 0.1, 0.5], "progress": False}
    X, y, _ = krf.datasets.sparse_regression(4, 9, 2)
    assert "t" not in krf.sweep_diagonal(X, y, **options)
    short = krf.sweep_diagonal(X, y, t_max=[0.2, 1.0], **options)
    assert short.t.dims == ("alpha", "time")
    assert short.t.isel(time=-1).values.tolist() == [0.2, 0.5]


def test_unknown_backends_are_refused_by_name():
    X, y, _ = krf.datasets.sparse_regression(4, 9, 2)
    for wrong, error in (("nope", ValueError), (["cpu"], TypeError), (None, TypeError)):
        for call in (
            lambda b: krf.sweep_diagonal(X, y, alpha=1.0, backend=b),
            lambda b: krf.sweep_diagonal(X, y, alpha=1.0, limit=True, backend=b),
            lambda b: krf.sweep_mlp(X, y, alpha=1.0, backend=b),
            lambda b: krf.sweep_factorization(
                np.eye(2), alpha=1.0, width=2, n_observed=3, backend=b
            ),
        ):
            with pytest.raises(error, match=r"^backend: expected one of auto, cuda, cpu, numpy"):
                call(wrong)


def test_types_can_be_asked_for():
    for function in (krf.sweep_diagonal, krf.sweep_factorization, krf.sweep_mlp):
        assert "alpha" in typing.get_type_hints(function)
