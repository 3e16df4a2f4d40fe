"""What an iteration of block Lanczos costs on a cluster: computing, tasks, and bytes on the network."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkspec import checks
from ntkspec.cluster.kernel import built
from ntkspec.cluster.workers import FAN_IN, Result, Workers, given
from ntkspec.engines.rates import Rates
from ntkspec.operators import Gram, KernelOperator
from ntkspec.spectra.lanczos import Lanczos

# Tasks of each part in an iteration, and how often the calling machine waits for small results in it.
TASKS, ANSWERS = 8, 3
# Copies of one result that a worker sends at a time; Dask lets others wait, and take theirs from those who have it.
AT_A_TIME = 10
# What is measured: rounds, of iterations with so many points on each worker, and bytes that are sent.
ROUNDS, ROWS, SENT = 7, 64, 8_000_000
# Seconds that nothing is faster than.
LEAST = 1e-6


@dataclass(frozen=True)
class Links:
    """What a cluster takes beside computing.

    Parameters
    ----------
    task : float, default 5e-4
        Seconds that scheduler and workers take for one task, beside its work: they go one after the other through the
        scheduler.
    answer : float, default 1e-2
        Seconds from the end of a task on a worker to its small result on the calling machine, and to the next task.
    bytes : float, default 1.25e9
        Bytes a second through the link of one worker, in each direction; the default is 10 Gbit/s.

    Raises
    ------
    ValueError
        For numbers that are not above 0.

    Examples
    --------
    >>> import ntkspec as ns
    >>> ns.cluster.Links(bytes=125e6).task
    0.0005
    """

    task: float = 5e-4
    answer: float = 1e-2
    bytes: float = 1.25e9

    def __post_init__(self) -> None:
        for name in ("task", "answer", "bytes"):
            if not (checks.is_number(getattr(self, name)) and 0 < getattr(self, name) < math.inf):
                raise ValueError(f"{name}={checks.shown(getattr(self, name))}, but a finite number above 0 is needed")

    @classmethod
    def measured(cls, scheduler: str) -> "Links":
        """Those of the cluster of a scheduler; takes a second or two.

        Parameters
        ----------
        scheduler : str
            Its address, such as "tcp://10.0.0.1:8786".

        Returns
        -------
        Links
            Medians of some rounds. Of one worker ``bytes`` is that between it and the calling machine.

        Raises
        ------
        ValueError
            Where no scheduler answers or no worker is connected.
        """
        return cls._of(Workers.of(scheduler))

    @classmethod
    def _of(cls, workers: Workers) -> "Links":
        answer = _answering(workers)
        task = (_iterating(workers) - ANSWERS * answer) / (TASKS * len(workers.names))
        return cls(max(LEAST, task), answer, SENT / max(LEAST, _sending(workers) - answer))


@dataclass(frozen=True)
class Iteration:
    """Seconds of one iteration of block Lanczos on a cluster.

    Attributes
    ----------
    computing : float
        The products with the block, and its orthogonalization, on each worker.
    tasks : float
        The scheduler's, and the calling machine's answers.
    moving : float
        The sums of all workers to one, and back to all.

    Examples
    --------
    >>> import ntkspec as ns
    >>> found = ns.cluster.Iteration(computing=3.0, tasks=0.5, moving=0.5)
    >>> found.seconds, found.efficiency
    (4.0, 0.75)
    """

    computing: float
    tasks: float
    moving: float

    @property
    def seconds(self) -> float:
        """All of it: one follows the other."""
        return self.computing + self.tasks + self.moving

    @property
    def efficiency(self) -> float:
        """The part of the time in which workers compute."""
        return self.computing / self.seconds

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s: computing {self.computing:.3g}, tasks {self.tasks:.3g}, moving {self.moving:.3g}"


def iteration(
    *, n: int, m: int, d: int, workers: int, rates: Rates, links: Links | None = None, block: int = 2, known: int = 60
) -> Iteration:
    r"""What an iteration of block Lanczos takes on the kernel of the first layer of a two-layer network.

    .. math:: \frac{4 n m d b}{w R} + \frac{16 n k b}{w B} + 8 w \tau + 3 \rho + s(w) \frac{8 b m d}{L}

    for w workers of R flops and B bytes a second, k known vectors, blocks of b, and links with :math:`\tau` seconds a
    task, :math:`\rho` an answer and L bytes a second; s(w) is the number of sums that pass one link one after the
    other: up to seven that are received in each layer of a tree, and up to ten copies that go out in each layer.

    Parameters
    ----------
    n : int
        Points in all.
    m : int
        Neurons, of a paired network half of its width.
    d : int
        Inputs.
    workers : int
        Each has one part of the points.
    rates : Rates
        Those of one worker. ``ntkspec doctor --scheduler`` prints those of matrix products alone; products of kernels
        reach 0.6 to 0.9 of these flops.
    links : Links, optional
        Default: ``Links()``; :meth:`Links.measured` measures those of a cluster.
    block : int, default 2
        Vectors that are multiplied at once.
    known : int, default 60
        Vectors that new ones are orthogonalized against.

    Returns
    -------
    Iteration
        Its seconds, by what they are for.

    Raises
    ------
    ValueError
        For numbers below 1.

    Notes
    -----
    Workers hold 4 n (m + d) / w bytes of factors in float32, and 8 n k / w of vectors. Checked against measured
    iterations in the documentation's page on clusters.

    Examples
    --------
    >>> import ntkspec as ns
    >>> from ntkspec.engines.rates import Rates
    >>> one = Rates(flops=1e11, words=1e10, entries=1e9, bytes=2e10, cached=4e10)
    >>> found = ns.cluster.iteration(n=10**8, m=2048, d=784, workers=64, rates=one)
    >>> found.computing > found.moving > found.tasks
    True
    """
    for name, number in {"n": n, "m": m, "d": d, "workers": workers, "block": block, "known": known}.items():
        checks.whole_number(number, name, 1)
    links, rows = links or Links(), n / workers
    computing = 4.0 * rows * m * d * block / rates.flops + 16.0 * rows * known * block / rates.bytes
    tasks = TASKS * workers * links.task + ANSWERS * links.answer
    moving = (_received(workers) + _sent(workers)) * 8.0 * block * m * d / links.bytes
    return Iteration(computing, tasks, moving)


def _received(workers: int) -> int:
    """Sums that one worker takes from others, one after the other, until the tree has added up all."""
    found = 0
    while workers > 1:
        found += min(workers, FAN_IN) - 1
        workers = math.ceil(workers / FAN_IN)
    return found


def _sent(workers: int) -> int:
    """Copies that one worker sends, one after the other, until all have the sum."""
    found, have = 0, 1
    while have < workers:
        each = min(AT_A_TIME, math.ceil((workers - have) / have))
        found, have = found + each, have * (1 + each)
    return found


# ---------------------------------------------------------------------------------------------------------- measuring
def _answering(workers: Workers) -> float:
    """Seconds until the result of a task is here."""
    return _median(lambda: workers.answers([workers.submit(given, 0, home=workers.names[0])]))


def _iterating(workers: Workers) -> float:
    """Seconds of an iteration that has next to nothing to compute."""
    lanczos = Lanczos(built(workers, _few_points, range(len(workers.names))))
    lanczos.begin_random(0, 2)
    lanczos.extend(3)
    return _median(lambda: lanczos.extend(1))


def _few_points(part: int) -> KernelOperator:
    """On a worker: a kernel whose products take no time."""
    return Gram(np.random.default_rng(part).standard_normal((ROWS, ROWS)))


def _sending(workers: Workers) -> float:
    """Seconds that SENT bytes take from a worker to another one, or to here."""
    made: list[Result] = []

    def send() -> None:
        one = made.pop()
        workers.answers([one if len(workers.names) == 1 else workers.submit(len, one, home=workers.names[-1])])

    def make() -> None:
        made.append(workers.submit(_zeros, SENT, home=workers.names[0]))
        workers.finished(made)

    return _median(send, before=make)


def _zeros(size: int) -> np.ndarray:
    """On a worker: so many bytes."""
    return np.zeros(size, np.uint8)


def _median(task: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> float:
    """Of the seconds of some rounds, after one; ``before`` each something that does not count."""
    times = []
    for _ in range(ROUNDS + 1):
        before()
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])
