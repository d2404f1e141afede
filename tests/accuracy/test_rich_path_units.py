"""The path as alpha -> 0 where the rows of X have very different units."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from conftest import relative
from rational_path import fits_exactly, rational_path

import kernelrich_fast as krf
from kernelrich_fast import saddle_path
from kernelrich_fast.status import without_convergence_warnings

TOGETHER = Fraction(1e-12)  # within which features jump together


def problem(rng, spread):
    """Rows in units of powers of two from 2^-spread to 2^spread, so that no digit is lost."""
    n, d = rng.integers(2, 5), rng.integers(2, 8)
    if rng.random() < 0.5:
        most = rng.choice([1, 2, 5, 50])
        X, y = rng.integers(-most, most + 1, (n, d)), rng.integers(-most, most + 1, n)
    else:
        X, y = (np.rint(rng.standard_normal(size) * 2**20) / 2**20 for size in ((n, d), n))
    kind = rng.integers(4)
    if kind == 1:
        X[:, rng.integers(d)] = X[:, rng.integers(d)] * rng.choice([-1, 1])
    if kind == 2:
        one, other = rng.integers(n, size=2)
        X[one], y[one] = X[other], y[other]
    if kind == 3:
        y = X @ rng.integers(-2, 3, d)
    mixed = rng.integers(-spread, spread + 1, n)
    units = np.exp2(mixed if rng.random() < 0.7 else rng.choice([-spread, spread], n))
    return X * units[:, None], y * (units if rng.random() < 0.8 else 1.0)


@pytest.mark.parametrize("spread", [10, 20, 30, 40])
def test_against_rational_arithmetic(host, spread):
    """No status is false, units of rows up to 2^-40 .. 2^40, about 1e-12 .. 1e12."""
    inexact, tried = 0, 150 if host == "cpu" else 60
    for seed in range(tried):
        X, y = problem(np.random.default_rng([seed, spread]), spread)
        exact = rational_path(X, y, together=TOGETHER)
        path = krf.rich_path(X, y, backend=host)
        assert path.status == ("CONVERGED" if fits_exactly(X, y) else "STATIONARY"), seed
        times = np.array(exact.jump_times, float)
        if path.n_jumps != len(times) or not np.allclose(path.jump_times, times, rtol=1e-9):
            inexact += 1  # nearly at once by the exact numbers, or the rounded ones
            continue
        if path.converged:
            norm = np.abs(path.beta[-1]).sum()
            assert np.isclose(norm, float(exact.norm), rtol=1e-9), seed
    assert inexact <= 0.05 * tried


def least_gap(X, y, path):
    """Of a beta that fits: how far its norm is from the bound that the dual variable proves."""
    beta = path.beta[-1]
    misfit = np.abs(y - X @ beta) / (np.abs(y) + np.abs(X) @ np.abs(beta))
    assert np.max(misfit) < 1e-11
    assert np.max(np.abs(X.T @ path.dual)) < 1.0 + 1e-7
    return np.abs(beta).sum() / (y @ path.dual) - 1.0


@pytest.mark.parametrize("decades", [2, 4, 8, 12])
def test_larger_problems_of_known_status(host, decades):
    """Wide, square, sparse and tall X, of which some beta fits, in units of 1e-12 to 1e12."""
    for seed in range(40 if host == "cpu" else 8):
        rng = np.random.default_rng([seed, decades])
        n = int(rng.integers(5, 40 if host == "cpu" else 20))
        units = 10.0 ** rng.uniform(-decades, decades, (n, 1))
        if seed % 3 == 0:
            units = 10.0 ** rng.choice([-decades, decades], (n, 1))
        X, y = rng.standard_normal((n, n + seed % 4 * n // 3)), rng.standard_normal(n)
        if seed % 2:
            X = X * (rng.random(X.shape) < 0.5) + np.eye(*X.shape)
        X, y = units * X, units[:, 0] * y
        path = krf.rich_path(X, y, backend=host)
        assert path.status == "CONVERGED", seed
        assert abs(least_gap(X, y, path)) < 1e-7, seed
        tall = units * rng.standard_normal((n, 4))
        assert krf.rich_path(tall, y, backend=host).status == "STATIONARY", seed
        targets = tall[:, 0] - 2.0 * tall[:, 1]
        fitted = krf.rich_path(tall, targets, backend=host)
        assert fitted.status == "CONVERGED", seed
        assert relative(fitted.beta[-1], np.array([1.0, -2.0, 0.0, 0.0])) < 1e-11, seed


def test_rows_that_contradict_each_other(host):
    """The second row is -2 times the first, in other units, and their targets are not."""
    for seed in range(30 if host == "cpu" else 8):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 20))
        X, y = rng.standard_normal((n, 2 * n)), rng.standard_normal(n)
        X[0] = -2.0 * X[1]
        units = np.exp2(rng.integers(-40, 41, n))
        path = krf.rich_path(units[:, None] * X, units * y, backend=host)
        assert path.status == "STATIONARY", seed


def test_a_row_far_below_the_others_is_not_taken_for_fitted(host):
    """An identity: each row is fitted by its own feature, or the run has not converged."""
    for exponent in (1e-9, 1e-13, 1e-17, 1e-40):
        path = krf.rich_path(np.eye(3), [1.0, exponent, 2.0], backend=host)
        assert path.status == "CONVERGED"
        assert np.allclose(path.beta[-1], [1.0, exponent, 2.0], rtol=1e-13, atol=0.0)
    rows = [[1.0, 0.0], [1e-14, 1.0]]
    path = krf.rich_path(rows, [1.0, 0.0], backend=host)
    assert path.status == "CONVERGED"
    assert np.allclose(path.beta[-1], [1.0, -1e-14], rtol=1e-13, atol=0.0)


def test_many_more_rows_than_are_kept_as_they_are(host, monkeypatch):
    """A factorisation loses small rows among many; statuses are then judged by the rows."""
    monkeypatch.setattr(saddle_path, "_MOST_UNEVEN", 10)
    rng = np.random.default_rng(0)
    for seed in range(20):
        units = 10.0 ** rng.uniform(-12, 12, (30, 1))
        X = units * rng.standard_normal((30, 3))
        y = X @ [1.0, 0.5, 0.25] if seed % 2 else X[:, 0] + units[:, 0]
        with without_convergence_warnings():
            path = krf.rich_path(X, y, backend=host)
        misfit = np.abs(y - X @ path.beta[-1])
        assert not path.converged or np.all(misfit <= 1e-10 * np.abs(units[:, 0]))
        assert path.status in (("CONVERGED", "FAILED") if seed % 2 else ("STATIONARY", "FAILED"))
