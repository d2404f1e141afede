r"""
Entries, a mask, or measurements of a matrix
============================================

`flow_factorization` fits a matrix to some of its entries, given by their indices or by a boolean
mask, or to general linear ``measurements`` :math:`\langle X_i, M\rangle`.
"""

# %%
# A 10 x 10 matrix of rank one is recovered from a small start. If samples are few, Gaussian
# measurements tell more about it than entries at random, which miss some rows or columns. With many
# samples both errors are small, and depend on the scale of the start.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

rng = np.random.default_rng(0)
counts, small = np.arange(15, 76, 10), {"alpha": 1e-4, "width": 10, "rtol": 1e-4}
errors = {"measurements": [], "entries": []}
for n in counts:
    apart = {name: [] for name in errors}
    for seed in range(4):
        data = krf.datasets.low_rank_completion(10, 10, 1, n, seed=seed)
        A = rng.standard_normal((n, 10, 10))
        sensed = krf.flow_factorization(np.tensordot(A, data.Y_star, 2), measurements=A, **small)
        seen = krf.flow_factorization(data.y, entries=data.entries, dims=(10, 10), **small)
        for name, flow in (("measurements", sensed), ("entries", seen)):
            distance = np.linalg.norm(flow.M - data.Y_star) / np.linalg.norm(data.Y_star)
            apart[name].append(distance)
    for name, values in apart.items():
        errors[name].append(np.median(values))

ax = plt.subplots(figsize=(5, 3.4), layout="constrained")[1]
for (name, values), style in zip(errors.items(), ("-o", "--s"), strict=True):
    ax.plot(counts, values, style, markersize=4, label=name)
ax.set(
    yscale="log", xlabel="number of samples", ylabel=r"$\|M-Y^\star\|_F\,/\,\|Y^\star\|_F$",
)  # fmt: skip
ax.legend(title="median of 4 draws", fontsize="small", title_fontsize="small")
plt.show()

# %%
# A picture with holes: ``mask`` is True where a pixel is known. From the small start the factors
# continue what they see in rows and columns; from the large one the holes keep their random start.

x = np.linspace(0.0, 1.0, 32)
picture = 0.5 + 0.25 * np.outer(np.sin(9.0 * x), np.cos(7.0 * x)) + 0.25 * np.outer(x, 1.0 - x)
mask = rng.random((32, 32)) < 0.7
mask[8:14, 6:16] = mask[20:25, 18:28] = False
done = krf.sweep_factorization(
    picture, mask=mask, alpha=[1e-3, 0.3], width=32, keep="M", rtol=1e-3, progress=False
)
figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
krf.plot.grey_image(np.where(mask, picture, np.nan), axes[0])
for ax, alpha in zip(axes[1:], done.alpha.values, strict=True):
    krf.plot.grey_image(done.M.sel(alpha=alpha), ax)
    ax.set_title(rf"$\alpha={alpha:g}$")
axes[0].set_title("observed")
plt.show()

# %%
# More entries arrive: training goes on from the factors of the first result, given as ``U0`` and
# ``V0``.

data = krf.datasets.low_rank_completion(10, 10, 1, 60)
some = tuple(index[:40] for index in data.entries)
first = krf.flow_factorization(data.y[:40], entries=some, dims=(10, 10), **small)
second = krf.flow_factorization(data.y, entries=data.entries, U0=first.U, V0=first.V)
print([float(np.linalg.norm(flow.M - data.Y_star).round(4)) for flow in (first, second)])

# %%
# A correlation matrix with unknown entries. With ``symmetric=True`` the model is :math:`W W^\top`,
# so that the completed matrix is positive semidefinite, as a correlation matrix has to be.

factors = rng.standard_normal((8, 2))
factors /= np.linalg.norm(factors, axis=1, keepdims=True)
correlation = factors @ factors.T
known = np.triu(rng.random((8, 8)) < 0.6)
np.fill_diagonal(known, True)
for symmetric in (False, True):
    flow = krf.flow_factorization(
        correlation[known], entries=known, symmetric=symmetric, alpha=1e-3, width=8
    )
    least = np.linalg.eigvalsh(0.5 * (flow.M + flow.M.T))[0]
    error = np.linalg.norm(flow.M - correlation)
    print(f"symmetric={symmetric}: least eigenvalue {least:.0e}, error {error:.3f}")
