r"""
The shape of the start matters from depth 3 on
==============================================

At depth 2 the rich limit minimises the :math:`\ell_1` norm, whatever the profile :math:`w_0` (the
shape of the initial weights). From depth 3 on it minimises :math:`\sum_i w_{0,i}^{2-D} |\beta_i|`,
a norm weighted by the start. Here two features explain the data equally well, and one of them
starts with twice the weight of the other.
"""

# %%
# The two columns are identical, so the data determine only the sum of the two coefficients.

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

X, y = np.array([[1.0, 1.0]]), np.array([1.0])
alphas = np.geomspace(1e-4, 10.0, 41)
figure, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
for index, depth in enumerate((2, 3, 4)):
    beta = krf.limit_diagonal(X, y, alpha=alphas, depth=depth, w0=[2.0, 1.0]).beta
    ax.semilogx(alphas, beta[:, 0], label=f"$D={depth}$", linestyle=["-", "--", "-."][index])
ax.set(xlabel=r"$\alpha$", ylabel=r"$\beta_1$, with $\beta_1 + \beta_2 = 1$")
ax.legend()
plt.show()

# %%
# In the kernel regime the shares are proportional to :math:`w_0^{2D-2}`: 4, 16 and 64 to one. In
# the rich regime depth 2 still has 4 to one: all splits have the same norm, and the next term of
# the potential, an entropy, decides. Deeper networks give everything to the first feature.
