"""What sweeps refuse says what came, what was meant, and what to do."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import xarray as xr

import kernelrich_fast as krf
from kernelrich_fast.sweeps import execute

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((4, 7)), RNG.standard_normal(4)
CLASSES = [0, 1, 1, 0]
MATRIX = np.arange(25.0).reshape(5, 5)
SEEN = np.eye(5, dtype=bool) | (MATRIX > 12)
CALLS = {
    krf.sweep_diagonal: (krf.flow_diagonal, {"X": X, "y": Y, "alpha": 1.0}),
    krf.sweep_rich_path: (krf.rich_path, {"X": X, "y": Y}),
    krf.sweep_factorization: (
        krf.flow_factorization, {"Y_star": MATRIX, "alpha": 1.0, "width": 2, "n_observed": 9}
    ),
    krf.sweep_linear: (krf.flow_linear, {"X": X, "Y": X, "alpha": 1.0, "width": 2}),
    krf.sweep_mlp: (krf.flow_mlp, {"X": X, "y": Y, "alpha": 1.0}),
}  # fmt: skip


@pytest.fixture
def no_work(monkeypatch):
    """What is refused is refused before any run."""
    monkeypatch.setattr(execute, "compute_block", None)


def options_of(sweep):
    """All that a sweep takes by name."""
    own = inspect.signature(sweep).parameters
    names = [k for k, v in own.items() if v.kind is not v.VAR_KEYWORD]
    return names


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("sweep", CALLS)
def test_misspelt_options_are_told_what_was_meant(sweep):
    _, call = CALLS[sweep]
    for name in (*options_of(sweep), "backend", "num_threads"):
        if len(name) < 4:
            continue
        for wrong in (name.replace("_", "") + "z", name.upper(), name[:-1]):
            if wrong == name or wrong in ("seed", "depth"):
                continue
            with pytest.raises(TypeError, match=rf"^{wrong}: not an option of {sweep.__name__}; "
                                                r"did you mean \w+\?"):  # fmt: skip
                sweep(**call, **{wrong: 1})
    known = "which takes .*keep, .*store, client, progress, .*num_threads"
    with pytest.raises(TypeError, match=f"^qqqq: not an option of {sweep.__name__}, {known}"):
        sweep(**call, qqqq=1)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("sweep", "given", "message"),
    [
        (krf.sweep_mlp, {"seed": 1}, "seed: not an option of sweep_mlp; did you mean seeds"),
        (krf.sweep_linear, {"seed": 1}, "seed: .*did you mean seeds"),
        (krf.sweep_factorization, {"seed": 1}, "seed: .*did you mean seeds"),
        (krf.sweep_diagonal, {"teval": [1.0]}, "teval: .*did you mean t_eval"),
        (krf.sweep_diagonal, {"betastar": 1.0}, "betastar: .*did you mean beta_star"),
        (krf.sweep_diagonal, {"start": 1}, "start: .*of a sweep; flow_diagonal alone takes it"),
        (krf.sweep_mlp, {"weights0": 1}, "weights0: .*of a sweep; flow_mlp alone takes it"),
        (krf.sweep_factorization, {"weight_decay": 0.1},
         "weight_decay: not an option of sweep_factorization, which takes Y_star"),
        *(
            (krf.sweep_diagonal, {"limit": True, **given},
             f"{next(iter(given))}: no option of limit_diagonal, which limit=True calls")
            for given in ({"t_eval": [1.0]}, {"stop_loss": 0.1}, {"rtol": 0.1}, {"averaged": True},
                          {"log_loss_eval": [-1.0]}, {"method": "auto"})
        ),
        (krf.sweep_diagonal, {"tol": 0.1}, "tol: no option of flow_diagonal, which limit=False"),
    ],
)  # fmt: skip
def test_options_of_others_are_told_from_those_of_none(sweep, given, message):
    with pytest.raises(TypeError, match="^" + message):
        sweep(**CALLS[sweep][1], **given)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("loss", ["logistic", "exponential"])
def test_limits_of_margin_losses_are_somewhere_else(loss):
    with pytest.raises(
        ValueError, match=r"^loss: expected 'squared' with limit=True, .*margin_lim"
    ):
        krf.sweep_diagonal(X, np.sign(Y), alpha=1.0, limit=True, loss=loss)


def test_the_limit_is_of_the_squared_loss():
    one, other = (krf.sweep_diagonal(X, Y, alpha=1.0, limit=True, **options)
                  for options in ({}, {"loss": "squared"}))  # fmt: skip
    xr.testing.assert_identical(one, other)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("sweep", [krf.sweep_diagonal, krf.sweep_factorization, krf.sweep_mlp])
@pytest.mark.parametrize("limit", [False, True])
def test_a_misspelt_loss_is_the_loss_that_is_named(sweep, limit):
    """Not the targets, which cannot be right for a loss that there is not."""
    options = {"limit": True} if limit and sweep is krf.sweep_diagonal else {}
    for loss, error in (("squraed", ValueError), (3, TypeError), (None, TypeError)):
        with pytest.raises(error, match=r"^loss: expected one of squared"):
            sweep(**CALLS[sweep][1], loss=loss, **options)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    "y_test",
    [[1, -1, 1, -1], [0.5, 0, 1, 1], [0, 1, 2, 1], [0, 1, 1e9, 1], [[0, 1, 1, 2]] * 2],
)
def test_test_classes_are_checked_as_those_of_training(y_test):
    options = {"alpha": 1.0, "loss": "cross_entropy", "seeds": [0, 1], "X_test": X}
    with pytest.raises(ValueError, match=r"^y_test: expected classes 0 to 1.*give n_classes"):
        krf.sweep_mlp(X, CLASSES, y_test=y_test, **options)


def test_n_classes_makes_room_for_classes_that_are_only_tested():
    ds = krf.sweep_mlp(
        X, CLASSES, alpha=1.0, width=3, loss="cross_entropy", n_classes=3, X_test=X,
        y_test=[0, 1, 2, 1], t_eval=[0.1], rtol=1e-2,
    )  # fmt: skip
    assert ds.test_error.item() >= 0.25


@pytest.mark.usefixtures("no_work")
def test_the_part_of_the_test_set_that_is_wrong_is_named():
    for X_test, y_test, name in (
        (X, Y[:3], "y_test: expected 4 samples"), (X, Y[:, None], "y_test: expected 4 samples"),
        (X[:, :3], Y, "X_test: expected 7 features"), (X[:3], Y, "y_test: expected 3 samples"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"^{name}"):
            krf.sweep_mlp(X, Y, alpha=1.0, X_test=X_test, y_test=y_test)


@pytest.mark.usefixtures("no_work")
def test_what_is_wrong_with_a_mask_is_said():
    masked = np.ma.masked_array(np.eye(3), np.eye(3) > 0.0)
    for Y_star, mask, error, said in (
        (np.eye(3), np.eye(3), ValueError, r"^mask: .*pass it with \.astype\(bool\)"),
        (np.eye(3), np.ones((2, 3), bool), ValueError, r"^mask: expected shape \(3, 3\)"),
        (np.eye(3), np.zeros((3, 3), bool), ValueError, "^mask: .*got False everywhere"),
        (masked, None, ValueError, r"^n_observed: .*with mask=~Y_star\.mask$"),
    ):
        with pytest.raises(error, match=said):
            krf.sweep_factorization(Y_star, alpha=1.0, width=2, mask=mask)


@pytest.mark.usefixtures("no_work")
def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match=r"^n_classes: expected only with loss='cross_entropy'"):
        krf.sweep_mlp(X, Y, alpha=1.0, n_classes=3)
    for flag in (True, np.True_, np.array(True)):
        with pytest.raises(TypeError, match=r"^eps: expected a number, got"):
            krf.sweep_diagonal(X, Y, alpha=1.0, eps=flag)
    for sweep in (krf.sweep_mlp, krf.sweep_linear, krf.sweep_factorization):
        for name in ("seeds", "width"):
            for wrong in (np.inf, [1.0, -np.inf], np.nan, 1.5):
                with pytest.raises(TypeError, match=f"^{name}: expected integers"):
                    sweep(**CALLS[sweep][1] | {name: wrong})


class TestOtherArgumentsOfAStore:
    """The message of a store says what the caller gave, and what of it differs."""

    def complete(self, path, **options):
        pytest.importorskip("zarr")
        arguments = {"Y_star": MATRIX, "alpha": 1.0, "width": 3, "mask": SEEN, **options}
        return krf.sweep_factorization(**arguments, t_max=0.1, store=path, progress=False)

    def test_observed_entries_are_called_what_they_were_given_as(self, tmp_path):
        self.complete(tmp_path / "s")
        other = SEEN.copy()
        other[0, 0] = False
        for given, name in (
            ({"mask": other}, r"mask \(as rows, then columns\)"),
            ({"mask": None, "entries": np.nonzero(other)}, "entries"),
            ({"mask": None, "n_observed": 9}, "n_observed"),
        ):
            with pytest.raises(ValueError, match=f"other arguments; {name}: "):
                self.complete(tmp_path / "s", **given)
        self.complete(tmp_path / "s", mask=None, entries=np.nonzero(SEEN))  # the same entries

    def test_what_is_not_known_does_not_differ(self, tmp_path):
        truth = np.where(SEEN, MATRIX, np.nan)
        self.complete(tmp_path / "s", Y_star=truth)
        other = truth.copy()
        other[2, 3] = other[4, 4] = 7.0
        with pytest.raises(
            ValueError, match=r"Y_star: 2 of 25 values differ, the first at .*got 7;"
        ):
            self.complete(tmp_path / "s", Y_star=other)
        with pytest.raises(ValueError, match=r"Y_star: \d+ of 25 values differ, .*it has nan, got"):
            self.complete(tmp_path / "s", Y_star=MATRIX)

    def test_both_zeros_are_the_same_argument(self, tmp_path):
        pytest.importorskip("zarr")
        zeros = np.where(X > 0.0, 0.0, X)
        call = {"y": Y, "alpha": 1.0, "limit": True, "progress": False, "store": tmp_path / "s"}
        one = krf.sweep_diagonal(zeros, **call)
        xr.testing.assert_identical(one, krf.sweep_diagonal(np.where(X > 0, -0.0, X), **call))

    def test_arguments_too_long_to_show_are_said_to_differ(self, tmp_path):
        """Also where those on disk cannot be read."""
        import shutil

        pytest.importorskip("zarr")
        call = {"y": Y, "alpha": 1.0, "limit": True, "progress": False, "store": tmp_path / "s"}
        krf.sweep_diagonal(X, **call)
        shutil.rmtree(tmp_path / "s" / "arguments" / "X")
        with pytest.raises(ValueError, match=r"X: it has values of shape \(4, 7\), got other ones"):
            krf.sweep_diagonal(X + 1.0, **call)
