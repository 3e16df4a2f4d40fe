"""Runs that were stopped go on from their products, and end as if they had not been stopped."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import ntkspec as ns
from adversarial import matrix_with
from ntkspec.operators import wrap
from ntkspec.storage import recorded

A = matrix_with(np.linspace(-1, 1, 700) ** 3)


class Counted:
    """Products with A; the one with number ``stop`` is interrupted."""

    def __init__(self, stop=None, matrix=A):
        self.stop, self.count, self.matrix = stop, 0, matrix

    def __call__(self, v):
        self.count += 1
        if self.count == self.stop:
            raise KeyboardInterrupt
        return self.matrix @ v

    def operator(self):
        operator, stop, self.stop = wrap(self, len(self.matrix)), self.stop, None
        operator.product_work  # noqa: B018 - takes a product, to learn how long it lasts
        self.count, self.stop = 0, stop
        return operator


def norm(counted, **options):
    return ns.spectral_norm(counted.operator(), seed=3, **options)


def pairs(counted, **options):
    return ns.eigsh(counted.operator(), 4, seed=3, **options)


def same(one, other):
    if isinstance(one, ns.Estimate):  # the plan holds measured times
        return replace(one, plan=None) == replace(other, plan=None)
    return np.array_equal(one.values, other.values) and np.array_equal(one.vectors, other.vectors)


@pytest.mark.parametrize("compute", [norm, pairs])
@pytest.mark.parametrize("stops", [[1], [7], [20, 40]])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bits(compute, stops, tmp_path):
    whole = compute(Counted())
    path, done = tmp_path / "products", 0
    for stop in stops:
        counted = Counted(stop)
        with pytest.raises(KeyboardInterrupt):
            compute(counted, checkpoint=path)
        done += stop
    counted = Counted()
    assert same(compute(counted, checkpoint=path), whole)
    again = Counted()
    assert same(compute(again, checkpoint=path), whole)
    assert again.count <= 3 + 2, "three products look at the function, and the first block is compared"
    if len(stops) == 1 and stops[0] > 4:
        assert counted.count <= whole.products - stops[0] + 3 + 2 + 2 + 6


def test_a_file_of_another_kernel_is_refused(tmp_path):
    path = tmp_path / "products"
    norm(Counted(), checkpoint=path)
    with pytest.raises(ValueError, match="holds products with another kernel; remove it"):
        norm(Counted(matrix=2 * A), checkpoint=path)
    with pytest.raises(ValueError, match=r"\"n\": 700, .* but this run multiplies with .*\"n\": 650"):
        norm(Counted(matrix=A[:650, :650]), checkpoint=path)
    path.write_text("something else")
    with pytest.raises(ValueError, match="holds something else, but this run multiplies with"):
        norm(Counted(), checkpoint=path)
    with pytest.raises(FileNotFoundError, match="make it first"):
        norm(Counted(), checkpoint=tmp_path / "missing" / "products")


def test_another_seed_starts_anew(tmp_path):
    path, counted = tmp_path / "products", Counted()
    norm(Counted(), checkpoint=path)
    other = ns.spectral_norm(counted.operator(), seed=4, checkpoint=path)
    assert same(other, ns.spectral_norm(Counted().operator(), seed=4))
    assert counted.count >= other.products


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_tail_is_computed_again(damage, tmp_path):
    path = tmp_path / "products"
    whole = norm(Counted(), checkpoint=path)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2 + 13]
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    counted = Counted()
    assert same(norm(counted, checkpoint=path), whole)
    assert 0.4 * whole.products <= counted.count <= 0.6 * whole.products + 6


def test_two_processes_do_not_write_to_one_file(tmp_path):
    operator = wrap(A)
    with (
        recorded(operator, tmp_path / "products"),
        pytest.raises(ValueError, match="is being written by another process"),
        recorded(operator, tmp_path / "products"),
    ):
        pass


SCRIPT = """
import sys, time
import numpy as np, ntkspec as ns
from ntkspec.operators import wrap
values = np.linspace(-1, 1, 20_000) ** 3
def product(v):
    time.sleep(float(sys.argv[2]))
    return values * v
print(vars(ns.spectral_norm(wrap(product, len(values)), checkpoint=sys.argv[1])))
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_loses_nothing_but_the_product_it_was_at(kill, tmp_path):
    path = tmp_path / "products"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, path, "0.02"], stderr=subprocess.DEVNULL)
    while not path.exists() or path.stat().st_size < 10 * 160_000:
        time.sleep(0.02)
    os.kill(process.pid, kill)
    process.wait()
    before = path.stat().st_size
    run = subprocess.run([sys.executable, "-c", SCRIPT, path, "0"], capture_output=True, text=True, check=True)
    fresh = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "other", "0"], capture_output=True, text=True, check=True
    )
    assert before > 10 * 160_000
    assert run.stdout.split("Plan(")[0] == fresh.stdout.split("Plan(")[0]
    assert run.stdout.split("'evidence': ")[1] == fresh.stdout.split("'evidence': ")[1]
