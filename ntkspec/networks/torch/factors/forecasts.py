"""What factors will cost, told by those of a few points."""

from math import inf

from ntkspec.networks.torch.factors.capture import Factors
from ntkspec.networks.torch.factors.grams import flops
from ntkspec.networks.torch.factors.layouts import PROBES

# Gradients are formed at some two thirds of the speed of large matrix products.
FORMING = 1.5


def bytes_of_point(sample: Factors, functions: int) -> float:
    """Of the inputs, which several layers may share, and the output gradients of so many functions."""
    shared: dict[int, int] = {}
    for one in (one for uses in sample.values() for one in uses):
        *inputs, g = one.tensors
        shared[g.data_ptr()] = functions * g.nbytes
        shared |= {t.data_ptr(): t.nbytes for t in inputs}
    return sum(shared.values()) / PROBES


def product_flops(sample: Factors) -> float:
    """Of a pull or a push of one vector, for a point."""
    return sum(one.flops for uses in sample.values() for one in uses)


def entry_flops(sample: Factors, formed: float) -> float:
    """Of an inner product through positions, or through gradients, those of ``formed`` points for each entry."""
    own = 0.0
    for name, uses in sample.items():
        by_positions, by_gradients = flops(uses[0], uses[0], False) if len(uses) == 1 else (inf, 0.0)
        if by_positions < by_gradients:
            own += by_positions
        else:
            own += 2.0 * sum(one.view.size for one in uses) + FORMING * formed * product_flops({name: uses})
    return own
