"""A step of full-batch descent on both layers, in the setting of Figure 1, beside CuPy, PyTorch and jax on one GPU.

All in float32 without TF32; gradients by autograd or written by hand.
"""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

import ntkspec as ns
from benchmarks import torch_peer
from benchmarks.common import PEER_PYTHON, exchange
from benchmarks.gpu import plain_cupy
from benchmarks.gpu.device import Device, Row, Way

ETA = 0.3
GRADIENTS = {"autograd": False, "by hand": True}
# PyTorch's ways to run a step: "reduce-overhead" replays CUDA graphs.
MODES = {"PyTorch eager": None, "torch.compile": "default", "torch.compile, CUDA graphs": "reduce-overhead"}
JAX_PEER = Path(torch_peer.__file__).with_name("jax_peer.py")


def cases(device: Device):
    """erf and ReLU."""
    for act in ("erf", "relu"):
        yield _step(device, act, *(((500, 10, 32), 5) if device.quick else ((20_000, 50, 256), 400)))


def _step(device: Device, act: str, sizes: tuple[int, int, int], steps: int) -> Row:
    n, d, m = sizes
    data, net = ns.datasets.gaussian(n, d, dtype=np.float32), ns.TwoLayer.symmetric(d, m, act, dtype=np.float32)
    X, y, there = device.on(data.X), device.on(data.y), net.to("gpu")
    how = {"eta1": ETA, "eta2": ETA, "steps": [steps]}
    ways = {"ntkspec": device.way(lambda: ns.train_gd(there, X, y, **how).network)}
    ways["ntkspec"].answer = ways["ntkspec"].answer.W, ways["ntkspec"].answer.v
    ways |= device.tried(
        "plain CuPy, by hand",
        lambda: plain_cupy.descend(device.xp, act, (there.W, there.v), (X, y), ETA, steps),
    )
    setting = {"X": data.X, "y": data.y, "W": net.W, "v": net.v, "activation": act, "eta": ETA, "steps": steps}
    ways |= _torch(device, setting) | _jax(device, setting)
    expected = ns.train_gd(net, data.X, data.y, **how).network
    for name, way in ways.items():
        for found, end, start in zip(way.answer, (expected.W, expected.v), (net.W, net.v), strict=True):
            device.agree(f"training, {act}, {name}", device.engine.to_host(found) - start, end - start, 2e-3)
    ours, *others = (replace(way, seconds=way.seconds / steps) for way in ways.values())
    return Row(
        f"training step, {act}, n={n} d={d} m={m} float32",
        ours,
        floor=4.0 * n * d * m / device.limits.float32,
        peers=dict(zip(list(ways)[1:], others, strict=True)),
        target=None if device.quick else min((way.seconds for way in others), default=None),
    )


def _torch(device: Device, setting: dict) -> dict[str, Way]:
    """PyTorch's ways, where it is installed and sees the GPU."""
    if not importlib.util.find_spec("torch"):
        device.leave_out("PyTorch", "it is not installed")
        return {}
    import torch

    if not torch.cuda.is_available():
        device.leave_out("PyTorch", "it sees no GPU")
        return {}
    torch.set_float32_matmul_precision("highest")
    X, y, W, v = (torch.from_numpy(setting[name]).cuda() for name in ("X", "y", "W", "v"))
    ways: dict[str, Way] = {}
    for gradient, by_hand in GRADIENTS.items():
        for name, mode in MODES.items():
            step = torch_peer.training_step(setting["activation"], ETA, by_hand, mode)
            descent = partial(torch_peer.descend, step, (W, v), (X, y), setting["steps"])
            ways |= device.tried(f"{name} ({torch.__version__}), {gradient}", descent)
    for way in ways.values():
        way.answer, way.bytes = tuple(weights.cpu().numpy() for weights in way.answer), None
    return ways


def _jax(device: Device, setting: dict) -> dict[str, Way]:
    """jax.jit of all steps in a process of its own, where its Python has a jax that sees the GPU."""
    python = os.environ.get(PEER_PYTHON, sys.executable)
    ways: dict[str, Way] = {}
    if reason := _no_jax(python):
        device.leave_out("jax.jit", reason)
        return {}
    for gradient, by_hand in GRADIENTS.items():
        with device.leaving_out(f"jax.jit, {gradient}"):
            found = exchange([python, JAX_PEER], **setting, by_hand=by_hand, repeats=device.repeats)
            name = f"jax.jit (scan) {found['version']} on {found['platform']}, {gradient}"
            ways[name] = Way(float(found["seconds"]), None, (found["W"], found["v"]))
    return ways


@cache
def _no_jax(python: str) -> str:
    """Why jax takes no part; empty where it does."""
    command = [python, "-c", "import jax; print(jax.default_backend())"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        return f"{python} says {run.stderr.strip().splitlines()[-1]}"
    return f"that of {python} sees no GPU" if run.stdout.strip() == "cpu" else ""
