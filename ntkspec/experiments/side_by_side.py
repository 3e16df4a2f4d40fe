"""A network trained beside models that keep their kernel: outputs, losses and differences at the same steps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ntkspec.datasets import Dataset
from ntkspec.datasets.classes import classes_of
from ntkspec.dynamics import Trajectory, predict_gd
from ntkspec.dynamics import loss as loss_of
from ntkspec.engines.arrays import Array
from ntkspec.experiments.agreement import loss, mean_squared_difference
from ntkspec.experiments.devices import on_host
from ntkspec.experiments.recipes import USUAL, Recipe
from ntkspec.experiments.stages import Stages
from ntkspec.networks.protocol import Network, Points
from ntkspec.operators import KernelOperator
from ntkspec.training import accuracy, train_gd

NETWORK = "network"


@dataclass(frozen=True)
class FixedKernel:
    """A model whose kernel does not change: K(X, X), and K(X_test, X) where there are test points.

    stage : what its prediction is called in the timings.
    """

    kernel: KernelOperator
    kernel_test: KernelOperator | None
    stage: str


@dataclass(frozen=True)
class Start:
    """Outputs of the network at step 0, where they are not zero: on the training points and on the test points."""

    train: Array
    test: Array | None


@dataclass(frozen=True)
class TrainedInputs:
    """The points of a data set as a network of the user's own takes them; test is None where there are none."""

    train: Points
    test: Points | None


@dataclass(frozen=True)
class SideBySide:
    """Trajectories by model, that of the "network" first, all at the same steps.

    labels : by part, "train" and "test" (which is missing where there are no test points). network : the trained one.
    recipe : how they were trained.
    """

    trajectories: dict[str, Trajectory]
    labels: dict[str, Array]
    network: Network
    recipe: Recipe = USUAL

    @property
    def on_host(self) -> "SideBySide":
        """The same with NumPy arrays, of all points; the network stays where it is."""
        return replace(self, trajectories=on_host(self.trajectories), labels=on_host(self.labels))

    def outputs(self, model: str, part: str) -> Array:
        """(steps, n), or (steps, n, K) of several outputs, of a model on the points of a part."""
        return getattr(self.trajectories[model], part)

    def residuals(self, model: str, part: str) -> Array:
        """Outputs less labels."""
        return self.outputs(model, part) - self.labels[part]

    def losses(self) -> dict[str, dict[str, np.ndarray]]:
        """The mean loss over points at each step, (1/2n) sum (f - y)² of the squared one, by model and part."""
        mean = loss if self.recipe.squared else loss_of(self.recipe.loss).mean
        return {
            name: {part: mean(self.outputs(name, part), y) for part, y in self.labels.items()}
            for name in self.trajectories
        }

    def accuracies(self) -> dict[str, dict[str, np.ndarray]]:
        """The part of the points that a model classifies rightly at each step, by model and part; nothing where labels
        are no columns of classes."""
        if classes_of(self.labels["train"]) is None:
            return {}
        return {
            name: {part: accuracy(self.outputs(name, part), y) for part, y in self.labels.items()}
            for name in self.trajectories
        }

    def differences(self, one: str, other: str) -> dict[str, np.ndarray]:
        """(1/n) sum (f - f')² of two models at each step, by part."""
        return {
            part: mean_squared_difference(self.outputs(one, part), self.outputs(other, part)) for part in self.labels
        }


def train_beside(
    net: Network,
    dataset: Dataset,
    models: Mapping[str, FixedKernel],
    *,
    eta: float,
    rates: Mapping[str, Any],
    steps: np.ndarray,
    stages: Stages,
    stage: str,
    recipe: Recipe = USUAL,
    start: Start | None = None,
    inputs: TrainedInputs | None = None,
) -> SideBySide:
    """Predict the training of each model at the rate ``eta``, train the network, and put both side by side.

    rates : of the network (``eta``, or ``eta1`` and ``eta2`` of :func:`ntkspec.train_gd`, and ``outputs``). stage :
    what its training is called. recipe : of all of them. start : where the predictions begin; None is at zero. inputs :
    the points as the network takes them; None are those of the data set. Cost: that of the predictions and of training.
    """
    y, tests = dataset.y, len(dataset.X_test) > 0
    inputs = inputs or TrainedInputs(dataset.X, dataset.X_test if tests else None)
    how: dict[str, Any] = {"steps": steps, **recipe.arguments}
    begins: Any = None if start is None else (start.train, start.test)
    trajectories = {
        name: stages(
            model.stage, predict_gd, model.kernel, y, eta=eta, kernel_test=model.kernel_test, start=begins, **how
        )
        for name, model in models.items()
    }
    trained = stages(stage, train_gd, net, inputs.train, y, X_test=inputs.test, **rates, **how)
    assert trained.network is not None
    return SideBySide(
        {NETWORK: replace(trained, network=None)} | trajectories,
        {"train": y} | ({"test": dataset.y_test} if tests else {}),
        trained.network,
        recipe,
    )
