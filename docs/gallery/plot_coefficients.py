r"""
Coefficients along training
===========================

From small initial weights the coefficients of the true support become active one by one and the
others stay near zero; from large ones all move at once. A dot marks where a coefficient first
reaches half of its last value.
"""

# %%
# With ``keep="beta"`` the sweep keeps every coefficient at every time.

import numpy as np

import kernelrich_fast as krf

X, y, beta_star = krf.datasets.sparse_regression(40, 100, 4, seed=2)
sweep = krf.sweep_diagonal(
    X, y, alpha=[1e-4, 1e-1], t_eval=np.geomspace(1e-3, 3.0, 300), keep="beta", progress=False
)
krf.plot.paths(sweep, "beta", beta_star=beta_star)

# %%
# For several problems the picture shows the mean, with a band of one standard error.

problems = [krf.datasets.sparse_regression(40, 100, 4, seed=seed) for seed in range(10)]
many = krf.sweep_diagonal(
    np.stack([p.X for p in problems]),
    np.stack([p.y for p in problems]),
    alpha=np.geomspace(1e-3, 1.0, 9),
    depth=[2, 3],
    limit=True,
    beta_star=np.stack([p.beta_star for p in problems]),
    progress=False,
)
krf.plot.population_error(many)
