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
from conftest import largest_file
from ntkspec.operators import wrap
from ntkspec.storage import checkpointed

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
        operator.cost.product  # noqa: B018 - takes a product, to learn how long it lasts
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
    assert again.count <= 3 + 4, "three products look at the function, and the first block is compared"
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
        checkpointed(operator, tmp_path / "products"),
        pytest.raises(ValueError, match="is in use by another process"),
        checkpointed(operator, tmp_path / "products"),
    ):
        pass


def test_no_flipped_bit_is_used(tmp_path):
    """In the header it is refused; in a product, that one and those after it are computed again."""
    path, rng = tmp_path / "products", np.random.default_rng(0)
    whole = norm(Counted(), checkpoint=path)
    content = path.read_bytes()
    record = 32 + 8 * 701
    for byte in [
        *rng.integers(0, 4096, 4),
        *rng.integers(4096, len(content), 8),
        4096 + 3,
        4096 + 35,
        len(content) - 1,
    ]:
        flipped = bytearray(content)
        flipped[byte] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        if byte < 4096:
            with pytest.raises(ValueError, match=r"^[^\n]* holds [^\n]*, but this run multiplies with [^\n]*$"):
                norm(Counted(), checkpoint=path)
        else:
            counted = Counted()
            assert same(norm(counted, checkpoint=path), whole)
            assert counted.count >= whole.products - (byte - 4096) // record
            assert path.read_bytes() == content


def test_what_a_file_holds_is_told_on_one_line(tmp_path):
    path = tmp_path / "products"
    for content in (b"\x89HDF\r\n\x1a\n" + bytes(5000), b"a\nb\x1b[2J\xff" * 900, b"{" * 9000, b'{"n": NaN}'):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"holds ") as refused:
            norm(Counted(), checkpoint=path)
        assert str(refused.value).isprintable()
        assert path.read_bytes() == content


def test_places_are_refused_before_the_work(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for compute in (norm, pairs, lambda counted, **how: ns.spectral_density(counted.operator(), **how)):
        for name, said in (("folder", "is a folder"), ("pipe", "is not a regular file"), ("a\udcff", "is not UTF-8")):
            counted = Counted()
            with pytest.raises(ValueError, match=said):
                compute(counted, checkpoint=tmp_path / name)
            assert counted.count <= 3, "three products look at the function"


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "products")
    whole = norm(Counted(), checkpoint=tmp_path / "link")
    counted = Counted()
    assert same(norm(counted, checkpoint=tmp_path / "products"), whole)
    assert counted.count <= 3 + 2
    (tmp_path / "diary").write_text("dear")
    (tmp_path / "other").symlink_to(tmp_path / "diary")
    with pytest.raises(ValueError, match="holds dear, but"):
        norm(Counted(), checkpoint=tmp_path / "other")
    assert (tmp_path / "diary").read_text() == "dear"


@pytest.mark.parametrize("room", [0, 3000, 4096, 4096 + 3 * 5640, 4096 + 7 * 5640 + 1234])
def test_a_full_disk_costs_the_checkpoint_and_not_the_result(room, tmp_path):
    """Files may grow to so many bytes: what lies there is whole products, with which the next call goes on."""
    path, whole = tmp_path / "products", norm(Counted())
    warned = pytest.warns(RuntimeWarning, match=r"cannot be written to \(File too large\): the products from")
    with warned as said, largest_file(room):
        found = norm(Counted(), checkpoint=path)
    assert same(found, whole)
    assert len(said) == 1
    kept = max(0, path.stat().st_size - 4096) // 5640
    assert kept == max(0, room - 4096) // 5640 // 2 * 2, "blocks of two vectors"
    counted = Counted()
    assert same(norm(counted, checkpoint=path), whole)
    assert counted.count <= whole.products - kept + 3 + 2 + 2


SCRIPT = """
import sys, time
import numpy as np, ntkspec as ns
from ntkspec.operators import wrap
values = np.linspace(-1, 1, 4_000) ** 3
def product(v):
    time.sleep(float(sys.argv[2]))
    return values * v
print(vars(ns.spectral_norm(wrap(product, len(values)), checkpoint=sys.argv[1])))
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_process_loses_nothing_but_the_product_it_was_at(kill, tmp_path):
    path = tmp_path / "products"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, path, "0.02"], stderr=subprocess.DEVNULL)
    while not path.exists() or path.stat().st_size < 10 * 32_000:
        time.sleep(0.02)
    os.kill(process.pid, kill)
    process.wait()
    before = path.stat().st_size
    run = subprocess.run([sys.executable, "-c", SCRIPT, path, "0"], capture_output=True, text=True, check=True)
    fresh = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "other", "0"], capture_output=True, text=True, check=True
    )
    assert before > 10 * 32_000
    assert run.stdout.split("Plan(")[0] == fresh.stdout.split("Plan(")[0]
    assert run.stdout.split("'evidence': ")[1] == fresh.stdout.split("'evidence': ")[1]
