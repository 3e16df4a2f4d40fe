"""Kernels of PyTorch modules against torch.func, curvlinops and a loop written by hand; every way runs in a process of
its own, which tells its first call, further calls, CPU seconds and memory (benchmarks/any_network_ways.py)."""

import importlib.util
import sys

from benchmarks.common import Case, Timed, exchange
from benchmarks.large import apart
from ntkspec.operators import Work

WAYS = [sys.executable, "-m", "benchmarks.any_network_ways"]
PRODUCTS = {"torch.func vjp, jvp": {"way": "vjp_jvp"}, "torch.func vjp, linearize": {"way": "vjp_linearize"}}
if importlib.util.find_spec("curvlinops"):
    PRODUCTS["curvlinops"] = {"way": "curvlinops"}
# The chunk that was fastest on two cores, of 8, 16, 32 and 64.
KERNELS = {"torch.func contraction": {"way": "contraction", "chunk": 16}, "loop of backward": {"way": "own_loop"}}


def cases(quick: bool):
    """One product and whole kernels of ResNet-18 and a transformer, the certified norm of an MLP's gap."""
    if not importlib.util.find_spec("torch"):
        print("left out: any_network, which needs PyTorch")
        return
    small, n = ("small_" if quick else ""), (12 if quick else 256)
    yield _product(f"{small}resnet18", n)
    yield _kernel(f"{small}resnet18", n, 1)
    yield _kernel(f"{small}resnet18", n // 2, 10)
    yield _kernel(f"{small}transformer", n, 1)
    yield _gap(f"{small}mlp", *((60, 60) if quick else (10_000, 500)))


def _product(network: str, n: int) -> Case:
    """A backward pass and the products of every layer's inputs and output gradients with the vector, there and back."""
    passes, _ = _size(network)
    return _case(
        f"product, {network}, one output, n={n} float32",
        {"network": network, "n": n, "outputs": 1, "repeats": 2},
        {"way": "our_product"},
        PRODUCTS,
        Work(flops=2.0 * n * passes),
    )


def _kernel(network: str, n: int, outputs: int) -> Case:
    """Gradients of all points, a pass forward and two backward, and one triangle of their Gram matrix, per output."""
    passes, parameters = _size(network)
    return _case(
        f"kernel, {network}, {'one output' if outputs == 1 else 'mean of 10'}, n={n} float32",
        {"network": network, "n": n, "outputs": outputs},
        {"way": "our_kernel"},
        # The loop takes the same passes as the contraction, so that one output tells all of it.
        KERNELS if outputs == 1 else {"torch.func contraction": KERNELS["torch.func contraction"]},
        outputs * Work(flops=3.0 * n * passes + float(n) * n * parameters),
    )


def _gap(network: str, n: int, n_peer: int) -> Case:
    """Theta minus its nearest linear kernel, n points: against the time for the mere kernel of few of them."""
    passes, _ = _size(network)
    return _case(
        f"norm of the gap, {network}, n={n} ({n_peer} for the peer)",
        {"network": network, "n": n, "outputs": 1},
        {"way": "our_gap"},
        {"torch.func contraction": KERNELS["torch.func contraction"] | {"n": n_peer}},
        Work(flops=2.0 * n * passes),
        compare=lambda answer: (),
    )


def _case(name, setting, ours, peers, floor, **how) -> Case:
    # The kernels of peers take minutes: their first call with all points is the one that is timed.
    setting = {"repeats": 0, "chunk": 0} | setting

    def way(own):
        return lambda: _timed(exchange(WAYS, **setting | own))

    return Case(
        name,
        ours=way(ours),
        peers={peer: way(own) for peer, own in peers.items()},
        tolerance=2e-4,
        floor=floor,
        dtype="float32",
        **how,
    )


def _size(network: str) -> tuple[float, int]:
    """Flops of a pass forward for a point, and the number of parameters."""
    from benchmarks.any_network_ways import size_of

    return size_of(network)


def _timed(found) -> Timed:
    return Timed(
        (found["rows"], found["means"]), *(found[name].item() for name in ("seconds", "cpu", "first", "extra"))
    )


def all_large():
    """Each setting of :mod:`benchmarks.any_network_large`."""
    if importlib.util.find_spec("torch"):
        from benchmarks.any_network_large import SETTINGS

        for name in SETTINGS:
            yield apart("benchmarks.any_network_large", name)
