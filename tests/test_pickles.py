"""Pickled batches of CIFAR-10: every protocol is read alike, and nothing in a file is run."""

import builtins
import os
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest

from image_files import batch
from ntkspec.datasets.pickles import read_batch, read_objects

RNG = np.random.default_rng(8)
LABELS = np.arange(12) % 10
ROWS = RNG.integers(0, 256, (12, 3072)).astype(np.uint8)
IMAGES = ROWS.reshape(12, 3, 32, 32).transpose(0, 2, 3, 1)
NUMPY = b"cnumpy.core.multiarray\n"
UINT8 = b"cnumpy\ndtype\n(Vu1\nI00\nI01\ntR(I3\nV|\nNNNI-1\nI-1\nI0\ntb"


def assert_read(content):
    images, classes = read_batch(content)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, ROWS)
    np.testing.assert_array_equal(classes, LABELS)


# ------------------------------------------------------------------------------------------------- what is read alike
@pytest.mark.parametrize("labels", [LABELS.tolist(), tuple(LABELS.tolist()), LABELS, list(LABELS), LABELS[:, None]])
@pytest.mark.parametrize("key", [str, str.encode])
@pytest.mark.parametrize("protocol", range(6))
def test_batches_of_every_protocol_are_read_alike(protocol, key, labels):
    names = [b"cat_s_000021.png", b""] * 6
    content = {key("batch_label"): "a batch", key("labels"): labels, key("data"): ROWS, key("filenames"): names}
    assert_read(pickle.dumps(content, protocol))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, ">i4", "<i8", np.uint64])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_labels_of_every_whole_type_and_byte_order_are_read(protocol, kind):
    labels = LABELS.astype(kind)
    assert_read(pickle.dumps({"labels": labels, "data": ROWS}, protocol))
    assert_read(pickle.dumps({"labels": list(labels), "data": np.asfortranarray(ROWS)}, protocol))


@pytest.mark.parametrize("shape", [(8,), (4, 2), (1, 8, 1)])
@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_objects_are_read_as_pickle_reads_them(protocol, shape):
    entries = ["cat", "été", b"dog\xff", None, True, -7, 2.5, "cat"]
    array = np.array(entries, dtype=object).reshape(shape)
    content = pickle.dumps(array, protocol)
    assert read_objects(content, array.size) == (shape, pickle.loads(content).ravel().tolist())
    for crafted in (content + b"I1\n.", content[:-9], pickle.dumps(entries, protocol), pickle.dumps(ROWS, protocol)):
        with pytest.raises(ValueError, match="holds words and numbers only"):
            read_objects(crafted, array.size)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_batches_of_python_2_are_read(protocol):
    assert_read(batch(IMAGES, LABELS, protocol))


def test_the_names_of_numpy_1_and_2_are_the_same():
    content = pickle.dumps({"labels": LABELS, "data": ROWS}, 3)
    young, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    assert_read(content.replace(young, old))
    assert_read(content.replace(old, young))


# ------------------------------------------------------------------------------------------------- what is refused
class Calls:
    """Asks for a call when it is unpickled."""

    def __init__(self, function, *arguments):
        self.asked = function, arguments

    def __reduce__(self):
        return self.asked


def large(protocol_code, form, size):
    return protocol_code + struct.pack(form, size) + b"abc"


def with_data(note: bytes) -> bytes:
    """A protocol 0 batch of no labels whose images are what ``note`` pushes."""
    return b"(dVlabels\n(lsVdata\n" + note + b"s."


def array(shape: bytes, dtype: bytes = UINT8, content: bytes = b"S''\n") -> bytes:
    """What pushes an array of protocol 0; shape : what pushes its entries."""
    head = NUMPY + b"_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
    return head + b"(I1\n(" + shape + b"t" + dtype + b"I00\n" + content + b"tb"


DEEP = 200_000
DOUBLED = b"".join(b"(g%d\ng%d\ntp%d\n" % (k, k, k + 1) for k in range(60))
CRAFTED = {
    "a shell": pickle.dumps(Calls(os.system, "touch trace"), 0),
    "a shell of protocol 4": pickle.dumps({"data": Calls(os.system, "touch trace")}, 4),
    "eval": pickle.dumps([Calls(builtins.eval, "open('trace', 'w').close()")], 2),
    "a module's attribute": b"\x80\x04\x8c\x02os\x8c\x06systemq\x00\x93.",
    "a dotted name": b"cnumpy\ncore.multiarray._reconstruct\n.",
    "numpy's own loader": b"cnumpy\nload\n(Vtrace\ntR.",
    "a name of several lines": b"\x80\x04\x8c\x04a\nb\n\x8c\x04c\nd\n\x93.",
    "INST": b"(Vtouch trace\nios\nsystem\n.",
    "OBJ": b"(cnumpy\nndarray\nVtouch trace\no.",
    "NEWOBJ": b"\x80\x02cnumpy\nndarray\n(I9999999999\nt\x81.",
    "NEWOBJ_EX": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)}\x92.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "a persistent id": b"Ptouch trace\n.",
    "a persistent id from the stack": b"Vtouch trace\nQ.",
    "buffers from outside": b"\x80\x05\x97.",
    "a read-only buffer": b"\x80\x05C\x01a\x98.",
    "a set": b"\x80\x04\x8f.",
    "a call of a string": b"Vos.system\n(Vtouch trace\ntR.",
    "a call with a list": b"cnumpy\ndtype\n(lR.",
    "a state for a list": b"(l(db.",
    "a state for a name": b"cnumpy\ndtype\n(Vu1\ntb.",
    "two states": UINT8 + b"(I3\nV|\nNNNI-1\nI-1\nI0\ntb.",
    "appending to a call": NUMPY + b"_reconstruct\n(tRI1\na.",
    "setting items of a call": NUMPY + b"_reconstruct\n(tRV__class__\nI1\ns.",
    "an array of objects": with_data(
        array(b"I1\n", b"cnumpy\ndtype\n(VO8\ntR(I3\nV|\nNNNI-1\nI-1\nI63\ntb", b"(lI1\na")
    ),
    "a huge array without bytes": with_data(array(b"I1000000000000\nI3072\n")),
    "a huge empty array": with_data(array(b"I2000000000\nI0\n")),
    "a negative shape": with_data(array(b"I-1\nI3072\n")),
    "a shape of forty dimensions": with_data(array(b"I0\n" * 40)),
    "an array without a state": with_data(NUMPY + b"_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntVb\ntR"),
    "a dtype with fields": with_data(array(b"I0\nI3072\n", b"cnumpy\ndtype\n(Vu1\ntR(I3\nV|\nN(Va\nt(dI1\nI1\nI0\ntb")),
    "bytes by another codec": with_data(array(b"I0\nI3072\n", UINT8, b"c_codecs\nencode\n(Va\nVzip\ntR")),
    "labels that are floats": pickle.dumps({"data": ROWS, "labels": [0.5] * 12}, 2),
    "labels that are booleans": pickle.dumps({"data": ROWS, "labels": [True] * 12}, 2),
    "labels beyond 64 bits": pickle.dumps({"data": ROWS, "labels": [2**70] * 12}, 2),
    "images of floats": pickle.dumps({"data": ROWS.astype(np.float32), "labels": LABELS}, 2),
    "images of another size": pickle.dumps({"data": ROWS[:, :3000], "labels": LABELS}, 2),
    "a hundred classes": pickle.dumps({"data": ROWS, "fine_labels": LABELS, "coarse_labels": LABELS}, 2),
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a long of a million bytes": b"\x80\x02\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000 + b".",
    "a string longer than the file": large(pickle.BINBYTES8, "<Q", 2**63),
    "a bytearray longer than the file": large(pickle.BYTEARRAY8, "<Q", 2**40),
    "a text longer than the file": large(pickle.BINUNICODE, "<I", 2**32 - 1),
    "a string of negative length": large(pickle.BINSTRING, "<i", -5),
    "a frame longer than the file": large(pickle.FRAME, "<Q", 2**60),
    "a memo of four billion places": b"N" + pickle.LONG_BINPUT + b"\xff\xff\xff\xff.",
    "a place that nothing was put in": b"g7\n.",
    "a negative place": b"g-1\n.",
    "lists in lists": b"(l" * DEEP + b"a" * (DEEP - 1) + b".",
    "tuples in tuples": b"N" + b"\x85" * DEEP + b".",
    "marks in marks": b"(" * DEEP + b"t" * DEEP + b".",
    "a key that doubles sixty times": b"(d" + b"Np0\n" + DOUBLED + b"I1\ns.",
    "images that double sixty times": with_data(b"Np0\n" + DOUBLED),
    "a list that holds itself": b"(lp0\ng0\na.",
    "images that hold themselves": with_data(b"(lp9\ng9\na"),
    "more instructions than any batch": pickle.EMPTY_LIST * 1_100_000,
    "a long key": b"(dV" + b"a" * 5000 + b"\nNs.",
    "no mark": b"t.",
    "an empty stack": b"0.",
    "nothing at all": b".",
    "no end": b"N",
    "half a string": b"S'abc\n.",
    "text that is no text": b"\x80\x04\x8c\x02\xff\xfe.",
    "an odd dictionary": b"(VaNNd.",
}


def test_the_crafted_arrays_are_whole_but_for_what_is_said_of_them():
    images, classes = read_batch(with_data(array(b"I0\nI3072\n")))
    assert images.shape == (0, 3072)
    assert len(classes) == 0


@pytest.mark.parametrize("content", CRAFTED.values(), ids=CRAFTED)
def test_crafted_pickles_are_refused_in_one_line_and_not_run(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start = time.perf_counter()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        read_batch(content)
    assert time.perf_counter() - start < 10
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [CRAFTED[name] for name in ("a shell", "a shell of protocol 4", "eval", "INST")])
def test_the_crafted_pickles_would_have_worked(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(content)
    assert [path.name for path in tmp_path.iterdir()] == ["trace"]


def test_memory_grows_with_the_file_alone():
    small = [content for content in CRAFTED.values() if len(content) < 10_000]
    assert len(small) > 50
    tracemalloc.start()
    for content in small:
        with pytest.raises(ValueError):  # noqa: PT011
            read_batch(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def mutated(content: bytes, rng) -> bytes:
    """A few bytes changed, dropped or doubled outside the pixels, which any byte may stand for."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(changed)))
        if rng.random() < 0.9:
            place = int(rng.choice([rng.integers(400), len(changed) - 1 - rng.integers(300)]))
        action = rng.integers(3)
        if action == 0:
            changed[place] = rng.integers(256)
        elif action == 1:
            del changed[place : place + int(rng.integers(1, 5))]
        else:
            changed[place:place] = changed[place : place + int(rng.integers(1, 5))]
    return bytes(changed)


@pytest.mark.parametrize("protocol", range(6))
def test_whatever_is_read_of_a_changed_file_are_images_and_labels(protocol):
    rng, content = np.random.default_rng([8, protocol]), pickle.dumps({"labels": list(LABELS), "data": ROWS}, protocol)
    refused = 0
    for _ in range(150):
        try:
            images, classes = read_batch(mutated(content, rng))
        except ValueError:
            refused += 1
        else:
            assert images.dtype == np.uint8
            assert images.shape == (len(classes), 3072)
            assert classes.dtype == np.int64
    assert refused > 30
