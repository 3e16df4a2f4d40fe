"""How many points, or gradients, are computed at once."""

import time
from functools import lru_cache

import torch

from ntkspec.engines import engine_of
from ntkspec.engines.host import give_back_memory
from ntkspec.networks.torch.facts import Facts

# Bytes of what the passes through a block of points keep, and of a block of gradients; the share of the free memory
# that they take at most.
BLOCK_BYTES, GRADIENT_BYTES, MEMORY_SHARE = 2**29, 2**31, 0.2
# A block of passes has so many bytes however little memory is free: a point at a time takes many times as long.
LEAST_BYTES = 2**23
# What fits without a look at the memory, which takes milliseconds.
SMALL_BYTES = 2**24
# Share of the free memory from which on freed memory is given back: pages that come anew take as long to fill again.
GIVEN_BACK_SHARE = 0.01


def points_at_once(facts: Facts, points: int, device: torch.device) -> int:
    """Points of one pass forward and back, with derivatives of second order."""
    each = 2 * facts.bytes
    return points if points * each <= SMALL_BYTES else fitting(BLOCK_BYTES, each, device)


def fitting(most: float, each: float, device: torch.device, share: float = MEMORY_SHARE) -> int:
    """How many of ``each`` bytes fit into ``most`` bytes and that share of the memory that is free; one at least."""
    return number_of(min(most, max(LEAST_BYTES, share * free_memory(device))), each)


def number_of(most: float, each: float) -> int:
    """How many of ``each`` bytes fit into ``most`` bytes; one at least."""
    return max(1, int(most / max(each, 1.0)))


def give_back(freed: float, device: torch.device) -> None:
    """Hand freed memory back to the system where the heap would keep much of what is free."""
    if device.type == "cpu" and freed > GIVEN_BACK_SHARE * free_memory(device):
        give_back_memory()


def free_memory(device: torch.device) -> float:
    """Bytes that tensors can take on a device; looked up once a second, as it takes longer than a small pass."""
    return _free_memory(device, int(time.monotonic()))


@lru_cache(maxsize=4)
def _free_memory(device: torch.device, second: int) -> float:
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else float(engine_of().free_memory())
