"""Data sets of the paper's experiments."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _validate as check
from ._types import FloatArray, IntArray

__all__ = [
    "CircleTeacher",
    "Digits",
    "LowRankCompletion",
    "SparseRegression",
    "circle_teacher",
    "digits",
    "image",
    "low_rank_completion",
    "observed_entries",
    "sparse_regression",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def _streams(seed: Any) -> list[np.random.Generator]:
    """Two independent streams of a seed: changing the length of one leaves the other as it is."""
    root = np.random.SeedSequence(check.integer("seed", seed, low=0))
    return [np.random.default_rng(child) for child in root.spawn(2)]


def _sizes(data: Any) -> str:
    """A tuple of arrays by their shapes: the numbers would fill pages."""

    def size(value: Any) -> str:
        return f"({', '.join(map(size, value))})" if isinstance(value, tuple) else str(value.shape)

    fields = zip(data._fields, data, strict=True)
    return f"{type(data).__name__}({', '.join(f'{name}: {size(value)}' for name, value in fields)})"


class SparseRegression(NamedTuple):
    """Inputs (n_samples, n_features), targets (n_samples,), true coefficients (n_features,)."""

    X: FloatArray
    y: FloatArray
    beta_star: FloatArray

    def __repr__(self) -> str:
        return _sizes(self)


def sparse_regression(
    n_samples: int,
    n_features: int,
    sparsity: int,
    noise_variance: float = 0.01,
    seed: int = 0,
) -> SparseRegression:
    """Gaussian inputs and a sparse teacher: the data of the paper's figures 1 and 3c.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of X, whose entries are i.i.d. N(0, 1).
    sparsity : int
        Number of non-zero entries of beta_star. They are the first ones, and each is 1 /
        sqrt(sparsity).
    noise_variance : float
        Variance of the Gaussian noise added to X beta_star, at most 1e250.
    seed : int
        Seed. Data sets with equal seeds are nested: fewer samples are the first rows of more.

    Returns
    -------
    SparseRegression
        Named tuple (X, y, beta_star).

    Raises
    ------
    ValueError
        If a size is below 1, sparsity exceeds n_features, the variance is not from 0 to 1e250, or
        the seed is negative.
    TypeError
        If a size or the seed is not an integer, or the variance is not a number.

    References
    ----------
    Woodworth et al. (COLT 2020), section 3 and figure 1.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.sparse_regression(20, 50, 4)
    >>> data.X.shape, float(data.beta_star.sum())
    ((20, 50), 2.0)
    """
    n = check.integer("n_samples", n_samples, low=1)
    d = check.integer("n_features", n_features, low=1)
    r = check.integer("sparsity", sparsity, low=1, high=d)
    variance = check.scalar("noise_variance", noise_variance, low=0.0, high=1e250, open_low=False)
    inputs, noise = (
        np.random.default_rng(s)
        for s in np.random.SeedSequence(check.integer("seed", seed, low=0)).spawn(2)
    )
    X = inputs.standard_normal((n, d))
    beta_star = np.zeros(d)
    beta_star[:r] = 1.0 / np.sqrt(r)
    y = X @ beta_star + np.sqrt(variance) * noise.standard_normal(n)
    return SparseRegression(X, y, beta_star)


class LowRankCompletion(NamedTuple):
    """True matrix (d1, d2), (rows, columns) of the observed entries, their values (n_observed,)."""

    Y_star: FloatArray
    entries: tuple[IntArray, IntArray]
    y: FloatArray

    def __repr__(self) -> str:
        return _sizes(self)


def low_rank_completion(
    d1: int, d2: int, rank: int, n_observed: int, seed: int = 0
) -> LowRankCompletion:
    """A Gaussian matrix of low rank and a random choice of its entries: the data of figure 5.

    Parameters
    ----------
    d1, d2 : int
        Shape of Y_star = U V^T, U and V with i.i.d. N(0, 1) entries.
    rank : int
        Columns of U and V.
    n_observed : int
        Number of observed entries, drawn uniformly without repetition.
    seed : int
        Seed. Choices with equal seeds are nested: fewer entries are the first ones of more.

    Returns
    -------
    LowRankCompletion
        Named tuple (Y_star, entries, y).

    Raises
    ------
    ValueError
        If a size is below 1, the rank exceeds d1 or d2, n_observed exceeds d1 d2, or the seed is
        negative.
    TypeError
        If an argument is not an integer.

    References
    ----------
    Woodworth et al. (COLT 2020), section 6 and figure 5.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.low_rank_completion(10, 10, 1, 60)
    >>> data.Y_star.shape, data.y.shape
    ((10, 10), (60,))
    """
    p = check.integer("d1", d1, low=1)
    q = check.integer("d2", d2, low=1)
    k = check.integer("rank", rank, low=1, high=min(p, q))
    truth = np.random.default_rng(
        np.random.SeedSequence(check.integer("seed", seed, low=0)).spawn(2)[0]
    )
    Y_star = truth.standard_normal((p, k)) @ truth.standard_normal((q, k)).T
    entries = observed_entries(p, q, n_observed, seed)
    return LowRankCompletion(Y_star, entries, Y_star[entries])


def observed_entries(d1: int, d2: int, n_observed: int, seed: int = 0) -> tuple[IntArray, IntArray]:
    """Rows and columns of ``n_observed`` different entries of a (d1, d2) matrix, at random.

    Parameters
    ----------
    d1, d2 : int
        Shape of the matrix.
    n_observed : int
        Number of entries, at most d1 d2.
    seed : int
        Seed. Choices with equal seeds are nested.

    Returns
    -------
    pair of ndarray of int, (n_observed,) each
        Rows and columns, an index into the matrix.

    Raises
    ------
    ValueError
        If a size is below 1, n_observed exceeds d1 d2, or the seed is negative.
    TypeError
        If an argument is not an integer.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> rows, columns = krf.datasets.observed_entries(2, 2, 4)
    >>> sorted(zip(rows.tolist(), columns.tolist()))
    [(0, 0), (0, 1), (1, 0), (1, 1)]
    """
    p = check.integer("d1", d1, low=1)
    q = check.integer("d2", d2, low=1)
    count = check.integer("n_observed", n_observed, low=1, high=p * q)
    choice = np.random.default_rng(
        np.random.SeedSequence(check.integer("seed", seed, low=0)).spawn(2)[1]
    )
    row, column = np.divmod(choice.permutation(p * q)[:count].astype(np.int64), q)
    return row, column


class CircleTeacher(NamedTuple):
    """Points on the unit circle (n, 2) and a teacher's values (n,), to train and to test on."""

    X: FloatArray
    y: FloatArray
    X_test: FloatArray
    y_test: FloatArray

    def __repr__(self) -> str:
        return _sizes(self)


def circle_teacher(
    n_samples: int = 10, n_units: int = 3, n_test: int = 1000, seed: int = 0
) -> CircleTeacher:
    """A teacher with few ReLU units on the unit circle: the data of figure 6a and 6b.

    Parameters
    ----------
    n_samples : int
        Number of training inputs, which are uniform on the circle.
    n_units : int
        Hidden units of the teacher, a network of depth 2 without biases; its weights are uniform
        He draws.
    n_test : int
        Number of test inputs, which are equally spaced on the circle.
    seed : int
        Seed. Data sets with equal seeds share the teacher and are nested: fewer samples are the
        first rows of more.

    Returns
    -------
    CircleTeacher
        Named tuple (X, y, X_test, y_test).

    Raises
    ------
    ValueError
        If a size is below 1 or the seed is negative.
    TypeError
        If an argument is not an integer.

    References
    ----------
    Woodworth et al. (COLT 2020), figure 6a and 6b; the paper does not state the distribution of the
    teacher's weights.

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> data = krf.datasets.circle_teacher(10)
    >>> data.X.shape, data.y_test.shape
    ((10, 2), (1000,))
    """
    n = check.integer("n_samples", n_samples, low=1)
    units = check.integer("n_units", n_units, low=1)
    test = check.integer("n_test", n_test, low=1)
    inputs, teacher = (
        np.random.default_rng(s)
        for s in np.random.SeedSequence(check.integer("seed", seed, low=0)).spawn(2)
    )
    first = np.sqrt(3.0) * teacher.uniform(-1.0, 1.0, (units, 2))
    last = np.sqrt(6.0 / units) * teacher.uniform(-1.0, 1.0, units)

    def points(angle: FloatArray) -> tuple[FloatArray, FloatArray]:
        X = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return X, np.maximum(X @ first.T, 0.0) @ last

    X, y = points(inputs.uniform(0.0, 2.0 * np.pi, n))
    return CircleTeacher(X, y, *points(2.0 * np.pi * np.arange(test) / test))


class Digits(NamedTuple):
    """Images (n, 64) and their classes (n,), to train and to test on."""

    X: FloatArray
    y: IntArray
    X_test: FloatArray
    y_test: IntArray

    def __repr__(self) -> str:
        return _sizes(self)


def digits(n_train: int = 1000, seed: int = 0) -> Digits:
    """The 1797 handwritten digits of 8 x 8 pixels that ship with scikit-learn, split at random.

    Parameters
    ----------
    n_train : int
        Number of training images, 1 to 1796; the others are test images.
    seed : int
        Seed of the split.

    Returns
    -------
    Digits
        Named tuple (X, y, X_test, y_test), pixels in [0, 1].

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it.
    ImportError
        If scikit-learn is missing (``pip install 'kernelrich_fast[data]'``).

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.datasets.digits(500).X_test.shape  # doctest: +SKIP
    (1297, 64)
    """
    count = check.integer("n_train", n_train, low=1, high=1796)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "digits: needs scikit-learn; install it with pip install 'kernelrich_fast[data]'"
        ) from error
    data = load_digits()
    order = np.random.default_rng(check.integer("seed", seed, low=0)).permutation(len(data.target))
    X, y = data.data[order] / 16.0, data.target[order].astype(np.int64)
    return Digits(X[:count], y[:count], X[count:], y[count:])


def image(name: str, size: int = 64, corner: tuple[int, int] = (0, 0)) -> FloatArray:
    """A square crop, in grey, of a photograph that ships with scikit-learn.

    Parameters
    ----------
    name : {"china", "flower"}
        Which photograph (427 x 640).
    size : int
        Side of the crop in pixels, at most 427.
    corner : (int, int)
        Row and column of its upper left corner.

    Returns
    -------
    ndarray, (size, size)
        Grey values in [0, 1] (ITU-R BT.601 luma).

    Raises
    ------
    ValueError, TypeError
        If an argument is invalid; the message names it.
    ImportError
        If scikit-learn or Pillow is missing (``pip install 'kernelrich_fast[data]'``).

    Examples
    --------
    >>> import kernelrich_fast as krf
    >>> krf.datasets.image("china", 8).shape  # doctest: +SKIP
    (8, 8)
    """
    check.choice("name", name, ("china", "flower"))
    side = check.integer("size", size, low=1, high=427)
    top, left = check.pair("corner", corner, "(row, column)")
    row = check.integer("corner", top, low=0, high=427 - side)
    column = check.integer("corner", left, low=0, high=640 - side)
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise ImportError(
            "image: needs scikit-learn; install it with pip install 'kernelrich_fast[data]'"
        ) from error
    picture = load_sample_image(f"{name}.jpg")[row : row + side, column : column + side]
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114]) / 255.0)
