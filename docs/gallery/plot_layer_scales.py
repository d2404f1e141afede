r"""
Which layer starts larger
=========================

Multiplying the first layer of a ReLU network by c and the last one by 1/c does not change its
outputs at the start, but it changes what is learned: a layer with small weights and a large one
above it moves most. ``layer_scales`` are these factors.
"""

# %%
# The network has 50 units and two layers of normal initial weights (``init="he_normal"``). The
# feature distance is the cosine distance of the tangent features at the start and at the end.
# In the kernel regime (the largest scale) it stays zero; the test error changes there too, because
# the tangent kernel at the start depends on c.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

data = krf.datasets.circle_teacher(10, seed=1)
factors = np.geomspace(0.1, 10.0, 7)
alphas = [0.1, 0.3, 3.0]
sweeps = [
    krf.sweep_mlp(
        data.X, data.y, alpha=alphas, width=50, seeds=range(3), init="he_normal",
        antisymmetric=True, layer_scales=[c, 1.0 / c], X_test=data.X_test, y_test=data.y_test,
        rtol=1e-3, stop_loss=1e-6, progress=False,
    )
    for c in factors
]  # fmt: skip

figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
names = {"feature_distance": "feature distance", "test_rmse": "test RMSE"}
for ax, (name, label) in zip(axes, names.items(), strict=True):
    for alpha, style in zip(alphas, ("-", "--", "-."), strict=True):
        values = [sweep[name].sel(alpha=alpha).mean("seed") for sweep in sweeps]
        ax.plot(factors, values, style, label=rf"$\alpha={alpha:g}$")
    ax.set(xscale="log", xlabel="factor c of the layers (c, 1/c)", ylabel=label)
axes[0].legend(fontsize="small", title="mean of 3 seeds", title_fontsize="small")
plt.show()
