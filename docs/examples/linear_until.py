"""
Until which step is a network linear?
=====================================

Three models start from the same output and are trained at the same rate: a network of 256 neurons, its neural tangent
kernel at initialization, and the linear model of the paper. They agree as long as there is something linear to learn.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkspec as ns

data = ns.datasets.gaussian(1500, 20, n_test=500, seed=0)
net = ns.TwoLayer.symmetric(20, 256, "erf", seed=0)
steps = np.unique(np.geomspace(1, 2000, 40).astype(int))

# %%
# The network is trained by gradient descent. The two kernel models need no training: they are known at any step.

trained = ns.train_gd(net, data.X, data.y, eta=0.5, steps=steps, X_test=data.X_test)
ntk = ns.predict_gd(ns.ntk(net, data.X), data.y, eta=0.5, steps=steps)
linear = ns.predict_gd(ns.linear_kernel("erf", data.X), data.y, eta=0.5, steps=steps)

# %%
# Their losses on the training points, and how far the outputs of network and linear model are apart.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for name, run in (("network", trained), ("NTK", ntk), ("linear model", linear)):
    left.semilogx(steps, np.mean((run.train - data.y) ** 2, axis=1) / 2, label=name)
left.set(xlabel="step", ylabel="training loss")
left.legend()
for name, run in (("network - linear model", linear), ("network - NTK", ntk)):
    right.loglog(steps, np.mean((trained.train - run.train) ** 2, axis=1), label=name)
right.set(xlabel="step", ylabel="mean squared difference")
right.legend()
plt.show()

# %%
# The largest step up to which the difference is below 1 % of the labels' mean square:

apart = np.mean((trained.train - linear.train) ** 2, axis=1) / np.mean(data.y**2)
print(f"network and linear model agree to 1 % until step {steps[apart < 0.01].max()}")
