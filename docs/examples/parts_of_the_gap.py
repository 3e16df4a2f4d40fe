"""
What the gap is made of
=======================

The gap between the NTK and the linear kernel has three parts: the fluctuation over the random weights, the diagonal,
and the remainder of the expansion in the inputs. A wider network reduces the first one only.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkspec as ns

data = ns.datasets.gaussian(600, 20, seed=0)
widths = [16, 64, 256, 1024]
budgets = [
    ns.gap_budget(ns.TwoLayer.symmetric(20, m, "relu", seed=0), data.X, layer="first", trace_ratio=data.trace_ratio)
    for m in widths
]

figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
places = np.arange(len(widths))
for k, part in enumerate(("fluctuation", "diagonal", "remainder")):
    heights = [float(getattr(budget, part).spectral) for budget in budgets]
    axes.bar(places + 0.25 * (k - 1), heights, width=0.25, label=part)
axes.set(xticks=places, xticklabels=[f"m = {m}" for m in widths], ylabel="spectral norm")
axes.legend()
plt.show()

# %%
# The budget says which part dominates, and what would reduce it:

for m, budget in zip(widths, budgets, strict=True):
    print(f"m = {m}: {budget.dominant}; it takes {budget.remedy}")
