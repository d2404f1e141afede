r"""
The averaged path and the lasso
===============================

From a tiny start, the mean of the predictor over time,
:math:`\bar\beta(t) = \frac1t \int_0^t \beta`, is the lasso path at :math:`\lambda = T_0 / t`,
until a coefficient leaves the support for the first time.
"""

# %%
# ``averaged=True`` sums the mean along the flow, by the quadrature of its own steps, so that
# :math:`y - X \bar\beta = \nu / t` holds to rounding. The lasso path is a limit under weight decay.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

X, y, _ = krf.datasets.sparse_regression(15, 40, 4)
path = krf.rich_path(X, y)
alpha = 1e-60
s = np.geomspace(0.5 * path.jump_times[0], 30.0, 100)
flow = krf.flow_diagonal(X, y, alpha=alpha, t_eval=s * path.time_unit(alpha), averaged=True)
lasso = krf.limit_diagonal(X, y, alpha=1.0, weight_decay=2.0 / s).beta

left = np.any(path.active[:-1] & ~path.active[1:], axis=-1)
ax = plt.subplots(figsize=(6, 3.5), layout="constrained")[1]
for feature in np.argsort(-np.abs(lasso).max(axis=0))[:5]:
    line = ax.plot(s, flow.beta_mean[:, feature])[0]
    ax.plot(s, lasso[:, feature], "--", color=line.get_color())
ax.axvline(path.jump_times[np.argmax(left)], color="0.5", linestyle=":")
ax.set(xscale="log", xlabel=r"$t / T_0 = 1 / \lambda$", ylabel="mean of the flow; dashed: lasso")
plt.show()
