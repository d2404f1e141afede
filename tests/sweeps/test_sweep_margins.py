"""Sweeps of margin losses: named axes, what they measure, and the critical loss."""

import numpy as np
import pytest

import kernelrich_fast as krf
from kernelrich_fast.sweeps._margin_plan import critical_losses

RNG = np.random.default_rng(0)
X = RNG.standard_normal((8, 20))
Y = np.sign(X[:, 0] - X[:, 1])
LEVELS = -np.geomspace(1.0, 1e10, 21)


@pytest.fixture(scope="module")
def swept():
    return krf.sweep_diagonal(
        X, Y, alpha=[0.1, 1.0], depth=[2, 3], loss="exponential", log_loss_eval=LEVELS
    )


def test_axes_and_values_are_those_of_the_flows(swept):
    assert dict(swept.sizes) == {"depth": 2, "alpha": 2, "log_loss": 21}
    flow = krf.flow_diagonal(X, Y, alpha=1.0, depth=3, loss="exponential", log_loss_eval=LEVELS)
    own = swept.sel(depth=3, alpha=1.0)
    np.testing.assert_array_equal(own.log_t, flow.log_t)
    np.testing.assert_allclose(own.margin, flow.margins.min(axis=-1))
    least = np.abs(krf.theory.max_margin(X, Y, "l1")).sum()
    np.testing.assert_allclose(own.excess_l1, np.abs(flow.direction).sum(axis=-1) / least - 1.0)
    assert np.all(swept.excess_l1 > -1e-9)
    assert np.all(swept.excess_l2 > -1e-9)


def test_what_is_of_the_direction_says_so(swept, tmp_path):
    """The same names mean other things under the squared loss, where they are of beta."""
    options = dict(alpha=[0.1, 1.0], loss="exponential", log_loss_eval=LEVELS)
    for ds in (swept, krf.sweep_diagonal(X, Y, store=tmp_path / "sweep", **options)):
        assert "less 1" in ds.excess_l1.long_name
        assert ds.excess_l1.units == ds.excess_l2.units == "1"
        assert "direction" in ds.l1_norm.long_name
    squared = krf.sweep_diagonal(X, Y, alpha=[0.1, 1.0])
    assert "interpolant" in squared.excess_l1.long_name
    assert squared.excess_l1.units == "units of the data"
    labels = [krf.plot.excess_norms(ds).get_ylabel() for ds in (swept.isel(log_loss=-1), squared)]
    assert labels[0].endswith(r"margins $\geq 1$")
    assert labels[0] != labels[1]


def test_the_critical_loss_is_where_the_excess_crosses(swept):
    at = swept.critical_loss.sel(depth=2)
    assert float(at.sel(alpha=0.1)) > float(at.sel(alpha=1.0))
    flow = krf.flow_diagonal(
        X, Y, alpha=1.0, loss="exponential", log_loss_eval=[float(at.sel(alpha=1.0))]
    )
    least = np.abs(krf.theory.max_margin(X, Y, "l1")).sum()
    assert np.abs(flow.direction).sum() / least - 1.0 == pytest.approx(0.1, rel=0.05)


def test_critical_losses_by_hand():
    levels = np.array([[-1.0, -10.0, -100.0]] * 4)
    excess = np.array([[1.0, 0.1, 0.01], [0.05, 0.04, 0.03], [1.0, 0.5, 0.2], [np.nan, 0.2, 0.05]])
    found = critical_losses(levels, excess, 0.1)
    np.testing.assert_allclose(found[:3], [-10.0, -1.0, -np.inf])
    assert -100.0 < found[3] < -10.0


@pytest.mark.parametrize("name", ["t_eval", "log_t_eval"])
def test_other_clocks_are_axes_too(name):
    dim = {"t_eval": "time", "log_t_eval": "log_t"}[name]
    ds = krf.sweep_diagonal(X, Y, alpha=[0.5, 1.0], loss="logistic", **{name: [1.0, 2.0]})
    assert dict(ds.sizes) == {"alpha": 2, dim: 2}
    assert "critical_loss" not in ds
    assert ds.sel(alpha=1.0)["log_loss"].dims == (dim,)


def test_problems_that_are_not_separable_have_no_directions():
    labels = np.stack([Y, -Y])
    wide = np.stack([X, np.repeat(X[:, :1], 20, axis=1)])
    ds = krf.sweep_diagonal(wide, labels, alpha=0.5, loss="logistic", keep=["norms", "beta"])
    assert list(ds.status) == [krf.Status.CONVERGED, krf.Status.STATIONARY]
    assert np.isnan(ds.excess_l1[1])
    assert ds.beta.dims == ("problem", "feature")


def test_a_store_goes_on(tmp_path):
    pytest.importorskip("zarr")
    options = {"alpha": [0.5, 1.0], "loss": "logistic", "log_loss_eval": [-1.0, -10.0]}
    path = tmp_path / "margins.zarr"
    first = krf.sweep_diagonal(X, Y, store=path, **options).load()
    again = krf.sweep_diagonal(X, Y, store=path, **options).load()
    np.testing.assert_array_equal(first.excess_l1, again.excess_l1)
    with pytest.raises(ValueError, match="eps"):
        krf.sweep_diagonal(X, Y, store=path, eps=0.2, **options)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"y": np.zeros(8)}, "y"),
        ({"stop_loss": 1e-3}, "stop_loss"),
        ({"log_loss_eval": [-1.0, -1.0]}, "log_loss_eval"),
        ({"log_loss_eval": [-2.0, -1.0]}, "log_loss_eval"),
        ({"eps": 0.0}, "eps"),
        ({"limit": True}, "loss"),
    ],
)
def test_what_does_not_go_is_named_before_any_work(changes, name):
    arguments = {"y": Y, "alpha": 1.0, "loss": "exponential"} | changes
    with pytest.raises((ValueError, TypeError), match=name):
        krf.sweep_diagonal(X, **arguments)


MATRIX = np.sign(RNG.standard_normal((4, 1)) @ RNG.standard_normal((1, 5)))
COMPLETION = {"alpha": [0.01, 1.0], "width": [2, 30], "seeds": [0, 1], "n_observed": 12}


def test_one_bit_completion_has_the_same_axes():
    levels = [0.0, -20.0, -1e6]
    ds = krf.sweep_factorization(
        MATRIX, loss="logistic", log_loss_eval=levels, keep=("norms", "M"), **COMPLETION
    )
    sizes = {"width": 2, "alpha": 2, "seed": 2, "log_loss": 3, "row": 4, "column": 5}
    assert dict(ds.sizes) == sizes
    assert ds.attrs["loss"] == "logistic"
    entries = krf.datasets.observed_entries(4, 5, 12, 1)
    flow = krf.flow_factorization(
        MATRIX[entries], entries=entries, dims=(4, 5), alpha=1.0, width=2, seed=1, loss="logistic",
        log_loss_eval=levels,
    )  # fmt: skip
    own = ds.sel(width=2, alpha=1.0, seed=1)
    np.testing.assert_array_equal(own.M, flow.M)
    np.testing.assert_array_equal(own.log_t, flow.log_t)
    np.testing.assert_allclose(own.margin, flow.margins.min(axis=-1))
    hidden = np.ones((4, 5), dtype=bool)
    hidden[entries] = False
    wrong = np.sign(flow.M[:, hidden]) != MATRIX[hidden]
    np.testing.assert_allclose(own.test_error, wrong.mean(axis=-1))
    np.testing.assert_allclose(
        own.direction_nuclear_norm[-1], krf.theory.nuclear_norm(flow.direction[-1]), rtol=1e-12
    )


def test_a_block_of_one_bit_completion_changes_no_bit(tmp_path):
    options = {"loss": "exponential", "stop_log_loss": [-5.0, -50.0], **COMPLETION}
    whole = krf.sweep_factorization(MATRIX, **options)
    stored = krf.sweep_factorization(MATRIX, store=tmp_path / "store", **options)
    for name in whole:
        np.testing.assert_array_equal(whole[name], stored[name])
    np.testing.assert_allclose(whole.log_loss.sel(seed=1), -50.0)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"stop_loss": 0.1}, "stop_loss"),
        ({"log_loss_eval": [-1.0, -1.0]}, "log_loss_eval"),
        ({"loss": "hinge"}, "loss"),
        ({"loss": "squared", "stop_log_loss": -1.0}, "stop_log_loss"),
        ({"Y_star": 2.0 * MATRIX}, "Y_star"),
    ],
)
def test_one_bit_sweeps_refuse_by_name(changes, name):
    arguments = {"Y_star": MATRIX, "loss": "logistic", **COMPLETION} | changes
    with pytest.raises(ValueError, match=name):
        krf.sweep_factorization(**arguments)


@pytest.mark.filterwarnings("ignore::kernelrich_fast.ConvergenceWarning")
def test_what_a_run_reached_stands_beside_what_was_asked_for():
    """Labels that width 1 cannot fit, and entries of Y_star without a label."""
    call = {"alpha": 0.3, "entries": np.nonzero(np.ones((2, 2))), "loss": "logistic"}
    levels = [5.0, 0.0, -5.0]
    narrow = krf.sweep_factorization(
        [[1, 1], [1, -1]], width=[1, 4], log_loss_eval=levels, max_steps=300, **call
    )
    assert np.all(narrow.reached_log_loss.sel(width=1) > -0.4)
    np.testing.assert_allclose(narrow.reached_log_loss.sel(width=4)[1:], levels[1:], atol=1e-9)
    assert "stop_loss" not in narrow.attrs
    wide = krf.sweep_factorization([[1, 1], [1, -1]], width=4, log_loss_eval=levels[1:], **call)
    assert "reached_log_loss" not in wide
    assert np.all(np.isnan(wide.test_error))
    holes = np.where(np.eye(4, 5, dtype=bool), 0.0, MATRIX)
    entries = np.nonzero(np.triu(np.ones((4, 5)), 1))
    seen = krf.sweep_factorization(
        holes, alpha=0.01, width=2, entries=entries, loss="logistic", stop_log_loss=-20.0,
        keep=("M",),
    )  # fmt: skip
    hidden = np.tril(np.ones((4, 5), dtype=bool), -1)
    wrong = np.sign(seen.M.values[hidden]) != MATRIX[hidden]
    assert float(seen.test_error) == pytest.approx(wrong.mean())


def test_weight_decay_is_an_axis_and_blocks_change_nothing(small_blocks):
    """Without decay in a block of its own a run is what it is beside others."""
    decay = [0.0, 1e-3, 1e-1]
    ds = krf.sweep_diagonal(
        X, Y, alpha=[0.1, 1.0], loss="logistic", weight_decay=decay, keep=["norms", "beta"]
    )
    assert dict(ds.sizes) == {"weight_decay": 3, "alpha": 2, "feature": 20}
    flow = krf.flow_diagonal(
        X, Y, alpha=[0.1, 1.0], loss="logistic", weight_decay=np.reshape(decay, (3, 1))
    )
    np.testing.assert_array_equal(ds.beta, flow.beta)
    np.testing.assert_array_equal(ds.log_loss, flow.log_loss)
    np.testing.assert_allclose(ds.penalty, flow.penalty)
    assert np.all(ds.status[1:] == krf.Status.STATIONARY)
    assert np.all(ds.status[0] == krf.Status.CONVERGED)
    assert np.all(ds.l1_norm.sel(weight_decay=1e-1) > 0.0)
