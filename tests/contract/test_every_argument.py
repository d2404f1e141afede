"""Every argument of every public function, handed what it cannot be, is refused by name."""

from __future__ import annotations

import inspect
import itertools
import re

import numpy as np
import pytest
import xarray as xr

import kernelrich_fast as krf

D, T, P = krf.datasets, krf.theory, krf.plot
X, Y = np.ones((2, 3)), np.ones(2)
NET = {"weights": [np.ones((4, 3)), np.ones((1, 4))], "X": X}
MATRIX = D.low_rank_completion(4, 4, 1, 8)
WHERE = {"entries": MATRIX.entries, "dims": (4, 4)}
SENSED = {"measurements": np.ones((2, 3, 3))}
MOMENTS = {"S": np.eye(3), "C": np.ones((2, 3)), "y_norm2": 9.0}
GRID = xr.DataArray(
    np.ones((2, 2, 2, 2, 2)),
    {k: [1.0, 2.0] for k in ("alpha", "depth", "seed", "time", "width")},
    ("alpha", "depth", "seed", "time", "width"),
)
POINTS = xr.DataArray([0.5, 1.0], {"z": [0.5, 1.0]}, "z")
SWEEP = xr.Dataset({"loss": GRID.isel(width=0, drop=True)})
OVER_WIDTH = xr.Dataset({"test_rmse": GRID.isel(time=0, depth=0, drop=True)})
ERRORS = GRID.isel(time=0, width=0, depth=0, drop=True)
COUNTS = xr.Dataset(
    {
        "critical_alpha": (("depth", "seed", "n_samples"), [[[1e-3, 1e-2]]]),
        "n_samples_l1": ("seed", [51.0]),
    },
    coords={"depth": [2], "n_samples": [60, 100], "seed": [0]},
)

LEGAL = {
    krf.explore: {"X": X, "y": Y, "show": False},
    krf.flow_diagonal: {"X": X, "y": Y, "alpha": 1.0},
    krf.limit_diagonal: {"X": X, "y": Y, "alpha": 1.0},
    krf.margin_limit: {"X": X, "y": np.ones(len(X)), "mu": 1.0},
    krf.flow_factorization: {"y": MATRIX.y, **WHERE, "alpha": 0.1, "width": 2},
    krf.flow_linear: {"X": X, "Y": X, "alpha": 0.1, "width": 2},
    krf.flow_mlp: {"X": X, "y": Y, "width": 4},
    krf.sweep_diagonal: {"X": X, "y": Y, "alpha": [1.0]},
    krf.sweep_factorization: {"Y_star": MATRIX.Y_star, "alpha": 1.0, "width": 2, "n_observed": 8},
    krf.sweep_linear: {"X": X, "Y": X, "alpha": 1.0, "width": 2},
    krf.sweep_mlp: {"X": X, "y": Y, "alpha": 1.0, "width": 4},
    krf.rich_path: {"X": X, "y": Y},
    krf.sweep_rich_path: {"X": X, "y": Y},
    krf.show_config: {},
    D.circle_teacher: {"n_samples": 5},
    D.digits: {"n_train": 5},
    D.image: {"name": "china"},
    D.low_rank_completion: {"d1": 3, "d2": 4, "rank": 1, "n_observed": 5},
    D.observed_entries: {"d1": 3, "d2": 4, "n_observed": 5},
    D.sparse_regression: {"n_samples": 3, "n_features": 5, "sparsity": 1},
    T.alpha_for_l1: {"eps": 0.1, "beta_l1": [1.0, 2.0]},
    T.alpha_for_l2: {"eps": 0.1, "beta_l2": [1.0, 2.0]},
    T.critical_alpha: {"X": X, "y": Y, "beta_star": np.ones(3), "threshold": 0.1},
    T.effective_rank: {"M": np.eye(2)},
    T.factorization_kernel_predictor: {"y": MATRIX.y, "gram": np.eye(8), **WHERE},
    T.factorization_tangent_kernel: {"gram": np.eye(8), **WHERE},
    T.hyperbolic_entropy: {"z": 1.0},
    T.max_margin: {"X": X, "y": np.ones(len(X))},
    T.convert: {"alpha": 0.1, "from_": "even2023"},
    T.inverse_mirror_map: {"z": 0.1, "depth": 3},
    T.kernel_distance: {"K0": np.eye(2), "K1": np.eye(2)},
    T.kernel_predictor: {"X": X, "y": Y, "w_plus": np.ones(3), "w_minus": np.ones(3)},
    T.last_layer_predictor: {**NET, "y": Y, "X_new": X},
    T.min_l1: {"X": X, "y": Y},
    T.min_l2: {"X": X, "y": Y},
    T.min_nuclear_norm: {"y": MATRIX.y, **WHERE},
    T.mirror_map: {"t": 0.1, "depth": 3},
    T.mlp_feature_distance: {"weights0": NET["weights"], "weights1": NET["weights"], "X": X},
    T.mlp_kernel_predictor: {**NET, "y": Y, "X_new": X},
    T.mlp_predict: NET,
    T.mlp_tangent_kernel: NET,
    T.nuclear_norm: {"M": np.eye(2)},
    T.q_potential: {"beta": [1.0], "alpha": 1.0},
    T.r_potential: {"beta": [1.0], "alpha": 1.0},
    T.relative_kernel_change: {"K0": np.eye(2), "K1": np.eye(2)},
    T.schatten_potential: {"M": np.eye(2), "mu": 1.0},
    T.tangent_kernel: {"X": X, "w_plus": np.ones(3), "w_minus": np.ones(3)},
    P.class_errors: {
        "ds": xr.Dataset({k: ERRORS for k in ("test_error", "kernel_error", "last_layer_error")})
    },
    P.critical_alpha: {"ds": COUNTS},
    P.depth_potentials: {"ds": xr.Dataset({"q": POINTS.expand_dims(depth=[2, 3])})},
    P.excess_norms: {"ds": xr.Dataset({"excess_l1": ERRORS[:, 0], "excess_l2": ERRORS[:, 0]})},
    P.factorization_error: {"ds": OVER_WIDTH},
    P.factorization_heatmap: {"ds": OVER_WIDTH, "variable": "test_rmse"},
    P.grey_image: {"pixels": np.eye(2)},
    P.network_curves: {"ds": SWEEP.isel(time=0, drop=True), "variable": "loss"},
    P.paths: {"ds": SWEEP.isel(seed=0, depth=0, drop=True), "variable": "loss"},
    P.population_error: {"ds": xr.Dataset({"population_error": ERRORS[:, 0]})},
    P.potentials: {"ds": xr.Dataset({"q": POINTS, "r": POINTS})},
    P.rich_path: {"path": krf.rich_path(X, Y)},
    P.sparsity_ratio: {
        "ds": xr.Dataset({"ratio": POINTS.rename(z="log_scale").expand_dims(depth=[2])})
    },
    P.univariate_functions: {
        "ds": xr.Dataset(
            {
                "prediction": (("alpha", "x"), np.ones((1, 2))),
                "linear_spline": ("x", [0.0, 1.0]),
                "cubic_spline": ("x", [0.0, 1.0]),
                "X": ("sample", [0.0, 1.0]),
                "y": ("sample", [0.0, 1.0]),
            },
            coords={"alpha": [1.0], "x": [0.0, 1.0]},
        )
    },
}
# Arguments that make sense only with others.
WITH = {
    (krf.flow_factorization, "measurements"): {"y": Y, **SENSED, "alpha": 0.1, "width": 2},
    (krf.flow_factorization, "V0"): {"y": MATRIX.y, **WHERE, "U0": np.ones((4, 2))},
    (krf.flow_linear, "W1"): {"X": X, "Y": X, "W2": np.ones((3, 2))},
    (krf.flow_linear, "W2"): {"X": X, "Y": X, "W1": np.ones((2, 3))},
    **{
        (function, name): {**MOMENTS, "alpha": 1.0, "width": 2}
        for function in (krf.flow_linear, krf.sweep_linear)
        for name in ("S", "C", "y_norm2")
    },
    (krf.flow_mlp, "biases0"): {"X": X, "y": Y, "weights0": NET["weights"], "bias": True},
    (krf.flow_mlp, "step_size"): {"X": X, "y": Y, "method": "gradient_descent"},
    (krf.sweep_mlp, "y_test"): {"X": X, "y": Y, "alpha": 1.0, "width": 4, "X_test": X},
    (krf.sweep_diagonal, "y_test"): {"X": X, "y": Y, "alpha": 1.0, "X_test": X},
    (T.factorization_kernel_predictor, "measurements"): {"y": Y, "gram": np.eye(6), **SENSED},
    (T.factorization_tangent_kernel, "measurements"): {"gram": np.eye(6), **SENSED},
    (T.min_nuclear_norm, "measurements"): {"y": Y, **SENSED},
}
# Any text is a path.
SOUND = {("store", "nonsense")}


def public_functions():
    for module in (krf, D, T, P):
        for name in module.__all__:
            if inspect.isfunction(function := getattr(module, name)):
                yield function


def arguments():
    for function in public_functions():
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD:
                yield function, name


CASES = [
    pytest.param(*case, junk, id=f"{case[0].__name__}-{case[1]}-{kind}")
    for case, (kind, junk) in itertools.product(
        arguments(), {"object": object(), "complex": 1j, "text": "nonsense", "bytes": b"1"}.items()
    )
    if (case[1], junk) not in SOUND
]


def test_the_table_is_whole():
    assert set(LEGAL) == set(public_functions())
    assert len(CASES) >= 800
    assert {name for _, name in arguments()} >= {name for _, name in WITH}


@pytest.mark.parametrize("function", LEGAL, ids=lambda function: function.__name__)
def test_legal_calls_are_taken(function):
    """Or what is refused below might be refused for something else."""
    function(**LEGAL[function])


@pytest.mark.parametrize(("function", "name", "junk"), CASES)
def test_refused_by_name(function, name, junk):
    legal = WITH.get((function, name), LEGAL[function])
    with pytest.raises((TypeError, ValueError), match=rf"^{name}\b"):
        function(**{**legal, name: junk})


def shaped(function):
    """The arguments of a legal call that have a shape, each in a place of its own.

    A place is the argument, and the number of the array in it where it is a list of some.
    """
    for name, value in LEGAL[function].items():
        listed = name in ("entries", "weights", "weights0", "weights1")
        for i, each in enumerate(value if listed else [value]):
            if name != "dims" and not isinstance(each, str | bool) and np.ndim(each) >= 0:
                yield (name, i if listed else None), np.asarray(each)


def changed(function, replaced):
    call = {k: list(v) if k.startswith("weights") else v for k, v in LEGAL[function].items()}
    for (name, i), array in replaced.items():
        if i is None:
            call[name] = array
        else:
            parts = list(call[name])
            parts[i] = array
            call[name] = tuple(parts) if name == "entries" else parts
    return call


def misfits(function):
    """Calls in which one array is longer along one axis, or two have other leading axes."""
    places = dict(shaped(function))
    for place, array in places.items():
        for axis in range(array.ndim):
            longer = np.concatenate([array, np.take(array, [-1], axis)], axis)
            yield f"{place}, axis {axis} longer", {place: longer}
        yield f"{place} twice", {place: np.stack([array] * 2)}
    for (one, first), (two, second) in itertools.permutations(places.items(), 2):
        yield f"{one} twice, {two} three times", {
            one: np.stack([first] * 2), two: np.stack([second] * 3)
        }  # fmt: skip


@pytest.mark.parametrize(
    "function", [f for f in LEGAL if f.__module__.startswith(T.__name__)], ids=lambda f: f.__name__
)
def test_shapes_that_do_not_fit_are_refused_by_name(function):
    """Or taken, where they fit after all: no error is NumPy's own."""
    names = "|".join(inspect.signature(function).parameters)
    said = {}
    for what, replaced in misfits(function):
        try:
            function(**changed(function, replaced))
        except (TypeError, ValueError) as error:
            said[what] = str(error)
    assert not {
        what: text
        for what, text in said.items()
        if not re.match(rf"({names})\b.*: (expected|got)", text)
    }


@pytest.mark.parametrize("function", [krf.sweep_diagonal, krf.sweep_factorization, krf.sweep_mlp])
def test_options_of_a_flow_are_checked_by_its_sweep(function):
    with pytest.raises(TypeError, match=r"^learning_rate: not an option"):
        function(**LEGAL[function], learning_rate=0.1)
    with pytest.raises(ValueError, match=r"^rtol"):
        function(**LEGAL[function], rtol=-1.0)
