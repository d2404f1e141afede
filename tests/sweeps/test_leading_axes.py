"""A leading axis of every argument that may have one: of its full length, of length 1, or none."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import kernelrich_fast as krf
from kernelrich_fast.sweeps import execute

RNG = np.random.default_rng(0)
X, Y, STAR = (RNG.standard_normal(shape) for shape in ((5, 4, 9), (5, 4), (5, 9)))
LABELS = np.sign(Y)
W0 = RNG.uniform(0.5, 2.0, (5, 9))
CIRCLES = [krf.datasets.circle_teacher(6, seed=s) for s in range(5)]
IN, OUT, IN_TEST, OUT_TEST = (
    np.stack([getattr(c, name) for c in CIRCLES]) for name in ("X", "y", "X_test", "y_test")
)
TRUTHS = np.stack([krf.datasets.low_rank_completion(4, 4, 1, 9, seed=s).Y_star for s in range(5)])
COMMON = {"progress": False, "num_threads": 1}


def problems(sweep, y=Y, **options):
    whole = {"X": X, "y": y, "beta_star": STAR, **options, **COMMON}
    # The problem axis has its length from one of the others.
    return sweep, whole, ("X", "y"), ("beta_star",)


SWEEPS = {
    "diagonal": problems(
        krf.sweep_diagonal, alpha=[0.1, 1.0], depth=[2, 3], keep=("norms", "beta")
    ),
    "times": problems(krf.sweep_diagonal, alpha=[0.1, 1.0], t_eval=[0.0, 0.5], w0=W0[:2]),
    "limit": problems(krf.sweep_diagonal, alpha=[0.1, 1.0], limit=True),
    "margins": problems(
        krf.sweep_diagonal, LABELS, alpha=[0.1, 1.0], loss="logistic", log_loss_eval=[-1.0, -9.0]
    ),
    "rich_path": problems(
        krf.sweep_rich_path, depth=[2, 3], w0=W0[:2], keep=("norms", "beta", "path")
    ),
    "networks": (
        krf.sweep_mlp,
        {"X": IN, "y": OUT, "X_test": IN_TEST, "y_test": OUT_TEST, "alpha": [0.5, 1.0],
         "seeds": range(5), "rtol": 1e-3, "keep": ("norms", "predictions"), **COMMON},
        (), ("X", "y", "X_test", "y_test"),
    ),
    "factorization": (
        krf.sweep_factorization,
        {"Y_star": TRUTHS, "alpha": [0.1, 1.0], "width": [2, 9], "seeds": range(5),
         "n_observed": 9, "keep": ("norms", "M"), **COMMON},
        (), ("Y_star",),
    ),
}  # fmt: skip
SHARED = [(name, argument) for name, (_, _, own, _) in SWEEPS.items() for argument in own]
ALL = [(k, a) for k, (_, _, own, others) in SWEEPS.items() for a in (*own, *others)]


def cut_and_uncut(sweep, arguments):
    """The result in blocks of two runs, which must be that of one block."""
    cut = sweep(**arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "MOST_BYTES", 1e9)
        whole = sweep(**arguments)
    xr.testing.assert_identical(cut, whole)
    return cut


@pytest.mark.parametrize("name", SWEEPS)
def test_axes_of_full_length(name, small_blocks):
    sweep, whole, _, _ = SWEEPS[name]
    assert 5 in cut_and_uncut(sweep, whole).sizes.values()


@pytest.mark.parametrize(("name", "argument"), ALL)
def test_no_axis_is_the_same_for_all(name, argument, small_blocks):
    sweep, whole, _, _ = SWEEPS[name]
    cut_and_uncut(sweep, whole | {argument: np.asarray(whole[argument])[0]})


@pytest.mark.parametrize(("name", "argument"), SHARED)
def test_an_axis_of_length_one_is_no_axis(name, argument, small_blocks):
    sweep, whole, _, _ = SWEEPS[name]
    one = cut_and_uncut(sweep, whole | {argument: whole[argument][:1]})
    xr.testing.assert_identical(one, sweep(**whole | {argument: whole[argument][0]}))


@pytest.mark.parametrize(("name", "argument"), sorted({*ALL} - {*SHARED}))
def test_others_of_length_one_are_refused_by_name(name, argument):
    sweep, whole, _, _ = SWEEPS[name]
    with pytest.raises(ValueError, match=f"^{argument}: expected"):
        sweep(**whole | {argument: whole[argument][:1]})


@pytest.mark.parametrize("name", SWEEPS)
def test_everything_of_length_one_keeps_its_axis(name, small_blocks):
    sweep, whole, own, others = SWEEPS[name]
    first = {argument: whole[argument][:1] for argument in (*own, *others)}
    if "seeds" in whole:
        first["seeds"] = [0]
    axis = "seed" if "seeds" in whole else "problem"
    assert cut_and_uncut(sweep, whole | first).sizes[axis] == 1
