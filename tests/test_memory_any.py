"""Kernels of users' networks keep to the memory that is free; in a process of its own, where the peak can be read."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")

SCRIPT = """
import re
from pathlib import Path

import torch

import ntkspec as ns
from ntkspec.engines import engine_of, host
from ntkspec.networks.torch import blocks

def net(width):
    nn = torch.nn
    channels, strides = (3, width, 4 * width, 256), (1, 2, 2)
    convolutions = [nn.Conv2d(channels[k], channels[k + 1], 3, strides[k], 1) for k in range(3)]
    layers = [layer for one in convolutions for layer in (one, nn.ReLU())]
    return ns.from_torch(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 1)))

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

X, most = torch.randn(900, 3, 16, 16), 1e8
ns.spectral_norm(ns.ntk(net(4), X[:20]))  # libraries, and their buffers
engine_of().rates("f")
host.give_back_memory()
Path("/proc/self/clear_refs").write_text("5")
start, used = peak(), host.used_memory()
host.free_memory = lambda threads=1: max(0, int(most - (host.used_memory() - used)))
blocks._free_memory.cache_clear()  # which holds for a second
theta = ns.ntk(net(32), X)
J = 4.0 * theta.left.size * len(X)
assert J > 9 * most
planned = theta.passes(len(X), checks=True)
norm = ns.spectral_norm(theta, method="dense")
assert norm.converged
taken = peak() - start
told = planned.kept + planned.passing + norm.plan.bytes
assert told <= most, (planned, norm.plan)
assert taken <= 1.5 * told, (taken, planned)  # 1.04 to 1.08 seen, on one thread and two
"""


@pytest.mark.slow
def test_the_kernel_of_a_convolutional_network_keeps_to_its_memory():
    """A tenth of what the gradients of all points take."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
