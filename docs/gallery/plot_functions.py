r"""
The function that a wide ReLU network fits to nine points
=========================================================

A network of one variable has 200 units with biases, and its output at the start is zero. In the
rich regime it fits the linear spline, which has as few kinks as the data require; in the kernel
regime it fits a smooth curve that overshoots.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

x, y = np.linspace(-1.5, 1.5, 9), np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
rng = np.random.default_rng(0)
weights0 = [rng.standard_normal((200, 1)), 0.1 * rng.standard_normal((1, 200))]
biases0 = [rng.standard_normal(200), np.zeros(1)]
alphas = [0.1, 1.0, 10.0]
flow = krf.flow_mlp(
    x[:, None],
    y,
    weights0=weights0,
    biases0=biases0,
    bias=True,
    antisymmetric=True,
    alpha=alphas,
    rtol=1e-3,
    stop_loss=1e-7,
)
grid = np.linspace(-1.5, 1.5, 301)
predictions = flow.predict(grid[:, None])
figure, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
for alpha, prediction, style in zip(alphas, predictions, ("-", "--", "-."), strict=True):
    ax.plot(grid, prediction, style, label=rf"$\alpha={alpha:g}$")
ax.plot(x, y, "ko", markersize=4, label="samples")
ax.set(xlabel="$x$", ylabel="$f(x)$")
ax.legend()
plt.show()
