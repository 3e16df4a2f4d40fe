"""Full-batch gradient descent on a two-layer network by jax, in an environment of its own.

`python jax_peer.py SETTING.npz RESULT.npz`, with the packages of requirements-neural-tangents.txt.

SETTING.npz: X (n, d), y (n,), W (m, d), v (m,) in float32, activation ("relu" or "erf"), eta, steps, by_hand, repeats.
RESULT.npz: W, v (after the last step), seconds (best of the repeats, all steps, without compilation), platform (where
that was, such as "cpu") and version of jax. Products are in full float32, not in TF32, on every platform.
"""

import math
import os
import sys
import time

# Others use the GPU's memory too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

PHI = {
    "erf": (jax.scipy.special.erf, lambda z: 2 / math.sqrt(math.pi) * jnp.exp(-z * z)),
    "relu": (jax.nn.relu, lambda z: (z > 0).astype(z.dtype)),
}


def main(setting_path: str, result_path: str) -> None:
    """Read the setting, measure, write the result."""
    jax.config.update("jax_default_matmul_precision", "highest")
    with np.load(setting_path) as file:
        setting = dict(file)
    activation, eta, by_hand = str(setting["activation"]), float(setting["eta"]), bool(setting["by_hand"])
    descent = compiled_descent(activation, eta, by_hand, int(setting["steps"]))
    arrays = [jax.device_put(setting[name]) for name in ("W", "v", "X", "y")]
    W, v = jax.block_until_ready(descent(*arrays))
    seconds = []
    for _ in range(int(setting["repeats"])):
        start = time.perf_counter()
        jax.block_until_ready(descent(*arrays))
        seconds.append(time.perf_counter() - start)
    about = {"platform": jax.default_backend(), "version": jax.__version__}
    np.savez(result_path, W=W, v=v, seconds=min(seconds), **about)


def compiled_descent(activation: str, eta: float, by_hand: bool, steps: int):
    """The compiled function (W, v, X, y) -> (W, v) of all steps; autograd unless ``by_hand``."""
    phi, slope = PHI[activation]

    def loss(W, v, X, y):
        m, d = W.shape
        return ((phi(X @ (W.T / math.sqrt(d))) @ v / math.sqrt(m) - y) ** 2).mean() / 2

    def gradients_by_hand(W, v, X, y):
        (m, d), n = W.shape, len(y)
        U = X @ (W.T / math.sqrt(d))
        value = phi(U)
        residual = (value @ v / math.sqrt(m) - y) / (n * math.sqrt(m))
        return slope(U).T @ (residual[:, None] * X) * (v[:, None] / math.sqrt(d)), residual @ value

    gradients = gradients_by_hand if by_hand else jax.grad(loss, argnums=(0, 1))

    @jax.jit
    def descent(W, v, X, y):
        def step(weights, _):
            return jax.tree_util.tree_map(lambda w, g: w - eta * g, weights, gradients(*weights, X, y)), None

        return jax.lax.scan(step, (W, v), None, length=steps)[0]

    return descent


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python jax_peer.py SETTING.npz RESULT.npz")
    main(*sys.argv[1:])
