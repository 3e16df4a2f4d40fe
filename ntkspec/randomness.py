"""Random streams of the package's own, apart from one another and from those of data sets and networks."""

import numpy as np

# Data sets and networks draw from default_rng(seed) and default_rng([seed, k]). A certificate needs a start that does
# not depend on the kernel: this word, in the place that NumPy keeps for spawned streams, sets ours apart.
_DOMAIN = 0x6E746B
PURPOSES = ("search", "proof", "density", "probes", "entropy", "batches", "flat")


def stream(seed: int, purpose: str, *numbers: int) -> np.random.SeedSequence:
    """The stream of one purpose; ``numbers`` tell its parts (attempts, blocks) apart."""
    return np.random.SeedSequence(seed, spawn_key=(_DOMAIN, PURPOSES.index(purpose), *numbers))
