r"""
From saddle to saddle
=====================

From tiny initial weights the flow rests near saddle points of the loss and jumps from one to the
next: coordinates become active one after the other. In units of :math:`T_0 = \ln(1/\alpha)/4` the
times of the jumps converge as :math:`\alpha \to 0`.
"""

# %%
# Scales down to 1e-100 are no difficulty, because the logarithms of the weights are stored. The
# dotted black steps are the limit itself, which `rich_path` computes without integration. The axes
# show :math:`t / \ln(1/\alpha)`, a quarter of :math:`t / T_0`.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

rng = np.random.default_rng(1)
X = rng.standard_normal((60, 80))
beta_star = np.zeros(80)
beta_star[:4] = [1.0, -0.6, 0.35, 0.2]
tau = np.linspace(0.0, 0.025, 500)
path = krf.rich_path(X, X @ beta_star)
figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
for ax, alpha in zip(axes, (1e-2, 1e-8, 1e-100), strict=True):
    unit = np.log(1.0 / alpha)
    flow = krf.flow_diagonal(X, X @ beta_star, alpha=alpha, t_eval=tau * unit)
    ax.plot(tau, flow.beta, linewidth=1)
    steps = path.at(4.0 * tau)[:, path.active.any(axis=0)]  # its unit is log(1 / alpha) / 4
    ax.plot(tau, steps[:, :1], "k:", linewidth=1, label=r"$\alpha \to 0$")
    ax.plot(tau, steps[:, 1:], "k:", linewidth=1)
    ax.set(title=rf"$\alpha = 10^{{{np.log10(alpha):.0f}}}$", xlabel=r"$t / \ln(1/\alpha)$")
axes[0].set_ylabel(r"$\beta_i(t)$")
axes[0].legend(fontsize="small")
plt.show()

# %%
# At depth 3 the corrections are powers of alpha instead of 1 / log(1 / alpha), and the flow from
# 1e-4 can hardly be distinguished from the limit. Dotted vertical lines are the jumps.

X, y, _ = krf.datasets.sparse_regression(10, 30, 3)
path = krf.rich_path(X, y, depth=3)
times = np.geomspace(0.25 * path.jump_times[0], 2.0 * path.jump_times[-1], 1000)
flows = {
    alpha: krf.flow_diagonal(X, y, alpha=alpha, depth=3, t_eval=times * path.time_unit(alpha))
    for alpha in (1e-1, 1e-4)
}
krf.plot.rich_path(path, plt.subplots(figsize=(8, 4), layout="constrained")[1], flows=flows)
plt.show()
