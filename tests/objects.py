"""One object of each class that the package gives, what it answers, and whether two objects are the same."""

import math
import pickle
import types
from functools import cache

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator

import ntkspec as ns
from ntkspec import operators
from ntkspec.activations.functions import NAMES
from ntkspec.networks import DeepNetwork
from ntkspec.objects.lazy import cached_property
from ntkspec.operators.interleaved import Interleaved
from ntkspec.operators.transposed import Transposed

rng = np.random.default_rng(0)
N, D = 24, 4
X, X2, y = rng.standard_normal((N, D)), rng.standard_normal((5, D)), np.sign(rng.standard_normal(N))
HALF = np.diag(np.linspace(0.1, 1.0, N))


def swish(z):
    """z sigmoid(z)."""
    return z / (1 + np.exp(-z))


def slope_of_swish(z):
    """Its derivative."""
    return (1 + np.exp(-z) * (1 + z)) / (1 + np.exp(-z)) ** 2


def quartic(u, y):
    """(u - y)^4 / 4."""
    return (u - y) ** 4 / 4


def slope_of_quartic(u, y):
    """Its derivative in u."""
    return (u - y) ** 3


def doubled(v):
    """A product with 2 I."""
    return 2 * v


SWISH = ns.Activation(swish, slope_of_swish, "swish", kinks=[0.5])
NETWORKS = {
    "two layers": ns.TwoLayer.random(D, 6, "tanh", second="normal"),
    "two layers in float32": ns.TwoLayer.symmetric(D, 6, "relu", dtype=np.float32),
    "two layers of the user's function": ns.TwoLayer.random(D, 6, SWISH),
    "deep": ns.FullyConnected.random(D, [6, 3], ns.activation("elu", alpha=0.3)),
    "deep, paired": ns.FullyConnected.paired(D, [6, 4], "erf", dtype=np.float32),
    "sequence": ns.Convolutional.paired((D, 1), 4, ns.activation("leaky_relu", negative_slope=0.1), filter_size=2),
    "images": ns.Convolutional.random((2, 2, 1), [3, 2], "gelu", filter_size=(2, 1)),
}


@cache
def activations() -> dict:
    """Named ones with and without parameters, and a user's."""
    named = {name: ns.activation(name) for name in NAMES}
    with_parameters = [ns.activation("leaky_relu", negative_slope=1 / 3), ns.activation("elu", alpha=np.float32(0.1))]
    own = {"own": SWISH, "of NumPy": ns.Activation(np.sin, np.cos, "wave")}
    return named | own | {act.name: act for act in with_parameters}


class Laplace(operators.EntrywiseOperator):
    """A user's kernel, of its entries."""

    symmetric = semidefinite = True

    def __init__(self, points):
        self.points, self.shape, self.dtype = points, (len(points), len(points)), points.dtype

    def _tile(self, rows, cols, dtype):
        return np.exp(-abs(self.points[rows, None].astype(dtype) - self.points[cols]))


@cache
def kernels() -> dict:
    """Operators of every class."""
    net, tiny = NETWORKS["two layers in float32"], X * 1e-120
    theta, sparse = ns.ntk(net, X), scipy.sparse.eye_array(N, format="csr") * 3.0
    return {
        "theta": theta,
        "rectangular": ns.ntk(NETWORKS["two layers"], X, X2),
        "of the user's function": ns.ntk(NETWORKS["two layers of the user's function"], X),
        "deep": ns.ntk(NETWORKS["deep"], X),
        "through gradients": ns.ntk(NETWORKS["images"], X),
        "linear": ns.linear_kernel("gelu", X, X2),
        "gap": ns.ntk(net, X) - ns.linear_kernel("relu", X),
        "gap in float32": 0.5 * ns.ntk(net, X.astype(np.float32), layer="first"),
        "expected": ns.expected_ntk("relu", X, hidden_layers=2),
        "expected, a series": ns.expected_nngp("tanh", X, X2),
        "expected, of tiny inputs": ns.expected_ntk("relu", tiny),
        "expected, convolutional": ns.expected_cnn_ntk("relu", X, filter_size=2, hidden_layers=2),
        "expected, convolutional, a series": ns.expected_cnn_ntk("softplus", X, filter_size=3),
        "Dense": operators.Dense(HALF),
        "Dense, not symmetric": operators.Dense(X),
        "Dense, along columns": operators.Dense(np.asfortranarray(X2)),
        "Diagonal": operators.Diagonal(y),
        "Gram": operators.Gram(X),
        "interleaved": Interleaved([operators.Gram(X[:12]), operators.Gram(2 * X[:12])]),
        "Hadamard": operators.HadamardGram(X, X),
        "triangle": operators.form(theta),
        "sparse": operators.wrap(sparse),
        "SciPy's": operators.wrap(aslinearoperator(HALF)),
        "function": operators.wrap(doubled, N),
        "of two outputs": Interleaved([theta, theta]),
        "of entries": Laplace(y),
        "transposed": Transposed(Laplace(y)),
        "for SciPy": operators.to_scipy(theta),
    }


@cache
def results() -> dict:
    """What functions of the package return beside kernels and networks."""
    net = NETWORKS["two layers"]
    theta, products = ns.ntk(net, X), operators.wrap(doubled, N)
    norm, pairs, density = ns.spectral_norm(theta), ns.eigsh(theta, 3), ns.spectral_density(theta)
    heavy = {"eta": 0.1, "steps": [0, 3], "law": ns.HeavyBall(0.5)}
    watched = {"watch": [ns.weight_movement, ns.kernel_drift], "X_test": X2}
    return {
        "norm": norm,
        "trace": ns.trace(theta),
        "Frobenius norm": ns.frobenius_norm(theta),
        "effective rank": ns.effective_rank(theta),
        "plan": ns.plan(theta),
        "pairs": pairs,
        "density": density,
        "density from probes": ns.spectral_density(products, probes=2, steps=5),
        "histogram": density.histogram(5),
        "smoothed": density.smoothed(7),
        "prediction": ns.predict_gd(theta, y, kernel_test=ns.ntk(NETWORKS["two layers"], X2, X), **heavy),
        "run": ns.train_gd(NETWORKS["two layers"], X, y, eta=0.1, steps=[0, 5], **watched),
        "deep run": ns.train_gd(NETWORKS["deep, paired"], X, y, eta=0.1, steps=[3]),
        "modes": ns.learning_modes(theta, y, eta=0.1, k=2),
        "ensemble": ns.ensemble(theta, HALF, y, eta=0.1, steps=[0, np.inf], train=True, ntk_cross=np.ones((5, N))),
        "posterior": ns.posterior(theta, ns.ntk(NETWORKS["two layers"], X2, X), np.eye(len(X2)), y, noise=0.5),
        "modes, flowing": ns.learning_modes(theta, y, eta=0.1, k=2, law="flow"),
        "angles": ns.subspace_angles(pairs, pairs),
        "budget": ns.gap_budget(NETWORKS["two layers"], X),
        "expansion": ns.linear_expansion("softplus", hidden_layers=2),
        "nearest linear kernel": (fit := ns.nearest_linear_kernel(theta, X, trace_ratio=1.0)),
        "its coefficients": fit.coefficients,
        "constants": ns.activation("tanh").constants,
        "series": ns.track([(0, net), (9, ns.train_gd(net, X, y, eta=0.1, steps=[9]).network)], X, y, eta=0.1),
        "Nesterov": ns.Nesterov(0.5),
        "Huber": ns.Huber(0.25),
        "loss": ns.Loss(quartic, slope_of_quartic),
        "interval": norm.interval,
        "work": theta.cost.product,
        "law": ns.HeavyBall(0.25),
    }


def answers(things: dict) -> dict:
    """Numbers that each object computes."""
    return {name: _answers(value) for name, value in things.items()}


def sent_back(things: dict) -> tuple[bytes, dict]:
    """The objects, pickled again, and their answers, for another process to return."""
    return pickle.dumps(things), answers(things)


def _answers(value):
    if isinstance(value, ns.Activation):
        return [*value.value_and_derivative(X), value.constants, value.kinks, value.assumption]
    if isinstance(value, ns.TwoLayer | DeepNetwork):
        return [value(X), ns.ntk(value, X).to_dense()]
    if hasattr(value, "matmat"):
        return value.matmat(X) if value.shape[1] == N else None
    if isinstance(value, ns.KernelOperator):
        v = np.linspace(-1, 1, value.shape[1])
        return [value @ v, value.to_dense(), value.T.to_dense(), value.rounding.norm_of_absolute, repr(value)]
    return repr(value)


def same(one, other, seen: set | None = None) -> bool:
    """Whether two objects have the same fields, bit by bit."""
    seen = set() if seen is None else seen
    if type(one) is not type(other):
        return False
    if id(one) in seen:
        return True
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, types.FunctionType | types.ModuleType | np.ufunc | type):
        return one is other
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(*pair, seen) for pair in zip(one, other, strict=True))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key], seen) for key in one)
    if hasattr(one, "__dict__"):
        seen.add(id(one))
        return same(*(_fields(part) for part in (one, other)), seen)
    return one == other


def _fields(value) -> dict:
    """What it holds, in any order, but for what it computes anew when it is looked at."""
    held = sorted(vars(value).items())  # SciPy 1.18 restores an operator's fields in another order
    return {name: field for name, field in held if not isinstance(_of_class(value, name), cached_property)}


def _of_class(value, name: str):
    return getattr(type(value), name, None)


def classes_in(value, seen: set | None = None) -> set[type]:
    """The package's classes that an object, and all that it holds, are of."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, np.ndarray | types.ModuleType | types.FunctionType | type):
        return set()
    seen.add(id(value))
    own = {cls for cls in type(value).__mro__ if cls.__module__.startswith("ntkspec")}
    inside = value if isinstance(value, list | tuple) else value.values() if isinstance(value, dict) else []
    return own.union(*(classes_in(held, seen) for held in [*inside, *getattr(value, "__dict__", {}).values()]))
