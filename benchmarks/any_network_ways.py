"""The kernel of a PyTorch module, or one product with it, by ntkspec or by one of its peers, in a process of its own:
`python -m benchmarks.any_network_ways SETTING.npz RESULT.npz`.

Each way is a function of a :class:`Problem` that returns a function of nothing: what is prepared once, such as a pass
forward, happens in its first call.
"""

import sys
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch.func import functional_call, grad, jvp, linearize, vjp, vmap
from torch.utils.flop_counter import FlopCounterMode

import ntkspec as ns
from benchmarks import torch_networks as networks
from benchmarks.fresh import measure

FLOAT32 = torch.float32
# Points of a first call that is not measured.
WARM = 4


@dataclass(frozen=True)
class Problem:
    """A module, its points, its outputs (1: the first, otherwise the mean of all), and the points of a chunk."""

    module: torch.nn.Module
    points: torch.Tensor
    outputs: int
    chunk: int

    @property
    def theta(self) -> ns.KernelOperator:
        """Our kernel, from the module on."""
        return ns.ntk(ns.from_torch(self.module), self.points, outputs=0 if self.outputs == 1 else "mean")

    @property
    def vector(self) -> np.ndarray:
        """What one product is taken with."""
        return np.random.default_rng(5).standard_normal(len(self.points)).astype(np.float32)

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in self.module.named_parameters()}

    def output(self, parameters, points, number: int) -> torch.Tensor:
        """One output of all the points, as a function of the parameters."""
        return functional_call(self.module, parameters, (points,))[:, number]


def resnet18(n: int):
    """ResNet-18 on random images of CIFAR's size."""
    return networks.resnet18(10, dtype=FLOAT32), networks.signals(n, 3, 32, 32, dtype=FLOAT32)


def small_resnet18(n: int):
    """The same network, small, for a quick check of the answers."""
    return networks.resnet((8, 12), 1, 10, dtype=FLOAT32), networks.signals(n, 3, 8, 8, dtype=FLOAT32)


def transformer(n: int, *, vocabulary=512, positions=64, width=128, layers=4):
    """A transformer with a head for ten classes."""
    sizes = {"vocabulary": vocabulary, "positions": positions, "width": width, "layers": layers}
    module = networks.transformer(**sizes, heads=4, outputs=10, dtype=FLOAT32)
    return module, networks.tokens(n, positions, vocabulary)


def small_transformer(n: int):
    """The same, small."""
    return transformer(n, vocabulary=20, positions=8, width=16, layers=2)


def mlp(n: int, *, inputs=784, width=2048):
    """Two hidden layers with biases and GELU; points whose covariance falls like 1/k, as of images."""
    nn = torch.nn
    layers = (nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
    module = networks.made(nn.Sequential, *layers, dtype=FLOAT32)
    spectrum = 1 / torch.arange(1, inputs + 1, dtype=FLOAT32)
    scale = torch.sqrt(spectrum * inputs / spectrum.sum())
    return module, scale * networks.signals(n, inputs, dtype=FLOAT32)


def small_mlp(n: int):
    """The same, small."""
    return mlp(n, inputs=40, width=64)


NETWORKS = {
    made.__name__: made for made in (resnet18, small_resnet18, transformer, small_transformer, mlp, small_mlp)
}  # fmt: skip


def size_of(network: str) -> tuple[float, int]:
    """Flops of a pass forward for a point, and the number of parameters."""
    module, points = NETWORKS[network](1)
    with FlopCounterMode(display=False) as counter:
        module(points)
    return float(counter.get_total_flops()), sum(weight.numel() for weight in module.parameters())


# ----------------------------------------------------------------------------------------------------------------- ours


def our_kernel(problem: Problem):
    """The dense kernel, from the module on."""
    return lambda: problem.theta.to_dense()


def our_product(problem: Problem):
    """Products with one operator."""
    vector = problem.vector

    @cache
    def theta():
        return problem.theta

    return lambda: np.asarray(theta() @ vector)[:, None]


def our_gap(problem: Problem):
    """The interval of the norm of the kernel minus its nearest linear kernel."""

    def norm():
        fit = ns.nearest_linear_kernel(problem.theta, problem.points.numpy())
        found = ns.spectral_norm(fit.theta - fit.operator)
        return np.array([[found.lower, found.value, found.upper]])

    return norm


# ---------------------------------------------------------------------------------------------------------------- peers


def contraction(problem: Problem):
    """torch.func's Jacobian contraction, one output at a time: the gradients of all points by vmap in chunks, into one
    matrix, since a vmap with chunk_size holds them twice; the Jacobian of both sides is computed once."""

    def kernel():
        total, parameters = 0, problem.parameters
        J = torch.empty(len(problem.points), sum(weight.numel() for weight in parameters.values()))
        for number in range(problem.outputs):

            def one(parameters, point, number=number):
                return problem.output(parameters, point[None], number)[0]

            for points, rows in zip(problem.points.split(problem.chunk), J.split(problem.chunk), strict=True):
                gradients = vmap(grad(one), (None, 0))(parameters, points)
                torch.cat([part.flatten(1) for part in gradients.values()], 1, out=rows)
            total = total + J @ J.T
        return (total / problem.outputs).numpy()

    return kernel


def own_loop(problem: Problem):
    """A loop over points and outputs, a backward pass each, as written by hand."""

    def kernel():
        weights = list(problem.module.parameters())
        J = torch.empty(len(problem.points), sum(weight.numel() for weight in weights))
        total = 0
        for number in range(problem.outputs):
            for i in range(len(J)):
                gradients = torch.autograd.grad(problem.module(problem.points[i : i + 1])[0, number], weights)
                torch.cat([part.flatten() for part in gradients], out=J[i])
            total = total + J @ J.T
        return (total / problem.outputs).numpy()

    return kernel


def vjp_jvp(problem: Problem):
    """torch.func's vjp, whose pass forward is kept, then jvp, on all points at once."""
    return _products(problem, lambda f, parameters: lambda tangent: jvp(f, (parameters,), (tangent,))[1])


def vjp_linearize(problem: Problem):
    """torch.func's vjp, then linearize, which keeps its pass forward as well."""
    return _products(problem, lambda f, parameters: linearize(f, parameters)[1])


def _products(problem: Problem, pushed):
    vector = torch.from_numpy(problem.vector)

    @cache
    def passes():
        def f(parameters):
            return problem.output(parameters, problem.points, 0)

        return vjp(f, problem.parameters)[1], pushed(f, problem.parameters)

    def product():
        pull, push = passes()
        return push(pull(vector)[0]).detach().numpy()[:, None]

    return product


def curvlinops(problem: Problem):
    """curvlinops' operators of the Jacobian and its adjoint, on all points at once."""
    from curvlinops import JacobianLinearOperator, TransposedJacobianLinearOperator

    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = problem.module

        def forward(self, points):
            return self.module(points)[:, :1]

    model, vector = One(), torch.from_numpy(problem.vector)
    setting = {"check_deterministic": False, "num_data": len(problem.points)}
    data = [(problem.points, vector[:, None])]
    adjoint, jacobian = (
        kind(model, list(model.parameters()), data, **setting)
        for kind in (TransposedJacobianLinearOperator, JacobianLinearOperator)
    )
    return lambda: (jacobian @ (adjoint @ vector)).numpy()[:, None]


OURS = (our_kernel, our_product, our_gap)
WAYS = {
    way.__name__: way for way in (*OURS, contraction, own_loop, vjp_jvp, vjp_linearize, curvlinops)
}  # fmt: skip


def main(setting_path: str, result_path: str) -> None:
    """Read the setting, measure, write the result."""
    with np.load(setting_path) as file:
        setting = {name: value.item() for name, value in file.items()}
    module, points = NETWORKS[setting["network"]](setting["n"])
    way, (outputs, chunk) = WAYS[setting["way"]], (setting["outputs"], setting["chunk"])
    way(Problem(module, points[:WARM], outputs, chunk))()  # loads and compiles
    measure(way(Problem(module, points, outputs, chunk)), setting["repeats"], result_path)


if __name__ == "__main__":
    main(*sys.argv[1:])
