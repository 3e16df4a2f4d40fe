"""The forecast of an analysis: what it is made of, and that it is told first."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.experiments import forecast as forecasts
from ntkspec.experiments.analyze import AnalyzeTask, analyze
from ntkspec.experiments.forecast import Expected, Length, forecast
from ntkspec.experiments.stages import Stages
from ntkspec.operators import JacobianGram
from ntkspec.operators.work import PassWork
from several_outputs import WrittenJacobian, random_jacobian


def test_the_forecast_comes_before_the_long_parts_and_is_kept():
    data, told = ns.datasets.gaussian(400, 6, n_test=20), []
    found = analyze(AnalyzeTask(width=16, steps=30), data, report=told.append)
    first = next(k for k, text in enumerate(told) if text.startswith("forecast: about"))
    assert "norms" not in told[:first]
    assert told.index("norms") > first
    assert set(found.forecast.seconds) == {"kernel", "norms", "NTK prediction", "training"}
    assert found.forecast.total == pytest.approx(sum(found.forecast.seconds.values()))
    assert found.forecast.plan.products > 0


def test_more_of_anything_takes_longer(monkeypatch):
    """A step is said to take 0.1 s: nothing is timed here."""
    monkeypatch.setattr(forecasts, "step_of", lambda train: forecasts.Step(0.1))

    def seconds(n, steps):
        X = np.random.default_rng(0).standard_normal((n, 20))
        net = ns.TwoLayer.symmetric(20, 64, "erf")
        kernels = ns.ntk(net, X), ns.linear_kernel("erf", X)

        return forecast(*kernels, None, length=Length(steps, 0), held=1e6).seconds

    small, long, large = seconds(2000, 100), seconds(2000, 1000), seconds(8000, 100)
    assert (small["training"], long["training"]) == (pytest.approx(10), pytest.approx(100))
    assert large["norms"] > 2 * small["norms"]
    assert large["NTK prediction"] > small["NTK prediction"]


@pytest.mark.parametrize("outputs", [0.01, 0.12])
def test_a_step_costs_what_one_more_step_adds(outputs, monkeypatch):
    """Long steps are tried a few times only."""
    clock, taken = [0.0], []

    def train(steps):
        taken.append(steps[0])
        clock[0] += outputs + 0.25 * steps[0]

    monkeypatch.setattr(forecasts, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert forecasts.step_of(train).seconds == pytest.approx(0.25)
    assert sum(taken) == (2 if outputs > forecasts.LONG else 25)


# Not by getrusage, whose maximum is that of the process that started this one, where that was larger.
MOST = """
import re
from pathlib import Path

def most():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
PEAK = """
import ntkspec as ns
from ntkspec.experiments.analyze import AnalyzeTask, analyze

data = ns.datasets.gaussian({n}, 10, n_test=20)
found = analyze(AnalyzeTask(width=32, steps=10, method={method!r}), data)
print(found.forecast.plan.method, found.forecast.bytes, most())
"""


@pytest.mark.parametrize(("method", "n"), [("factored", 1000), pytest.param("dense", 3000, marks=pytest.mark.slow)])
def test_the_forecast_of_memory_is_that_of_the_process(method, n):
    """In a process of its own, whose peak the system counts; of kernels as they were asked for."""
    run = subprocess.run(
        [sys.executable, "-c", MOST + PEAK.format(method=method, n=n)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    planned, forecast, peak = run.stdout.split()
    assert planned == method
    assert 1 / 1.3 < float(peak) / float(forecast) < 1.3


OWN = """
import dataclasses
import numpy as np, torch
import ntkspec as ns
from ntkspec.experiments.analyze import AnalyzeTask, analyze

torch.manual_seed(0)
module = torch.nn.Sequential(
    torch.nn.Unflatten(1, (1, 16, 16)), torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(),
    torch.nn.Conv2d(8, 24, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(24 * 256, 10),
)
data = ns.datasets.gaussian(150, 256, n_test=300, dtype=np.float32)
one_hot = [np.eye(10, dtype=np.float32)[abs(X[:, :10]).argmax(axis=1)] for X in (data.X, data.X_test)]
data = dataclasses.replace(data, y=one_hot[0], y_test=one_hot[1])
net = ns.from_torch(module)
net(data.X[:20])
before = most()
found = analyze(AnalyzeTask(network=net, steps=3), data)
print(before, found.forecast.bytes, most())
"""


@pytest.mark.slow
def test_the_forecast_for_a_network_of_several_outputs_counts_what_the_framework_takes():
    """Beside what PyTorch takes once it runs: gradients of training and test points, blocks, tiles and training."""
    pytest.importorskip("torch", reason="the network is PyTorch's, which is not installed")
    run = subprocess.run([sys.executable, "-c", MOST + OWN], check=True, capture_output=True, text=True, timeout=300)
    before, forecast, peak = (float(number) for number in run.stdout.split())
    assert peak - before > 1e8  # most of it is no more what every process takes
    assert 1 / 1.5 < (peak - before) / (forecast - before) < 1.5


class Slow:
    """Training whose steps take 0.3 s and whose two passes take 2 s each to compile, by a clock of its own."""

    def __init__(self, clock):
        self.clock, self.compiled = clock, False

    def __call__(self, steps):
        self.clock[0] += 0.3 * steps[0] + (0.0 if self.compiled else 4.0)
        self.compiled = True


def test_passes_of_a_framework_take_the_time_of_its_steps(monkeypatch):
    """A step takes three passes of 100 points, so that one pass of a point is said to take 1 ms. The kernel of 40 test
    points has the gradients of the training points already."""
    clock = [0.0]
    monkeypatch.setattr(forecasts, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    kernel = JacobianGram(WrittenJacobian(random_jacobian(100, 2)))
    kernel.left.passes_of_points = lambda n: PassWork(forward=5.0 * n, programs=1.0)
    kernel.left.passes_of_checks = lambda stacked: PassWork(forward=1000.0, programs=3.0)
    found = forecast(kernel, None, Slow(clock), length=Length(20, 10), held=0.0, tests=40).seconds
    assert found["kernel"] == pytest.approx(0.5 + 1.0 + 3 * 2.0, abs=0.01)
    assert found["NTK prediction"] == pytest.approx(0.2 + 2.0, abs=0.01)
    assert found["training"] == pytest.approx(20 * 0.3 + 10 * 40 * 0.001)


def test_stages_are_announced_with_their_forecast():
    told = []
    stages = Stages(told.append)
    stages.expect(Expected({"training": 12.4, "norms": 0.2}, 1e9))
    assert [stages(name, int) for name in ("training (5 steps)", "norms", "data")] == [0, 0, 0]
    assert told == ["forecast: about 13 s (training 12 s) and 1 GB", "training (5 steps), about 12 s", "norms", "data"]
    assert list(stages.seconds) == ["training", "norms", "data"]
