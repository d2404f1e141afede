"""The team of a CUDA block, played by host threads, against the CPU backend.

csrc/cuda/block_team.hpp and the core templates run here exactly as a device runs them, only with a
barrier of the C++ library for __syncthreads().  ThreadSanitizer, where the compiler has it, sees
every element that two members touch without a barrier between.
"""

from __future__ import annotations

import numpy as np
import pytest
from fuzz_bindings import legal_calls
from host_block import build, call

import kernelrich_fast as krf
from kernelrich_fast.initialization import he_layers

# Spin at barriers on more threads than there are cores.
pytestmark = pytest.mark.slow

METHODS = ["auto", "dopri5", "radau5"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    built = build("block_runs", tmp_path_factory.mktemp("plain"))
    if built is None:
        pytest.skip("no C++20 compiler to build tests/cpp/block_runs.cpp with")
    return built


@pytest.fixture(scope="module")
def lanes(tmp_path_factory):
    built = build("block_runs", tmp_path_factory.mktemp("lanes"), "-DKRF_WARPS")
    if built is None:
        pytest.skip("no C++20 compiler to build tests/cpp/block_runs.cpp with")
    return built


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    built = build("block_runs", tmp_path_factory.mktemp("tsan"), "-fsanitize=thread", "-g")
    if built is None:
        pytest.skip("no C++20 compiler with ThreadSanitizer")
    return built


def flow_options(rtol, stop, method, times):
    return [rtol, np.inf, stop, 100_000, METHODS.index(method), len(times), *times]


def diagonal(program, threads, kind, X, y, alpha, depth, *options):
    d = X.shape[1]
    return call(
        program, threads, [kind], [len(y), d, depth], X.T, y, np.full(2 * d, float(alpha)), *options
    )


def factorization(program, threads, data, W0, d1, *options):
    n, r = W0.shape
    head = [2, n, r, d1, n - d1, d1, len(data.y), 0]
    rows, columns = data.entries
    return call(program, threads, head, rows, columns + d1, data.y, W0, *options)


# Four are in other tests; with more threads than cores every barrier waits for the scheduler.
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("depth", "alpha"), [(2, 1e-4), (2, 1.0), (2.5, 0.03), (3, 0.01), (5, 0.3)]
)
@pytest.mark.parametrize("method", METHODS)
def test_diagonal_flow(program, threads, depth, alpha, method):
    X, y, _ = krf.datasets.sparse_regression(9, 21, 2, seed=3)
    if method == "dopri5" and alpha < 0.01:
        pytest.skip("tens of thousands of explicit steps")
    options = flow_options(1e-6, 1e-9 * (y @ y), method, [])
    out = diagonal(program, threads, 0, X, y, alpha, depth, options)
    flow = krf.flow_diagonal(
        X, y, alpha=alpha, depth=depth, stop_loss=1e-9, method=method, backend="cpu"
    )
    assert out[0] == flow.status
    assert abs(out[1] - flow.n_steps) <= 2 + 0.02 * flow.n_steps
    assert out[3] / out[2] == pytest.approx(flow.n_flops / flow.n_rhs, rel=0.05)
    assert np.linalg.norm(out[4:25] - flow.beta) < 1e-5 * np.linalg.norm(flow.beta)


@pytest.mark.parametrize("depth", [2, 2.5, 4])
def test_diagonal_limit(program, depth):
    X, y, _ = krf.datasets.sparse_regression(9, 21, 2, noise_variance=0.0, seed=3)
    for alpha in (1e-6, 1.0):
        out = diagonal(program, 3, 1, X, y, alpha, depth, [1e-10])
        limit = krf.limit_diagonal(X, y, alpha=alpha, depth=depth, backend="cpu")
        assert out[0] == limit.status
        assert np.linalg.norm(out[2:] - limit.beta) < 1e-7 * np.linalg.norm(limit.beta)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("width", [2, 9])
@pytest.mark.parametrize("method", METHODS)
def test_factorization_flow(program, threads, width, method):
    data = krf.datasets.low_rank_completion(4, 5, 1, 13)
    W0 = 0.05 * np.random.default_rng(width).standard_normal((9, width))
    times = np.array([0.1, 1.0, 8.0])
    out = factorization(
        program, threads, data, W0, 4, flow_options(1e-7, 0.0, method, times.tolist())
    )
    flow = krf.flow_factorization(
        data.y, entries=data.entries, U0=W0[:4], V0=W0[4:], t_eval=times, rtol=1e-7,
        method=method, backend="cpu",
    )  # fmt: skip
    W = out[4 : 4 + 27 * width].reshape(3, 9, width)
    M = W[:, :4] @ np.swapaxes(W[:, 4:], 1, 2)
    assert np.allclose(M, flow.M, rtol=1e-5, atol=1e-7)


NETWORK_METHODS = ["auto", "dopri5", "exponential", "gradient_descent"]


def network(program, threads, data, layers, loss, *, copies=1, bias=False, options):
    units = [layers[0].shape[1], *(W.shape[0] for W in layers)]
    flat = [np.hstack([W, np.zeros((len(W), 1))]) if bias else W for W in layers]
    head = [3, len(data[1]), len(layers), copies, int(bias), loss, *units]
    weights = np.concatenate([W.ravel() for W in flat] * copies)
    return call(program, threads, head, data[0], data[1], weights, *options)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("depth", "method", "model"),
    [
        (2, "exponential", {}),
        (3, "exponential", {"bias": True}),
        (4, "auto", {"antisymmetric": True}),
        (3, "dopri5", {}),
        (2, "gradient_descent", {"bias": True}),
    ],
)
def test_network_flow(program, threads, depth, method, model):
    data = krf.datasets.circle_teacher(7, seed=1)
    layers = [0.4 * W for W in he_layers((2, *(depth - 1) * (9,), 1), "he_uniform", 3)]
    times = [0.1, 1.0, 4.0]
    head = [1e-7, np.inf, 0.0, 100_000, NETWORK_METHODS.index(method), 3, *times]
    out = network(
        program, threads, (data.X, data.y), layers, 0, options=[head],
        copies=1 + model.get("antisymmetric", False), bias=model.get("bias", False),
    )  # fmt: skip
    step = {"step_size": 0.01} if method == "gradient_descent" else {}
    flow = krf.flow_mlp(
        data.X, data.y, weights0=layers, t_eval=times, rtol=1e-7, method=method, backend="cpu",
        **model, **step,
    )  # fmt: skip
    assert out[0] == flow.status
    assert np.allclose(out[-6:-3], flow.loss, rtol=1e-4, atol=1e-8)
    assert np.allclose(out[-3:], flow.t)


def test_members_as_lanes_of_warps_agree_with_members_as_warps(program, lanes):
    """What a device's lanes do with shuffles and tensor cores, done through memory."""
    X, y, _ = krf.datasets.sparse_regression(18, 40, 2, seed=3)
    options = flow_options(1e-6, 1e-6 * (y @ y), "radau5", [])
    for depth, threads in ((2, 64), (3, 32)):
        few = diagonal(program, 2, 0, X, y, 0.1, depth, options)
        many = diagonal(lanes, threads, 0, X, y, 0.1, depth, options)
        assert few[0] == many[0]
        assert np.linalg.norm(few[4:44] - many[4:44]) < 1e-5 * np.linalg.norm(few[4:44])
    data = krf.datasets.low_rank_completion(4, 5, 1, 13)
    W0 = 0.05 * np.random.default_rng(2).standard_normal((9, 9))
    options = flow_options(1e-5, 0.0, "radau5", [0.1, 3.0])
    few, many = (factorization(p, n, data, W0, 4, options) for p, n in ((program, 2), (lanes, 32)))
    assert np.allclose(few[4:], many[4:], rtol=1e-4, atol=1e-6)
    circle = krf.datasets.circle_teacher(7, seed=1)
    layers = [0.4 * W for W in he_layers((2, 9, 9, 1), "he_uniform", 3)]
    options = [1e-4, np.inf, 0.0, 100_000, NETWORK_METHODS.index("exponential"), 2, 0.1, 1.0]
    few, many = (
        network(p, n, (circle.X, circle.y), layers, 0, options=[options])
        for p, n in ((program, 2), (lanes, 64))
    )
    assert np.allclose(few[-4:-2], many[-4:-2], rtol=1e-3, atol=1e-8)


def test_the_answer_depends_on_the_size_of_the_block_only_by_rounding(program):
    X, y, _ = krf.datasets.sparse_regression(9, 21, 2, seed=3)
    options = flow_options(1e-8, 1e-9 * (y @ y), "radau5", [])
    runs = [diagonal(program, n, 0, X, y, 1e-3, 2, options) for n in (1, 2, 4, 4)]
    beta = slice(4, 4 + 21)  # behind the status, steps, evaluations and operations
    for run in runs[1:]:
        assert run[0] == runs[0][0]
        assert np.linalg.norm(run[beta] - runs[0][beta]) < 1e-7 * np.linalg.norm(runs[0][beta])
    assert np.array_equal(runs[2], runs[3])  # and repeats bit for bit


def test_no_member_races_another(sanitized):
    X, y, _ = krf.datasets.sparse_regression(5, 11, 2, noise_variance=0.0, seed=3)
    for method in ("dopri5", "radau5"):
        options = flow_options(1e-4, 1e-3 * (y @ y), method, [0.01, 0.1])
        diagonal(sanitized, 3, 0, X, y, 0.1, 2, options)
    graded = flow_options(1e-3, 1e-9 * (y @ y), "auto", [])
    diagonal(sanitized, 3, 0, X, y, 1e-3, 5, graded)
    diagonal(sanitized, 3, 1, X, y, 1e-6, 4, [1e-10])
    circle = krf.datasets.circle_teacher(5, seed=1)
    for method, loss, depth in (("exponential", 0, 3), ("dopri5", 0, 3), ("dopri5", 1, 2)):
        layers = [0.4 * W for W in he_layers((2, *(depth - 1) * (6,), 1 + loss), "he_uniform", 3)]
        y = circle.y > 0 if loss else circle.y
        options = [1e-3, np.inf, 0.0, 300, NETWORK_METHODS.index(method), 2, 0.5, 3.0]
        network(sanitized, 3, (circle.X, y.astype(float)), layers, loss, options=[options])
    data = krf.datasets.low_rank_completion(3, 4, 1, 8)
    W0 = 0.05 * np.random.default_rng(0).standard_normal((7, 7))
    for method in ("dopri5", "radau5"):
        options = flow_options(1e-4, 0.0, method, [0.1, 2.0])
        factorization(sanitized, 3, data, W0, 3, options)


@pytest.mark.parametrize("symmetric", [False, True])
def test_rounding_of_rows_is_that_of_their_own_measurements(program, symmetric):
    rng = np.random.default_rng(5)
    p, q, r, n_samples = (3, 3, 2, 5) if symmetric else (3, 4, 2, 5)
    n, c0 = (p, 0) if symmetric else (p + q, p)
    X = rng.standard_normal((n_samples, p, q)) * 10.0 ** rng.uniform(-6, 0, (n_samples, p, q))
    y, W = rng.standard_normal(n_samples), rng.standard_normal((n, r))
    head = [4, n, r, p, q, c0, n_samples, 1]
    got = call(program, 2, head, X, y, W)
    size = np.linalg.norm(W, axis=1)
    # What each prediction is a sum of, in magnitude.
    prediction = np.einsum("kij,i,j->k", np.abs(X), size[:p], size[c0 : c0 + q])
    A = np.zeros((n_samples, n, n))
    A[:, :p, c0 : c0 + q] += np.abs(X)
    A[:, c0 : c0 + q, :p] += np.abs(X).transpose(0, 2, 1)
    expected = np.einsum("k,kij,j->i", 2.0 * (np.abs(y) + prediction), A, size)
    assert np.allclose(got, expected, rtol=1e-12)


@pytest.fixture(scope="module")
def family_program(tmp_path_factory):
    built = build("family_runs", tmp_path_factory.mktemp("families"), "-fsanitize=thread", "-g")
    built = built or build("family_runs", tmp_path_factory.mktemp("families_plain"))
    if built is None:
        pytest.skip("no C++20 compiler to build tests/cpp/family_runs.cpp with")
    return built


def as_text(listed, fields):
    """The arguments of a call in the order of a family's list; see tests/cpp/family_runs.cpp."""
    for name, kind, *_ in listed:
        value = fields.get(name)
        if kind in ("number", "integer"):
            yield [float(value)]
        elif kind == "list":
            yield [len(value), *value]
        elif value is None:
            yield [-1]
        else:
            yield [value.ndim, *value.shape]
            yield value


@pytest.mark.parametrize("threads", [1, 3])
def test_every_family_by_its_list_of_fields(family_program, threads):
    """Packing, variants and results of whole batches, as a device runs them."""
    native, calls = legal_calls()
    for family, fields, options in calls:
        if family == "rich_path":
            continue
        listed, rows = native.families()[family]
        got = call(family_program, threads, [family], *as_text(listed, fields))
        expected = native.run(family, dict(fields), **options)
        at = 0
        for name, *_ in rows:
            values = expected[name]
            mine = got[at : at + values.size].reshape(values.shape)
            at += values.size
            if name == "W":  # of each run the beginning alone is written
                ranks = fields["rank"][fields["start_index"]]
                used = values.shape[1] * values.shape[2] * ranks
                pairs = [(m.ravel()[:u], v.ravel()[:u]) for m, v, u in
                         zip(mine, values, used, strict=True)]  # fmt: skip
                assert all(np.allclose(*pair, rtol=1e-6, atol=1e-9) for pair in pairs), family
            elif name == "status":
                assert np.array_equal(mine, values), family
            elif name in ("loss", "n_steps", "n_rhs", "n_flops", "n_iterations"):
                assert np.all(np.isfinite(mine)), family
            else:
                assert np.allclose(mine, values, rtol=1e-5, atol=1e-8), (family, name)
        assert at == got.size
