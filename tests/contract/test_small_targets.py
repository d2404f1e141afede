"""Targets as small as they may be give what larger ones give; smaller ones are refused by name.

All models are homogeneous: for targets s y, and initial weights times s^(1/D), predictors are s
times as large.
"""

from __future__ import annotations

import numpy as np
import pytest

import kernelrich_fast as krf

DATA = krf.datasets.sparse_regression(8, 12, 2)
X, Y = DATA.X, DATA.y / np.abs(DATA.y).max()
TALL = krf.datasets.sparse_regression(15, 6, 2)
CIRCLE = krf.datasets.circle_teacher(8, seed=1)
LABELS = CIRCLE.y / np.abs(CIRCLE.y).max()
TARGETS = np.random.default_rng(0).uniform(-1.0, 1.0, (8, 3)) / 2.0
TARGETS[0, 0] = 1.0


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def flow(s, depth=2, X=X, y=Y, **options):
    return krf.flow_diagonal(X, s * y, alpha=0.1 * s ** (1 / depth), depth=depth, **options).beta


def limit(s, depth=2, X=X, y=Y, **options):
    return krf.limit_diagonal(X, s * y, alpha=0.1 * s ** (1 / depth), depth=depth, **options).beta


def network(s, depth=2, **options):
    return krf.flow_mlp(
        CIRCLE.X, s * LABELS, depth=depth, width=8, alpha=0.5 * s ** (1 / depth), **options
    ).predict(CIRCLE.X)


def linear(s, **options):
    return krf.flow_linear(DATA.X, s * TARGETS, width=5, alpha=0.1 * np.sqrt(s), **options).M


def moments(s):
    S, C = DATA.X.T @ DATA.X, TARGETS.T @ DATA.X
    unit = np.sqrt(np.abs(S).max()) / np.abs(C).max()
    return krf.flow_linear(S=S, C=s * unit * C, width=5, alpha=0.1 * np.sqrt(s * unit)).M


WIDE_Y = {"X": TALL.X, "y": TALL.y / np.abs(TALL.y).max()}


@pytest.mark.parametrize(
    ("name", "least", "run", "close"),
    [
        ("y", 1e-140, flow, 1e-5),
        ("y", 1e-140, lambda s: flow(s, 3), 1e-5),
        ("y", 1e-140, lambda s: flow(s, **WIDE_Y), 1e-5),
        ("y", 1e-140, lambda s: flow(s, backend="numpy"), 1e-5),
        ("y", 1e-140, limit, 1e-9),
        ("y", 1e-140, lambda s: limit(s, 3), 1e-9),
        ("y", 1e-140, lambda s: limit(s, **WIDE_Y), 1e-9),
        ("y", 1e-140, lambda s: limit(s, backend="numpy"), 1e-9),
        ("y", 1e-80, network, 1e-5),
        ("y", 1e-80, lambda s: network(s, method="dopri5"), 1e-5),
        ("y", 1e-80, lambda s: network(s, depth=3), 1e-4),
        ("Y", 1e-80, linear, 1e-5),
        ("Y", 1e-80, lambda s: linear(s, method="dopri5"), 1e-5),
        ("C", 1e-80, moments, 1e-5),
    ],
)
def test_the_smallest_targets(name, least, run, close):
    s = 1.0000001 * least
    assert relative(run(s) / s, run(1.0)) < close
    with pytest.raises(
        ValueError, match=f"^{name}: expected the largest value of a run to be 0 or"
    ):
        run(0.999 * least)


@pytest.mark.parametrize("call", [
    lambda y: krf.flow_diagonal(X, y, alpha=0.1), lambda y: krf.limit_diagonal(X, y, alpha=0.1),
    lambda y: krf.sweep_diagonal(X, y, alpha=[0.1], progress=False), lambda y: krf.flow_mlp(X, y),
])  # fmt: skip
def test_one_run_of_a_batch_is_enough(call):
    """Beside others, and beside one whose targets are zero, which they may be."""
    with pytest.raises(ValueError, match=r"^y: expected the largest value.* got 1e-150"):
        call(np.stack([Y, 1e-150 * Y, 0.0 * Y]))


def test_targets_of_zero_are_taken():
    assert krf.flow_diagonal(X, np.stack([0.0 * Y, Y]), alpha=0.1).converged.all()
    assert krf.limit_diagonal(X, 0.0 * Y, alpha=0.1).converged
    assert krf.flow_mlp(X, 0.0 * Y, t_max=1.0).loss >= 0.0


@pytest.mark.parametrize("size", [1e-160, 1e-250])
def test_minimisers_know_no_smallest_target(size):
    for function in (krf.theory.min_l1, krf.theory.min_l2):
        assert relative(function(X, size * Y) / size, function(X, Y)) < 1e-12
    assert relative(krf.rich_path(X, size * Y).beta[-1] / size, krf.rich_path(X, Y).beta[-1]) < 1e-9
