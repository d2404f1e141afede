r"""
Weight decay
============

Weight decay :math:`\lambda |w|^2` shrinks the scale of the weights while the flow runs: at depth 2
the flow at time t behaves like one started from :math:`\alpha e^{-2 \lambda t}`. A flow that starts
in the kernel regime thus ends in the rich regime, after a time that :math:`\lambda` determines.
"""

# %%
# From :math:`\alpha = 2` the flow first reaches the kernel predictor and stays there until
# :math:`\lambda t` is about 1.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

X, y, beta_star = krf.datasets.sparse_regression(60, 200, 5, noise_variance=0.0)
late = krf.sweep_diagonal(
    X, y, alpha=2.0, weight_decay=[1e-4, 1e-3, 1e-2], t_eval=np.geomspace(1e-2, 1e5, 100),
    beta_star=beta_star, progress=False,
)  # fmt: skip
ax = plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
for decay, style in zip(late.weight_decay.values, ("-", "--", "-."), strict=True):
    error = late.population_error.sel(weight_decay=decay)
    ax.plot(late.time, error, style, label=rf"$\lambda={decay:g}$")
ax.set(xscale="log", yscale="log", xlabel="time $t$", ylabel="population error")
ax.legend()
plt.show()

# %%
# Under constant decay the flow at depth 2 ends at the lasso solution, whatever the start.
# `limit_diagonal` computes it directly, and ``dual`` certifies it.

X, y, beta_star = krf.datasets.sparse_regression(20, 50, 3)
lasso = krf.limit_diagonal(X, y, alpha=1.0, weight_decay=0.2)
print(lasso.status, np.flatnonzero(lasso.beta), np.abs(X.T @ lasso.dual).max().round(9))

# %%
# Decay that is switched off at time 5 acts like a smaller start: the flow ends where a flow from
# that start would end. Schedules are pairs (time, decay), or ``krf.schedules.exponential``.

switched = krf.flow_diagonal(X, y, alpha=1.0, weight_decay=[(0.0, 0.2), (5.0, 0.0)])
small = krf.limit_diagonal(X, y, alpha=np.exp(-2 * 0.2 * 5.0))
print(np.linalg.norm(switched.beta - small.beta).round(6))
