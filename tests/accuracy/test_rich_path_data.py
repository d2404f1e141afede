"""The path as alpha -> 0 of real and tall data, and of many problems in a sweep."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import relative
from test_rich_path import check_certificate, least_norm

import kernelrich_fast as krf


def diabetes():
    sklearn = pytest.importorskip("sklearn.datasets")
    return sklearn.load_diabetes(return_X_y=True)


def test_tall_data_end_at_least_squares(host):
    X, y = diabetes()
    path = krf.rich_path(X, y, backend=host)
    assert path.status == krf.Status.STATIONARY
    assert path.unique
    exact = np.linalg.lstsq(X, y, rcond=None)[0]
    assert relative(path.beta[-1], exact) < 1e-12
    assert np.isclose(path.loss, np.sum((y - X @ exact) ** 2), rtol=1e-12)
    # s is the integral of the whole residual up to the last jump.
    steps = np.diff(path.jump_times, prepend=0.0)
    integral = steps @ (y - path.beta[:-1] @ X.T)
    assert relative(path.dual, integral) < 1e-12
    check_certificate(X, y, path, np.ones(X.shape[1]))


def test_one_hot_designs(host):
    """Two factors and an intercept: tall, of deficient rank, with ties by the dozen."""
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 4, 60), rng.integers(0, 3, 60)
    X = np.column_stack([np.ones(60), np.eye(4)[first], np.eye(3)[second]])
    y = np.array([3.0, -1.0, 0.5, 0.0])[first] + rng.standard_normal(60)
    path = krf.rich_path(X, y, backend=host)
    bound = np.ones(8)
    assert path.status == krf.Status.STATIONARY
    assert np.linalg.matrix_rank(X) == 6
    check_certificate(X, y, path, bound)
    assert np.isclose(np.abs(path.beta[-1]).sum(), least_norm(X, y, bound).fun, rtol=1e-7)


def test_pixels_of_digits(host):
    """Integers, columns of zeros, wide and tall parts of one data set."""
    sklearn = pytest.importorskip("sklearn.datasets")
    pixels, classes = sklearn.load_digits(return_X_y=True)
    for n in (20, 40, 200):
        X, y = pixels[:n], classes[:n].astype(float)
        path = krf.rich_path(X, y, backend=host)
        check_certificate(X, y, path, np.ones(64), tolerance=1e-9)
        assert np.all(path.beta[:, ~X.any(axis=0)] == 0.0)


@pytest.mark.parametrize("bound", [-1.0, 0.0, np.nan, 1e-300])
def test_bounds_that_no_one_would_give_end_all_the_same(compiled, bound):
    """Beyond the public boundary: a feature at such a bound is released and arrives at once."""
    from kernelrich_fast import _core

    rng = np.random.default_rng(0)
    first = np.zeros(1, np.int64)
    for _ in range(20):
        bounds = np.where(rng.random((1, 8)) < 0.5, bound, 1.0)
        batch = _core.RichPathBatch(
            X=rng.integers(-2, 3, (1, 4, 8)).astype(float), y=rng.standard_normal((1, 4)),
            loss_offset=np.zeros(1), bound=bounds, x_index=first, y_index=first, bound_index=first,
        )  # fmt: skip
        found = _core.rich_path(batch, max_jumps=1000, threads=1, progress=None)
        assert found["status"][0] in list(krf.Status)


def test_sweeps_are_the_paths_of_their_problems(compiled, tmp_path, small_blocks):
    rng = np.random.default_rng(9)
    X, y, star = (
        rng.standard_normal((4, 6, 15)),
        rng.standard_normal((4, 6)),
        rng.standard_normal(15),
    )
    w0 = rng.uniform(0.5, 2.0, (2, 15))
    call = dict(
        depth=[2, 3, 5], w0=w0, beta_star=star, keep=("norms", "beta", "path"), n_recorded=9,
        progress=False,
    )  # fmt: skip
    ds = krf.sweep_rich_path(X, y, **call)
    assert ds.status.dims == ("problem", "profile", "depth")
    assert ds.jump_time.dims == ("problem", "profile", "depth", "jump")
    for p, k, j in np.ndindex(4, 2, 3):
        path = krf.rich_path(X[p], y[p], depth=[2, 3, 5][j], w0=w0[k])
        own = ds.isel(problem=p, profile=k, depth=j)
        count = min(9, int(path.n_jumps))
        assert np.array_equal(own.beta, path.beta[-1])
        assert own.n_jumps == path.n_jumps
        assert own.first_jump == path.jump_times[0]
        assert own.last_jump == path.jump_times[-1]
        assert np.array_equal(own.jump_time[:count], path.jump_times[:count])
        assert np.all(np.isinf(own.jump_time[count:]))
        assert np.array_equal(own.saddle_loss[:count], path.saddle_loss[1 : count + 1])
        assert np.isclose(own.population_error, np.sum((path.beta[-1] - star) ** 2))
        assert np.isclose(own.saddle_error[0], np.sum((path.beta[1] - star) ** 2))
    stored = krf.sweep_rich_path(X, y, store=tmp_path / "paths.zarr", **call)
    assert ds.equals(stored.compute())
    with pytest.raises(ValueError, match=r"^n_recorded"):
        krf.sweep_rich_path(X, y, **{**call, "n_recorded": 0})
    with pytest.raises(ValueError, match=r"^backend"):
        krf.sweep_rich_path(X, y, backend="cuda")


def test_a_sweep_over_teachers_and_paths_without_jumps(compiled):
    X, y = np.stack([np.eye(2)] * 3), np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 1.0]])
    ds = krf.sweep_rich_path(X, y, beta_star=y, keep=("norms", "path"), n_recorded=3)
    assert np.array_equal(ds.n_jumps, [2, 0, 1])
    assert np.allclose(ds.population_error, 0.0)
    assert np.array_equal(np.isnan(ds.first_jump), [False, True, False])
    assert np.allclose(ds.first_jump[0], 0.5)
    assert np.array_equal(ds.n_active, [2, 0, 1])
