r"""
Depths between 2 and 3
======================

The depth may be any real number from 2, for example :math:`\beta = w_+^D - w_-^D` with
:math:`D = 2.5`. Results lose no digits as D approaches 2.
"""

# %%
# The excess of the l1 norm falls like a power of alpha at every depth above 2. At depth 2 it falls
# more slowly, for these data like alpha^0.06 far below the scales shown. Depth 2.5 is in between.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

X, y, _ = krf.datasets.sparse_regression(20, 50, 3)
sweep = krf.sweep_diagonal(
    X, y, alpha=np.geomspace(1e-4, 10.0, 40), depth=[2, 2.1, 2.5, 3], limit=True, progress=False
)
ax = plt.subplots(figsize=(5, 3.5), layout="constrained")[1]
for depth, style in zip(sweep.depth.values, ("-", "--", "-.", ":"), strict=True):
    excess = sweep.excess_l1.sel(depth=depth)
    ax.plot(sweep.alpha**depth, excess, style, label=f"$D={depth:g}$")
ax.set(xscale="log", yscale="log", xlabel=r"$\alpha^D$", ylabel=r"excess of $\|\beta\|_1$")
ax.set_ylim(1e-6, None)
ax.legend()
plt.show()

# %%
# At depth 2 + 1e-12 the limit differs from that of depth 2 by about 1e-12.

two, above = krf.limit_diagonal(X, y, alpha=0.01, depth=[2.0, 2.0 + 1e-12], tol=1e-14).beta
print(np.linalg.norm(above - two) / np.linalg.norm(two))
