"""Sweeps that are tested on data which training does not see."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import kernelrich_fast as krf

DATA = [krf.datasets.sparse_regression(12, 20, 3, seed=seed) for seed in range(3)]
X, Y = np.stack([each.X for each in DATA]), np.stack([each.y for each in DATA])
RNG = np.random.default_rng(0)
X_TEST = RNG.standard_normal((3, 7, 20))
Y_TEST = np.stack([A @ each.beta_star for A, each in zip(X_TEST, DATA, strict=True)])
GRID = {"alpha": [1e-3, 1.0], "depth": [2, 3], "keep": "beta"}


def each_by_hand(beta, X_test, y_test, error):
    """The error of every run, from its beta, one at a time."""
    found = np.empty(beta.shape[:-1])
    for index in np.ndindex(found.shape):
        A = X_test[index[0]] if X_test.ndim == 3 else X_test
        b = y_test[index[0]] if y_test.ndim == 2 else y_test
        found[index] = error(A @ beta[index], b)
    return found


def rmse(a, b):
    return np.sqrt(np.mean((a - b) ** 2))


def share_of_wrong_signs(a, b):
    return np.mean(np.sign(a) != b)


@pytest.mark.parametrize("shared_X", [True, False])
@pytest.mark.parametrize("shared_y", [True, False])
@pytest.mark.parametrize("asked", [{}, {"limit": True}, {"t_eval": [0.1, 1.0]}])
def test_errors_of_every_problem(asked, shared_y, shared_X, small_blocks):
    own = X_TEST[0] if shared_X else X_TEST, Y_TEST[0] if shared_y else Y_TEST
    ds = krf.sweep_diagonal(X, Y, X_test=own[0], y_test=own[1], **GRID, **asked)
    expected = each_by_hand(ds.beta.values, *own, rmse)
    np.testing.assert_allclose(ds.test_rmse, expected, rtol=1e-12)
    assert ds.test_rmse.dims == ds.loss.dims


def test_one_problem_with_profiles_and_decay():
    ds = krf.sweep_diagonal(
        X[0], Y[0], X_test=X_TEST[0], y_test=Y_TEST[0], weight_decay=[0.01, 0.1],
        w0=np.exp(RNG.standard_normal((3, 20))), **GRID,
    )  # fmt: skip
    expected = each_by_hand(ds.beta.values, X_TEST[0], Y_TEST[0], rmse)
    np.testing.assert_allclose(ds.test_rmse, expected, rtol=1e-12)


def test_the_truth_has_no_error():
    """At a small scale the sparse truth is found, at a large one it is not."""
    data = krf.datasets.sparse_regression(40, 60, 2, noise_variance=0.0, seed=1)
    A = np.random.default_rng(2).standard_normal((50, 60))
    ds = krf.sweep_diagonal(
        data.X, data.y, alpha=[1e-4, 10.0], depth=3, limit=True, X_test=A, y_test=A @ data.beta_star
    )
    near, far = ds.test_rmse.values
    assert near < 1e-4 < 0.1 < far


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
@pytest.mark.parametrize("asked", [{}, {"log_loss_eval": [-1.0, -20.0]}])
def test_shares_of_wrong_classes(asked, loss):
    own = X_TEST, np.sign(Y_TEST)
    ds = krf.sweep_diagonal(X, np.sign(Y), X_test=own[0], y_test=own[1], loss=loss, **GRID, **asked)
    expected = each_by_hand(ds.beta.values, *own, share_of_wrong_signs)
    np.testing.assert_array_equal(ds.test_error, expected)
    assert "test_rmse" not in ds


def test_penalised_logistic_regression_errs_on_the_same_samples():
    rng = np.random.default_rng(3)
    A, beta = rng.standard_normal((300, 10)), np.r_[2.0, -1.0, np.zeros(8)]
    labels = np.where(rng.random(300) < 1.0 / (1.0 + np.exp(-A @ beta)), 1.0, -1.0)
    ds = krf.sweep_diagonal(
        A[:100], labels[:100], alpha=1.0, weight_decay=2.0, loss="logistic", X_test=A[100:],
        y_test=labels[100:], rtol=1e-7,
    )  # fmt: skip
    peer = LogisticRegression(
        C=0.5, l1_ratio=1.0, solver="liblinear", fit_intercept=False, tol=1e-10
    ).fit(A[:100], labels[:100])
    assert float(ds.test_error) == pytest.approx(1.0 - peer.score(A[100:], labels[100:]), abs=1e-12)


def test_a_store_resumes_with_its_test_set_alone(tmp_path, small_blocks):
    call = {"X_test": X_TEST, "y_test": Y_TEST, "store": tmp_path / "s.zarr", **GRID}
    ds = krf.sweep_diagonal(X, Y, **call).load()
    assert krf.sweep_diagonal(X, Y, **call).load().identical(ds)
    for other in (
        {"y_test": Y_TEST + 1.0},
        {"X_test": X_TEST[0]},
        {"X_test": None, "y_test": None},
    ):
        with pytest.raises(ValueError, match="test"):
            krf.sweep_diagonal(X, Y, **{**call, **other})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"X_test": X_TEST}, "X_test: expected X_test and y_test together"),
        ({"y_test": Y_TEST}, "X_test: expected X_test and y_test together"),
        ({"X_test": X_TEST[:2], "y_test": Y_TEST}, "X_test: expected one for each of 3 problems"),
        ({"X_test": X_TEST, "y_test": Y_TEST[:2]}, "y_test: expected one for each of 3 problems"),
        ({"X_test": X_TEST[..., :5], "y_test": Y_TEST}, "X_test: expected 20 features"),
        ({"X_test": X_TEST, "y_test": Y_TEST[:, :5]}, "y_test: expected 7 samples"),
        ({"X_test": X_TEST[0, :, 0], "y_test": Y_TEST}, "X_test: expected at least 2 dimensions"),
    ],
)
def test_test_sets_that_do_not_fit_are_refused(given, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        krf.sweep_diagonal(X, Y, alpha=1.0, **given)


def test_test_sets_of_problems_need_problems():
    with pytest.raises(ValueError, match=r"^X_test: expected one, without an axis problem, got"):
        krf.sweep_diagonal(X[0], Y[0], alpha=1.0, X_test=X_TEST, y_test=Y_TEST)
    with pytest.raises(ValueError, match=r"^y_test: expected labels -1 and \+1, got"):
        krf.sweep_diagonal(X, np.sign(Y), alpha=1.0, loss="logistic", X_test=X_TEST, y_test=Y_TEST)
