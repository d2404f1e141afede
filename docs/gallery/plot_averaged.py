r"""
The averaged path and the lasso
===============================

For initial weights of a tiny scale :math:`\alpha`, the mean of the coefficients over time,
:math:`\bar\beta(t) = \frac1t \int_0^t \beta`, follows the path of the lasso,
:math:`\min \frac12 |X\beta - y|^2 + \lambda |\beta|_1` at :math:`\lambda = T_0 / t` with
:math:`T_0 = \ln(1/\alpha)/4`, until a coefficient first returns to zero.
"""

# %%
# ``averaged=True`` integrates the mean along the flow with the quadrature of the flow's own steps,
# so that :math:`y - X \bar\beta = \nu / t` holds up to rounding. Here :math:`\nu`, the dual
# variable, is the time integral of the residual. The lasso path is computed as a limit under a
# weight decay of :math:`2\lambda`, since our loss has no factor :math:`\frac12`.

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
for k, feature in enumerate(np.argsort(-np.abs(lasso).max(axis=0))[:5]):
    labels = (None, None) if k else ("mean of the flow", "lasso")
    line = ax.plot(s, flow.beta_mean[:, feature], label=labels[0])[0]
    ax.plot(s, lasso[:, feature], "--", color=line.get_color(), label=labels[1])
ax.axvline(
    path.jump_times[np.argmax(left)], color="0.5", linestyle=":", label="a coefficient leaves"
)
ax.legend(fontsize="small", loc="lower left")
ax.set(xscale="log", xlabel=r"$t / T_0 = 1 / \lambda$", ylabel="the five largest coefficients")
plt.show()
