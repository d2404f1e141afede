r"""
Depth and scale: which networks find sparse coefficients?
=========================================================

The data are forty samples of a hundred features, of which three matter, without noise. The picture
shows where gradient flow ends for depths 2 to 8 and scales over four decades, for eight draws of
the problem: the transition from the kernel to the rich regime, and how it depends on depth.
"""

# %%
# One call computes all 1,000 limits; the dimension ``problem`` is the leading axis of ``X``.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

draws = [krf.datasets.sparse_regression(40, 100, 3, noise_variance=0.0, seed=s) for s in range(8)]
X, y, beta_star = (np.stack(arrays) for arrays in zip(*draws, strict=True))
sweep = krf.sweep_diagonal(
    X,
    y,
    alpha=np.geomspace(1e-3, 10.0, 25),
    depth=[2, 3, 4, 5, 8],
    limit=True,
    beta_star=beta_star,
    progress=False,
)
figure, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
krf.plot.population_error(sweep, ax)
plt.show()

# %%
# As functions of :math:`\alpha^D`, the scale of the predictor, the curves nearly coincide in the
# kernel regime. In the rich regime deeper networks are closer to the minimum :math:`\ell_1` norm at
# equal :math:`\alpha^D`.

figure, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
for depth, style in zip(sweep.depth.values, ("-", "--", "-.", ":", (0, (5, 1))), strict=True):
    excess = sweep.excess_l1.sel(depth=depth).mean("problem")
    ax.loglog(sweep.alpha**depth, excess, linestyle=style, label=f"$D={depth:g}$")
ax.set(xlabel=r"$\alpha^D$", ylabel=r"$\|\beta\|_1 - \|\beta_{\ell_1}\|_1$", xlim=(1e-9, 1e3))
ax.set_ylim(1e-8, 10.0)
ax.legend()
plt.show()
