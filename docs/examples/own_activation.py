"""
An activation of your own
=========================

A function and its derivative are an activation. Its constants give the linear model, and the expected kernel shows how
good that model is: over the angle of two inputs of norm sqrt(d), the kernel is a curve and the linear model a line.
"""

import matplotlib.pyplot as plt
import numpy as np

import ntkspec as ns

arctan = ns.Activation(np.arctan, lambda z: 1 / (1 + z**2), name="arctan")
print(f"zeta = {arctan.constants.zeta:.6f}, by {arctan.constants.method}")

# %%
# Two-dimensional inputs on a circle: the first one, and all others by their angle to it.

angles = np.linspace(0, np.pi, 200)
points = np.sqrt(2) * np.column_stack([np.cos(angles), np.sin(angles)])

figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
for k, activation in enumerate((arctan, "erf", "tanh")):
    kernel = ns.expected_ntk(activation, points[:1], points, layer="first").to_dense()[0]
    zeta = (activation if k == 0 else ns.activation(activation)).constants.zeta
    axes.plot(np.cos(angles), kernel, f"C{k}", label=getattr(activation, "name", activation))
    axes.plot(np.cos(angles), zeta**2 * np.cos(angles), f"C{k}:")
axes.set(xlabel="cosine of the angle between the inputs", ylabel=r"$E\,\Theta_1$, and linear model (dotted)")
axes.legend()
plt.show()
