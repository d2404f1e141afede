r"""
Completing a matrix: width against scale
========================================

A rank-one 10 x 10 matrix with 60 observed entries is completed by :math:`UV^\top` of widths 10 to
500,000. The cost does not grow with the width, because all factors with the same Gram matrix
:math:`WW^\top`, where :math:`W` stacks :math:`U` on :math:`V`, follow the same flow.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np

import kernelrich_fast as krf

data = krf.datasets.low_rank_completion(10, 10, 1, 60)
sweep = krf.sweep_factorization(
    data.Y_star,
    alpha=np.sqrt([1e-2, 2.5e-3, 1e-4, 1e-6, 1e-8]),
    width=[10, 100, 1000, 10_000, 100_000, 500_000],
    seeds=range(3),
    n_observed=60,
    progress=False,
)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
krf.plot.factorization_heatmap(sweep, "excess_nuclear_norm", left, clip=10.0)
krf.plot.factorization_heatmap(sweep, "unobserved_movement", right)
plt.show()

# %%
# Both pictures change where :math:`\alpha^2 k` is about one, as Theorem 4 predicts.
