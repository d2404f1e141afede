"""Maximum margins, and the joint limit of a large scale and a low loss."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.optimize
from conftest import relative
from hypothesis import given, settings
from hypothesis import strategies as st

import kernelrich_fast as krf
from kernelrich_fast.theory import inverse_mirror_map, max_margin


def drawn(seed, n, d):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.where(X @ rng.standard_normal(d) > 0.0, 1.0, -1.0)


def l1_norm_by_highs(X, y):
    Z = y[:, None] * X
    program = scipy.optimize.linprog(
        np.ones(2 * Z.shape[1]), A_ub=np.hstack([-Z, Z]), b_ub=-np.ones(len(Z))
    )
    return program.fun


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 8), extra=st.integers(0, 6))
def test_max_margins_satisfy_kkt(seed, n, extra):
    X, y = drawn(seed, n, n + extra)
    beta = max_margin(X, y)
    margins = y * (X @ beta)
    assert margins.min() > 1.0 - 1e-9
    tight = margins < 1.0 + 1e-7
    left = scipy.optimize.nnls((y[tight, None] * X[tight]).T, beta)[1]
    assert left < 1e-7 * np.linalg.norm(beta)
    sparse = max_margin(X, y, norm="l1")
    assert (y * (X @ sparse)).min() > 1.0 - 1e-9
    assert np.abs(sparse).sum() == pytest.approx(l1_norm_by_highs(X, y), rel=1e-8)


@pytest.mark.parametrize("depth", [2, 2.5, 3, 4])
@pytest.mark.parametrize("shaped", [False, True])
def test_the_limit_satisfies_kkt(depth, shaped):
    """Theta >= 0, positive on support vectors alone, and grad Q in their span."""
    X, y = drawn(3, 12, 30)
    w0 = np.linspace(0.6, 1.5, 30) if shaped else np.ones(30)
    mu = np.geomspace(1e4, 1e-9, 14)
    limit = krf.margin_limit(X, y, mu=mu, depth=depth, w0=w0)
    assert np.all(limit.status == krf.Status.CONVERGED)
    assert limit.margins.min() > 1.0 - 1e-8
    assert np.all(limit.dual >= 0.0)
    for k, scale in enumerate(mu):
        beta, theta = limit.beta[k], limit.dual[k]
        assert np.max(theta * np.abs(limit.margins[k] - 1.0)) < 1e-8 * theta.max()
        # d/d beta of w0^2 mu q(beta / (mu w0^D)) is w0^(2-D) q'.
        slope = w0 ** (2.0 - depth) * inverse_mirror_map(beta / (scale * w0**depth), depth)
        assert np.allclose(X.T @ (y * theta), slope, rtol=1e-6, atol=1e-9 * np.abs(slope).max())


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_from_the_l2_to_the_l1_maximum_margin(depth):
    X, y = drawn(5, 20, 60)
    mu = np.geomspace(1e8, 1e-14, 12)
    limit = krf.margin_limit(X, y, mu=mu, depth=depth)
    assert relative(limit.beta[0], max_margin(X, y)) < 1e-7
    norms = np.abs(limit.beta).sum(axis=-1)
    least = np.abs(max_margin(X, y, norm="l1")).sum()
    assert np.all(np.diff(norms) < 1e-7)
    assert norms[-1] / least - 1.0 < (1e-2 if depth == 2 else 1e-7)


def of_one_sample(x, mu, depth):
    """The minimiser for one sample of margin 1, by bisection in sixty digits."""
    with mpmath.workdps(60):
        x, power = [mpmath.mpf(each) for each in x], depth / mpmath.mpf(max(depth - 2.0, 1e-9))

        def beta(s):  # of s = theta at depth 2, and the logarithm of its distance to the bound
            if depth == 2.0:
                return [2 * mu * mpmath.sinh(s * each) for each in x]
            t = [(1 - mpmath.exp(-s)) * each / max(x) for each in x]
            return [mu * ((1 - each) ** -power - (1 + each) ** -power) for each in t]

        low, high = mpmath.mpf(0), mpmath.mpf(200)
        for _ in range(180):
            s = (low + high) / 2
            less = mpmath.fdot(x, beta(s)) < 1
            low, high = (s, high) if less else (low, s)
        return np.array([float(each) for each in beta(low)])


# As mu falls, beta is a difference of the dual to a bound, with ever fewer digits: what is left of
# them was CONVERGED all the same, at depth 4 and mu = 1e-32 with an infinite beta.
@pytest.mark.filterwarnings("ignore::kernelrich_fast.ConvergenceWarning")
@pytest.mark.parametrize("depth", [2, 2.1, 2.5, 3, 4, 5, 8])
@pytest.mark.parametrize("x", [[1.0, 0.3], [2.0, 1.5, 0.1]])
def test_digits_that_are_not_there_are_no_limit(depth, x):
    mu = np.geomspace(10.0, 1e-40, 12)
    limits = krf.margin_limit([x], [1], mu=mu, depth=depth)
    exact = np.array([of_one_sample(x, float(each), depth) for each in mu])
    good = limits.status == krf.Status.CONVERGED
    assert relative(limits.beta[good], exact[good]).max() < 2e-6
    assert np.array_equal(limits.status == krf.Status.FAILED, ~good)
    assert np.all(good[mu >= (1e-40 if depth < 3 else 1e-20 if depth < 5 else 1e-10)])
    assert good.all() == (depth < 3)


@pytest.mark.filterwarnings("ignore::kernelrich_fast.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(80))
def test_a_limit_has_its_margins_or_has_failed(seed):
    """Scales down to 1e-40, depths to 8, uneven starts, rows and features, repeated rows."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    X, y = drawn(seed, n, n + int(rng.integers(0, 10)))
    if seed % 4 == 1:
        X = X * 10.0 ** rng.uniform(-3, 3, (n, 1))
    if seed % 4 == 2:
        X, y = np.vstack([X, X[:1]]), np.append(y, y[0])
    w0 = 10.0 ** rng.uniform(-1.5, 1.5, X.shape[1]) if seed % 3 == 0 else 1.0
    depth = float(rng.choice([2, 2.05, 2.5, 3, 4, 5, 8]))
    limit = krf.margin_limit(X, y, mu=10.0 ** rng.uniform(-40, 5), depth=depth, w0=w0)
    assert np.isfinite(limit.beta).all()
    if limit.status == krf.Status.CONVERGED:
        assert np.abs(limit.margins[limit.dual > 0.0] - 1.0).max() <= 1e-6
        assert limit.loss <= 1e-6
        assert limit.loss == max(0.0, 1.0 - limit.margins.min())
    else:
        assert limit.status == krf.Status.FAILED
        assert depth > 2.05


def test_batches_are_their_runs_one_by_one():
    X, y = drawn(7, 6, 15)
    X2, y2 = drawn(8, 6, 15)
    both = krf.margin_limit(
        np.stack([X, X2])[:, None], np.stack([y, y2])[:, None], mu=[1.0, 1e-3], depth=3
    )
    assert both.beta.shape == (2, 2, 15)
    for i, (A, b) in enumerate(((X, y), (X2, y2))):
        for j, mu in enumerate((1.0, 1e-3)):
            one = krf.margin_limit(A, b, mu=mu, depth=3)
            assert relative(both.beta[i, j], one.beta) < 1e-8
    assert "MarginLimit" in repr(both)
    assert "loss" not in repr(both)
    assert both.to_dataset(["problem", "mu"]).margins.dims == ("problem", "mu", "sample")


@pytest.mark.parametrize(
    "change",
    [
        lambda X, y: (X[:1], y[:1]),
        lambda X, y: (np.vstack([X, X]), np.concatenate([y, y])),
        lambda X, y: (np.vstack([X, 2.0 * X]), np.concatenate([y, y])),
        lambda X, y: (y[:, None] * np.abs(X), y),
        lambda X, y: (np.hstack([X, np.ones((len(X), 1))]), np.ones(len(X))),
    ],
)
def test_edges_of_separability(change):
    """One point, duplicated points, multiples, an orthant, labels of one class."""
    X, y = change(*drawn(9, 6, 10))
    for norm in ("l1", "l2"):
        assert (y * (X @ max_margin(X, y, norm=norm))).min() > 1.0 - 1e-9
    limit = krf.margin_limit(X, y, mu=[10.0, 1e-4], depth=[[2], [3]])
    assert np.all(limit.status == krf.Status.CONVERGED)
    assert limit.margins.min() > 1.0 - 1e-8


def test_what_nothing_separates_is_refused():
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    for call in (
        lambda: max_margin(X, [1, 1, 1]),
        lambda: max_margin(X, [1, 1, 1], norm="l1"),
        lambda: max_margin(np.zeros((2, 3)), [1, -1]),
        lambda: krf.margin_limit(X, [1, 1, 1], mu=1.0),
    ):
        with pytest.raises(ValueError, match="y: expected classes that some beta separates"):
            call()
    with pytest.raises(ValueError, match="y: expected labels -1 and"):
        max_margin(X, [0, 1, 1])


def test_real_data():
    """Breast cancer with a column of ones, and digits 3 against 5, standardised."""
    data = pytest.importorskip("sklearn.datasets")
    svm = pytest.importorskip("sklearn.svm")
    cancer, digits = data.load_breast_cancer(), data.load_digits()
    chosen = np.isin(digits.target, (3, 5))
    sets = (
        (cancer.data, np.where(cancer.target == 1, 1.0, -1.0), True),
        (digits.data[chosen], np.where(digits.target[chosen] == 3, 1.0, -1.0), False),
    )
    for X, y, ones in sets:
        X = X[:, X.std(axis=0) > 0.0]
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        if ones:
            with pytest.raises(ValueError, match="y: expected classes"):
                max_margin(X, y)
            X = np.hstack([X, np.ones((len(X), 1))])
        beta = max_margin(X, y)
        tight = y * (X @ beta) < 1.0 + 1e-7
        left = scipy.optimize.nnls((y[tight, None] * X[tight]).T, beta)[1]
        assert left < 1e-9 * np.linalg.norm(beta)
        if not ones:  # of the other it takes minutes to find less than a percent
            machine = svm.SVC(kernel="linear", C=1e8, tol=1e-8)
            # Without an intercept: every point with its mirror.
            machine.fit(np.vstack([X, -X]), np.concatenate([y, -y]))
            assert relative(beta, machine.coef_[0]) < 1e-5
        sparse = max_margin(X, y, norm="l1")
        assert np.abs(sparse).sum() == pytest.approx(l1_norm_by_highs(X, y), rel=1e-7)
        limit = krf.margin_limit(X, y, mu=[1e6 * np.abs(beta).max(), 1.0, 1e-4], depth=3)
        assert np.all(limit.status == krf.Status.CONVERGED)
        assert relative(limit.beta[0], beta) < 1e-5
