"""A kernel whose points are spread over parts: the same products, the same relation, the same certificate."""

from concurrent.futures import Future
from functools import partial

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.cluster.sharded import spectral_norm
from ntkspec.cluster.sharded_basis import ShardedLanczos
from ntkspec.cluster.shards import Shard, local_jvp, local_vjp
from ntkspec.engines import moved, named
from ntkspec.operators import wrap
from ntkspec.randomness import stream
from ntkspec.spectra.certificates import spectrum_bounds

N, DIM, WIDTH = 240, 12, 40


def kernel(rows, act="relu", layer="both", engine="cpu"):
    """Theta - Theta^lin on some rows of one data set, with one network and one trace_ratio."""
    X = moved(ns.datasets.gaussian(N, DIM, seed=5).X[slice(*rows)], named(engine))
    net = ns.TwoLayer.symmetric(DIM, WIDTH, act, seed=2).to(engine)
    return ns.ntk(net, X, layer=layer) - ns.linear_kernel(act, X, layer=layer, trace_ratio=1.0)


class Here:
    """A shard in this process that answers as an actor does; ``crossed`` is what went to and fro."""

    def __init__(self, shard):
        self.shard, self.crossed = shard, []

    def __getattr__(self, name):
        def call(*arguments):
            future = Future()
            future.set_result(getattr(self.shard, name)(*arguments))
            self.crossed += [*arguments, future.result()]
            return future

        return call


def sharded(parts, build=kernel):
    return ShardedLanczos([Here(Shard(build, part, k)) for k, part in enumerate(parts)])


PARTS = [[(0, N)], [(0, 100), (100, N)], [(0, 1), (1, 90), (90, 95), (95, N)]]


@pytest.mark.parametrize("layer", ["first", "second", "both"])
@pytest.mark.parametrize("act", ["relu", "erf"])
def test_what_parts_gather_makes_products(act, layer):
    operator = kernel((0, N), act, layer)
    V = np.random.default_rng(0).standard_normal((N, 3))
    parts = [kernel(rows, act, layer) for rows in PARTS[2]]
    gathered = [local_vjp(part, V[slice(*rows)]) for part, rows in zip(parts, PARTS[2], strict=True)]
    total = [sum(terms) for terms in zip(*gathered, strict=True)]
    product = np.vstack([local_jvp(part, total) for part in parts])
    assert np.abs(product - operator.to_dense() @ V).max() <= 1e-12 * np.abs(product).max()


@pytest.mark.covering(2)
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("block", [1, 2, 4])
def test_the_relation_holds_on_the_shards(parts, block, engine):
    lanczos, matrix = sharded(parts, partial(kernel, engine=engine.name)), kernel((0, N)).to_dense()
    lanczos.begin_random(stream(0, "proof", 1), block)
    lanczos.extend(7)
    used = lanczos.size + lanczos.residual_width
    Q = np.hstack([engine.to_host(shard.shard.basis[:used]) for shard in lanczos.shards]).T
    assert np.linalg.norm(Q.T @ Q - np.eye(used)) < 1e-13
    assert lanczos.orthogonality_loss() < 1e-13
    known, residual_block = Q[:, : lanczos.size], Q[:, lanczos.size :]
    residual = matrix @ known - known @ lanczos.T - residual_block @ lanczos.off_diagonal
    assert np.linalg.norm(residual) <= lanczos.error
    assert lanczos.error < 1e-9


def arrays(crossed):
    """All arrays among arguments and answers."""
    for one in crossed:
        if isinstance(one, list | tuple):
            yield from arrays(one)
        elif hasattr(one, "shape"):
            yield one


def test_vectors_stay_where_the_parts_compute(engine):
    """What crosses is NumPy's, and no side of it is a number of points."""
    lanczos = sharded(PARTS[1], partial(kernel, engine=engine.name))
    lanczos.begin_random(stream(0, "proof", 1), 2)
    lanczos.extend(7)
    lanczos.orthogonality_loss()
    for held, points in zip(lanczos.shards, (100, N - 100), strict=True):
        for rows in (held.shard.basis, held.shard.block):
            assert type(rows) is engine.xp.ndarray
            assert rows.shape[1] == points
        crossed = list(arrays(held.crossed))
        assert len(crossed) > 50
        assert all(type(array) is np.ndarray and not {100, N - 100, N} & {*array.shape} for array in crossed)


def test_parts_on_a_gpu_and_on_the_processor_are_one_kernel(gpu):
    def either(rows):
        return kernel(rows, engine="gpu" if rows[0] else "cpu")

    here, both = sharded(PARTS[2]), sharded(PARTS[2], either)
    for lanczos in (here, both):
        lanczos.begin_random(stream(0, "proof", 1), 2)
        lanczos.extend(20)
    assert {shard.shard.engine.name for shard in both.shards} == {"cpu", "gpu"}
    assert spectrum_bounds(both, 1e-6) == pytest.approx(spectrum_bounds(here, 1e-6), rel=1e-8)
    assert both.error == pytest.approx(here.error, rel=0.01)


@pytest.mark.parametrize("parts", PARTS)
def test_bounds_are_those_of_the_whole_kernel(parts):
    lanczos, values = sharded(parts), np.linalg.eigvalsh(kernel((0, N)).to_dense())
    lanczos.begin_random(stream(3, "proof", 1), 2)
    lanczos.extend(25)
    low, high = spectrum_bounds(lanczos, 1e-6)
    assert low <= values[0]
    assert values[-1] <= high <= values[-1] + 0.01 * abs(values).max()


def test_an_invariant_space_ends_the_run():
    """Rank DIM + 2: the space is exhausted before the basis is full."""

    def linear(rows):
        X = ns.datasets.gaussian(N, DIM, seed=5).X[slice(*rows)]
        return ns.linear_kernel("relu", X, trace_ratio=1.0)

    lanczos = sharded(PARTS[1], linear)
    lanczos.begin_random(stream(0, "proof", 1), 2)
    lanczos.extend(40)
    assert lanczos.exhausted
    assert lanczos.size <= DIM + 8
    expected = np.linalg.norm(linear((0, N)).to_dense(), 2)
    assert np.abs(np.linalg.eigvalsh(lanczos.T)).max() == pytest.approx(expected, rel=1e-12)


def test_errors_of_the_parts_add_up():
    def inexact(rows):
        operator = kernel(rows)
        operator.storage_error = 0.1
        return operator

    whole, parts = sharded(PARTS[1], inexact).operator, [kernel(rows) for rows in PARTS[1]]
    assert whole.storage_error == pytest.approx(0.2)
    assert whole.rounding.matvec_error_bound >= sum(part.rounding.matvec_error_bound for part in parts)
    assert whole.rounding.norm_of_absolute == pytest.approx(sum(part.rounding.norm_of_absolute for part in parts))


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="a symmetric kernel operator is needed"):
        Shard(lambda part: np.eye(3), 0, 0)
    with pytest.raises(ValueError, match="a symmetric kernel operator is needed"):
        Shard(lambda part: wrap(np.triu(np.ones((3, 3)))), 0, 0)

    def mixed(rows):
        X = np.ones((2, 3), np.float32 if rows else np.float64)
        return ns.linear_kernel("erf", X, trace_ratio=1.0)

    with pytest.raises(ValueError, match="one kernel has one dtype"):
        sharded([0, 1], mixed)


def test_a_cluster_certifies_the_norm(cluster):
    truth = np.linalg.norm(kernel((0, N)).to_dense(), 2)
    norm = spectral_norm(kernel, [(0, 70), (70, 200), (200, N)], scheduler=cluster)
    assert norm.converged
    assert norm.lower <= truth <= norm.upper
    local = ns.spectral_norm(kernel((0, N)), method="factored")
    assert norm.value == pytest.approx(local.value, rel=1e-6)
    assert norm.products <= 2 * local.products


def test_a_cluster_of_cards_certifies_the_same_interval(cluster, gpu):
    """Two workers that each have a GPU, or share one."""
    parts = [(0, 130), (130, N)]
    norms = [spectral_norm(partial(kernel, engine=name), parts, scheduler=cluster) for name in ("cpu", "gpu")]
    one, other = ((norm.value, norm.lower, norm.upper) for norm in norms)
    assert other == pytest.approx(one, rel=1e-8)
    assert norms[0].products == norms[1].products


def dying(rows):
    """The second part takes its worker down while it is built."""
    import os
    import signal

    if rows[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return kernel(rows)


def test_a_worker_that_dies_ends_the_run_with_the_reason(mortal_cluster):
    address, _ = mortal_cluster
    with pytest.raises(ValueError, match="a worker that held a part of the points was lost"):
        spectral_norm(dying, [(0, 70), (70, N)], scheduler=address)
