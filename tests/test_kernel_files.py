"""Kernel matrices on disk: the same as in memory, resumable, proved, and refused where they do not fit."""

import contextlib
import errno
import os
import signal
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

import ntkspec as ns
from conftest import largest_file
from ntkspec.engines import cpu
from ntkspec.operators import Gram, Triangle, form
from ntkspec.storage import kernels, locked, proofs, tiles


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(cpu, "TILE", 16)


def kernel(n=75, dtype=np.float64, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, 6)).astype(dtype)
    net = ns.TwoLayer.symmetric(6, 20, "relu", dtype=dtype)
    return ns.ntk(net, X, layer="first") - ns.linear_kernel("relu", X, layer="first", trace_ratio=1.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 7, 16, 75])
def test_a_kernel_on_disk_is_the_kernel(tmp_path, n, dtype):
    gap, path = kernel(n, dtype), tmp_path / "gap.h5"
    exact = gap.to_dense()
    for stored in (ns.save_kernel(gap, path), ns.load_kernel(path)):
        assert isinstance(stored, Triangle)
        assert stored.dtype == dtype
        assert np.array_equal(np.tril(stored.to_dense()), np.tril(exact))
        assert np.array_equal(stored.to_dense(), stored.to_dense().T)
        v = np.random.default_rng(1).standard_normal(n).astype(dtype)
        assert np.abs(stored @ v - exact @ v).max() <= 100 * np.finfo(dtype).eps * max(
            1, np.abs(exact).sum(axis=1).max()
        )
        assert float(ns.frobenius_norm(stored)) == pytest.approx(np.linalg.norm(exact.astype(float)), rel=1e-12)
    assert [file.name for file in tmp_path.iterdir()] == ["gap.h5"]
    with h5py.File(path) as file:
        assert file["blocks"].shape == Triangle.layout(n, cpu.TILE)


def test_what_is_known_of_a_kernel_stays_known_on_disk(tmp_path):
    gap = kernel(dtype=np.float32)
    theta = ns.ntk(ns.TwoLayer.symmetric(6, 20, "erf"), np.ones((20, 6)))
    for operator, semidefinite in ((gap, False), (theta, True)):
        stored = ns.save_kernel(operator, tmp_path / "kernel.h5")
        assert stored.storage_error == form(operator).storage_error > 0
        assert stored.semidefinite == semidefinite


def interrupt(monkeypatch, gap, after):
    """Stop the forming of tiles at a number of them; returns the list of those that were begun."""
    real, formed = type(gap).write, []

    def write(self, out, tile, squares=False):
        if isinstance(tile.rows, slice):  # else it is one point with all others, for comparison
            formed.append((tile.rows.start, tile.cols.start))
        if len(formed) == after:
            raise KeyboardInterrupt
        return real(self, out, tile, squares)

    monkeypatch.setattr(type(gap), "write", write)
    return formed


def begun(path, gap, tiles=9):
    """An unfinished file of a kernel."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, gap, tiles)
        with pytest.raises(KeyboardInterrupt):
            ns.save_kernel(gap, path)
    return path.with_name(f"{path.name}.partial")


def test_an_interrupted_file_is_finished_and_nothing_is_formed_twice(tmp_path, monkeypatch):
    gap, path = kernel(), tmp_path / "gap.h5"
    partial = begun(path, gap)
    assert list(tmp_path.iterdir()) == [partial]
    with pytest.raises(ValueError, match=r"is not finished: [0-9]+ tiles are missing"):
        ns.load_kernel(partial)
    with h5py.File(partial) as file:
        there = int(np.isfinite(file["squares"][:]).sum())
    assert there >= 7
    formed = interrupt(monkeypatch, gap, None)
    stored = ns.save_kernel(gap, path)
    assert len(formed) == len(stored.blocks) - there
    assert np.array_equal(np.tril(stored.to_dense()), np.tril(kernel().to_dense()))


def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of any fork beside threads
@pytest.mark.parametrize(
    "moment",
    [
        (tiles, "set_aside"),
        (tiles, "seal"),
        (proofs.Proof, "keep"),
        (kernels, "_finish"),
        (kernels, "seal"),
        (Path, "replace"),
    ],
    ids=lambda moment: moment[1],
)
def test_a_killed_call_is_taken_up(moment, tmp_path, monkeypatch):
    path = tmp_path / "gap.h5"
    if moment[1] == "keep":
        begun(path, kernel(), 5)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        monkeypatch.setattr(*moment, dies)
        with contextlib.suppress(BaseException):
            ns.save_kernel(kernel(), path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not path.exists()
    assert np.array_equal(ns.save_kernel(kernel(), path).to_dense(), form(kernel()).to_dense())
    assert list(tmp_path.iterdir()) == [path], "nothing is left of the killed call"


def others():
    """Kernels that share points, weights or the first tile with kernel(), and how they differ from it."""
    X = np.random.default_rng(0).standard_normal((75, 6))
    net = ns.TwoLayer.symmetric(6, 20, "relu")

    def gap(X, net=net, trace_ratio=1.0):
        return ns.ntk(net, X, layer="first") - ns.linear_kernel("relu", X, layer="first", trace_ratio=trace_ratio)

    for point in (17, 40, 74):
        moved = X.copy()
        moved[point, 3] += 1e-4
        yield f"one feature of point {point}", gap(moved)
    half = X.copy()
    half[40:] = np.random.default_rng(9).standard_normal((35, 6))
    yield "other points after 40", gap(half)
    yield "swapped points", gap(np.r_[X[:20], X[21:22], X[20:21], X[22:]])
    yield "other weights", gap(X, ns.TwoLayer.symmetric(6, 20, "relu", seed=1))
    yield "another linear kernel", gap(X, trace_ratio=1.001)
    yield "another multiple", (1 + 1e-6) * gap(X)
    yield "other entries", ns.operators.wrap(gap(moved).to_dense())
    yield "other products", ns.operators.wrap((lambda K: lambda v: K @ v)(gap(moved).to_dense()), 75)
    yield "another dtype", kernel(dtype=np.float32)


@pytest.mark.parametrize(("how", "other"), [pytest.param(*case, id=case[0]) for case in others()])
def test_the_rest_of_another_kernel_is_not_taken_for_ones_own(how, other, tmp_path):
    path = tmp_path / "gap.h5"
    partial = begun(path, kernel(), 15)
    before = partial.read_bytes()
    with pytest.raises(ValueError, match="was begun for another kernel; remove it, or choose another name"):
        ns.save_kernel(other, path)
    assert partial.read_bytes() == before
    with pytest.raises(ValueError, match=r"holds a kernel of 75 points, not of 30; remove it"):
        ns.save_kernel(kernel(30), path)
    assert np.array_equal(ns.save_kernel(kernel(), path).to_dense(), form(kernel()).to_dense())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_same_kernel_goes_on_however_its_entries_come(dtype, tmp_path):
    """As terms that round otherwise, as entries, and as products."""
    gap = kernel(dtype=dtype)
    matrix = form(gap).to_dense()
    terms = ns.linear_kernel("relu", np.ones((75, 1), dtype), trace_ratio=1.0)
    for k, other in enumerate(
        [gap, gap + terms - terms, ns.operators.wrap(matrix), ns.operators.wrap(lambda v: matrix @ v, 75, dtype=dtype)]
    ):
        path = tmp_path / f"{k}.h5"
        begun(path, gap)
        stored = ns.save_kernel(other, path).to_dense()
        assert abs(stored - matrix).max() <= 32 * np.finfo(dtype).eps * abs(terms.to_dense()).max()


# -------------------------------------------------------------------------------------------------------------- damage
def flip(path, byte, bit=0):
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def spot(path, name):
    with h5py.File(path, "r") as file:
        return file[name].id.get_offset()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_flipped_bit_gives_another_matrix(dtype, tmp_path):
    """Anywhere: in the first bytes, the head, the sums of squares, the digests, the tiles and their padding."""
    whole, path, rng = tmp_path / "gap.h5", tmp_path / "flipped.h5", np.random.default_rng(0)
    ns.save_kernel(kernel(dtype=dtype), whole)
    content, tiles = whole.read_bytes(), spot(whole, "blocks")
    before = [*rng.integers(0, 512, 5), *rng.integers(512, tiles, 10)]
    for byte in (*before, *rng.integers(tiles, len(content), 15), len(content) - 1):
        path.write_bytes(content)
        flip(path, byte, rng.integers(8))
        stored = ns.load_kernel(path) if byte >= tiles else None
        with pytest.raises(ValueError, match=r"flipped.h5 is damaged: "):
            ns.load_kernel(path) if stored is None else stored @ np.ones(75, dtype)


def test_a_tile_is_proved_before_it_is_first_used(tmp_path):
    path, matrix = tmp_path / "gap.h5", form(kernel()).to_dense()
    ns.save_kernel(kernel(), path)
    flip(path, spot(path, "blocks") + 4 * 16 * 16 * 8, 3)  # the fifth tile
    stored = ns.load_kernel(path)
    assert np.array_equal(stored.tile(slice(0, 32), slice(0, 32)), matrix[:32, :32])
    for use in (
        lambda: stored @ np.ones(75),
        lambda: stored.tile(slice(30, 40), slice(10, 20)),
        lambda: stored.tile(np.array([18]), slice(33, 35)),  # its mirror
        lambda: (2.0 * stored + kernel()).to_dense(),
        lambda: ns.spectral_norm(stored),
        lambda: ns.save_kernel(stored, tmp_path / "copy.h5"),
    ):
        with pytest.raises(ValueError, match=r"damaged: tile \(2, 1\) does not match its checksum; remove it and save"):
            use()
    assert np.array_equal(stored.diagonal(), matrix.diagonal())
    flip(path, spot(path, "blocks") + 5 * 16 * 16 * 8)
    with pytest.raises(ValueError, match=r"tile \(2, 2\)"):
        ns.load_kernel(path).diagonal()


def test_what_was_proved_is_not_hashed_again(tmp_path, monkeypatch):
    stored, v = ns.save_kernel(kernel(), tmp_path / "gap.h5"), np.random.default_rng(0).standard_normal(75)
    stored.tile(slice(0, 75), slice(0, 16))
    hashed, holds = [], proofs.Proof.holds
    monkeypatch.setattr(proofs.Proof, "holds", lambda self, k: hashed.append(k) or holds(self, k))
    first = stored @ v
    assert sorted(hashed) == [2, 4, 5, 7, 8, 9, 11, 12, 13, 14], "the first column of tiles was read before"
    assert np.array_equal(stored @ v, first)
    assert np.array_equal(first, form(kernel()) @ v), "the same bits as from memory"
    assert len(hashed) == 10


def damaged_arrays(content, places):
    """Unfinished files with one thing wrong in the arrays, and what it is."""
    blocks, squares, digests = (np.ndarray(shape, dtype, content, offset) for offset, shape, dtype in places)
    k = int(np.flatnonzero(np.isfinite(squares))[-1])
    missing = int(np.flatnonzero(np.isnan(squares))[0])
    yield "zeroed", lambda: blocks[k].fill(0)
    yield "a page of zeros", lambda: blocks[k, :4].fill(0)
    yield "one entry", lambda: np.copyto(blocks[k, 1, 1:2], np.nextafter(blocks[k, 1, 1], np.inf))
    yield "a tile of another place", lambda: np.copyto(blocks[k], blocks[0])
    yield "its square", lambda: squares.__setitem__(k, np.nextafter(squares[k], 0))
    yield "its digest", lambda: digests[k, 5:6].__ixor__(64)
    yield "a square without its tile", lambda: squares.__setitem__(missing, 1.0)


@pytest.mark.parametrize("number", range(7))
def test_damaged_tiles_of_an_unfinished_file_are_formed_again(number, tmp_path):
    path = tmp_path / "gap.h5"
    partial = begun(path, kernel(), 15)
    with h5py.File(partial) as file:
        places = [
            (data.id.get_offset(), data.shape, data.dtype) for data in map(file.get, ("blocks", "squares", "digests"))
        ]
    content = bytearray(partial.read_bytes())
    what, damage = list(damaged_arrays(content, places))[number]
    damage()
    partial.write_bytes(content)
    with pytest.warns(RuntimeWarning, match=r"1 of [0-9]+ tiles do not match their checksums, and are formed again"):
        stored = ns.save_kernel(kernel(), path)
    assert np.array_equal(stored.to_dense(), form(kernel()).to_dense()), what


def test_an_unfinished_file_with_a_damaged_head_is_refused(tmp_path):
    partial, rng = begun(tmp_path / "gap.h5", kernel()), np.random.default_rng(1)
    content, head = partial.read_bytes(), spot(partial, "squares")
    for damage in (*(lambda c, b=b: c[:b] + bytes([c[b] ^ 4]) + c[b + 1 :] for b in rng.integers(0, head, 8)),
                   lambda c: c[:-1], lambda c: c[: len(c) // 2], lambda c: c[:100], lambda c: b"", lambda c: c[512:],
                   lambda c: bytes(len(c))):  # fmt: skip
        partial.write_bytes(damage(content))
        with pytest.raises(ValueError, match=r"gap.h5.partial (is damaged: .*|was begun by an older .*); remove it$"):
            ns.save_kernel(kernel(), tmp_path / "gap.h5")


def older(path, blocks, squares, **attributes):
    """A file as older versions wrote it."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"ntkspec_format": 1, "kind": "kernel", "n": 75} | attributes)
        file["blocks"], file["squares"] = blocks, squares
    return path


def test_a_file_of_an_older_version_is_read_with_a_warning(tmp_path):
    whole = form(kernel())
    squares = np.full(15, whole.frobenius_squared / 15)
    path = older(tmp_path / "old.h5", whole.blocks, squares)
    with pytest.warns(RuntimeWarning, match=r"old.h5 carries no checksum: it was written by an older version") as said:
        old = ns.load_kernel(path)
    assert said[0].filename == __file__
    assert (old.storage_error, old.semidefinite) == (0.0, False)
    assert np.array_equal(old.to_dense(), whole.to_dense())
    path.rename(tmp_path / "gap.h5.partial")
    with pytest.raises(ValueError, match="was begun by an older version, and carries no checksums; remove it"):
        ns.save_kernel(kernel(), tmp_path / "gap.h5")


@pytest.mark.filterwarnings("ignore:.* carries no checksum")
@pytest.mark.parametrize(
    ("blocks", "squares", "attributes"),
    [
        ((15, 16, 16), 15, {"n": 97}),
        ((15, 16, 16), 15, {"n": -3}),
        ((15, 16, 16), 15, {"n": 10**12}),
        ((15, 16, 16), 15, {"n": "many"}),
        ((15, 16, 16), 15, {"distance": np.nan}),
        ((15, 16, 16), 14, {}),
        ((15, 16, 8), 15, {}),
        ((15, 16), 15, {}),
        ((15, 0, 16), 15, {}),
    ],
)
def test_what_a_file_declares_must_be_what_it_holds(blocks, squares, attributes, tmp_path):
    path = older(tmp_path / "a.h5", np.zeros(blocks), np.zeros(squares), **attributes)
    with pytest.raises(ValueError, match=r"a.h5 is damaged: "):
        ns.load_kernel(path)


@pytest.mark.filterwarnings("ignore:.* carries no checksum")
def test_tiles_that_are_not_one_piece_of_the_file_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(15 * 16 * 16 * 8))
    for options in (
        {"chunks": (1, 16, 16)},
        {"external": [(str(tmp_path / "secret"), 0, 15 * 16 * 16 * 8)]},
        {"dtype": np.int64},
        {"dtype": ">f8"},
    ):
        with h5py.File(older(tmp_path / "a.h5", 0.0, np.zeros(15)), "a") as file:
            del file["blocks"]
            file.create_dataset("blocks", (15, 16, 16), **{"dtype": np.float64} | options)[0] = 0
        with pytest.raises(ValueError, match=r"a.h5 is damaged: "):
            ns.load_kernel(tmp_path / "a.h5")
    path = older(tmp_path / "b.h5", np.zeros((15, 16, 16)), np.zeros(15))
    os.truncate(path, path.stat().st_size - 5000)
    with pytest.raises(ValueError, match=r"b.h5 is damaged: "):
        ns.load_kernel(path)


@pytest.mark.parametrize("start", [8, 16, 72, 88], ids=["before", "all of it", "behind", "past the end"])
def test_arrays_that_overlap_or_leave_the_file_are_refused(start):
    """Blocks lie in the bytes 16 to 79 of a file of 96 bytes, beside 16 bytes of squares."""
    blocks = tiles.Spot(16, np.dtype(np.float64), (1, 2, 4))

    def head(first):
        return tiles.Head(2, 0.0, False, {"blocks": blocks, "squares": tiles.Spot(first, np.dtype(np.float64), (2,))})

    for apart in (0, 80):
        tiles._require_room(head(apart), 96)
    with pytest.raises(ValueError, match="before another one or the file ends"):
        tiles._require_room(head(start), 96)


# ------------------------------------------------------------------------------------------------------ room and places
def test_bad_places_and_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        ns.save_kernel(kernel(), tmp_path / "missing" / "gap.h5")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ns.load_kernel(tmp_path / "gap.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ValueError, match="is damaged"):
        ns.load_kernel(tmp_path / "text.h5")
    with pytest.raises(ValueError, match="symmetric kernel is needed"):
        ns.save_kernel(Gram(np.ones((3, 1)), np.ones((4, 1))), tmp_path / "gap.h5")
    monkeypatch.setattr(cpu, "TILE", 512)
    huge = Gram(np.broadcast_to(np.float32(1), (10_000_000, 1)))
    with pytest.raises(ValueError, match=r"n = 10,000,000 in float32 needs 2e\+05 GB as one triangle, but"):
        ns.save_kernel(huge, tmp_path / "gap.h5")


def test_a_kernel_with_nan_is_refused(tmp_path):
    X = np.random.default_rng(0).standard_normal((75, 6))
    with pytest.raises(ValueError, match="the kernel holds NaN or infinity, or entries whose squares float64"):
        ns.save_kernel(1e200 * Gram(X), tmp_path / "gap.h5")


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / "gap.h5"
    with locked(path), pytest.raises(ValueError, match=r"gap.h5 is in use by another process; wait for it"):
        ns.save_kernel(kernel(), path)
    assert list(tmp_path.iterdir()) == []


def test_links_are_written_through_and_not_grown_into(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.h5").symlink_to(tmp_path / "there" / "gap.h5")
    ns.save_kernel(kernel(), tmp_path / "link.h5")
    assert (tmp_path / "link.h5").is_symlink()
    assert ns.load_kernel(tmp_path / "there" / "gap.h5").shape == (75, 75)
    (tmp_path / "diary").write_text("dear")
    for what in ("linked", "folder", "dangling"):
        partial = tmp_path / f"{what}.h5.partial"
        partial.mkdir() if what == "folder" else partial.symlink_to(
            tmp_path / ("diary" if what == "linked" else "none")
        )
        with pytest.raises(
            ValueError, match=r"partial is a link, a folder or a device, but the kernel grows in a file of its own"
        ):
            ns.save_kernel(kernel(), tmp_path / f"{what}.h5")
    assert (tmp_path / "diary").read_text() == "dear"
    assert not (tmp_path / "none").exists()


def test_all_the_room_is_taken_at_once(tmp_path, monkeypatch):
    """Where the file system cannot set it aside, zeros are written."""
    for name in ("aside.h5", "zeros.h5"):
        partial = begun(tmp_path / name, kernel(), 2)
        assert partial.stat().st_blocks * 512 >= partial.stat().st_size > 15 * 16 * 16 * 8
        assert np.array_equal(ns.save_kernel(kernel(), tmp_path / name).to_dense(), form(kernel()).to_dense())

        def unable(*arguments):
            raise OSError(errno.EOPNOTSUPP, "no")

        monkeypatch.setattr(os, "posix_fallocate", unable)


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """A folder on a disk of so many kB."""
    folder.mkdir(exist_ok=True)
    how = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(how, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes the rights of root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_is_refused_and_left_as_it_was(tmp_path):
    """15 tiles of 2 kB and the head: on each disk all of it is written, or nothing is."""
    for kilobytes in (4, 12, 28, 32, 36, 40, 64):
        with small_disk(tmp_path / "disk", kilobytes) as disk:
            if kilobytes < 40:
                with pytest.raises(
                    ValueError, match=r"n = 75 in float64 needs 3.52e-05 GB as one triangle, but .* are free"
                ):
                    ns.save_kernel(kernel(), disk / "gap.h5")
                assert list(disk.iterdir()) == []
            else:
                stored = ns.save_kernel(kernel(), disk / "gap.h5")
                assert np.array_equal(stored.to_dense(), form(kernel()).to_dense())


def test_a_disk_that_fills_while_room_is_taken_is_refused(tmp_path, monkeypatch):
    """Another program was faster: what was written is taken back."""
    with small_disk(tmp_path / "disk", 64) as disk:
        real = tiles.set_aside

        def slow(*arguments):
            (disk / "other").write_bytes(bytes(48 * 1024))
            return real(*arguments)

        monkeypatch.setattr(tiles, "set_aside", slow)
        with pytest.raises(
            ValueError, match=r"as one triangle, but .* \(No space left on device\); choose another disk"
        ):
            ns.save_kernel(kernel(), disk / "gap.h5")
        assert [file.name for file in disk.iterdir()] == ["other"]


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path):
    refusal = pytest.raises(ValueError, match=r"needs 3.52e-05 GB as one triangle, .* \(File too large\)")
    with refusal, largest_file(20_000):
        ns.save_kernel(kernel(), tmp_path / "gap.h5")
    assert list(tmp_path.iterdir()) == []
