"""A network trained beside models that keep their kernel: outputs, losses and differences at the same steps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ntkspec.datasets import Dataset
from ntkspec.dynamics import Trajectory, predict_gd
from ntkspec.engines.arrays import Array
from ntkspec.experiments.agreement import loss, mean_squared_difference
from ntkspec.experiments.devices import on_host
from ntkspec.experiments.stages import Stages
from ntkspec.networks import DeepNetwork, TwoLayer
from ntkspec.operators import KernelOperator
from ntkspec.training import train_gd

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
class SideBySide:
    """Trajectories by model, that of the "network" first, all at the same steps.

    labels : by part, "train" and "test" (which is missing where there are no test points). network : the trained one.
    """

    trajectories: dict[str, Trajectory]
    labels: dict[str, Array]
    network: TwoLayer | DeepNetwork

    @property
    def on_host(self) -> "SideBySide":
        """The same with NumPy arrays; the network stays where it is."""
        return replace(self, trajectories=on_host(self.trajectories), labels=on_host(self.labels))

    def outputs(self, model: str, part: str) -> Array:
        """(steps, n) of a model on the points of a part."""
        return getattr(self.trajectories[model], part)

    def residuals(self, model: str, part: str) -> Array:
        """(steps, n), outputs less labels."""
        return self.outputs(model, part) - self.labels[part]

    def losses(self) -> dict[str, dict[str, np.ndarray]]:
        """(1/2n) sum (f - y)² at each step, by model and part."""
        return {
            name: {part: loss(self.outputs(name, part), y) for part, y in self.labels.items()}
            for name in self.trajectories
        }

    def differences(self, one: str, other: str) -> dict[str, np.ndarray]:
        """(1/n) sum (f - f')² of two models at each step, by part."""
        return {
            part: mean_squared_difference(self.outputs(one, part), self.outputs(other, part)) for part in self.labels
        }


def train_beside(
    net: TwoLayer | DeepNetwork,
    dataset: Dataset,
    models: Mapping[str, FixedKernel],
    *,
    eta: float,
    rates: Mapping[str, float],
    steps: np.ndarray,
    stages: Stages,
    stage: str,
    batch: int | None = None,
    seed: int = 0,
) -> SideBySide:
    """Predict gradient descent of each model at the rate ``eta``, train the network, and put both side by side.

    rates : of the network (``eta``, or ``eta1`` and ``eta2`` of :func:`ntkspec.train_gd`). stage : what its training is
    called. batch, seed : those of the training. Cost: that of the predictions and of training.
    """
    X, y, tests = dataset.X, dataset.y, len(dataset.X_test) > 0
    trajectories = {
        name: stages(model.stage, predict_gd, model.kernel, y, eta=eta, steps=steps, kernel_test=model.kernel_test)
        for name, model in models.items()
    }
    how: dict[str, Any] = {"X_test": dataset.X_test if tests else None, "batch": batch, "seed": seed, **rates}
    trained = stages(stage, train_gd, net, X, y, steps=steps, **how)
    assert trained.network is not None
    return SideBySide(
        {NETWORK: replace(trained, network=None)} | trajectories,
        {"train": y} | ({"test": dataset.y_test} if tests else {}),
        trained.network,
    )
