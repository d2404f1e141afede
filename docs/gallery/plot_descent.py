r"""
Gradient descent beside its flow
================================

``method="gradient_descent"`` takes full-batch steps of ``step_size`` from the same start as the
flow. A step of size h advances time by h, so that both can be drawn over the same axis.
"""

# %%
# Small steps follow the flow. Steps of more than :math:`2/\lambda` are unstable, where
# :math:`\lambda` is the largest eigenvalue of the Hessian of the loss, in the kernel regime twice
# that of the tangent kernel.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

data = krf.datasets.circle_teacher(10, seed=1)
start = {"width": 50, "alpha": 1.0, "seed": 0}
t = np.linspace(0.0, 0.6, 121)
flow = krf.flow_mlp(data.X, data.y, **start, t_eval=t, rtol=1e-6)
kernel = krf.theory.mlp_tangent_kernel(flow.weights0, data.X)
longest = 1.0 / np.linalg.eigvalsh(kernel)[-1]

ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")[1]
for share, style in ((0.1, "--"), (0.5, "-."), (0.95, ":"), (1.05, (0, (5, 1)))):
    descent = krf.flow_mlp(
        data.X, data.y, **start, method="gradient_descent", step_size=share * longest, t_eval=t,
    )  # fmt: skip
    ax.plot(descent.t, descent.loss, linestyle=style, label=rf"${share:g}\cdot 2/\lambda$")
ax.plot(t, flow.loss, color="0.2", label="flow")
ax.set(yscale="log", xlabel="time $t$, the step times the number of steps", ylabel="loss $L$")
ax.legend(title="step", fontsize="small", title_fontsize="small")
plt.show()

# %%
# The last run leaves the unstable region by itself: while its loss is large, the weights move to a
# place where the largest eigenvalue of the tangent kernel is smaller.

for run in (flow, descent):
    last = krf.theory.mlp_tangent_kernel([layer[-1] for layer in run.weights], data.X)
    print(round(float(np.linalg.eigvalsh(last)[-1] * longest), 3), "of the eigenvalue at the start")
