"""What factors will cost, told by those of a few points."""

from math import inf

from ntkspec.networks.torch.factors.capture import Factors
from ntkspec.networks.torch.factors.grams import flops
from ntkspec.networks.torch.factors.held import biases, larger_than_gradient
from ntkspec.networks.torch.factors.layouts import PROBES
from ntkspec.networks.torch.factors.readings import Factor

# What takes longer than as many flops of a large matrix product: forming gradients, and multiplying them from memory.
# Seen on ResNet-18, on two cores that multiply matrices with 300 to 400 Gflop/s.
FORMING, MULTIPLYING = 2.5, 1.5


def bytes_of_point(sample: Factors, functions: int, *, held: bool = False) -> float:
    """Of the inputs, which several layers may share, and the output gradients of so many functions.

    held : with gradients where they are smaller.
    """
    shared: dict[int, int] = {}
    for uses in sample.values():
        if held and larger_than_gradient(uses, functions):
            (one,) = uses
            shared[id(one)] = functions * one.view.size * one.tensors[-1].element_size() * PROBES
            continue
        shared |= _shared(uses, functions)
    return sum(shared.values()) / PROBES


def _shared(uses: list[Factor], functions: int) -> dict[int, int]:
    """Bytes by the place in memory."""
    shared = {}
    for one in uses:
        *inputs, g = one.tensors
        shared[g.data_ptr()] = functions * g.nbytes
        shared |= {t.data_ptr(): t.nbytes for t in inputs}
    return shared


def product_flops(sample: Factors) -> float:
    """Of a pull or a push of one vector, for a point."""
    return sum(one.flops for uses in sample.values() for one in uses)


def held_flops(sample: Factors, functions: int) -> tuple[float, float]:
    """(of making what is held instead of factors, of a pull or a push with it), for a point."""
    smaller = {name: uses for name, uses in sample.items() if larger_than_gradient(uses, functions)}
    making, entries = product_flops(smaller), sum(uses[0].view.size for uses in smaller.values())
    return FORMING * making, product_flops(sample) - making + 2.0 * entries


def entry_flops(sample: Factors, functions: int, formed: float) -> float:
    """Of an inner product through positions, or through gradients, those of ``formed`` points for each entry."""
    own, shared = 0.0, biases(sample)
    for name, uses in sample.items():
        if name in shared:
            continue
        if larger_than_gradient(uses, functions):
            own += MULTIPLYING * 2.0 * uses[0].view.size
            continue
        by_positions, by_gradients = flops(uses[0], uses[0], False) if len(uses) == 1 else (inf, 0.0)
        if by_positions < by_gradients:
            own += by_positions
        else:
            entries = sum(one.view.size for one in uses)
            own += MULTIPLYING * 2.0 * entries + FORMING * formed * product_flops({name: uses})
    return own
