"""Kernels of deep erf networks by neural-tangents, in an environment of its own.

`python neural_tangents_deep_peer.py SETTING.npz RESULT.npz`, with the packages of requirements-neural-tangents.txt.

SETTING.npz: X (n, d) in float32 or float64, repeats, batch (0: the whole kernel in one compiled call; otherwise
nt.batch of so many points, which divides n), and either hidden_layers, for the NTK of infinite width, or implementation
(a name of nt.NtkImplementation) and the weights W0 (m, d), ..., of which the last has one row, for their NTK.
RESULT.npz: as fresh.measure writes it.
"""

import sys

import jax
import numpy as np


def main(setting_path: str, result_path: str) -> None:
    """Read the setting, measure, write the result."""
    with np.load(setting_path) as file:
        setting = dict(file)
    jax.config.update("jax_enable_x64", bool(setting["X"].dtype == np.float64))
    X = jax.device_put(setting["X"])
    kernel = infinite(setting) if "hidden_layers" in setting else empirical(setting)
    measure(lambda: jax.block_until_ready(kernel(X)), int(setting["repeats"]), result_path)


def empirical(setting):
    """The kernel function of the NTK at given weights."""
    count = sum(name.startswith("W") for name in setting)
    weights = [jax.device_put(setting[f"W{k}"].T) for k in range(count)]
    parameters = [part for W in weights for part in ((W, None), ())][:-1]
    _, apply, _ = chain([W.shape[1] for W in weights])
    implementation = nt.NtkImplementation[str(setting["implementation"])]
    kernel_fn = nt.empirical_ntk_fn(apply, trace_axes=(-1,), vmap_axes=0, implementation=implementation)
    compiled = in_batches(kernel_fn, int(setting["batch"])) or jax.jit(kernel_fn)
    return lambda X: compiled(X, None, parameters)


def infinite(setting):
    """The kernel function of the NTK of infinite width."""
    _, _, kernel_fn = chain([1] * (int(setting["hidden_layers"]) + 1))
    batched = in_batches(kernel_fn, int(setting["batch"]))
    return (lambda X: batched(X, None, "ntk")) if batched else jax.jit(lambda X: kernel_fn(X, None, "ntk"))


def chain(widths):
    """A fully-connected erf network without biases."""
    dense = [stax.Dense(width, W_std=1, b_std=None) for width in widths]
    return stax.serial(*[layer for one in dense for layer in (one, stax.Erf())][:-1])


def in_batches(kernel_fn, size: int):
    """The same by blocks of so many points, compiled once; None for 0."""
    return nt.batch(kernel_fn, batch_size=size) if size else None


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python neural_tangents_deep_peer.py SETTING.npz RESULT.npz")
    import neural_tangents as nt
    from fresh import measure
    from neural_tangents import stax

    main(*sys.argv[1:])
