r"""
Stopping at a saddle
====================

In the limit :math:`\alpha \to 0` training goes from saddle to saddle, and each saddle is a
predictor at which one may stop. `sweep_rich_path` follows many problems and, with ``keep="path"``,
records the first ``n_recorded`` jumps of each.
"""

# %%
# Targets have noise. The first jumps find the true features, later ones fit the noise.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

draws = [krf.datasets.sparse_regression(40, 100, 4, 0.1, seed=seed) for seed in range(20)]
X, y, star = (np.stack(arrays) for arrays in zip(*draws, strict=True))
paths = krf.sweep_rich_path(
    X, y, beta_star=star, keep=("norms", "path"), n_recorded=20, max_jumps=1000, progress=False
)
jumps = np.arange(1, 21)
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
for ax, name, label in (
    (left, "saddle_error", r"$\|\beta-\beta^\star\|_2^2$"),
    (right, "saddle_loss", "loss $L$ relative to the start"),
):
    values = paths[name].transpose("problem", "jump").values
    if name == "saddle_loss":
        values = values / np.sum(y**2, axis=-1)[:, None]
    ax.plot(jumps, values.T, color="0.8", linewidth=0.7)
    ax.plot(jumps, np.median(values, axis=0), "-o", markersize=4, label="median")
    ax.set(xlabel="jumps made", ylabel=label, xticks=np.arange(0, 21, 5))
left.plot([], [], color="0.8", linewidth=0.7, label="20 problems")
left.axhline(float(paths.population_error.median()), color="0.4", linestyle="--", label="the end")
left.legend(fontsize="small")
right.set(yscale="log")
plt.show()
