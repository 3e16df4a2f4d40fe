"""The options that say which network is measured and trained, and the task of them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

from ntkspec.cli.data import DataOptions
from ntkspec.cli.options import MaybeWhole, located
from ntkspec.cli.own_network import NetworkFile, is_own, network_file
from ntkspec.cli.recipes import RecipeOptions, recipe_of

if TYPE_CHECKING:
    from ntkspec.experiments.analyze import AnalyzeTask
    from ntkspec.experiments.network_tasks import NetworkTask


@Parameter(name="*")
@dataclass(frozen=True)
class KernelOptions:
    """Which network, and how its kernel is multiplied."""

    activation: str = "erf"
    "identity, relu, leaky_relu, abs, erf, tanh, sigmoid, softplus, gelu, silu, elu, sin or cos"
    negative_slope: float | None = None
    "slope of leaky_relu below 0 (default: 0.01)"
    network: str = "two-layer"
    """two-layer (equation (3)), a deep one: fc:LAYERSxWIDTH, cnn:LAYERSxCHANNELS:kSIZE, such as fc:4x512, cnn:4x64:k3,
    or one of your own, FILE.py:FUNCTION: a function that returns a PyTorch module, or a JAX function with parameters"""
    width: MaybeWhole = None
    "number of neurons m of two layers, even (default: 256)"
    layer: str = "both"
    """which of two layers is trained: first, second or both; of your own network a glob on its parameters ('blocks.*',
    all of them without it)"""
    second: Literal["rademacher", "normal"] | None = None
    "initial second layer of two: signs or N(0, 1) (default: rademacher)"
    method: Literal["dense", "factored", "streamed"] | None = None
    "products by stored kernels, their factors, or on a GPU kernels in host memory (default: the fastest that fits)"
    outputs: str | None = None
    "outputs of your own network: full, mean, trace, sum or a number from 0 (default: analyze full, spectrum mean)"
    inputs: Literal["flat", "nchw", "nhwc"] = "flat"
    "how your own network takes images: flat rows of numbers, or with channels first (PyTorch) or last (Flax)"


@Parameter(name="*")
@dataclass(frozen=True)
class TrainingOptions:
    """How the network is trained."""

    eta: float | None = None
    "learning rate of the trained layers (default: chosen from the kernel)"
    eta1: float | None = None
    "learning rate of the first layer, where it differs (default: eta)"
    eta2: float | None = None
    "learning rate of the second layer, where it differs (default: eta)"
    steps: MaybeWhole = None
    "steps of training (default: 3000, or fewer for large settings)"


def analyze_task(
    network: KernelOptions, training: TrainingOptions, recipe: RecipeOptions | None, seed: int
) -> "AnalyzeTask":
    """The task of an analysis. Raises ValueError for a rate, a recipe or a number of steps that cannot be."""
    from ntkspec import checks
    from ntkspec.experiments.analyze import AnalyzeTask

    eta1, eta2 = training.eta1, training.eta2
    if training.eta is not None:
        checks.learning_rate(training.eta, "eta")
        eta1 = training.eta if eta1 is None and network.layer != "second" else eta1
        eta2 = training.eta if eta2 is None and network.layer != "first" else eta2
    steps = 0 if training.steps is None else checks.whole_number(training.steps, "steps", 1)
    return AnalyzeTask(eta1=eta1, eta2=eta2, steps=steps, seed=seed, **recipe_of(recipe), **task_options(network))


def own_network_of(network: KernelOptions) -> NetworkFile | None:
    """The file of a network of the user's own, which is run here; None for a built-in one."""
    return network_file(network.network, network.layer) if is_own(network.network) else None


def task_options(network: KernelOptions) -> dict[str, Any]:
    """The arguments of a task."""
    options = vars(network) | {"own": is_own(network.network)}
    if (outputs := network.outputs) is not None:
        options["outputs"] = int(outputs) if outputs.isdecimal() else outputs
    return options


def folder_name(data: DataOptions, task: "NetworkTask", engine: str, *, more: tuple[Any, ...] = ()) -> str:
    """Readable, and different for different settings: the same command, the same folder.

    more : what else a setting consists of.
    """
    setting = (data, task, task.outputs, task.inputs) if task.own else (data, task)
    setting += more
    key = hashlib.sha256(repr(setting).encode()).hexdigest()[:8]
    if task.own:
        return located(f"{Path(data.data).stem}-{Path(task.name).name.replace('.py:', '-')}-{key}", engine)
    network = task.network.replace(":", "-") if task.deep else f"m{task.width}-{task.layer}"
    return located(f"{Path(data.data).stem}-{task.activation}-{network}-{key}", engine)
