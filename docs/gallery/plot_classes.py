r"""
Three classes by cross-entropy
==============================

With ``loss="cross_entropy"`` a ReLU network has one output per class. The loss is summed over the
samples and has no minimum at finite weights, so that training stops at a loss that is asked for.
"""

# %%
# Three arms of a spiral in the plane, of 20 samples each. Colours are the predicted classes. All
# three networks fit the samples. The boundaries of the largest start have corners at the kinks of
# its random units, which hardly move.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

import kernelrich_fast as krf

rng = np.random.default_rng(0)
classes = np.repeat([0, 1, 2], 20)
radius = np.tile(np.linspace(0.2, 1.0, 20), 3)
angle = 2.0 * np.pi * classes / 3 + 5.0 * radius + 0.1 * rng.standard_normal(60)
X = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
alphas = [0.1, 1.0, 10.0]
flow = krf.flow_mlp(
    X, classes, loss="cross_entropy", n_classes=3, width=60, bias=True, alpha=alphas, rtol=1e-2,
    stop_loss=1e-2,
)  # fmt: skip

side = np.linspace(-1.2, 1.2, 121)
plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
scores = flow.predict(plane)
colours = ("#0072B2", "#D55E00", "#009E73")
figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.2), layout="constrained")
for ax, alpha, score in zip(axes, alphas, scores, strict=True):
    regions = score.argmax(axis=-1).reshape(121, 121)
    ax.pcolormesh(side, side, regions, cmap=ListedColormap(colours), alpha=0.25, rasterized=True)
    for k, (colour, marker) in enumerate(zip(colours, "os^", strict=True)):
        ax.plot(*X[classes == k].T, marker, color=colour, markersize=4)
    ax.set(title=rf"$\alpha={alpha:g}$", aspect="equal", xticks=[], yticks=[])
plt.show()

# %%
# ``stop_loss`` is relative to the loss of scores of zero, which is :math:`n \ln 3`.

print((flow.loss / (60 * np.log(3.0))).round(4), flow.status.names)
