"""Small files of images as MNIST and CIFAR-10 have them, and what a data set of them must be, in slow loops."""

import io
import pickle
import struct
from typing import ClassVar

import numpy as np
import pytest


def of_all_classes(load, **options):
    """Ten classes are no numbers: that they are taken for numbers is said."""
    with pytest.warns(UserWarning, match=r"classes are regressed as the numbers 2 class/9 - 1; name two with classes="):
        return load(**options)


def idx(array) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def standard(X, X_test):
    """Both centred by the training mean and scaled to a training mean of |x|^2 of d."""
    mean = X.mean(axis=0)
    scale = np.sqrt(X.shape[1] / np.mean(((X - mean) ** 2).sum(axis=1)))
    return (X - mean) * scale, (X_test - mean) * scale


def pooled(images, size):
    n, height, width, channels = images.shape
    out = np.zeros((n, height // size, width // size, channels))
    for i, row, column, channel in np.ndindex(out.shape):
        patch = images[i, row * size : (row + 1) * size, column * size : (column + 1) * size, channel]
        out[i, row, column, channel] = patch.sum() / size**2
    return out.reshape(n, -1)


class Python2Pickler(pickle._Pickler):
    """Byte strings as Python 2 wrote them in protocols 0 to 2; Python 3 writes a call of _codecs.encode instead."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        text = text.encode("latin1") if isinstance(text, str) else text
        if self.proto == 0:
            self.write(pickle.STRING + repr(text)[1:].encode("ascii") + b"\n")
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(text)) + text)

    dispatch[bytes] = dispatch[str] = save_string


def rows_of(images):
    """A row for each image: 1024 red, then green, then blue values."""
    return np.array([[image[k // 32 % 32, k % 32, k // 1024] for k in range(3072)] for image in images], dtype=np.uint8)


def batch(images, labels, protocol=2) -> bytes:
    """A batch as in the official archive, written by Python 2."""
    file = io.BytesIO()
    content = {b"batch_label": b"a batch", b"labels": [int(one) for one in labels], b"data": rows_of(images)}
    Python2Pickler(file, protocol).dump(content)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
