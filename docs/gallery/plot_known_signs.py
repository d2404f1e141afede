r"""
Starts that favour a sign
=========================

If the coefficients are known to be positive, the start can say so. ``w_plus0`` and ``w_minus0``
are the profiles of :math:`w_+` and :math:`w_-`. Where they differ, the predictor starts at
:math:`(\alpha w_{+,0})^D - (\alpha w_{-,0})^D` instead of zero (a biased start).
"""

# %%
# Of these noiseless problems the minimum-l1 solution is the truth, but from an equal start the flow
# comes close to it only as the scale becomes extremely small. Starts that favour positive
# coefficients are closer at the same scale. From ``w_minus0=0`` no coefficient can become negative;
# that is a flow, because the limit of such a start need not fit the data.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

draws = [krf.datasets.sparse_regression(22, 100, 4, noise_variance=0.0, seed=s) for s in range(8)]
X, y, star = (np.stack(arrays) for arrays in zip(*draws, strict=True))
alphas = np.geomspace(1e-6, 0.3, 13)
options = {"alpha": alphas, "beta_star": star, "progress": False}
sweeps = {
    "$w_-(0)=w_+(0)$": krf.sweep_diagonal(X, y, limit=True, **options),
    "$w_-(0)=w_+(0)/10$": krf.sweep_diagonal(
        X, y, limit=True, w_plus0=1.0, w_minus0=0.1, **options
    ),
    "$w_-(0)=w_+(0)/100$": krf.sweep_diagonal(
        X, y, limit=True, w_plus0=1.0, w_minus0=0.01, **options
    ),
    "$w_-(0)=0$": krf.sweep_diagonal(X, y, w_plus0=1.0, w_minus0=0.0, stop_loss=1e-8, **options),
}

ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
for (label, sweep), style in zip(sweeps.items(), ("-", "--", "-.", ":"), strict=True):
    ax.plot(alphas, sweep.population_error.mean("problem"), style, label=label)
ax.set(xscale="log", yscale="log", xlabel=r"$\alpha$", ylabel=r"$\|\beta-\beta^\star\|_2^2$")
ax.legend(title="mean of 8 problems", fontsize="small", title_fontsize="small")
plt.show()
