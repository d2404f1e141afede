"""Shapes, draws, statuses, refusals and invariants of `flow_factorization`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

import kernelrich_fast as krf
from kernelrich_fast import Status
from kernelrich_fast.initialization import gaussian_factor

DATA = krf.datasets.low_rank_completion(4, 3, 1, 8)
WHERE = dict(entries=DATA.entries, dims=(4, 3))
SETTINGS = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def test_broadcasting_shapes(backend):
    y = np.stack([DATA.y, 2 * DATA.y])[:, None, None]
    flow = krf.flow_factorization(
        y, **WHERE, alpha=[0.1, 1.0], width=[[2], [50], [3]], t_eval=[0.0, 0.1], backend=backend
    )
    assert flow.M.shape == (2, 3, 2, 2, 4, 3)
    assert flow.gram.shape == (2, 3, 2, 2, 7, 7)
    assert flow.loss.shape == flow.t.shape == (2, 3, 2, 2)
    assert flow.status.shape == flow.n_steps.shape == flow.n_rhs.shape == (2, 3, 2)
    assert flow.U is None
    one = krf.flow_factorization(DATA.y, **WHERE, alpha=0.1, width=2, backend=backend)
    assert one.M.shape == (4, 3)
    assert one.U.shape == (4, 2)
    assert np.allclose(one.U @ one.V.T, one.M, atol=1e-14)
    assert one.loss == pytest.approx(np.sum((one.M[DATA.entries] - DATA.y) ** 2), abs=1e-20)


def test_every_run_with_its_own_entries(backend):
    """A set of entries on each leading axis is a call of its own."""
    sets = [krf.datasets.low_rank_completion(4, 3, 1, 8, seed=s) for s in range(3)]
    row, column = (np.stack([each.entries[i] for each in sets]) for i in range(2))
    assert len({row[i].tobytes() + column[i].tobytes() for i in range(3)}) == 3
    y, alpha = np.stack([each.y for each in sets]), np.array([[1e-2], [1.0]])
    both = krf.flow_factorization(
        y, entries=(row, column), dims=(4, 3), alpha=alpha, width=3, seed=[5, 6, 7],
        backend=backend,
    )  # fmt: skip
    assert both.M.shape == (2, 3, 4, 3)
    for i, each in enumerate(sets):
        alone = krf.flow_factorization(
            each.y, entries=each.entries, dims=(4, 3), alpha=alpha[:, 0], width=3, seed=5 + i,
            backend=backend,
        )  # fmt: skip
        assert np.array_equal(alone.M, both.M[:, i])
        assert np.array_equal(alone.loss, both.loss[:, i])
        assert np.array_equal(alone.n_rhs, both.n_rhs[:, i])
    # The sets alone make the shape, too.
    many = krf.flow_factorization(
        DATA.y, entries=(row, column), dims=(4, 3), alpha=0.1, width=2, backend=backend
    )
    assert many.M.shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (([[0, 1]], [0, 1]), r"entries: expected two arrays .* same shape, .* \(1, 2\) and \(2,"),
        (([[0, 1], [2, 2]], [[0, 1], [1, 1]]), r"entries: expected every entry once, got \(2, 1\)"),
        (
            ([[0, 1], [2, 3]], [[0, 1], [1, 1]]),
            r"entries: .* broadcast with those of y \(3,\), got \(2,\)",
        ),
        ((0, 1), r"entries: expected two arrays of the same shape, got shapes \(\) and \(\)"),
    ],
)
def test_wrong_sets_of_entries(entries, said):
    with pytest.raises(ValueError, match=said):
        krf.flow_factorization(np.ones((3, 2)), entries=entries, dims=(4, 3), alpha=1.0, width=2)


def test_the_start_is_what_was_asked_for(backend):
    flow = krf.flow_factorization(
        DATA.y, **WHERE, alpha=0.5, width=[2, 40], seed=3, t_eval=[0.0], backend=backend
    )
    for i, width in enumerate((2, 40)):
        W = 0.5 * gaussian_factor(7, width, 3)
        assert np.allclose(flow.gram[i, 0], W @ W.T, rtol=1e-13, atol=1e-13)
    other = krf.flow_factorization(
        DATA.y, **WHERE, alpha=0.5, width=40, seed=4, t_eval=[0.0], backend=backend
    )
    assert not np.allclose(other.gram[0], flow.gram[1, 0], rtol=0.1)


def test_wide_draws_have_the_distribution_of_wishart_matrices():
    n, width, draws = 3, 5, 4000
    direct = np.random.default_rng(0).standard_normal((draws, n, width))
    direct = direct @ np.swapaxes(direct, 1, 2)
    factors = np.stack([gaussian_factor(n, width, s) for s in range(draws)])
    ours = factors @ np.swapaxes(factors, 1, 2)
    for statistic in (
        lambda G: G[:, 0, 0], lambda G: G[:, 2, 2], lambda G: G[:, 1, 2],
        lambda G: np.linalg.det(G), lambda G: np.linalg.eigvalsh(G)[:, 0],
    ):  # fmt: skip
        assert stats.ks_2samp(statistic(direct), statistic(ours)).pvalue > 1e-3
    assert stats.kstest(ours[:, 1, 1], stats.chi2(width).cdf).pvalue > 1e-3


def test_gram_stays_semidefinite_and_of_its_rank(backend):
    flow = krf.flow_factorization(
        DATA.y, **WHERE, alpha=[1e-6, 1e-2, 1.0], width=2, backend=backend
    )
    values = np.linalg.eigvalsh(flow.gram)
    assert np.all(values[:, 0] >= -1e-14 * values[:, -1])
    assert np.all(values[:, :-2] <= 1e-14 * values[:, -1:])


def test_dependent_columns_stay_dependent(backend):
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((4, 1)), rng.standard_normal((3, 1))
    twice = krf.flow_factorization(
        DATA.y, **WHERE, U0=np.hstack([u, u]), V0=np.hstack([v, v]), t_eval=[0.3], backend=backend
    )
    once = krf.flow_factorization(
        DATA.y, **WHERE, U0=np.sqrt(2) * u, V0=np.sqrt(2) * v, t_eval=[0.3], backend=backend
    )
    assert np.allclose(twice.M, once.M, rtol=1e-6, atol=1e-8)


def test_options_and_ends(backend):
    flow = krf.flow_factorization(
        DATA.y, **WHERE, alpha=0.5, width=4, stop_loss=[1e-2, 1e-6], t_max=[[np.inf], [1e-3]],
        backend=backend,
    )  # fmt: skip
    assert np.all(flow.status == [[Status.CONVERGED] * 2, [Status.T_END] * 2])
    assert np.all(flow.t[1] == 1e-3)
    done = krf.flow_factorization(0 * DATA.y, **WHERE, U0=np.zeros((4, 2)), V0=np.zeros((3, 2)))
    assert done.status == Status.CONVERGED
    stuck = krf.flow_factorization(
        DATA.y, **WHERE, U0=np.zeros((4, 2)), V0=np.zeros((3, 2)), backend=backend
    )
    assert stuck.status == Status.STATIONARY
    assert np.all(stuck.M == 0.0)


def test_inconsistent_measurements_end_at_least_squares(backend):
    rng = np.random.default_rng(1)
    A = rng.standard_normal((6, 2, 2))
    y = rng.standard_normal(6)
    expected, *_ = np.linalg.lstsq(A.reshape(6, 4), y, rcond=None)
    flow = krf.flow_factorization(y, measurements=A, alpha=0.5, width=50, backend=backend)
    assert flow.status == Status.STATIONARY
    assert np.allclose(flow.M.ravel(), expected, rtol=1e-5, atol=1e-6)


def test_too_narrow_a_network_stops_at_the_best_it_can_do(backend):
    # W W^T can reach the positive part only; one column fits the largest eigenvalue.
    flow = krf.flow_factorization(
        [2.0, -1.0], entries=([0, 1], [0, 1]), dims=(2, 2), symmetric=True, alpha=0.5, width=1,
        backend=backend,
    )  # fmt: skip
    assert flow.status == Status.STATIONARY
    assert np.allclose(flow.M, [[2.0, 0.0], [0.0, 0.0]], atol=1e-6)


@pytest.mark.filterwarnings("ignore::kernelrich_fast.ConvergenceWarning")
@pytest.mark.parametrize("alpha", [1e-8, 1e-2, 3.0])
def test_inconsistent_and_narrow_ends_in_few_steps(backend, alpha):
    # A stable best rank-one fit leaves a residual whose own rates are far above those that are
    # left; neither method may grind there.
    rng = np.random.default_rng(8)
    A, y = rng.standard_normal((30, 5, 4)), rng.standard_normal(30)
    flow = krf.flow_factorization(
        y, measurements=A, alpha=alpha, width=1, backend=backend, max_steps=3000
    )
    if backend == "numpy" and alpha == 1e-8:
        assert flow.status == Status.FAILED  # too few digits, and it says so
        return
    assert flow.status == Status.STATIONARY
    R = np.tensordot(np.tensordot(A, flow.M, 2) - y, A, 1)
    gradient = np.concatenate([R @ flow.V, R.T @ flow.U])
    size = np.linalg.norm(R) * np.linalg.norm(np.concatenate([flow.U, flow.V]))
    assert np.linalg.norm(gradient) < 1e-6 * size


def test_extreme_scales_are_finite_or_refused(backend):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", krf.ConvergenceWarning)
        for alpha in (1e-120, 1e60):
            flow = krf.flow_factorization(
                DATA.y, **WHERE, alpha=alpha, width=5, backend=backend, max_steps=1500
            )
            assert np.all(np.isfinite(flow.M))
            fits = flow.loss <= 1e-12 * np.sum(DATA.y**2)
            assert fits == (flow.status == Status.CONVERGED)


def test_inputs_are_not_changed_and_layouts_do_not_matter(backend):
    rng = np.random.default_rng(2)
    U0, V0 = rng.standard_normal((4, 3)), rng.standard_normal((3, 3))
    before = U0.copy(), DATA.y.copy()
    a = krf.flow_factorization(DATA.y, **WHERE, U0=U0, V0=V0, backend=backend)
    b = krf.flow_factorization(
        DATA.y.tolist(), entries=[e.astype(np.int8) for e in DATA.entries], dims=[4, 3],
        U0=np.asfortranarray(U0), V0=V0[:, ::-1][:, ::-1], backend=backend,
    )  # fmt: skip
    assert np.array_equal(a.M, b.M)
    assert np.array_equal(U0, before[0])
    assert np.array_equal(DATA.y, before[1])


BAD = [
    ("entries", {"entries": None}, ValueError),
    ("entries", {"measurements": np.ones((8, 4, 3))}, ValueError),
    ("entries", {"entries": ([0, 0], [1, 1])}, ValueError),
    ("entries", {"entries": ([0, 4], [1, 1])}, ValueError),
    ("entries", {"entries": ([0, -1], [1, 1])}, ValueError),
    ("entries", {"entries": ([0, 1], [1])}, ValueError),
    ("entries", {"entries": ([0.5, 1], [1, 1])}, TypeError),
    ("entries", {"entries": 3}, TypeError),
    ("dims", {"dims": None}, ValueError),
    ("dims", {"dims": 4}, TypeError),
    ("dims", {"dims": (4, 0)}, ValueError),
    ("dims", {"dims": (4, 3), "symmetric": True}, ValueError),
    ("symmetric", {"symmetric": "yes"}, TypeError),
    ("y", {"y": DATA.y[:5]}, ValueError),
    ("y", {"y": [float("nan")] * 8}, ValueError),
    ("y", {"y": [1e200] * 8}, ValueError),
    ("y", {"y": [1e-101] * 8}, ValueError),
    ("y", {"y": DATA.y.astype(complex)}, TypeError),
    ("alpha", {"alpha": 0.0}, ValueError),
    ("alpha", {"alpha": 1e-150}, ValueError),
    ("alpha", {"alpha": None}, ValueError),
    ("width", {"width": None}, ValueError),
    ("width", {"width": 0}, ValueError),
    ("width", {"width": 2.5}, TypeError),
    ("seed", {"seed": -1}, ValueError),
    ("width", {"alpha": [1.0, 2.0], "width": [1, 2, 3]}, ValueError),
    ("rtol", {"alpha": [1.0, 2.0], "rtol": [1e-3, 1e-3, 1e-4]}, ValueError),
    ("U0", {"U0": np.ones((4, 2)), "V0": np.ones((3, 2))}, ValueError),
    ("method", {"method": "euler"}, ValueError),
    ("backend", {"backend": "gpu"}, ValueError),
    ("rtol", {"rtol": 1.0}, ValueError),
    ("t_eval", {"t_eval": [1.0, 0.5]}, ValueError),
    ("progress", {"progress": 1}, TypeError),
]


@pytest.mark.parametrize(("name", "change", "error"), BAD)
def test_bad_input_is_named(name, change, error):
    arguments = dict(y=DATA.y, **WHERE, alpha=0.1, width=2) | change
    with pytest.raises(error, match=rf"^.*\b{name}"):
        krf.flow_factorization(arguments.pop("y"), **arguments)


GIVEN = [
    ("U0", {"V0": None}),
    ("V0", {"V0": np.ones((3, 4))}),
    ("V0", {"V0": np.ones((2, 2)), "dims": (4, 3)}),
    ("U0", {"U0": np.full((4, 2), 1e-200), "V0": np.zeros((3, 2))}),
    ("V0", {"V0": np.ones((5, 3, 2)), "U0": np.ones((2, 4, 2))}),
    ("alpha", {"alpha": 1.0}),
    ("V0", {"symmetric": True}),
]


@pytest.mark.parametrize(("name", "change"), GIVEN)
def test_bad_starts_are_named(name, change):
    arguments = dict(entries=DATA.entries, U0=np.ones((4, 2)), V0=np.ones((3, 2))) | change
    with pytest.raises(ValueError, match=name):
        krf.flow_factorization(DATA.y, **arguments)


def test_the_stiff_method_says_where_it_ends():
    y = np.ones(5000)
    rows, columns = np.divmod(np.arange(5000), 100)
    with pytest.raises(ValueError, match="method"):
        krf.flow_factorization(
            y, entries=(rows, columns), dims=(50, 100), alpha=1.0, width=1, method="radau5"
        )


problems = st.tuples(st.integers(0, 1000), st.integers(1, 12), st.floats(-3.0, 0.5))


def make(problem):
    seed, width, exponent = problem
    data = krf.datasets.low_rank_completion(3, 4, 1, 7, seed)
    rng = np.random.default_rng(seed)
    U0, V0 = (10.0**exponent * rng.standard_normal((d, width)) for d in (3, 4))
    return data, U0, V0


@SETTINGS
@given(problems)
def test_loss_never_increases_and_the_imbalance_is_conserved(backend, problem):
    data, U0, V0 = make(problem)
    flow = krf.flow_factorization(
        data.y, entries=data.entries, U0=U0, V0=V0, t_eval=np.geomspace(1e-3, 10, 25),
        backend=backend,
    )  # fmt: skip
    assert np.all(np.diff(flow.loss) <= 1e-5 * np.sum(data.y**2))
    if backend == "numpy":  # the compiled backends put the imbalance back to its start
        return
    JG = np.concatenate([flow.gram[:, :3], -flow.gram[:, 3:]], axis=1)
    before = U0.T @ U0 - V0.T @ V0
    assert np.allclose(
        np.trace(JG, axis1=1, axis2=2), np.trace(before), atol=1e-5 * np.linalg.norm(before)
    )


@SETTINGS
@given(problems, st.floats(-1.0, 1.0))
def test_symmetries(backend, problem, log_c):
    data, U0, V0 = make(problem)
    times = np.array([0.1, 1.0])
    options = dict(entries=data.entries, rtol=1e-7, backend=backend)
    flow = krf.flow_factorization(data.y, U0=U0, V0=V0, t_eval=times, **options)
    # Transposing swaps the factors.
    swapped = krf.flow_factorization(
        data.y, U0=V0, V0=U0, t_eval=times, **{**options, "entries": data.entries[::-1]}
    )
    assert np.allclose(np.swapaxes(swapped.M, 1, 2), flow.M, rtol=1e-5, atol=1e-7)
    # (U0, y, t) -> (c U0, c^2 y, t / c^2) gives c^2 M.
    c = 10.0**log_c
    scaled = krf.flow_factorization(
        c**2 * data.y, U0=c * U0, V0=c * V0, t_eval=times / c**2, **options
    )
    assert np.allclose(scaled.M, c**2 * flow.M, rtol=1e-5, atol=1e-7 * c**2)
    # The order of the samples does not matter.
    order = np.random.default_rng(0).permutation(len(data.y))
    shuffled = krf.flow_factorization(
        data.y[order], U0=U0, V0=V0, t_eval=times,
        **{**options, "entries": tuple(e[order] for e in data.entries)},
    )  # fmt: skip
    assert np.allclose(shuffled.M, flow.M, rtol=1e-5, atol=1e-7)


def test_entries_by_a_boolean_matrix(backend):
    rng = np.random.default_rng(3)
    Y, mask = np.outer(rng.standard_normal(4), rng.standard_normal(5)), rng.random((4, 5)) < 0.6
    options = {"alpha": 1e-2, "width": 3, "backend": backend}
    flow = krf.flow_factorization(Y[mask], entries=mask, **options)
    pairs = krf.flow_factorization(Y[mask], entries=np.nonzero(mask), dims=(4, 5), **options)
    listed = krf.flow_factorization(Y[mask], entries=mask.tolist(), dims=(4, 5), **options)
    assert np.array_equal(flow.M, pairs.M)
    assert np.array_equal(flow.M, listed.M)
    for name, change in (
        ("dims", {"entries": mask, "dims": (5, 4)}),
        ("y", {"entries": mask[:3]}),
        ("entries", {"entries": np.zeros((4, 5), dtype=bool)}),
        ("entries", {"entries": np.ones(4, dtype=bool)}),
    ):
        with pytest.raises(ValueError, match=f"^{name}: "):
            krf.flow_factorization(Y[mask], **change, **options)


@pytest.mark.parametrize("hole", [0.0, np.nan])
@pytest.mark.parametrize("count", [4, 7])
def test_a_whole_matrix_beside_a_mask_is_refused(count, hole):
    """With as many entries as columns, its rows would be runs."""
    mask = np.zeros((4, 4), dtype=bool)
    mask.flat[: 2 * count : 2] = True
    Y = np.where(mask, np.arange(16.0).reshape(4, 4), hole)
    with pytest.raises(ValueError, match=r"^y: expected the observed values, .*pass y\[entries\]"):
        krf.flow_factorization(Y, entries=mask, alpha=1e-3, width=4)
    assert krf.flow_factorization(Y[mask], entries=mask, alpha=1e-3, width=4).M.shape == (4, 4)
