r"""
Classification: from the l2 to the l1 margin
============================================

Under the logistic or the exponential loss the weights never stop growing. The direction they take
depends on how small the loss :math:`L` becomes compared with the scale of the start: on
:math:`\mu = \alpha^D / \ln(1/L)` as both the scale and the accuracy grow.
"""

# %%
# `margin_limit` computes this joint limit: the least :math:`Q_\mu` with all margins at least 1.
# At large :math:`\mu` it is the support vector machine, and as :math:`\mu \to 0` the sparse
# direction of the largest l1 margin. At depth 2 the second takes an extremely small loss, because
# :math:`\mu` depends on the loss only through its logarithm.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

rng = np.random.default_rng(0)
X = rng.standard_normal((30, 100))
y = np.sign(X[:, 0] - X[:, 1] + 0.5 * X[:, 2])
mu = np.geomspace(1e2, 1e-12, 60)
ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
for depth, style in ((2, "-"), (2.5, "--"), (3, "-.")):
    limit = krf.margin_limit(X, y, mu=mu, depth=depth)
    ax.plot(mu, np.abs(limit.beta).sum(axis=-1), style, label=f"$D={depth:g}$")
for norm, style in (("l2", (0, (8, 3))), ("l1", ":")):
    beta = krf.theory.max_margin(X, y, norm=norm)
    ax.axhline(np.abs(beta).sum(), color="0.4", linestyle=style, label=f"{norm} maximum margin")
ax.set(xscale="log", xlabel=r"$\mu$", ylabel=r"$\|\beta\|_1$, least margin 1")
ax.legend(fontsize="small")
plt.show()
