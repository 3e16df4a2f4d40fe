"""Operators know how many points their rows are of, whatever is done to them."""

import pickle

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.operators import Gram, form, identity, with_entries, wrap
from ntkspec.operators.transposed import Transposed
from ntkspec.storage.checkpointed import checkpointed
from several_outputs import full_kernel, random_jacobian

N, K = 6, 3
FULL = full_kernel(random_jacobian(N, K))
MATRIX = FULL.to_dense()
DERIVED = {
    "itself": lambda: FULL,
    "its transpose": lambda: FULL.T,
    "transposed": lambda: Transposed(full_kernel(random_jacobian(4, K, 9), random_jacobian(N, K, 9, seed=1))),
    "a multiple": lambda: 2.0 * FULL,
    "a sum": lambda: FULL + FULL,
    "ridge": lambda: FULL + 0.1 * identity(N * K),
    "less an array": lambda: FULL - np.eye(N * K),
    "a difference of arrays": lambda: wrap(MATRIX, rows_per_point=K) - MATRIX,
    "a triangle": lambda: form(FULL),
    "an array": lambda: wrap(MATRIX, rows_per_point=K),
    "a transposed array": lambda: wrap(MATRIX[:, :K], symmetric=False, rows_per_point=K).T.T,
    "a function": lambda: wrap(lambda v: MATRIX @ v, N * K, rows_per_point=K),
    "the matrix of a function": lambda: with_entries(wrap(lambda v: MATRIX @ v, N * K, rows_per_point=K)),
    "an operator that is told": lambda: wrap(Gram(np.ones((N * K, 2))), rows_per_point=K),
    "one that knows": lambda: wrap(FULL, rows_per_point=K),
    "pickled": lambda: pickle.loads(pickle.dumps(FULL)),
    "pickled sum": lambda: pickle.loads(pickle.dumps(FULL + identity(N * K))),
}


@pytest.mark.parametrize("what", DERIVED)
def test_points_are_kept(what):
    found = DERIVED[what]()
    assert found.points == N
    assert found.rows_per_point == K
    assert found.shape[0] == N * K


def test_points_are_kept_on_disk(tmp_path):
    path = tmp_path / "kernel.h5"
    saved = ns.save_kernel(FULL, path)
    for found in (saved, ns.load_kernel(path), pickle.loads(pickle.dumps(saved)), 2.0 * saved):
        assert (found.points, found.rows_per_point) == (N, K)
    with checkpointed(FULL, tmp_path / "products") as kept:
        assert kept.points == N


def test_files_of_kernels_of_points_are_what_they_were(tmp_path):
    import h5py

    ns.save_kernel(np.eye(4), tmp_path / "kernel.h5")
    with h5py.File(tmp_path / "kernel.h5") as file:
        assert "rows_per_point" not in file.attrs
    assert ns.load_kernel(tmp_path / "kernel.h5").points == 4


def test_a_file_that_was_begun_for_another_number_of_outputs_is_refused(tmp_path, monkeypatch):
    class Stop(Exception):
        """The interruption."""

    def interrupted(*_):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("ntkspec.storage.kernels.form", interrupted)
        with pytest.raises(Stop):
            ns.save_kernel(FULL, tmp_path / "kernel.h5")
    with pytest.raises(ValueError, match="holds a kernel with 3 rows for each point, not 1; remove it or choose"):
        ns.save_kernel(MATRIX, tmp_path / "kernel.h5")


def test_an_operator_that_was_looked_at_is_told_on_a_copy():
    kernel = Gram(np.ones((N * K, 2)))
    assert kernel.points == N * K
    assert wrap(kernel, rows_per_point=K).points == N
    assert kernel.points == N * K


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="kernels with 2 and 3 rows for each point cannot be combined"):
        FULL + wrap(MATRIX, rows_per_point=2)
    with pytest.raises(ValueError, match=r"shape \(18, 18\) cannot have rows_per_point=4, which has to divide both"):
        wrap(MATRIX, rows_per_point=4)
    with pytest.raises(ValueError, match="rows_per_point=0, but a whole number >= 1"):
        wrap(lambda v: v, 4, rows_per_point=0)
    with pytest.raises(ValueError, match="rows_per_point=2, but this kernel has 3 rows for each point"):
        wrap(FULL, rows_per_point=2)
