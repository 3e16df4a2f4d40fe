"""Files that are either whole or not there: trees of results, and kernel matrices."""

from ntkspec.storage.arrays import Arrays, open_arrays
from ntkspec.storage.checkpointed import checkpointed
from ntkspec.storage.hdf5 import FORMAT_VERSION, OtherKind, blamed_on, kind_of
from ntkspec.storage.kernels import load_kernel, save_kernel
from ntkspec.storage.places import atomic_path, locked, target
from ntkspec.storage.trees import Keeper, read, write

__all__ = [
    "FORMAT_VERSION",
    "Arrays",
    "Keeper",
    "OtherKind",
    "atomic_path",
    "blamed_on",
    "checkpointed",
    "kind_of",
    "load_kernel",
    "locked",
    "open_arrays",
    "read",
    "save_kernel",
    "target",
    "write",
]
