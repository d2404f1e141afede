r"""
Completing a matrix of signs
============================

Of a matrix only the signs of some entries are known (1-bit completion). Under the logistic loss
:math:`M=UV^\top` grows for ever. Its direction is :math:`M` divided by the least margin, which is
the smallest product of :math:`M_{ij}` and its known sign. The direction tends to one of small
nuclear norm; how small a loss this takes depends on the initial scale.
"""

# %%
# Flows are returned at the losses asked for: ``log_loss_eval`` are values of :math:`\ln L`.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

rng = np.random.default_rng(1)
signs = np.sign(rng.standard_normal((20, 2)) @ rng.standard_normal((2, 20)))
sweep = krf.sweep_factorization(
    signs, alpha=[1e-3, 0.1, 1.0, 3.0], width=40, seeds=range(3), n_observed=200, loss="logistic",
    log_loss_eval=-np.geomspace(1.0, 1e8, 33), progress=False,
)  # fmt: skip

figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
for alpha, style in zip(sweep.alpha.values, ("-", "--", "-.", ":"), strict=True):
    own = sweep.sel(alpha=alpha)
    for ax, values in ((left, own.direction_nuclear_norm), (right, own.test_error)):
        ax.plot(-sweep.log_loss, values.median("seed"), style, label=rf"$\alpha={alpha:g}$")
for ax in (left, right):
    ax.axvline(-np.log(np.finfo(float).smallest_subnormal), color="0.5", linewidth=0.8)
    ax.set(xscale="log", xlabel=r"$\ln(1/L)$")
left.set(yscale="log", ylabel="nuclear norm at a least margin of 1")
right.set(ylabel="wrong signs among hidden entries")
right.legend(fontsize="small", title="median of 3 seeds", title_fontsize="small")
plt.show()

# %%
# The grey line is the smallest double; an ordinary loop of gradient descent ends to the left of it.
# For the largest start the direction settles to the right. All directions end alike, with one
# hidden sign in seven wrong; small starts had fewer wrong signs on the way. Runs take some hundred
# steps.

print(sweep.n_steps.median("seed").values)
