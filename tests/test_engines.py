"""The CPU engine: tiles, sums and the worker pool."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ntkspec.engines import compiling, cpu, engine_of


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strided", [False, True])
def test_tiles_are_added_and_transposed_in_place(dtype, strided):
    rng = np.random.default_rng(1)
    whole = [rng.standard_normal((70, 94)).astype(dtype) for _ in range(3)]
    out, P, Q = (array[::2, ::2] if strided else array[:35, :47] for array in whole)
    expected = out + 0.5 * P.astype(float) - 2.0 * P.astype(float) * Q
    cpu.add_scaled(out, P, 0.5)
    cpu.add_hadamard(out, P, Q, -2.0)
    assert np.abs(out - expected).max() < 40 * np.finfo(dtype).eps
    expected, F, GT = out + 1.5 * P[:, :3].astype(float) @ Q[:3], P[:, :3], Q[:3]
    cpu.add_thin(out, F, GT, 1.5)
    assert np.abs(out - expected).max() < 100 * np.finfo(dtype).eps
    turned = np.empty((47, 35), dtype)
    cpu.copy_transposed(turned, P)
    assert np.array_equal(turned, P.T)


def test_sum_of_squares_is_accumulated_in_float64():
    tile = np.full((1000, 1000), 0.1, dtype=np.float32)
    assert cpu.sum_of_squares(tile) == pytest.approx(1e6 * float(np.float32(0.1)) ** 2, rel=1e-12)


def test_largest_entry_skips_the_diagonal_and_keeps_nan():
    tile = np.diag([9.0, 8.0, 7.0]) + 0.25
    tile[2, 0] = -3.0
    assert cpu.largest_entry(tile, 0) == 3.0
    assert cpu.largest_entry(tile, 5) == 9.25
    tile[0, 2] = np.nan
    assert np.isnan(cpu.largest_entry(tile, 0))


def test_run_keeps_the_order_and_raises_what_a_task_raises():
    assert cpu.run(lambda item: item**2, range(50)) == [item**2 for item in range(50)]
    assert cpu.run(str, []) == []
    with pytest.raises(ZeroDivisionError):
        cpu.run(lambda item: 1 / (item - 3), range(6))


@pytest.mark.parametrize("n", [1, 2, 3, 1000])
def test_shares_and_blocks_cover_every_row_once(n):
    rows = [i for share in cpu.shares(n) for block in cpu.blocks(share, 4000) for i in range(block.start, block.stop)]
    assert rows == list(range(n))


def test_arrays_of_two_devices_are_refused():
    class Array:
        pass

    Array.__module__ = "cupy.core"
    with pytest.raises(TypeError, match=r"arrays of cupy and numpy came together.*cupy\.asnumpy"):
        engine_of(np.zeros(1), Array())


@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (4, 64), (5, 65), (7, 256), (9, 1000), (33, 4160)])
@pytest.mark.parametrize("values", [(0.0, 1.0), (-0.25, 1.0)])
def test_bits_are_packed_unpacked_and_counted_exactly(shape, values):
    rng = np.random.default_rng(shape)
    masks = rng.random(shape) < 0.5, rng.random((19, shape[1])) < 0.5
    packed = []
    for mask in masks:
        words = cpu.empty_bits(*mask.shape)
        cpu.pack_bits(words, np.where(mask, *values[::-1]).astype(np.float32), values[1])
        assert words.shape == (len(mask), -(-shape[1] // 64))
        assert np.array_equal(cpu.unpack_bits(words, shape[1], (0.0, 1.0), np.float64), mask)
        assert np.array_equal(cpu.unpack_bits(words, shape[1], (-2.0, 3.0), np.float32), np.where(mask, 3, -2))
        assert np.array_equal(cpu.count_ones(words), mask.sum(axis=1))
        packed.append(words)
    counts = cpu.count_common(*packed, np.float32)
    assert counts.dtype == np.float32
    assert np.array_equal(counts, masks[0].astype(int) @ masks[1].T.astype(int))


def test_bits_take_rows_of_any_stride():
    words = np.random.default_rng(0).integers(0, 2**63, (40, 6), dtype=np.uint64)
    assert np.array_equal(
        cpu.count_common(words[::2, ::2], words[1::2, 1::2], np.float64),
        cpu.count_common(words[::2, ::2].copy(), words[1::2, 1::2].copy(), np.float64),
    )


@pytest.mark.parametrize("dtype", ["f", "d"])
def test_rates_are_measured_once_and_are_plausible(dtype):
    rates = cpu.rates(dtype)
    assert rates is cpu.rates(dtype)
    assert all(1e7 < rate < 1e15 for rate in (rates.flops, rates.words, rates.entries, rates.bytes))


def test_the_pool_has_all_workers_even_where_blas_is_limited_first():
    code = "from ntkspec.engines import cpu; n = cpu._blas().info()[0]['num_threads']; cpu.run(str, [1, 2]); "
    code += "assert cpu._pool()._max_workers == n == cpu.workers()"
    subprocess.run([sys.executable, "-c", code], check=True)


def blas_threads():
    return [library["num_threads"] for library in cpu._blas().info()]


def test_blas_gets_its_threads_back_after_errors_and_overlapping_runs():
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
    assert compiling.compiled(lambda x: x + 1)(2) == 3


@pytest.mark.parametrize(("entries", "vectors"), [("f", "f"), ("f", "d"), ("d", "d")])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("side", [8, 24])
def test_tiles_of_a_triangle_are_multiplied_on_both_sides(entries, vectors, count, side):
    """Against the whole matrix, from any tile to any other; padding with zeros changes nothing."""
    rng = np.random.default_rng(side)
    whole = rng.standard_normal((3 * side, 3 * side))
    whole = (whole + whole.T).astype(entries)
    places = [(i, j) for i in range(3) for j in range(i + 1)]
    blocks = np.array([whole[i * side : (i + 1) * side, j * side : (j + 1) * side] for i, j in places])
    V = rng.standard_normal((count, 3 * side)).astype(vectors)
    exact = V.astype(float) @ whole.astype(float)
    out = np.zeros_like(V)
    for first, last in ((0, 2), (2, 2), (2, 5), (5, 6)):
        cpu.triangle_product(blocks, first, last, V, out)
    assert out.dtype == vectors
    assert np.abs(out - exact).max() <= 40 * side * np.finfo(vectors).eps
    again = np.zeros_like(V)
    for first, last in ((0, 64), (64, 3 * side)):
        cpu.symmetric_product(whole, first, min(last, 3 * side), V, again)
    assert np.abs(again - exact).max() <= 40 * side * np.finfo(vectors).eps


@pytest.mark.parametrize("n", [1, 5, 8, 64, 129, 300])
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_a_matrix_is_compared_with_its_mirror(n, dtype):
    matrix = np.random.default_rng(n).standard_normal((2 * n, 2 * n)).astype(dtype)[::2, n:]
    exact, cut = matrix.astype(float), n // 128 * 128
    parts = [cpu.squares_and_defect(matrix, first, last) for first, last in ((0, cut), (cut, n))]
    squares, defect = (sum(part) for part in zip(*parts, strict=True))
    assert squares == pytest.approx((exact**2).sum(), rel=1e-12)
    assert defect == pytest.approx(((exact - exact.T) ** 2).sum(), rel=1e-12)
    matrix[n // 2, 0] = np.nan
    assert np.isnan(cpu.squares_and_defect(matrix, 0, n)[0])
