r"""
From saddle to saddle
=====================

With a tiny start the flow waits at saddles and jumps between them: coordinates wake up one after
the other. In units of :math:`\ln(1/\alpha)` the times of the jumps settle as :math:`\alpha \to 0`.
"""

# %%
# Scales down to 1e-100 are ordinary here: weights are kept as logarithms.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

rng = np.random.default_rng(1)
X = rng.standard_normal((60, 80))
beta_star = np.zeros(80)
beta_star[:4] = [1.0, -0.6, 0.35, 0.2]
tau = np.linspace(0.0, 0.025, 500)
figure, axes = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout="constrained")
for ax, alpha in zip(axes, (1e-2, 1e-8, 1e-100), strict=True):
    unit = np.log(1.0 / alpha)
    flow = krf.flow_diagonal(X, X @ beta_star, alpha=alpha, t_eval=tau * unit)
    ax.plot(tau, flow.beta, linewidth=1)
    ax.set(title=rf"$\alpha = 10^{{{np.log10(alpha):.0f}}}$", xlabel=r"$t / \ln(1/\alpha)$")
axes[0].set_ylabel(r"$\beta_i(t)$")
plt.show()
