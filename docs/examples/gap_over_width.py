"""
The kernel approaches the linear kernel
=======================================

Proposition 3.4: the NTK of the first layer is the kernel of a linear model, up to a gap that is small in spectral norm
if the width and d are large. Each point of the figure is an interval with a proof; it is narrower than its marker.
"""

import matplotlib.pyplot as plt

import ntkspec as ns

widths = [32, 64, 128, 256, 512, 1024]
figure, axes = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
for d in (10, 20, 40):
    data = ns.datasets.gaussian(1200, d, seed=0)
    linear = ns.linear_kernel("erf", data.X, layer="first")
    size = ns.spectral_norm(linear)
    ratios = []
    for width in widths:
        net = ns.TwoLayer.symmetric(d, width, "erf", seed=1)
        ratios.append(ns.spectral_norm(ns.ntk(net, data.X, layer="first") - linear) / size)
    ends = [[ratio.value - ratio.lower for ratio in ratios], [ratio.upper - ratio.value for ratio in ratios]]
    axes.errorbar(widths, [ratio.value for ratio in ratios], ends, marker="o", label=f"d = {d}")
axes.set(xscale="log", yscale="log", xlabel="width m", ylabel=r"$\|\Theta_1 - \Theta^{lin1}\| \,/\, \|\Theta^{lin1}\|$")
axes.legend()
plt.show()

# %%
# The last ratio, as an interval that a stated probability stands behind:

print(ratios[-1])
