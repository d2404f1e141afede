"""The path as alpha -> 0: rational arithmetic, linear programs, KKT conditions, and flows."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
from conftest import relative
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rational_path import rational_path

import kernelrich_fast as krf
from kernelrich_fast.saddle_path import RichPath

BACKENDS = ("cpu", "numpy")
# Two samples, four features and three jumps (Zhao et al.): feature 1 leaves at the second.
FIXTURE = np.array([[1.0, 0.5, 0.7, 0.0], [0.5, 1.0, 0.1, 0.7]]), np.array([1.0, 0.0])


def integer_problem(rng, n_max, d_max):
    """X, y and bounds of integers: repeated and opposite columns, repeated rows, exact fits."""
    n, d = rng.integers(1, n_max + 1), rng.integers(1, d_max + 1)
    most = rng.choice([1, 2, 5, 50])
    X, y = rng.integers(-most, most + 1, (n, d)), rng.integers(-most, most + 1, n)
    kind = rng.integers(6)
    if kind in (1, 2):
        X[:, rng.integers(d)] = (3 - 2 * kind) * X[:, rng.integers(d)]
    if kind == 3:
        row = rng.integers(n)
        X[rng.integers(n)], y[rng.integers(n)] = X[row], y[row]
    if kind == 4:
        y = X @ rng.integers(-2, 3, d)
    bound = rng.integers(1, 4, d) if rng.random() < 0.3 else np.ones(d, dtype=np.int64)
    return X, y, bound


def follow(X, y, bound, **options) -> RichPath:
    """At depth 3 the bounds are 1 / w0."""
    return krf.rich_path(X, y, depth=3, w0=1.0 / bound, **options)


def check_certificate(X, y, path, bound, tolerance=1e-10):
    """The end is a least-squares solution of least norm, by the conditions of optimality."""
    beta, z = path.beta[-1], X.T @ path.dual
    residual = y - X @ beta
    scale = np.linalg.norm(X, axis=0) * np.linalg.norm(y)
    assert np.all(np.abs(X.T @ residual) <= tolerance * scale)
    assert np.all(np.abs(z) <= bound * (1.0 + tolerance))
    on = path.active[-1]
    assert np.array_equal(on, beta != 0.0)
    assert np.allclose(z[on], (bound * np.sign(beta))[on], rtol=tolerance, atol=0.0)


def test_the_published_example(host):
    path = krf.rich_path(*FIXTURE, backend=host)
    assert np.allclose(path.jump_times, [1.0, 4.0, 276 / 49], rtol=1e-14)
    assert np.allclose(path.beta[1:3], [[0.8, 0, 0, 0], [0, 0, 1.4, 0]], rtol=1e-14, atol=1e-15)
    assert np.allclose(path.beta[3], [0, 0, 10 / 7, -10 / 49], rtol=1e-14, atol=1e-15)
    assert path.status == krf.Status.CONVERGED
    assert path.unique
    assert np.allclose(path.saddle_loss, [1.0, 0.2, 0.02, 0.0], rtol=1e-13, atol=1e-28)


@pytest.mark.parametrize("seed", range(4))
def test_against_rational_arithmetic(host, seed):
    rng = np.random.default_rng(seed)
    jumps = 0
    for _ in range(100 if host == "cpu" else 25):
        X, y, bound = integer_problem(rng, 5, 8)
        exact = rational_path(X, y, bound)
        path = follow(X, y, bound, backend=host)
        assert path.n_jumps == len(exact.jump_times), (X, y, bound)
        jumps += int(path.n_jumps)
        assert np.allclose(path.jump_times, np.array(exact.jump_times, float), rtol=1e-11)
        predictions = np.array(exact.predictions, float).reshape(-1, len(y))
        size = max(1.0, float(np.abs(y).max()))
        assert np.allclose(path.beta[1:] @ X.T, predictions, rtol=0.0, atol=1e-11 * size)
        dual = np.array(exact.dual, float)
        assert np.allclose(path.dual, dual, rtol=0.0, atol=1e-10 * max(np.abs(dual).max(), 1e-9))
        assert np.isclose(bound @ np.abs(path.beta[-1]), float(exact.norm), rtol=1e-11, atol=1e-13)
    assert jumps > (200 if host == "cpu" else 30)


def test_rows_that_differ_in_size_against_rational_arithmetic(host):
    """A gradient that is zero stays zero beside terms of a large row: no jumps that are none."""
    for seed in range(150):
        rng = np.random.default_rng(seed)
        X, y = rng.integers(-2, 3, (2, rng.integers(2, 6))), rng.integers(-2, 3, 2)
        large = 10 ** int(rng.integers(1, 5))
        X[1] *= large
        y[1] *= rng.choice([1, large])
        exact = rational_path(X, y)
        path = krf.rich_path(X, y, backend=host)
        assert path.n_jumps == len(exact.jump_times), (X, y)
        assert np.allclose(path.jump_times, np.array(exact.jump_times, float), rtol=1e-7)
        assert path.converged or not np.allclose(X @ np.linalg.lstsq(X, y)[0], y)


def test_the_rational_path_solves_what_is_known_by_hand():
    exact = rational_path([[10, 5, 7, 0], [5, 10, 1, 7]], [10, 0])
    assert exact.jump_times == [Fraction(1, 100), Fraction(4, 100), Fraction(276, 4900)]
    assert exact.norm == Fraction(10, 7) + Fraction(10, 49)


def least_norm(X, y, bound):
    """Least sum bound_i |beta_i| over the least-squares solutions, by HiGHS."""
    gram, right = X.T @ X, X.T @ y
    program = scipy.optimize.linprog(
        np.concatenate([bound, bound]), A_eq=np.hstack([gram, -gram]), b_eq=right, method="highs"
    )
    assert program.status == 0
    return program


@pytest.mark.parametrize("seed", range(4))
def test_integer_problems_end_where_highs_says(compiled, seed):
    rng = np.random.default_rng(100 + seed)
    statuses = set()
    for _ in range(250):
        X, y, bound = integer_problem(rng, 12, 30)
        path = follow(X, y, bound, backend="cpu")
        statuses.add(int(path.status))
        check_certificate(X, y, path, bound)
        least = least_norm(X, y, bound).fun
        assert np.isclose(bound @ np.abs(path.beta[-1]), least, rtol=1e-7, atol=1e-9), (X, y)
        assert np.all(np.diff(path.saddle_loss) < 0.0)
        assert np.all(np.diff(path.jump_times) > 0.0)
    assert statuses == {int(krf.Status.CONVERGED), int(krf.Status.STATIONARY)}


def test_unique_ends_are_told_from_others(host):
    """Against the extent of the optimal face in every coordinate, by linear programs."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(60):
        X, y, bound = integer_problem(rng, 4, 6)
        best = least_norm(X, y, bound).fun
        d, gram = X.shape[1], X.T @ X
        cost = np.concatenate([bound, bound]).astype(float)
        extent = 0.0
        for i, sign in itertools.product(range(d), (1.0, -1.0)):
            direction = np.zeros(2 * d)
            direction[i], direction[d + i] = sign, -sign
            end = scipy.optimize.linprog(
                direction, A_ub=cost[None], b_ub=[best + 1e-9],
                A_eq=np.hstack([gram, -gram]), b_eq=X.T @ y, method="highs",
            )  # fmt: skip
            middle = follow(X, y, bound, backend=host).beta[-1]
            extent = max(extent, abs(end.fun - sign * middle[i]))
        unique = bool(follow(X, y, bound, backend=host).unique)
        assert unique == (extent < 1e-5), (X, y, bound, extent)
        found.append(unique)
    assert 5 < sum(found) < 55


@pytest.mark.parametrize(("depth", "alpha"), [(3, 1e-8), (4, 1e-6), (6, 1e-4)])
@pytest.mark.parametrize("shaped", [False, True])
def test_flows_at_a_power_of_1e_minus_24_rest_at_the_saddles(compiled, depth, alpha, shaped):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((8, 20)), rng.standard_normal(8)
    w0 = np.linspace(0.7, 1.4, 20) if shaped else None
    path = krf.rich_path(X, y, depth=depth, w0=w0)
    times = np.append(path.jump_times, 1.3 * path.jump_times[-1])
    middle = 0.5 * (times[:-1] + times[1:])
    unit = path.time_unit(alpha)
    flow = krf.flow_diagonal(X, y, alpha=alpha, depth=depth, w0=w0, t_eval=middle * unit, rtol=1e-9)
    assert np.max(relative(flow.beta, path.beta[1:])) < 3e-8
    # Jump times: halfway through the largest change of every jump, within 1e-5 of the time passed.
    for saddle, t in enumerate(path.jump_times):
        change = path.beta[saddle + 1] - path.beta[saddle]
        i = int(np.argmax(np.abs(change)))
        around = t * np.array([1.0 - 1e-5, 1.0 + 1e-5])
        passed = krf.flow_diagonal(
            X, y, alpha=alpha, depth=depth, w0=w0, t_eval=around * unit, rtol=1e-8
        )
        share = (passed.beta[:, i] - path.beta[saddle, i]) / change[i]
        assert share[0] < 0.5 < share[1], (saddle, share)


def test_depth_two_tends_to_the_path_like_one_over_the_logarithm(compiled):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((8, 20)), rng.standard_normal(8)
    path = krf.rich_path(X, y)
    flow = krf.flow_diagonal(
        X, y, alpha=1e-150, t_eval=2.0 * path.jump_times[-1] * path.time_unit(1e-150) * np.ones(1)
    )
    assert relative(flow.beta[-1], path.beta[-1]) < 1e-6
    lag = []
    for alpha in (1e-20, 1e-40, 1e-80):
        t = np.linspace(0.9, 1.3, 4001) * path.jump_times[0]
        unit = path.time_unit(alpha)
        beta = krf.flow_diagonal(X, y, alpha=alpha, t_eval=t * unit).beta
        i = int(np.argmax(np.abs(path.beta[1])))
        half = np.argmax(np.abs(beta[:, i]) > 0.5 * np.abs(path.beta[1, i]))
        lag.append(t[half] / path.jump_times[0] - 1.0)
    ratio = np.array(lag[:-1]) / np.array(lag[1:])
    assert np.allclose(ratio, 2.0, rtol=0.15), lag


def test_the_time_unit_is_continuous_in_the_depth():
    from kernelrich_fast.equations.diagonal import rich_time_unit

    assert np.isclose(rich_time_unit(1e-3, 2.0 + 1e-10), rich_time_unit(1e-3, 2.0), rtol=1e-8)
    assert np.isclose(rich_time_unit(1e-3, 2), np.log(1e6) / 8, rtol=1e-15)
    assert np.isclose(rich_time_unit(1e-3, 5), (1e9 - 1) / 30, rtol=1e-13)


def test_the_averaged_path_is_the_lasso_path_while_nothing_leaves(compiled):
    """Of (1/2) |X b - y|^2 + |b|_1 / T, as long as coefficients only grow; not after."""
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((30, 60)), rng.standard_normal(30)
    path = krf.rich_path(X, y)
    shrinks = np.diff(np.abs(path.beta), axis=0).min(axis=1) < 0.0
    first = int(np.argmax(shrinks))
    assert 1 < first < path.n_jumps
    edges = np.append(0.0, path.jump_times)

    def lasso_error(T):
        spent = np.clip(T - edges, 0.0, np.append(np.diff(edges), np.inf))
        averaged = spent @ path.beta / T
        alphas, _, coefficients = linear.lars_path(X, y, method="lasso")
        lam = 1.0 / T / len(y)
        lasso = np.array([np.interp(lam, alphas[::-1], c[::-1]) for c in coefficients])
        return relative(averaged, lasso)

    assert lasso_error(path.jump_times[first] * 0.999) < 1e-10
    assert lasso_error(path.jump_times[-1]) > 1e-3


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32), n=st.integers(1, 12), d=st.integers(1, 30), depth=st.integers(2, 6)
)
@example(seed=10139, n=11, d=11, depth=4)  # a condition of 1700, and jumps up to t = 8000
def test_every_saddle_satisfies_its_conditions(compiled, seed, n, d, depth):
    rng = np.random.default_rng(seed)
    X, y, w0 = rng.standard_normal((n, d)), rng.standard_normal(n), rng.uniform(0.5, 2.0, d)
    path = krf.rich_path(X, y, depth=depth, w0=w0)
    bound = w0 ** (2.0 - depth)
    check_certificate(X, y, path, bound)
    s = np.zeros(n)
    for j, wait in enumerate(np.diff(path.jump_times, prepend=0.0)):
        s += wait * (y - X @ path.beta[j])
        # A gradient that is only rounding, all the time up to here.
        rounding = 1e-15 * path.jump_times[j] * np.linalg.norm(y) * np.linalg.norm(X)
        assert np.all(np.abs(X.T @ s) <= bound * (1.0 + 1e-10) + rounding)
        beta, on = path.beta[j + 1], path.active[j + 1]
        gradient = X.T @ (y - X @ beta)
        assert np.all(np.abs(gradient[on]) <= 1e-11 * np.linalg.norm(y) * np.linalg.norm(X))
        reached = (np.sign(beta) * bound)[on]
        assert np.allclose((X.T @ s)[on], reached, rtol=1e-10, atol=rounding)
    # Features in another order, with other signs, in other units.
    order, signs = rng.permutation(d), rng.choice([-1.0, 1.0], d)
    turned = krf.rich_path(4.0 * (X * signs)[:, order], 0.5 * y, depth=depth, w0=w0[order])
    assert np.allclose(turned.jump_times, 0.5 * path.jump_times, rtol=1e-10)
    assert np.allclose(turned.beta, (path.beta * signs)[:, order] / 8.0, rtol=1e-8, atol=1e-10)


def test_units_that_are_powers_of_two_change_no_bit(compiled):
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((6, 15)), rng.standard_normal(6)
    path = krf.rich_path(X, y)
    for p, q in ((400, -400), (-460, 460), (-700, 300)):
        other = krf.rich_path(np.ldexp(X, p), np.ldexp(y, q))
        assert np.array_equal(np.ldexp(other.jump_times, p + q), path.jump_times), (p, q)
        assert np.array_equal(np.ldexp(other.beta, p - q), path.beta), (p, q)
        assert np.array_equal(np.ldexp(other.dual, p), path.dual), (p, q)


def test_a_batch_is_its_problems_one_by_one(host):
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((3, 1, 6, 15)), rng.standard_normal((3, 1, 6))
    w0 = rng.uniform(0.5, 2.0, (2, 15))
    batch = krf.rich_path(X, y, depth=4, w0=w0, backend=host, num_threads=2)
    assert batch.status.shape == (3, 2)
    assert batch.jump_times.shape == (3, 2, batch.n_jumps.max())
    for i, k in np.ndindex(3, 2):
        alone = krf.rich_path(X[i, 0], y[i, 0], depth=4, w0=w0[k], backend=host)
        count = int(alone.n_jumps)
        assert count == batch.n_jumps[i, k]
        assert np.array_equal(batch.jump_times[i, k, :count], alone.jump_times)
        assert np.all(np.isinf(batch.jump_times[i, k, count:]))
        assert np.array_equal(batch.beta[i, k, : count + 1], alone.beta)
        assert np.all(batch.beta[i, k, count:] == alone.beta[-1])
        assert np.array_equal(batch.dual[i, k], alone.dual)
        assert np.array_equal(batch.saddle_loss[i, k, : count + 1], alone.saddle_loss)
    assert np.array_equal(batch[1, 0].beta, batch.beta[1, 0])


def test_backends_agree(compiled):
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((5, 20, 50)), rng.standard_normal((5, 20))
    ours, equations = (krf.rich_path(X, y, backend=name) for name in BACKENDS)
    assert np.array_equal(ours.n_jumps, equations.n_jumps)
    finite = np.isfinite(ours.jump_times)
    assert np.allclose(ours.jump_times[finite], equations.jump_times[finite], rtol=1e-9)
    assert np.allclose(ours.beta, equations.beta, rtol=0.0, atol=1e-9)


def test_nothing_to_fit(host):
    none = krf.rich_path([[1.0, 2.0], [0.0, 1.0]], [0.0, 0.0], backend=host)
    assert none.n_jumps == 0
    assert none.jump_times.shape == (0,)
    assert none.beta.shape == (1, 2)
    assert none.status == krf.Status.CONVERGED
    unseen = krf.rich_path([[1.0, 1.0], [1.0, 1.0]], [1.0, -1.0], backend=host)
    assert unseen.n_jumps == 0
    assert unseen.status == krf.Status.STATIONARY
    assert unseen.loss == 2.0
    assert np.array_equal(unseen.at([0.0, 5.0]), np.zeros((2, 2)))


def test_the_path_at_times(host):
    path = krf.rich_path(*FIXTURE, backend=host)
    chosen = path.at([0.0, 1.0, 3.999, 4.5, 100.0])
    assert np.array_equal(chosen, path.beta[[0, 1, 1, 2, 3]])
    with pytest.raises(ValueError, match=r"^times"):
        path.at([[0.0]])
    with pytest.raises(ValueError, match=r"^alpha"):
        path.time_unit(2.0)


def test_a_budget_of_jumps(host):
    with pytest.warns(krf.ConvergenceWarning, match="rich_path: 1 MAX_STEPS of 1 run"):
        path = krf.rich_path(*FIXTURE, max_jumps=2, backend=host)
    assert path.n_jumps == 2
    assert np.allclose(path.beta[-1], [0, 0, 1.4, 0], rtol=1e-14, atol=1e-15)


def test_nearly_dependent_features(compiled):
    """Columns that differ by 1e-9: the digits that are left are those the condition leaves."""
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((10, 12)), rng.standard_normal(10)
    X[:, 6:] = X[:, :6] + 1e-9 * X[:, 6:]
    path = krf.rich_path(X, y)
    size = np.linalg.norm(path.dual) * np.linalg.norm(X, axis=0).max()
    assert size > 1e8
    check_certificate(X, y, path, np.ones(12), tolerance=1e-14 * size)


def test_problems_beyond_the_doubles_are_refused_by_name():
    with pytest.raises(ValueError, match=r"^w0: expected w0\^\(2-D\)"):
        krf.rich_path([[1.0, 2.0]], [1.0], depth=6, w0=[1e-100, 1.0])
    with pytest.raises(ValueError, match=r"^backend"):
        krf.rich_path([[1.0]], [1.0], backend="cuda")
    with pytest.raises(ValueError, match=r"^max_jumps"):
        krf.rich_path([[1.0]], [1.0], max_jumps=0)


def test_its_result_is_labelled():
    path = krf.rich_path(*FIXTURE)
    ds = path.to_dataset()
    assert ds.beta.dims == ("saddle", "feature")
    assert ds.jump_times.dims == ("jump",)
    assert "jump_times   array (3,)" in repr(path)
    assert path.converged
    assert list(krf.rich_path(*FIXTURE, depth=[2, 3]).to_dataframe(["depth"]).n_jumps) == [3, 3]
