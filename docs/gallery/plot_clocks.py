r"""
Classification: times, losses, and when a direction has formed
==============================================================

A flow of a margin loss can be asked for states at times (``log_t_eval``, values of :math:`\ln t`),
for states at losses (``log_loss_eval``), or to end at a loss (``stop_log_loss``, a value of
:math:`\ln L`). Its direction is :math:`\beta` divided by the least margin.
"""

# %%
# The loss over time first. Both are given by their logarithms, because they leave the range of
# floating-point numbers. In the end the loss falls like 1/t, from whatever start.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

X, y, _ = krf.datasets.sparse_regression(20, 60, 3, noise_variance=0.0)
labels = np.sign(y)
ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
log_t = np.concatenate([np.linspace(-10.0, 10.0, 200), np.geomspace(11.0, 2000.0, 100)])
scales = {r"10^{-100}": 1e-100, r"10^{-3}": 1e-3, "1": 1.0, "30": 30.0}
flow = krf.flow_diagonal(
    X, labels, alpha=list(scales.values()), loss="exponential", log_t_eval=log_t
)
for alpha, log_loss, style in zip(scales, flow.log_loss, ("-", "--", "-.", ":"), strict=True):
    ax.plot(log_t, -log_loss, style, label=rf"$\alpha={alpha}$")
ax.set(xscale="symlog", yscale="symlog", xlabel=r"$\ln t$", ylabel=r"$\ln(1/L)$")
ax.legend(fontsize="small")
plt.show()

# %%
# The loss from which on the l1 norm of the direction stays within 10 % (``eps=0.1``) or 50 %
# of its least value. From a large start the first takes an extremely small loss, since the flow
# has to leave the kernel regime. For these data a start of about 0.05 takes the largest loss.

alphas = np.geomspace(1e-6, 30.0, 16)
ax = plt.subplots(figsize=(5.5, 3.5), layout="constrained")[1]
for eps, style in ((0.5, "--"), (0.1, "-")):
    sweep = krf.sweep_diagonal(
        X, labels, alpha=alphas, loss="exponential", eps=eps, progress=False,
        log_loss_eval=-np.geomspace(1.0, 1e9, 60),
    )  # fmt: skip
    ax.plot(alphas, -sweep.critical_loss, style, label=f"within {100 * eps:g} %")
ax.set(
    xscale="log", yscale="log", xlabel=r"$\alpha$", ylabel=r"critical $\ln(1/L)$",
)  # fmt: skip
ax.legend(fontsize="small")
plt.show()

# %%
# To end at one loss takes no list of losses.

end = krf.flow_diagonal(X, labels, alpha=1.0, loss="logistic", stop_log_loss=-1e6)
print(end.status.name, float(end.log_loss), np.abs(end.direction).sum().round(3))
