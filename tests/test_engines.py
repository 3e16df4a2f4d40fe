"""Both engines: tiles, sums, bits and triangles; and the CPU's pool of workers."""

import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.activations.functions import NAMES
from ntkspec.engines import cpu, engine_of, moved, named
from ntkspec.engines.cpu import compiling
from ntkspec.operators import Gram


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strided", [False, True])
def test_tiles_are_added_and_transposed_in_place(dtype, strided, engine, on):
    rng = np.random.default_rng(1)
    whole = [rng.standard_normal((70, 94)).astype(dtype) for _ in range(2)]
    out, P = (array[::2, ::2] if strided else array[:35, :47] for array in whole)
    sums, one = (on(array)[::2, ::2] if strided else on(array)[:35, :47] for array in whole)
    expected = out + 0.5 * P.astype(float)
    engine.terms.add_scaled(sums, one, 0.5)
    assert np.abs(engine.to_host(sums) - expected).max() < 40 * np.finfo(dtype).eps
    turned = engine.xp.empty((47, 35), dtype)
    engine.tiles.copy_transposed(turned, one)
    assert np.array_equal(engine.to_host(turned), P.T)


def test_terms_of_another_dtype_are_added(engine, on):
    P, sums = np.random.default_rng(2).standard_normal((9, 5)), on(np.zeros((9, 5), "f"))
    engine.terms.add_scaled(sums, on(P), 2.0)
    assert sums.dtype == np.float32
    assert np.abs(engine.to_host(sums) - 2 * P).max() < 1e-5


def test_sum_of_squares_is_accumulated_in_float64(engine, on):
    tile = on(np.full((1000, 1000), 0.1, dtype=np.float32))
    assert float(engine.tiles.sum_of_squares(tile)) == pytest.approx(1e6 * float(np.float32(0.1)) ** 2, rel=1e-12)


def test_largest_entry_skips_the_diagonal_and_keeps_nan(engine, on):
    tile = np.diag([9.0, 8.0, 7.0]) + 0.25
    tile[2, 0] = -3.0
    assert engine.tiles.largest_entry(on(tile), 0) == 3.0
    assert engine.tiles.largest_entry(on(tile), 5) == 9.25
    tile[0, 2] = np.nan
    assert np.isnan(engine.tiles.largest_entry(on(tile), 0))


def test_run_keeps_the_order_and_raises_what_a_task_raises(engine):
    assert engine.run(lambda item: item**2, range(50)) == [item**2 for item in range(50)]
    assert engine.run(str, []) == []
    with pytest.raises(ZeroDivisionError):
        engine.run(lambda item: 1 / (item - 3), range(6))


@pytest.mark.parametrize("n", [1, 2, 3, 1000])
def test_shares_and_blocks_cover_every_row_once(n, engine):
    rows = [
        i for share in engine.shares(n) for block in engine.blocks(share, 4000) for i in range(block.start, block.stop)
    ]
    assert rows == list(range(n))


@pytest.mark.parametrize(
    ("n", "flops", "count"), [(50, 600.0, 1), (10_000, 600.0, 3), (10**6, 600.0, 4), (3, 1e9, 3), (1, 1e9, 1)]
)
def test_tiny_work_is_one_share_and_large_work_is_shared_by_all(n, flops, count, monkeypatch):
    monkeypatch.setattr(cpu.threads, "workers", lambda: 4)
    shares = cpu.shares(n, flops)
    assert len(shares) == count
    assert [i for share in shares for i in range(n)[share]] == list(range(n))


@pytest.mark.parametrize("net", [ns.TwoLayer.symmetric(6, 8, "erf"), ns.FullyConnected.random(6, [8, 8], "erf")])
def test_small_networks_train_in_the_thread_that_calls(net, monkeypatch):
    """Waking workers would cost ten times a step; larger ones, on two workers, end where one worker ends."""

    def refuse():
        raise AssertionError("a step of 50 points took the pool")

    monkeypatch.setattr(cpu.threads, "workers", lambda: 2)
    X = np.random.default_rng(0).standard_normal((20_000, 6))
    shared = ns.train_gd(net, X, X[:, 0], eta=0.1, steps=[3]).train
    monkeypatch.setattr(cpu.threads, "WORTH_A_WORKER", float("inf"))
    assert np.allclose(shared, ns.train_gd(net, X, X[:, 0], eta=0.1, steps=[3]).train, rtol=0, atol=1e-12)
    monkeypatch.undo()
    monkeypatch.setattr(cpu.threads, "workers", lambda: 2)
    monkeypatch.setattr(cpu.threads, "_pool", refuse)
    ns.train_gd(net, X[:50], X[:50, 0], eta=0.1, steps=[30])


def test_arrays_of_two_devices_are_refused():
    class Array:
        pass

    Array.__module__ = "cupy.core"
    with pytest.raises(TypeError, match=r"arrays of cupy and numpy came together.*cupy\.asnumpy"):
        engine_of(np.zeros(1), Array())


@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (4, 64), (5, 65), (7, 256), (9, 1000), (33, 4160)])
@pytest.mark.parametrize("values", [(0.0, 1.0), (-0.25, 1.0)])
def test_bits_are_packed_unpacked_and_counted_exactly(shape, values, engine, on):
    rng = np.random.default_rng(shape)
    masks = rng.random(shape) < 0.5, rng.random((19, shape[1])) < 0.5
    packed = []
    for mask in masks:
        words = engine.bits.empty(*mask.shape)
        engine.bits.pack(words, on(np.where(mask, *values[::-1]).astype(np.float32)), values[1])
        assert words.shape == (len(mask), -(-shape[1] // 64))
        assert np.array_equal(engine.to_host(engine.bits.unpack(words, shape[1], (0.0, 1.0), np.float64)), mask)
        assert np.array_equal(
            engine.to_host(engine.bits.unpack(words, shape[1], (-2.0, 3.0), np.float32)), np.where(mask, 3, -2)
        )
        assert np.array_equal(engine.to_host(engine.bits.count_ones(words)), mask.sum(axis=1))
        packed.append(words)
    counts = engine.bits.count_common(*packed, np.float32)
    assert counts.dtype == np.float32
    assert np.array_equal(engine.to_host(counts), masks[0].astype(int) @ masks[1].T.astype(int))


def test_bits_take_rows_of_any_stride(engine, on):
    words = on(np.random.default_rng(0).integers(0, 2**63, (40, 6), dtype=np.uint64))
    strided = engine.bits.count_common(words[::2, ::2], words[1::2, 1::2], np.float64)
    whole = engine.bits.count_common(words[::2, ::2].copy(), words[1::2, 1::2].copy(), np.float64)
    assert (strided == whole).all()


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_rates_are_measured_once_and_are_plausible(dtype):
    rates = cpu.rates(dtype)
    assert rates == cpu.rates(dtype)
    assert all(1e7 < rate < 1e15 for rate in (rates.flops, rates.words, rates.entries, rates.bytes, rates.cached))


def test_the_rate_of_memory_is_that_of_a_matrix_beyond_the_last_cache(monkeypatch):
    """And is measured where it is asked for alone, in no more than a part of the free memory."""
    read, free = [], 1e12
    monkeypatch.setattr(cpu, "_of_memory", cpu._of_memory.__wrapped__)
    monkeypatch.setattr(cpu, "_of_reading", lambda size, dtype: read.append(size) or 7.0)
    monkeypatch.setattr(cpu, "free_memory", lambda: free)
    monkeypatch.setattr(cpu, "last_cache", lambda: 1e9)
    assert cpu.rates("f", memory=False).bytes == cpu.rates("f", memory=False).cached
    assert not read
    assert cpu.rates("f").bytes == 7.0
    assert 1e9 < read[-1] < free
    free = 1e8
    cpu.rates("f")
    assert read[-1] < free


def test_the_pool_has_all_workers_even_where_blas_is_limited_first():
    code = "from ntkspec.engines import cpu; n = cpu.threads._blas().info()[0]['num_threads']; cpu.run(str, [1, 2]); "
    code += "assert cpu.threads._pool()._max_workers == n == cpu.workers()"
    subprocess.run([sys.executable, "-c", code], check=True)


def blas_threads():
    return [library["num_threads"] for library in cpu.threads._blas().info()]


def test_blas_gets_its_threads_back_after_errors_and_overlapping_runs():
    with cpu.threads._blas().limit(limits=2):  # whatever the tests run with
        before = blas_threads()
        assert cpu.run(lambda _: set(blas_threads()), range(3)) == [{1}] * 3
        with pytest.raises(ZeroDivisionError):
            cpu.run(lambda item: 1 / item, [1, 0, 2])
        assert blas_threads() == before
        users = [threading.Thread(target=cpu.run, args=(lambda _: time.sleep(0.05), range(4 + k))) for k in range(3)]
        for user in users:
            user.start()
            time.sleep(0.02)
        for user in users:
            user.join()
        assert blas_threads() == before


def test_nothing_runs_on_after_an_error():
    ended = []

    def task(item):
        if item == 0:
            raise ValueError("first")
        time.sleep(0.05)
        ended.append(item)

    with pytest.raises(ValueError, match="first"):
        cpu.run(task, range(6))
    seen = len(ended)
    time.sleep(0.15)
    assert len(ended) == seen


def test_loops_are_compiled_where_no_cache_can_be_written(monkeypatch):
    real = compiling.numba.njit

    def refuse(*arguments, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*arguments, **options)

    monkeypatch.setattr(compiling.numba, "njit", refuse)
    compiling._say_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="each start compiles them again.*; set NUMBA_CACHE_DIR") as told:
        assert [compiling.compiled(lambda x, k=k: x + k)(2) for k in (1, 2)] == [3, 4]
    assert len(told) == 1


@pytest.mark.covering(2)
@pytest.mark.parametrize(("entries", "vectors"), [("f", "f"), ("f", "d"), ("d", "d")])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("side", [8, 24, 72, 136])
def test_tiles_of_a_triangle_are_multiplied_on_both_sides(entries, vectors, count, side, engine, on):
    """Against the whole matrix, from any tile to any other; padding with zeros changes nothing."""
    rng = np.random.default_rng(side)
    whole = rng.standard_normal((3 * side, 3 * side))
    whole = (whole + whole.T).astype(entries)
    places = [(i, j) for i in range(3) for j in range(i + 1)]
    blocks = np.array([whole[i * side : (i + 1) * side, j * side : (j + 1) * side] for i, j in places])
    V = rng.standard_normal((count, 3 * side)).astype(vectors)
    exact = V.astype(float) @ whole.astype(float)
    out = on(np.zeros_like(V))
    for first, last in ((0, 2), (2, 2), (2, 5), (5, 6)):
        engine.symmetric.triangle_product(on(blocks), first, last, on(V), out)
    assert out.dtype == vectors
    assert np.abs(engine.to_host(out) - exact).max() <= 40 * side * np.finfo(vectors).eps


@pytest.mark.covering(1)
@pytest.mark.parametrize(("entries", "vectors"), [("f", "f"), ("f", "d"), ("d", "d")])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("n", [1, 24, 72, 200, 2100])
def test_a_triangle_in_rows_is_multiplied_on_both_sides(entries, vectors, count, n, engine, on):
    """The upper triangle is not read, but for squares on the diagonal; rows may lie apart."""
    rng = np.random.default_rng(n)
    whole = rng.standard_normal((n, n + 3)).astype(entries)[:, :n]
    whole = whole + whole.T
    side = 64 if engine.name == "cpu" else 2048
    stored = np.zeros((n, n + 3), entries)
    stored[:, :n] = np.where(np.arange(n) // side <= np.arange(n)[:, None] // side, whole, np.nan)
    V = rng.standard_normal((count, n)).astype(vectors)
    exact, out = V.astype(float) @ whole.astype(float), on(np.zeros_like(V))
    ends = [0, *range(side, n, side), n]
    for first, last in itertools.pairwise(ends):
        engine.symmetric.product(on(stored)[:, :n], first, last, on(V), out)
    assert np.abs(engine.to_host(out) - exact).max() <= 40 * n * np.finfo(vectors).eps


@pytest.mark.parametrize("n", [1, 15, 16, 2100])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_vectors_of_products_begin_with_a_line_of_the_cache(n, dtype):
    room = cpu.symmetric.room(3, n, dtype)
    assert room.dtype == dtype
    assert room.flags.c_contiguous
    assert len(room) == 3
    assert n <= room.shape[1] < n + 16
    assert not room.any()
    assert all(row.ctypes.data % 64 == 0 for row in room)


@pytest.mark.parametrize("n", [1, 5, 8, 64, 129, 300])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_a_matrix_is_compared_with_its_mirror(n, dtype, engine, on):
    matrix = np.random.default_rng(n).standard_normal((2 * n, 2 * n)).astype(dtype)[::2, n:]
    exact, cut = matrix.astype(float), n // 128 * 128 if engine.name == "cpu" else 0
    shares = ((0, cut), (cut, n)) if cut else ((0, n),)
    parts = [engine.symmetric.squares_and_defect(on(matrix), first, last) for first, last in shares]
    squares, defect = (sum(part) for part in zip(*parts, strict=True))
    assert squares == pytest.approx((exact**2).sum(), rel=1e-12)
    assert defect == pytest.approx(((exact - exact.T) ** 2).sum(), rel=1e-12)
    matrix[n // 2, 0] = np.nan
    assert np.isnan(engine.symmetric.squares_and_defect(on(matrix), 0, n)[0])


@pytest.mark.parametrize("layout", ["plain", "strided", "read-only", "fortran", "one row", "no column"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_rows_are_outer_products_of_each_row(engine, on, layout, dtype):
    V, X = np.random.default_rng(0).standard_normal((2, 9, 14)).astype(np.float32)
    V, X = V[:, ::3].astype(np.float64), X.astype(dtype)
    if layout == "strided":
        V, X = V[::2, ::2], X[::2, 1::3]
    elif layout == "read-only":
        X.setflags(write=False)
    elif layout == "fortran":
        V, X = np.asfortranarray(V), np.asfortranarray(X)
    elif layout == "one row":
        V, X = V[:1], X[:1, :1]
    elif layout == "no column":
        X = X[:, :0]
    found = engine.linalg.weighted_rows(on(V), on(X))
    expected = np.einsum("ik,id->ikd", V, X.astype(np.float64)).reshape(len(V), -1)
    np.testing.assert_array_equal(engine.to_host(found), expected)


@pytest.mark.parametrize(("n", "k", "d"), [(1, 1, 1), (7, 2, 33), (40, 3, 64), (70, 1, 5)])
@pytest.mark.parametrize("dtypes", ["fff", "ffd", "dfd", "ddd"])
def test_inner_products_of_rows_are_taken_as_they_lie(n, k, d, dtypes, engine, on):
    left, right, dtype = dtypes
    rng = np.random.default_rng([n, d])
    A, B = rng.standard_normal((n, k, d)).astype(left), rng.standard_normal((2 * n, d)).astype(right)[::2]
    exact, bound = np.einsum("ikd,id->ik", A, B, dtype=float), d * np.finfo(dtype).eps * abs(A).max() * abs(B).max()
    found = engine.linalg.row_products(on(A), on(B), dtype)
    assert found.dtype == np.dtype(dtype)
    assert np.abs(engine.to_host(found) - exact).max() <= bound
    alone = engine.linalg.row_products(on(np.asfortranarray(A[:, 0])), on(B), dtype)
    assert np.abs(engine.to_host(alone) - exact[:, 0]).max() <= bound


# ------------------------------------------------------------------------------------------------ the engines are twins
def test_arrays_move_only_where_that_is_asked_for(engine, on):
    array = np.arange(6.0).reshape(2, 3)
    there = on(array)
    assert engine_of(there) is engine
    assert moved(there, engine) is there
    assert np.array_equal(engine.to_host(there), array)
    assert engine_of(moved(there, cpu)) is cpu


def test_a_mixture_of_devices_is_refused_everywhere(gpu):
    on = gpu.xp.asarray
    X, net = np.random.default_rng(0).standard_normal((12, 3)), ns.TwoLayer.random(3, 8, "erf")
    for mixture in (
        lambda: ns.ntk(net, on(X)),
        lambda: Gram(X, on(X)),
        lambda: Gram(on(X)) @ X,
        lambda: Gram(X) @ on(X),
        lambda: Gram(X) - Gram(on(X)),
        lambda: net(on(X)),
        lambda: ns.predict_gd(Gram(on(X)), X[:, 0], eta=1.0, steps=[1]),
        lambda: ns.train_gd(net, X, on(X[:, 0]), eta1=1.0, eta2=1.0, steps=[1]),
    ):
        with pytest.raises(TypeError, match=r"asnumpy|one device"):
            mixture()


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine 'tpu' is unknown"):
        named("tpu")


@pytest.mark.parametrize("dtype", ["f", "d"])
@pytest.mark.parametrize("name", NAMES)
def test_activations_have_the_same_bits_on_both_engines(name, dtype, gpu):
    """So that the accuracy that test_functions.py measures on the CPU is that of the GPU's kernels too. There float32
    numbers below the smallest normal one are zero, also on the way."""
    least = np.finfo(dtype).smallest_normal if dtype == "f" else 0.0
    z = np.concatenate([np.linspace(-60, 60, 20_001), np.logspace(-300, 3, 500), [0.0, -0.0, np.nan, np.inf, -np.inf]])
    with np.errstate(over="ignore", under="ignore"):
        z = np.concatenate([z, -z]).astype(dtype)
    z[abs(z) < least] = 0
    with np.errstate(invalid="ignore"):
        expected, found = (ns.activation(name).value_and_derivative(array) for array in (z, gpu.xp.asarray(z)))
    for one, other in zip(expected, map(gpu.to_host, found), strict=True):
        if name in ("sin", "cos"):
            assert np.nanmax(np.abs(one - other)) <= 2 * np.finfo(dtype).eps
            assert np.array_equal(np.isnan(one), np.isnan(other))
        else:
            with np.errstate(invalid="ignore"):
                same = (one == other) | (abs(one - other) <= least) | (np.isnan(one) & np.isnan(other))
            assert same.all()


def test_the_gpu_has_no_float32_numbers_below_the_smallest_normal_one(gpu):
    z = gpu.xp.asarray(np.array([1e-40, -1e-40, 2e-38], np.float32))
    value, _ = ns.activation("erf").value_and_derivative(z)
    assert (gpu.to_host(value) != 0).tolist() == [False, False, True]


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_pairs_series_and_patches_agree(dtype, engine, on):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((13, 6)).astype(dtype)
    X[5] = X[3]
    X[7] = -2 * X[3]
    own = (X.astype(float) ** 2).mean(axis=1)
    arguments = X @ X.T, X, own, X, own, 0.05
    expected = cpu.pairs.moments(*arguments)
    found = engine.pairs.moments(on(arguments[0]), on(X), on(own), on(X), on(own), 0.05)
    for one, other in zip(expected, map(engine.to_host, found), strict=True):
        assert np.abs(one - other).max() <= 8 * np.finfo(dtype).eps * own.max() ** 2
    assert engine.to_host(found[1])[3, 5] == 0
    rho, left = np.tanh(X[:, :5]), rng.standard_normal((13, 9)).astype(dtype)
    right = rng.standard_normal((9, 5)).astype(dtype)
    series = engine.pairs.power_series(on(rho), on(left), on(right), 9)
    assert (
        np.abs(engine.to_host(series) - cpu.pairs.power_series(rho, left, right, 9)).max() <= 100 * np.finfo(dtype).eps
    )
    points, weighted = np.linspace(-3, 3, 50), rng.standard_normal((2, 50))
    moments = engine.to_host(engine.pairs.hermite_moments(on(points), on(weighted), 20))
    assert np.abs(moments - cpu.pairs.hermite_moments(points, weighted, 20)).max() < 1e-11


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_circular_patches_agree(size, engine, on):
    rng = np.random.default_rng(size)
    values = rng.standard_normal((2, 6, 5))
    sums = engine.to_host(engine.patches.circular_sums(on(values), size))
    assert np.array_equal(sums, cpu.patches.circular_sums(values, size))
    X, XT = rng.standard_normal((4, 12)), rng.standard_normal((12, 3))
    XT[:, 1] = 3 * X[2]
    products = cpu.patches.position_products(X, XT, 6)
    assert np.abs(engine.to_host(engine.patches.position_products(on(X), on(XT), 6)) - products).max() < 1e-14
    places = (np.arange(6)[:, None] + np.arange(size)) % 6
    own, other = ((A.reshape(-1, 6, 2) ** 2).sum(axis=2).T for A in (X, XT.T))
    own, other = (np.ascontiguousarray(A[places].mean(axis=1)) / 2 for A in (own, other))
    c = products[places].mean(axis=1) / 2
    for lost in (None, rng.random(c.shape)):
        there = on(c.copy())
        gap = engine.patches.gaps(
            there, on(X), on(own), on(XT), on(other), on(places), None if lost is None else on(lost)
        )
        here = c.copy()
        expected = cpu.patches.gaps(here, X, own, XT, other, places, lost)
        assert np.abs(engine.to_host(gap) - expected).max() <= 1e-13
        assert np.abs(engine.to_host(there) - here).max() <= 1e-14


def test_eigenproblems_that_are_too_large_for_cusolver_are_refused(engine, on, monkeypatch):
    values, vectors = map(engine.to_host, engine.linalg.eigh(on(np.diag([3.0, 1.0, 2.0]))))
    assert values.tolist() == [1.0, 2.0, 3.0]
    assert abs(vectors).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    if engine is not cpu:
        monkeypatch.setattr(engine.linalg, "_LARGEST_EIGENPROBLEM", 2)
        with pytest.raises(ValueError, match="n = 3 came, but cuSOLVER is safe up to n = 2"):
            engine.linalg.eigh(on(np.eye(3)))
