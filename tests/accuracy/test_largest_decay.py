"""Limits at depth 2 where the lasso has a kink: there the flow falls like 1 / t, without an end."""

from __future__ import annotations

import numpy as np
import pytest

import kernelrich_fast as krf

NEAR = [1.0 + sign * 10.0**-k for k in (3, 5, 6, 8, 12) for sign in (-1, 1)] + [1.0]


def drawn(seed, one_sign=False):
    rng = np.random.default_rng(seed)
    n, d = [(10, 5), (5, 10), (7, 7), (3, 1), (1, 4)][seed % 5]
    X = rng.standard_normal((n, d)) * 10.0 ** (rng.uniform(-4, 4) if seed % 2 else 0.0)
    y = rng.standard_normal(n) * 10.0 ** rng.uniform(-3, 3)
    if one_sign and np.max(X.T @ y) <= 0.0:
        y = -y
    return X, y


def is_the_lasso(X, y, lam, limit, one_sign):
    """KKT of |X beta - y|^2 + lam |beta|_1 to the last digits; beta >= 0 with one sign."""
    pull = 2.0 / lam * X.T @ (y - X @ limit.beta)
    on = limit.beta != 0.0
    size = 2.0 / lam * np.linalg.norm(X, axis=0) * np.linalg.norm(y)
    slack = 1e-14 * (1.0 + size)
    assert np.all((pull if one_sign else np.abs(pull)) <= 1.0 + slack)
    assert np.all(np.abs(pull - np.sign(limit.beta))[on] <= slack[on])
    assert not one_sign or np.all(limit.beta >= 0.0)
    np.testing.assert_allclose(X.T @ limit.dual, pull, rtol=1e-12, atol=1e-13 * size.max())
    root = np.sqrt(np.abs(limit.beta))
    np.testing.assert_allclose(limit.w_plus, np.where(limit.beta > 0.0, root, 0.0), rtol=1e-14)
    np.testing.assert_allclose(limit.w_minus, np.where(limit.beta < 0.0, root, 0.0), rtol=1e-14)
    np.testing.assert_allclose(limit.penalty, np.abs(limit.beta).sum(), rtol=1e-12)


# All but the outermost ended as MAX_STEPS.
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("one_sign", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_from_just_below_to_just_above_the_largest_decay(seed, one_sign):
    X, y = drawn(seed, one_sign)
    pull = 2.0 * X.T @ y if one_sign else 2.0 * np.abs(X.T @ y)
    options = {"w_plus0": 1.0, "w_minus0": 0.0} if one_sign else {}
    lam = np.max(pull) * np.array(NEAR)
    limits = krf.limit_diagonal(X, y, alpha=0.1, weight_decay=lam, **options)
    assert np.all(limits.status == krf.Status.STATIONARY)
    first = X[:, np.argmax(pull)]
    for factor, each, limit in zip(NEAR, lam, limits, strict=True):
        is_the_lasso(X, y, each, limit, one_sign)
        assert limit.beta.any() == (factor < 1.0)
        expected = max(0.0, 0.5 * (np.max(pull) - each)) / (first @ first)
        assert abs(np.abs(limit.beta).max() - expected) < 1e-11 * np.max(pull) / (first @ first)


@pytest.mark.parametrize("scale", [1.0, 0.05, 1e30])
@pytest.mark.parametrize("model", ["difference", "product", "two_products"])
def test_every_model_loss_scale_and_profile(backend, model, scale):
    """The lasso with lambda, for the models of products with 2 lambda, and the loss times c."""
    for seed in range(3):
        X, y = drawn(seed)
        factor = 1.0 if model == "difference" else 2.0
        largest = 2.0 * np.max(np.abs(X.T @ y)) * scale / factor
        w0 = np.random.default_rng(seed).uniform(0.1, 2.0, X.shape[1])
        lam = largest * np.array([1.0 - 1e-5, 1.0 - 1e-7, 1.0, 1.0 + 1e-7, 1.5])
        limits = krf.limit_diagonal(
            X, y, alpha=0.3, w0=w0, weight_decay=lam, model=model, loss_scale=scale,
            backend=backend,
        )  # fmt: skip
        assert np.all(limits.status == krf.Status.STATIONARY)
        assert np.array_equal(limits.beta.any(axis=-1), [True, True, False, False, False])
        pull = 2.0 * scale / factor / lam[:, None] * ((y - limits.beta @ X.T) @ X)
        np.testing.assert_allclose(np.abs(pull[:3]).max(axis=-1), 1.0, rtol=1e-13)
        np.testing.assert_allclose(limits.dual @ X, pull, rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("factor", [1.0 - 1e-7, 1.0, 1.0 + 1e-7])
@pytest.mark.parametrize("swap", [False, True])
def test_where_a_second_feature_enters(factor, swap):
    """At lambda = 2: with more the second is zero, with less it is 1.25 (2 - lambda) / 2."""
    X, y, lam = np.array([[1.0, 0.6], [0.0, 0.8]]), np.array([3.0, 0.5]), 2.0 * factor
    below = max(0.0, 1.0 - 0.5 * lam)
    second = (0.8 * 0.5 - 0.4 * 0.5 * lam) / 0.64 if below else 0.0
    expected = np.array([3.0 - 0.5 * lam - 0.6 * second, second])
    X, expected = (X[:, ::-1], expected[::-1]) if swap else (X, expected)
    limit = krf.limit_diagonal(X, y, alpha=0.5, weight_decay=lam)
    assert limit.status == krf.Status.STATIONARY
    np.testing.assert_allclose(limit.beta, expected, rtol=1e-13, atol=1e-15)


def test_a_batch_may_hold_both_kinds(backend):
    """Each run has the bits it has alone; progress counts all."""
    X, y = drawn(0)
    largest, told = 2.0 * np.max(np.abs(X.T @ y)), []
    lam = largest * np.array([[0.5, 1.0, 0.1], [2.0, 0.3, 1.0 - 1e-9]])
    depth = np.array([[2.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
    options = {"alpha": 0.4, "backend": backend}
    limits = krf.limit_diagonal(
        X, y, depth=depth, weight_decay=lam, progress=told.append, **options
    )
    assert told[-1] == 6
    assert told == sorted(told)
    for i, j in np.ndindex(2, 3):
        one = krf.limit_diagonal(X, y, depth=depth[i, j], weight_decay=lam[i, j], **options)
        assert np.array_equal(limits.beta[i, j], one.beta)
        assert np.array_equal(limits.dual[i, j], one.dual)
        assert limits.n_iterations[i, j] == one.n_iterations
        assert (one.n_iterations == 0) == (lam[i, j] > 0.9 * largest)


def test_features_that_replace_each_other_are_left_to_the_flow():
    """Zero is the end whatever they share; below, the start decides, and the run says so."""
    X, y = np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([1.0, 1.0])
    options = {"alpha": 0.5, "w0": [1.0, 0.5]}
    assert not krf.limit_diagonal(X, y, weight_decay=6.0, **options).beta.any()
    with pytest.warns(krf.ConvergenceWarning):
        near = krf.limit_diagonal(X, y, weight_decay=6.0 * (1.0 - 1e-7), max_iter=2, **options)
    assert near.status == krf.Status.MAX_STEPS
    shared = krf.limit_diagonal(X, y, weight_decay=1.0, **options).beta
    np.testing.assert_allclose(shared, np.array([4.0, 1.0]) / 5.0 * 0.5, rtol=1e-6)
