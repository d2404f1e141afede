"""Models, losses and starts as papers write them, each against the paper's own equations."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import relative
from fallback_cases import fallback_takes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import kernelrich_fast as krf
from kernelrich_fast.experiments.decay_schedules import product_flow
from kernelrich_fast.experiments.lasso_monotone import instance, mean_path
from kernelrich_fast.theory import CONVENTIONS, convert

RNG = np.random.default_rng(3)
N, D = 6, 11
X = RNG.standard_normal((N, D))
Y = X[:, 0] - 0.5 * X[:, 1] + 0.1 * RNG.standard_normal(N)
ONES = np.ones(D)


def solve(field, start, times):
    out = solve_ivp(
        lambda t, w: field(w.reshape(start.shape)).ravel(), (0.0, times[-1]), start.ravel(),
        method="DOP853", t_eval=times, rtol=1e-11, atol=1e-14,
    )  # fmt: skip
    assert out.success
    return [w.reshape(start.shape) for w in out.y.T]


def squares(w, scale, depth=2):
    """-grad of scale |X (w_0^depth - w_1^depth) - y|^2, times 1 / depth where `scale` says so."""
    g = 2.0 * scale * depth * (X.T @ (Y - X @ (w[0] ** depth - w[1] ** depth)))
    return np.stack([g * w[0] ** (depth - 1), -g * w[1] ** (depth - 1)])


def product(w, scale):
    g = 2.0 * scale * (X.T @ (Y - X @ (w[0] * w[1])))
    return np.stack([g * w[1], g * w[0]])


def two_products(w, scale):
    g = 2.0 * scale * (X.T @ (Y - X @ (w[0] * w[1] - w[2] * w[3])))
    return np.stack([g * w[1], g * w[0], -g * w[3], -g * w[2]])


# Of each paper: its own flow, its start at scale a (and shape s), its predictor, times.
PAPERS = {
    "woodworth2020": (lambda w: squares(w, 1.0), lambda a, s: a * np.stack([ONES, ONES]), 0.2),
    "vaskevicius2019": (lambda w: squares(w, 1 / N), lambda a, s: a * np.stack([ONES, ONES]), 1.0),
    "pesme2021": (lambda w: squares(w, 0.25 / N), lambda a, s: a * np.stack([ONES, ONES]), 5.0),
    "even2023": (
        lambda w: product(w, 0.5 / N), lambda a, s: np.stack([np.sqrt(2) * a * ONES, 0 * ONES]), 5.0
    ),
    "chou2023": (
        # Each of D equal factors of w_plus^D, from the loss 1/2 |X beta - y|^2.
        lambda w: np.stack([X.T @ (Y - X @ (w[0] ** 3 - w[1] ** 3))] * 2)
        * np.stack([w[0] ** 2, -(w[1] ** 2)]),
        lambda a, s: a * np.stack([ONES, ONES]), 3.0,
    ),
    "wind2023": (
        lambda w: 2.5 * (X.T @ (Y - X @ (w[0] ** 2.5 - w[1] ** 2.5)))
        * np.stack([w[0] ** 1.5, -(w[1] ** 1.5)]),
        lambda a, s: a * np.stack([ONES, ONES]), 0.5,
    ),
    "azulay2021": (
        # alpha = u_plus v_plus + u_minus v_minus, s = (u - v) / (u + v).
        lambda w: two_products(w, 0.5),
        lambda a, s: (
            np.sqrt(0.5 * a / (1 - s * s)) * np.stack([(1 + s) * ONES, (1 - s) * ONES] * 2)
        ),
        0.4,
    ),
}  # fmt: skip
DEPTHS = {"chou2023": 3, "wind2023": 2.5}  # at which those of any depth are tried
PAPERS["pesme_flammarion2023"] = PAPERS["papazov2024"] = PAPERS["even2023"]


MEANS = {
    name for name, each in CONVENTIONS.items() if each.loss_scale(2, 2) != each.loss_scale(1, 2)
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_times_of_means_need_the_number_of_samples(name):
    for other in CONVENTIONS:
        if (name in MEANS) != (other in MEANS):
            mean = name if name in MEANS else other
            with pytest.warns(UserWarning, match=rf"^n_samples: expected for {mean}, whose loss"):
                found = convert(0.1, [0.0, 3.0], from_=name, to=other)
            single = convert(0.1, [0.0, 3.0], from_=name, to=other, n_samples=1)
            assert np.array_equal(found.t, single.t)
            # The start of a flow is its start in any units.
            assert convert(0.1, from_=name, to=other).t == 0.0
            continue
        found = convert(0.1, 3.0, from_=name, to=other)
        for n in (1, 7):
            assert np.isclose(convert(0.1, 3.0, from_=name, to=other, n_samples=n).t, found.t)


def test_every_convention_has_its_equations_and_its_row():
    assert set(PAPERS) == set(CONVENTIONS)
    page = Path(__file__).parents[2] / "docs" / "conventions.md"
    assert set(re.findall(r"^\| `(\w+)` \|", page.read_text(), re.MULTILINE)) == set(CONVENTIONS)


def predictor(name, w):
    if CONVENTIONS[name].model == "two_products":
        return w[0] * w[1] - w[2] * w[3]
    if CONVENTIONS[name].model == "product":
        return w[0] * w[1]
    return w[0] ** DEPTHS.get(name, 2) - w[1] ** DEPTHS.get(name, 2)


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize(("alpha", "shape"), [(0.05, 0.6), (0.5, -0.3)])
def test_a_papers_own_equations(name, alpha, shape):
    field, start, end = PAPERS[name]
    times = end * np.array([0.2, 0.6, 1.0, 3.0])
    depth = DEPTHS.get(name, 2)
    expected = np.stack([predictor(name, w) for w in solve(field, start(alpha, shape), times)])
    at = convert(alpha, times, from_=name, n_samples=N, depth=depth, shape=shape)
    flow = krf.flow_diagonal(X, Y, alpha=at.alpha, depth=depth, t_eval=at.t, rtol=1e-8)
    assert relative(flow.beta, expected).max() < 1e-7
    # And as the paper writes it.
    written = CONVENTIONS[name]
    own = {"alpha": alpha, "balance": written.balance}
    if written.shaped:  # u^2 + v^2 = 2 alpha^2, u^2 - v^2 = 2 alpha^2 balance
        size = 0.5 * alpha * (1 + shape**2) / (1 - shape**2)
        own = {"alpha": np.sqrt(size), "balance": 2 * shape / (1 + shape**2)}
    flow = krf.flow_diagonal(
        X, Y, **own, depth=depth, t_eval=times, rtol=1e-8, model=written.model,
        loss_scale=written.loss_scale(N, depth),
    )  # fmt: skip
    assert relative(flow.beta, expected).max() < 1e-7
    assert np.array_equal(flow.t, times)
    loss = written.loss_scale(N, depth) * ((flow.beta @ X.T - Y) ** 2).sum(axis=-1)
    assert np.allclose(flow.loss, loss, rtol=1e-9)
    back = convert(at.alpha, at.t, from_="woodworth2020", to=name, n_samples=N, depth=depth,
                   shape=shape)  # fmt: skip
    assert np.allclose(back.alpha, alpha)
    assert np.allclose(back.t, times)


@pytest.mark.parametrize("seed", [0, 9])
def test_the_setting_of_berthier(seed):
    """The mean of x = u v up to s = 2 t / log(1 / eps), by the equations as he writes them."""
    A, b = instance(seed)
    eps, s = 1e-5, np.array([1.0, 3.0, 10.0, 30.0])

    def field(w):  # u, v, and the integral of x; l = |A x - b|^2 / 2
        gradient = A.T @ (A @ (w[0] * w[1]) - b)
        return np.stack([-w[1] * gradient, -w[0] * gradient, w[0] * w[1]])

    times = 0.5 * s * np.log(1.0 / eps)
    ones = np.ones(A.shape[1])
    found = solve(field, np.stack([np.sqrt(eps) * ones, 0.0 * ones, 0.0 * ones]), times)
    expected = np.stack([w[2] / t for w, t in zip(found, times, strict=True)])
    assert relative(mean_path(A, b, s), expected).max() < 1e-7


@pytest.mark.parametrize(
    "decay",
    [
        krf.schedules.exponential(1.0, -np.log(0.95)),
        krf.schedules.piecewise([(k - 1.0, 1.0 / k) for k in range(1, 9)]),
        krf.schedules.piecewise([(0.0, 0.01)]),
    ],
)
def test_the_setting_of_jacobs_and_burkholz(decay):
    """Of m w, from m w = x0 and m^2 - w^2 = 1, under decay lambda(t) (|m|^2 + |w|^2)."""
    x0 = np.random.default_rng(5).normal(0.0, D**-0.25, (2, D))
    times = np.array([0.5, 1.0, 3.5, 8.0])
    found = product_flow(X, Y, x0, decay, times, rtol=1e-9)
    for start, path in zip(x0, found, strict=True):
        m = np.sqrt(0.5 * (1.0 + np.sqrt(1.0 + 4.0 * start**2)))
        w, now, expected = np.stack([m, start / m]), 0.0, []
        assert np.allclose(w[0] ** 2 - w[1] ** 2, 1.0)
        # lambda jumps at its pieces, so that SciPy starts anew at each.
        for t in np.union1d(times, decay.start[decay.start > 0.0]):
            out = solve_ivp(
                lambda tau, v, begin=now: _decayed(v, decay.at([begin])[0]
                * np.exp(-decay.rate[0] * (tau - begin))),
                (now, t), w.ravel(), method="DOP853", rtol=1e-12, atol=1e-14,
            )  # fmt: skip
            w, now = out.y[:, -1].reshape(2, -1), t
            if t in times:
                expected.append(w[0] * w[1])
        assert relative(path, np.stack(expected)).max() < 1e-7


def _decayed(v, decay):
    """-grad of |X m w - Y|^2 / N, less 2 decay (m, w)."""
    m, w = v.reshape(2, -1)
    gradient = 2.0 / N * (X.T @ (X @ (m * w) - Y))
    return np.concatenate([-gradient * w - 2.0 * decay * m, -gradient * m - 2.0 * decay * w])


@pytest.mark.parametrize("model", ["product", "two_products"])
def test_runs_may_differ_in_their_balance_alone(model):
    balances = [0.2, 0.5]
    options = dict(alpha=0.3, model=model, t_eval=[0.5])
    both = krf.flow_diagonal(X, Y, balance=balances, **options)
    assert both.balance.tolist() == balances
    for beta, balance in zip(both.beta, balances, strict=True):
        assert np.array_equal(beta, krf.flow_diagonal(X, Y, balance=balance, **options).beta)


@pytest.mark.parametrize("balance", [1.0, 0.4, -0.7, 1e-3])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_a_product_from_any_balance(backend, balance, decay):
    """U and v of every size, with weight decay and a dual in the model's own time."""
    w0, c = np.linspace(0.7, 1.3, D), 0.5 / N
    start = 0.3 * w0 * np.stack([ONES * np.sqrt(1 + balance), ONES * np.sqrt(1 - balance)])
    times = np.array([1.0, 5.0, 20.0])
    found = solve(lambda w: product(w, c) - 2.0 * decay * w, start, times)
    flow = krf.flow_diagonal(
        X, Y, alpha=0.3, w0=w0, balance=balance, model="product", loss_scale=c, weight_decay=decay,
        t_eval=times, rtol=1e-8, backend=backend,
    )  # fmt: skip
    for i, (u, v) in enumerate(found):
        assert np.linalg.norm(flow.beta[i] - u * v) < 1e-7 * np.linalg.norm(np.abs(u * v))
        assert np.allclose(flow.w_plus[i], np.abs(u + v) / 2, rtol=1e-6, atol=1e-12)
        assert np.allclose(flow.w_minus[i], np.abs(u - v) / 2, rtol=1e-6, atol=1e-12)
        assert flow.penalty[i] == pytest.approx(np.sum(u**2 + v**2), rel=1e-7)
    z = flow.dual @ X
    scale = np.exp(-2.0 * decay * times)[:, None]
    assert np.allclose(
        scale * flow.w_plus[0] / scale[0] * np.exp(2.0 * c * (z - z[0])), flow.w_plus, rtol=1e-5
    )  # fmt: skip


def descent(field, w, step, count):
    for _ in range(count):
        w = w + step * field(w)
    return w


@fallback_takes({"model": "difference", "layers": None}, {"model": "two_products"})
@pytest.mark.parametrize("layers", [None, (1.0, 0.3), (0.2, 2.0)])
@pytest.mark.parametrize("model", ["difference", "product", "two_products"])
def test_pre_training_and_fine_tuning(backend, model, layers):
    """Two tasks one after the other, against a loop of gradient descent with a tiny step."""
    if model == "difference" and layers is not None:
        pytest.skip("one layer")
    rng = np.random.default_rng(8)
    X2, y2 = rng.standard_normal((4, D)), rng.standard_normal(4)
    c, balance = 0.25, 0.5
    u, v = (0.4 * np.sqrt(1.0 + sign * balance) * ONES for sign in (1.0, -1.0))
    if model == "difference":
        w = 0.4 * np.stack([ONES, ONES])
    else:
        w = np.stack([u, v] if model == "product" else [u, v, u, v])

    def field(w, X, y):
        beta = {"difference": lambda: w[0] ** 2 - w[1] ** 2, "product": lambda: w[0] * w[1],
                "two_products": lambda: w[0] * w[1] - w[2] * w[3]}[model]()  # fmt: skip
        g = 2.0 * c * (X.T @ (y - X @ beta))
        if model == "difference":
            return np.stack([2.0 * g * w[0], -2.0 * g * w[1]])
        pair = np.stack([g * w[1], g * w[0]])
        return pair if model == "product" else np.concatenate([pair, -g * w[[3, 2]]])

    def beta_of(w):
        if model == "difference":
            return w[0] ** 2 - w[1] ** 2
        return w[0] * w[1] - (w[2] * w[3] if model == "two_products" else 0.0)

    step, counts = 2e-4, (10_000, 15_000)
    first = descent(lambda w: field(w, X, Y), w, step, counts[0])
    moved = first if layers is None else first * np.tile(layers, len(w) // 2)[:, None]
    second = descent(lambda w: field(w, X2, y2), moved, step, counts[1])

    options = dict(model=model, loss_scale=c, rtol=1e-8, backend=backend)
    own = {} if model == "difference" else {"balance": balance}
    one = krf.flow_diagonal(X, Y, alpha=0.4, t_eval=[1.0, step * counts[0]], **own, **options)
    assert relative(one.beta[-1], beta_of(first)) < 1e-3
    two = krf.flow_diagonal(
        X2, y2, start=one, rescale_layers=layers, t_eval=[step * counts[1]], **options
    )
    assert relative(two.beta[-1], beta_of(second)) < 1e-3
    # The limit from there, and from one run of a batch.
    end = krf.limit_diagonal(X2, y2, start=one, rescale_layers=layers, backend=backend)
    flow = krf.flow_diagonal(X2, y2, start=one, rescale_layers=layers, stop_loss=1e-20, **options)
    assert end.model == model
    assert relative(flow.beta, end.beta) < 1e-6
    batch = krf.flow_diagonal(X, Y, alpha=[0.1, 0.4], t_eval=[1.0, 2.0], **own, **options)
    again = krf.limit_diagonal(X2, y2, start=batch[1], rescale_layers=layers, backend=backend)
    assert relative(again.beta, end.beta) < 1e-6
    both = krf.limit_diagonal(X2, y2, start=batch, rescale_layers=layers, backend=backend)
    assert relative(both.beta[1], end.beta) < 1e-6


def test_starting_where_one_left_off_changes_nothing(backend):
    """A flow cut in two, at any depth."""
    for depth in (2, 2.5, 4):
        options = dict(depth=depth, rtol=1e-9, backend=backend)
        whole = krf.flow_diagonal(X, Y, alpha=0.4, t_eval=[0.3, 2.0], **options)
        half = krf.flow_diagonal(X, Y, alpha=0.4, t_eval=[0.3], **options)
        rest = krf.flow_diagonal(X, Y, start=half, t_eval=[1.7], **options)
        assert relative(rest.beta[-1], whole.beta[-1]) < 1e-7


@settings(max_examples=30, deadline=None, derandomize=True)
@given(a=st.floats(0.2, 3.0), b=st.floats(0.2, 3.0), balance=st.floats(0.05, 1.0))
def test_layers_are_rescaled_one_after_the_other(a, b, balance):
    one = krf.flow_diagonal(X, Y, alpha=0.3, model="product", balance=balance, t_max=0.7)
    both = krf.limit_diagonal(X, Y, start=one, rescale_layers=(2.0 * a, 0.5 * b))
    at_once = krf.flow_diagonal(X, Y, start=one, rescale_layers=(2.0 * a, 0.5 * b), t_eval=[0.0])
    first = krf.flow_diagonal(X, Y, start=one, rescale_layers=(2.0, 0.5), t_eval=[0.0])
    second = krf.flow_diagonal(X, Y, start=first, rescale_layers=(a, b), t_eval=[0.0])
    assert np.allclose(second.w_plus, at_once.w_plus, rtol=1e-9, atol=1e-12)
    assert np.allclose(second.w_minus, at_once.w_minus, rtol=1e-9, atol=1e-12)
    assert np.allclose(at_once.beta[0], a * b * one.beta, rtol=1e-9, atol=1e-12)
    assert relative(krf.limit_diagonal(X, Y, start=second).beta, both.beta) < 1e-7


def test_sweeps_take_models(tmp_path):
    ds = krf.sweep_diagonal(
        X, Y, alpha=[0.1, 0.5], model="product", balance=0.5, loss_scale=0.1, progress=False,
        keep=("norms", "beta"),
    )  # fmt: skip
    one = krf.flow_diagonal(X, Y, alpha=[0.1, 0.5], model="product", balance=0.5, loss_scale=0.1)
    assert relative(ds.beta.values, one.beta).max() < 1e-6
    assert ds.attrs["model"] == "diagonal network"
    assert ds.attrs["balance"] == 0.5
    for bad in ({"start": one}, {"rescale_layers": (1.0, 2.0)}):
        with pytest.raises(TypeError, match="not an option of a sweep"):
            krf.sweep_diagonal(X, Y, alpha=0.1, **bad)


FLOW = krf.flow_diagonal([[1.0, 2.0]], [1.0], alpha=0.1)
PRODUCT = krf.flow_diagonal([[1.0, 2.0]], [1.0], alpha=0.1, model="product")
ZERO = krf.limit_diagonal([[1.0, 2.0]], [1.0], alpha=0.1, weight_decay=0.1)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("alpha: expected the scale", {"alpha": None}),
        ("model", {"model": "sum"}),
        ("balance: expected none", {"balance": 0.5}),
        ("balance: expected values other", {"model": "product", "balance": 0.0}),
        ("balance: expected values in", {"model": "product", "balance": 1.5}),
        ("depth: expected 2", {"model": "product", "depth": 3}),
        ("w_plus0: expected w0", {"model": "product", "w_plus0": 1.0}),
        ("loss_scale", {"loss_scale": 0.0}),
        ("rescale_layers: expected start", {"rescale_layers": (1.0, 2.0)}),
        ("alpha: expected none", {"start": FLOW}),
        ("model: expected that of start", {"alpha": None, "start": FLOW, "model": "product"}),
        ("depth: expected the depth", {"alpha": None, "start": FLOW, "depth": 3}),
        ("rescale_layers: expected a model", {"alpha": None, "start": FLOW,
                                              "rescale_layers": (1.0, 2.0)}),
        ("rescale_layers", {"alpha": None, "start": PRODUCT, "rescale_layers": (1.0, -2.0)}),
        ("rescale_layers", {"alpha": None, "start": PRODUCT, "rescale_layers": 2.0}),
        ("start: expected positive weights", {"alpha": None, "start": ZERO}),
        ("start: expected a result of 3", {"alpha": None, "start": FLOW, "X": np.ones((1, 3))}),
        ("start: expected a result of flow", {"alpha": None, "start": np.ones(2)}),
    ],
)  # fmt: skip
def test_bad_starts_are_refused_by_name(message, change):
    arguments = {"X": [[1.0, 2.0]], "y": [1.0], "alpha": 0.1} | change
    for call in (krf.flow_diagonal, krf.limit_diagonal):
        with pytest.raises((ValueError, TypeError), match=message):
            call(**arguments)
