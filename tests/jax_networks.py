"""Small networks in JAX for tests, and their kernels by jax.jacobian in float64."""

import itertools

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy
# Compiling takes most of the tests' time.
jax.config.update("jax_disable_most_optimizations", True)

from ntkspec.networks.jax.modes import computing  # noqa: E402  (after the skip)

DOUBLE = np.dtype(np.float64)


def is_float(leaf):
    """Whether it is an array of floats, or a number."""
    return isinstance(leaf, float) or getattr(leaf, "dtype", np.dtype(int)).kind == "f"


def doubled(tree):
    """Floats of a pytree as float64, the rest as it is."""
    with computing(DOUBLE):
        return jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf, float) if is_float(leaf) else leaf, tree)


def jacobian(function, params, points):
    """The gradients of all outputs in the float leaves, (n, K, P) in float64, one array a leaf."""
    with computing(DOUBLE):
        leaves, structure = jax.tree_util.tree_flatten(doubled(params))
        floats = [k for k, leaf in enumerate(leaves) if is_float(leaf)]

        def of(moving):
            whole = list(leaves)
            for k, leaf in zip(floats, moving, strict=True):
                whole[k] = leaf
            found = function(jax.tree_util.tree_unflatten(structure, whole), doubled(points))
            return found.reshape(len(found), -1)

        parts = jax.jit(jax.jacobian(of))([leaves[k] for k in floats])
        return [np.asarray(part).reshape(*part.shape[:2], -1) for part in parts]


def outputs(function, params, points):
    """The function's own, in float64."""
    with computing(DOUBLE):
        return np.asarray(jax.jit(lambda points: function(doubled(params), points))(doubled(points)))


def mlp(rng, sizes=(3, 8, 5, 2), points=6):
    """Tanh layers with biases."""
    shapes = list(itertools.pairwise(sizes))
    params = [{"w": rng.standard_normal(s) / s[0] ** 0.5, "b": rng.standard_normal(s[1])} for s in shapes]

    def function(params, x):
        for layer in params[:-1]:
            x = jnp.tanh(x @ layer["w"] + layer["b"])
        return x @ params[-1]["w"] + params[-1]["b"]

    return function, params, rng.standard_normal((points, sizes[0]))


def scalar(rng):
    """Outputs of shape (n,), and a parameter that is a Python number."""
    params = {"w": rng.standard_normal(4), "scale": 1.5}
    return lambda p, x: jnp.sin(p["scale"] * (x @ p["w"])), params, rng.standard_normal((5, 4))


def tied(rng):
    """Tokens through one embedding that is used again at the end, with attention between positions."""
    params = {"embedding": rng.standard_normal((11, 4)), "mix": rng.standard_normal((4, 4))}

    def function(params, tokens):
        x = params["embedding"][tokens]
        scores = jax.nn.softmax(x @ params["mix"] @ x.transpose(0, 2, 1), axis=-1)
        return (scores @ x).mean(axis=1) @ params["embedding"].T

    return function, params, rng.integers(0, 11, (5, 6))


def recurrent(rng):
    """A cell in a scan over the positions of a sequence."""
    params = {
        "u": rng.standard_normal((3, 4)),
        "v": rng.standard_normal((4, 4)) / 2,
        "out": rng.standard_normal((4, 2)),
    }

    def function(params, x):
        def step(state, now):
            return jnp.tanh(now @ params["u"] + state @ params["v"]), None

        state, _ = jax.lax.scan(step, jnp.zeros((x.shape[0], 4), x.dtype), x.transpose(1, 0, 2))
        return state @ params["out"]

    return function, params, rng.standard_normal((4, 5, 3))


def convolutional(rng):
    """A strided convolution with a ReLU, on images."""
    params = {"filters": rng.standard_normal((3, 3, 2, 4)), "out": rng.standard_normal((4, 3))}

    def function(params, x):
        names = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, params["filters"], (2, 2), "SAME", dimension_numbers=names)
        return jax.nn.relu(y).mean(axis=(1, 2)) @ params["out"]

    return function, params, rng.standard_normal((4, 6, 6, 2))


def of_dicts(rng):
    """Points that are a dict of numbers and of classes, and an integer array among the parameters."""
    params = {"table": rng.standard_normal((3, 4)), "w": rng.standard_normal((5, 4)), "order": np.array([2, 0, 1])}

    def function(params, points):
        rows = params["table"][params["order"]][points["kind"]]
        return (jnp.tanh(points["x"] @ params["w"]) * rows).sum(axis=1)

    return function, params, {"x": rng.standard_normal((5, 5)), "kind": rng.integers(0, 3, 5)}


def linen(rng):
    """Flax's linen: dense layers, a layer norm and a batch norm in eval mode."""
    nn = pytest.importorskip("flax.linen", reason="Flax is not installed")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.gelu(nn.LayerNorm()(nn.Dense(6)(x)))
            return nn.Dense(2)(nn.BatchNorm(use_running_average=True)(x))

    x = rng.standard_normal((5, 3))
    module, variables = Net(), dict(Net().init(jax.random.key(0), jnp.asarray(x, np.float32)))
    rest = {"batch_stats": variables["batch_stats"]}
    return lambda params, x: module.apply({"params": params, **rest}, x), variables["params"], x


def nnx(rng):
    """Flax's nnx: the state of the parameters, with the rest kept aside."""
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.norm = nnx.Linear(3, 6, rngs=rngs), nnx.BatchNorm(6, use_running_average=True, rngs=rngs)
            self.last = nnx.Linear(6, 2, rngs=rngs)

        def __call__(self, x):
            return self.last(jax.nn.relu(self.norm(self.first(x))))

    graph, params, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)
    return lambda params, x: nnx.merge(graph, params, rest)(x), params, rng.standard_normal((5, 3))


def equinox(rng):
    """An Equinox module as it is: its activation functions are no arrays."""
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    model = eqx.nn.MLP(3, 2, 6, 2, key=jax.random.key(0))
    return lambda model, x: jax.vmap(model)(x), model, rng.standard_normal((5, 3))


def equinox_parts(rng):
    """The two parts of eqx.partition."""
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    params, rest = eqx.partition(eqx.nn.MLP(3, 2, 6, 1, key=jax.random.key(1)), eqx.is_inexact_array)
    return lambda params, x: jax.vmap(eqx.combine(params, rest))(x), params, rng.standard_normal((5, 3))


def haiku(rng):
    """Haiku's dict of dicts."""
    hk = pytest.importorskip("haiku", reason="Haiku is not installed")
    x = rng.standard_normal((5, 3))
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([6, 2])(x)))
    return net.apply, net.init(jax.random.key(0), jnp.asarray(x, np.float32)), x


PLAIN = [mlp, scalar, tied, recurrent, convolutional, of_dicts]
LIBRARIES = [linen, nnx, equinox, equinox_parts, haiku]
# Those beyond are run every night: each takes seconds to compile.
DEFAULT = [mlp, tied, linen, nnx, equinox]
