r"""One kernel whose points live on the workers of a Dask cluster: its spectral norm, with the same certificate.

Each worker keeps a part of the points: its rows of the factors and of every Lanczos vector. A product is a map
(``local_vjp``: what the part's rows contribute), a reduce, and a map (``local_jvp``: its rows of the product), so that
an iteration moves O(m d) numbers to and from each worker, and nothing that grows with n. The rows lie where the
part's kernel computes, in memory or on a GPU; what travels is NumPy's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ntkspec import checks, progress
from ntkspec.cluster.execution import all_done, client_of
from ntkspec.cluster.sharded_basis import LOST, ShardedLanczos, answers
from ntkspec.cluster.shards import Shard
from ntkspec.operators.planning import Plan
from ntkspec.spectra.certificates import FailureBudget, prove
from ntkspec.spectra.norms import norm_of, target_interval
from ntkspec.spectra.results import Estimate, collect

# Seconds between two looks at the workers while the kernels are built.
LOOK_EVERY = 2.0


def spectral_norm(
    build: Callable[..., Any],
    parts: Sequence[Any],
    *,
    scheduler: str,
    rtol: float = 1e-3,
    failure_probability: float = 1e-6,
    seed: int = 0,
) -> Estimate:
    """The spectral norm of a symmetric kernel on the points of all parts, as an interval.

    Parameters
    ----------
    build : function
        From one of the ``parts`` to the kernel on its points alone, a sum of Theta_1, Theta_2 and linear kernels with
        one network and one trace_ratio. It runs on a worker, which keeps what it returns. Where it moves its points
        with ``cupy.asarray`` and its network with ``.to("gpu")``, the worker's GPU computes and keeps the rows.
    parts : sequence
        Row ranges, file names: anything that can be sent. Parts on GPUs and on CPUs go together.
    scheduler : str
        Address of a Dask scheduler. Start one worker for each GPU, with CUDA_VISIBLE_DEVICES: a GPU chosen by
        cupy.cuda.Device is that of one thread, and a worker has several.
    rtol : float, default 1e-3
        Relative width of the interval.
    failure_probability : float, default 1e-6
        A bound on the probability, over the random start block, that the norm lies above the interval.
    seed : int, default 0
        Of the start block.

    Returns
    -------
    Estimate
        ``value``, the largest magnitude of a Ritz value; ``lower`` and ``upper``, the interval; ``products``, how many
        vectors were multiplied; ``converged``, whether the interval is as narrow as asked for; ``plan`` and
        ``evidence``.

    Raises
    ------
    ValueError
        Where a kernel is not symmetric or not such a sum, where no scheduler answers, and where a worker dies: what it
        held is lost, and the call has to be made again.

    Notes
    -----
    The certificate is that of :func:`ntkspec.spectral_norm`. Each worker holds n_w (m + d) numbers of its n_w points
    and 8 n_w bytes for each Lanczos vector; each block of two products moves 2 (m d + d + 2) numbers to and from it for
    each of Theta_1 and the rest.

    Examples
    --------
    >>> import ntkspec as ns
    >>> def build(rows):
    ...     return ns.operators.Gram(ns.datasets.gaussian(1000, 5).X[rows])
    >>> parts = [slice(0, 500), slice(500, 1000)]
    >>> norm = ns.cluster.spectral_norm(build, parts, scheduler="tcp://10.0.0.1:8786")  # doctest: +SKIP
    """
    checks.accuracy(rtol, failure_probability, seed)
    with client_of(scheduler) as client, progress.bar(text="spectral norm, cluster (products)") as bar:
        start = time.perf_counter()
        lanczos = ShardedLanczos(_shards(client, build, parts))
        built = time.perf_counter() - start
        outcome = prove(
            lanczos,
            target_interval(lanczos.operator.storage_error, rtol),
            FailureBudget(failure_probability, seed),
            bar,
        )
        each = (time.perf_counter() - start - built) / max(1, lanczos.products)
        plan = Plan("cluster", 0, built, each, lanczos.products, f"{len(parts)} parts")
        evidence = collect(lanczos, (outcome.lowest, outcome.highest), failure_probability)
        return replace(norm_of(evidence, rtol, plan), products=lanczos.products)


def _shards(client, build: Callable[..., Any], parts: Sequence) -> list:
    """The shards, once they stand. Where a worker is lost meanwhile, its part would go to the next one, and where none
    is left, it would be waited for without end."""
    workers = set(client.nthreads())
    shards = [client.submit(Shard, build, part, k, actor=True) for k, part in enumerate(parts)]
    while not all_done(shards, LOOK_EVERY):
        lost = workers - set(client.nthreads())
        if lost:
            raise ValueError(f"{LOST}: {', '.join(sorted(lost))}")
    return answers(shards)
