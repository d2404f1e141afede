"""Largest generalising scale against the number of samples: shared by figures 1c and 3c."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from .. import datasets
from .._bars import tqdm
from ..theory import critical_alpha, min_l1

__all__ = ["critical_alpha_data", "samples_for_l1"]

THRESHOLD = 0.025


def samples_for_l1(data: datasets.SparseRegression, threshold: float = THRESHOLD) -> float:
    """Fewest leading samples whose minimum-l1 interpolant has population error <= threshold.

    Infinite where all samples are too few. One after the other: the error is not monotone.
    """
    for n in range(1, len(data.y) + 1):
        beta = min_l1(data.X[:n], data.y[:n])
        if float(np.sum((beta - data.beta_star) ** 2)) <= threshold:
            return float(n)
    return np.inf


def critical_alpha_data(
    *,
    depths: Sequence[int],
    n_samples: Sequence[int],
    n_features: int,
    sparsity: int,
    seeds: Sequence[int],
    backend: str = "auto",
    progress: bool = False,
    num_threads: int | None = None,
) -> xr.Dataset:
    """Critical alpha over depths, seeds and numbers of samples; draws are nested in N.

    Returns
    -------
    xarray.Dataset
        critical_alpha (depth, seed, n_samples), 0 where no scale generalises and inf where every
        scale does; n_samples_l1 (seed).

    Examples
    --------
    >>> ds = critical_alpha_data(depths=[2], n_samples=[40], n_features=60, sparsity=2, seeds=[0])
    >>> dict(ds.critical_alpha.sizes)
    {'depth': 1, 'seed': 1, 'n_samples': 1}
    """
    values = np.zeros((len(depths), len(seeds), len(n_samples)))
    needed = np.zeros(len(seeds))
    total = len(seeds) * (1 + len(depths) * len(n_samples))
    with tqdm(total=total, desc="critical alpha", unit="search", disable=not progress) as bar:
        for j, seed in enumerate(seeds):
            data = datasets.sparse_regression(max(n_samples), n_features, sparsity, seed=seed)
            needed[j] = samples_for_l1(data)
            bar.update()
            for i, depth in enumerate(depths):
                for k, n in enumerate(n_samples):
                    values[i, j, k] = critical_alpha(
                        data.X[:n],
                        data.y[:n],
                        data.beta_star,
                        depth,
                        THRESHOLD,
                        backend=backend,
                        num_threads=num_threads,
                    )
                    bar.update()
    return xr.Dataset(
        {
            "critical_alpha": (("depth", "seed", "n_samples"), values),
            "n_samples_l1": ("seed", needed),
        },
        coords={"depth": list(depths), "seed": list(seeds), "n_samples": list(n_samples)},
        attrs={"n_features": n_features, "sparsity": sparsity, "threshold": THRESHOLD},
    )
