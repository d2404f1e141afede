r"""
Linear networks: one mode after the other, or all at once
=========================================================

A linear network :math:`x \mapsto W_2 W_1 x` with ten inputs, ten outputs and a thousand hidden
units learns four modes (singular directions) of unequal strength. From a small start it learns one
after the other, with plateaus in between; from a large start it learns all at once.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

rng = np.random.default_rng(0)
left, right = (np.linalg.qr(rng.standard_normal((10, 10)))[0][:, :4] for _ in range(2))
truth = left @ np.diag([4.0, 2.0, 1.0, 0.5]) @ right.T
# The large start needs only a fortieth of the time.
times = np.unique([*np.linspace(0.0, 12.0, 121), *np.linspace(0.0, 0.3, 61)])
sweep = krf.sweep_linear(
    S=np.eye(10), C=truth, alpha=[1e-6, 0.1], width=1000, t_eval=times, keep=("norms", "modes"),
    progress=False,
)  # fmt: skip
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained", sharey=True)
for alpha, label, end, ax in zip(
    sweep.alpha.values, ("10^{-6}", "0.1"), (12.0, 0.3), axes, strict=True
):
    for mode, style in enumerate(("-", "--", "-.", ":", (0, (5, 1)))):
        values = sweep.singular_values.sel(alpha=alpha, mode=mode)
        ax.plot(times, values, linestyle=style, label=f"mode {mode + 1}")
    ax.set(title=rf"$\alpha = {label}$", xlabel="gradient-flow time", xlim=(0.0, end))
axes[0].legend(loc="upper right", bbox_to_anchor=(1.0, 0.93), fontsize="small")
axes[0].set_ylabel("singular values of M")
plt.show()

# %%
# The distance of the tangent kernel from its initial value is large for the small start, which
# leaves the kernel regime, and small for the large one.

sweep.kernel_distance.isel(time=-1).values.round(3)
