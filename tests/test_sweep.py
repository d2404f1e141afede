"""Named grids."""

from __future__ import annotations

import numpy as np

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
    import kernelrich_fast.diagonal as module

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
