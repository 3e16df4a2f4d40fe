"""How many points, or gradients, are computed at once."""

import time
from functools import lru_cache

import torch

from ntkspec.engines import engine_of, host
from ntkspec.networks.torch.facts import Facts

# Bytes of what the passes through a block of points keep, and of a block of gradients; the share of the free memory
# that they take at most.
BLOCK_BYTES, GRADIENT_BYTES, MEMORY_SHARE = 2**29, 2**31, 0.2
# A block of passes has so many bytes however little memory is free: a point at a time takes many times as long.
LEAST_BYTES = 2**23
# What fits without a look at the memory, which takes milliseconds.
SMALL_BYTES = 2**24
# What the process holds, over the free memory, from which on the heap gives back what it keeps: new pages take time.
SCARCE = 0.2


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


def give_back(device: torch.device) -> None:
    """Hand freed memory back to the system, where the heap may keep much beside what is free."""
    if device.type == "cpu" and host.used_memory() > SCARCE * free_memory(device):
        host.give_back_memory()


def free_memory(device: torch.device) -> float:
    """Bytes that tensors can take on a device; looked up once a second, as it takes longer than a small pass."""
    return _free_memory(device, int(time.monotonic()))


@lru_cache(maxsize=4)
def _free_memory(device: torch.device, second: int) -> float:
    return free_memory_now(device)


def free_memory_now(device: torch.device) -> float:
    """The same, looked up at each call."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else float(engine_of().free_memory())
