"""What is tracked: which quantities of which kernel, for which learning rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ntkspec import checks
from ntkspec.dynamics.laws import PLAIN, LawLike, law_of
from ntkspec.operators import planning

# By name: what it measures at each checkpoint, in words.
QUANTITIES = {
    "edge": "the largest eigenvalue of the kernel, over n, beside the edge of stability, 2/eta of gradient descent",
    "target_alignment": "the alignment of the kernel with the labels",
    "label_energy": "the part of the labels' square in the leading eigenvectors",
    "from_start": "distance and alignment of the kernel to that at the start",
    "from_previous": "the same to that at the step before",
    "residual": "the loss, and where in the spectrum labels less outputs lie",
    "effective_rank": "the trace of the kernel over its largest eigenvalue",
    "layers": "the share of each layer in the trace of the kernel",
    "movement": "how far the weights are from those at the start",
    "angles": "the angles between the leading eigenspace and that at the start",
    "linear": "the distance to the nearest linear kernel",
    "prediction": "what the kernel, kept fixed, predicts from here on",
}
# Those that are measured where nothing is said: the others take much longer, or need more than a kernel.
USUAL = tuple(name for name in QUANTITIES if name not in ("angles", "linear", "prediction"))
# Those that need the kernel itself.
OF_KERNEL = tuple(name for name in QUANTITIES if name not in ("layers", "movement"))
# Those that need its leading eigenvectors.
OF_PAIRS = ("label_energy", "angles")
PAIRS = 10
# Products that some take beside a norm and eigenpairs, where no matrix is there.
_PRODUCTS = {"from_start": 300, "from_previous": 300, "target_alignment": 50, "linear": 200, "prediction": 100}


@dataclass(frozen=True)
class TrackTask:
    """The settings of a series, of :func:`ntkspec.track`.

    quantities : names of QUANTITIES, in their order; None is USUAL, "all" is every one that the settings allow. layer,
    outputs : whose kernel, as :func:`ntkspec.ntk` takes them. method : how it is multiplied; None is chosen at the
    first checkpoint, for all of them. law : of the training, one whose stable range is known.
    """

    quantities: Any = None
    eta: float | None = None
    layer: Any = "all"
    outputs: Any = "full"
    pairs: int = PAIRS
    seed: int = 0
    method: str | None = None
    # What a command says of the network: its name and how it takes points.
    network: str = ""
    inputs: str = field(default="flat", repr=False)
    law: LawLike = "gd"

    @property
    def limit(self) -> float:
        """eta times the edge of stability: 2 of gradient descent."""
        return law_of(self.law).limit

    def asks(self, *names: str) -> bool:
        """Whether one of these quantities is measured."""
        return any(name in self.quantities for name in names)

    @property
    def products(self) -> int:
        """About how many products with one kernel that takes."""
        pairs = 20 * self.pairs + 100 if self.asks(*OF_PAIRS) else 0
        return 100 + pairs + sum(_PRODUCTS[name] for name in _PRODUCTS if self.asks(name))


def checked_task(task: TrackTask) -> TrackTask:
    """The task with its quantities in their order; ValueError for what cannot be measured, before anything is."""
    if task.eta is not None and checks.learning_rate(task.eta, "eta") == 0:
        raise ValueError("eta=0, but a learning rate > 0 is needed, or None where it is not known")
    if not math.isfinite(task.limit):
        raise ValueError(f"law={task.law!r} has no edge of stability; take 'gd', or leave eta out")
    checks.whole_number(task.pairs, "pairs", 1)
    checks.whole_number(task.seed, "seed", 0)
    if task.method is not None:
        checks.one_of(task.method, "method", planning.METHODS)
    names = _named(task)
    if "prediction" in names and task.eta is None:
        raise ValueError("the quantity 'prediction' needs the learning rate: pass eta= (--eta)")
    if "prediction" in names and law_of(task.law) != PLAIN:
        raise ValueError(
            f"the quantity 'prediction' starts from weights at rest, but with law={task.law!r} they move on, and "
            f"checkpoints do not say how fast; leave it out"
        )
    return TrackTask(**{**vars(task), "quantities": tuple(name for name in QUANTITIES if name in names)})


def _named(task: TrackTask) -> Sequence[str]:
    """The quantities that are asked for."""
    given = task.quantities
    if given is None:
        return USUAL
    if not isinstance(given, str | Sequence):
        raise ValueError(f"quantities={given!r}, but a list of names is needed; take some of {', '.join(QUANTITIES)}")
    names = [given] if isinstance(given, str) else list(given)
    if set(names) == {"all"}:
        left = () if task.eta is not None and law_of(task.law) == PLAIN else ("prediction",)
        return [name for name in QUANTITIES if name not in left]
    if not names:
        raise ValueError(f"no quantities are asked for; take some of {', '.join(QUANTITIES)}")
    for name in names:
        checks.one_of(name, "quantities", (*QUANTITIES, "all"))
    return list(QUANTITIES) if "all" in names else names
