r"""
Depth and scale: who finds a sparse truth?
==========================================

Forty samples of a hundred features, three of which matter, no noise. The end of gradient flow for
depths 2 to 8 and scales over four decades, with eight draws of the problem: the transition from the
kernel to the rich regime, and what depth does to it.
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
# Over :math:`\alpha^D`, the scale of the predictor, the depths nearly fall onto each other on the
# kernel side; on the rich side deeper networks are ahead: at equal :math:`\alpha^D` they are closer
# to the least :math:`\ell_1` norm.

figure, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
for depth, style in zip(sweep.depth.values, ("-", "--", "-.", ":", (0, (5, 1))), strict=True):
    excess = sweep.excess_l1.sel(depth=depth).mean("problem")
    ax.loglog(sweep.alpha**depth, excess, linestyle=style, label=f"$D={depth}$")
ax.set(xlabel=r"$\alpha^D$", ylabel=r"$\|\beta\|_1 - \|\beta_{\ell_1}\|_1$", xlim=(1e-9, 1e3))
ax.set_ylim(1e-8, 10.0)
ax.legend()
plt.show()
