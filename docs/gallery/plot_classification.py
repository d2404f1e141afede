r"""
Classification, to losses that no double holds
==============================================

Under the exponential or the logistic loss a diagonal network of depth 2 ends at the direction of
largest l1 margin, whatever its scale. `flow_diagonal` follows it to a loss of
:math:`\exp(-10^{12})`, so that one can see when.
"""

# %%
# The clock of such a flow is its loss: ``log_loss_eval`` are values of :math:`\ln L`. The excess is
# that of the l1 norm, at a least margin of 1, over the least one possible.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

X, y, _ = krf.datasets.sparse_regression(20, 60, 3, noise_variance=0.0)
labels = np.sign(y)
log_loss = -np.geomspace(1.0, 1e12, 73)
alpha = [0.01, 0.1, 1.0, 10.0]
flow = krf.flow_diagonal(X, labels, alpha=alpha, loss="exponential", log_loss_eval=log_loss)
least = np.abs(krf.theory.max_margin(X, labels, norm="l1")).sum()
excess = np.abs(flow.direction).sum(axis=-1) / least - 1.0

ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
for scale, curve, style in zip(alpha, excess, ("-", "--", "-.", ":"), strict=True):
    ax.plot(-log_loss, curve, linestyle=style, label=rf"$\alpha={scale:g}$")
ax.axvline(-np.log(np.finfo(float).smallest_subnormal), color="0.5", linewidth=0.8)
ax.annotate("smallest double", (900.0, 1.2e-3), fontsize="small", color="0.3")
ax.set(xscale="log", yscale="log", xlabel=r"$\ln(1/L)$", ylabel=r"excess of $\|\beta\|_1$")
ax.legend(fontsize="small")
plt.show()

# %%
# At a loss of :math:`10^{-300}` all but the small scales are still far from their limit. The times
# of these losses are not numbers either, so their logarithms are returned.

print(np.array2string(flow.log_t[:, -1], precision=6))
