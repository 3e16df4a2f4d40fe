"""Files of arrays: .npz, .npy, HDF5 and .mat, with rules for which array is what."""

from ntkspec.datasets.arrays.reader import ARRAY_ENDINGS, read_arrays

__all__ = ["ARRAY_ENDINGS", "read_arrays"]
