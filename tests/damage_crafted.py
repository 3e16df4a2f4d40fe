"""Files that were made to do harm: bombs, nests, loops, endless values, programs."""

import gzip
import os
import pickle
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from damage_samples import PACKERS, write_digits

MARKER = "executed"


@dataclass(frozen=True)
class Crafted:
    """A file, or a folder of them, that must be refused or read at the cost of its size."""

    kind: str
    name: str
    reader: str
    main: str
    write: Callable[[Path], None]


# ------------------------------------------------------------------------------------------------------------ packed
_MANY = {  # 4 MB; packed and repeated, these unpack to 4 GB
    "zeros": bytes(1 << 22),
    "rows": b"1.5,2,0\n" * (1 << 19),
    "blanks": b" " * (1 << 22),
    "commas": b"," * (1 << 22),
    "lines": b"\n" * (1 << 22),
}


def _bomb(path: Path, content: bytes, pack: Callable[[bytes], bytes]) -> None:
    path.write_bytes(pack(b"a,b,label\n1,2,0\n2,1,1\n") + pack(content) * 1024)


def _one_stream(path: Path) -> None:
    """A single stream, so that no reader sees an end before 2 GB."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(512):
            file.write(_MANY["zeros"])


# ------------------------------------------------------------------------------------------------------------- texts
def _quadratic(cell: str) -> str:
    """A table with such a value."""
    return "a,b,label\n1,2,0\n2,3,1\n4," + cell + ",0\n" + "3,4,1\n" * 20


_LONG = 1_000_000
TEXTS: dict[str, Callable[[], str]] = {
    "one line of 64 MB of numbers": lambda: "1," * 32_000_000 + "0\n" + "2,3\n",
    "one line of 64 MB without a separator": lambda: "1" * 64_000_000,
    "two lines of a million values": lambda: ("1," * _LONG + "0\n") + ("2," * _LONG + "1\n"),
    "a million empty names": lambda: "a,b,label" + "," * _LONG + "\n" + "1,2,0\n" * 3 + "2,3,1\n" * 3,
    "millions of short lines": lambda: "1\n" * 3_000_000,
    "an endless quote": lambda: 'a,b,label\n1,2,0\n3,"' + "4,5\n1,2," * 500_000,
    "a line of single quotes": lambda: "'" * _LONG + "\n1,2,0\n2,3,1\n",
    "quotes and blanks": lambda: "1, '" + " " * _LONG + "2\n1,2\n",
    "a value of digits and a letter": lambda: _quadratic("1" * _LONG + "x"),
    "a value of digits and commas": lambda: _quadratic('"' + "1,1" * _LONG + 'x"'),
    "a value of blanks": lambda: _quadratic("1" + " " * _LONG + "x"),
    "a number of a million digits": lambda: _quadratic("1" * _LONG),
    "an exponent of a million digits": lambda: _quadratic("1e" + "9" * _LONG),
    "an exponent without end": lambda: _quadratic("1e-" + "0" * _LONG + "1"),
    "a comment of a megabyte": lambda: "#" + "1,2," * _LONG + "\n" + _quadratic("5"),
    "a million comments": lambda: "#1,2,0\n" * _LONG + _quadratic("5"),
    "many widths": lambda: "".join("1," * k + "0\n" for k in range(1, 3000)),
    "a million columns of words": lambda: "a," * _LONG + "label\n" + "b," * _LONG + "0\n",
    "sep= and nothing": lambda: "sep=",
    "sep= a quote": lambda: 'sep="\n1"2\n3"4\n',
    "carriage returns": lambda: "1,2\r" * _LONG,
    "nested JSON": lambda: "[" * _LONG,
    "nested XML": lambda: "<a>" * _LONG,
    "a web page": lambda: "<!DOCTYPE html>\n<html>1,2\n</html>",
    "names with controls": lambda: "\x1b[31ma,b\x7f,label\n1,x,0\n2,y,1\n",
    "a bad value with a line end": lambda: 'a,b,label\n1,"x\ny",0\n2,3,1\n',
    "unicode digits": lambda: "a,b,label\n١,2,0\n٢,3,1\n",
    "lone surrogates": lambda: "a,b,label\n1,2,\\ud800\n",
    "huge ints": lambda: "a,b,label\n" + "123456789012345678901234567890,1,0\n2,3,1\n" * 5,
}


# ----------------------------------------------------------------------------------------------------------- Parquet
def _rows_bomb(path: Path) -> None:
    """A constant column of 800 million rows in 100 kB."""
    table = pa.table({"a": np.zeros(4_000_000), "label": np.zeros(4_000_000)})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(200):
            writer.write_table(table, row_group_size=4_000_000)


def _word_bomb(path: Path) -> None:
    """A dictionary of one word of a megabyte that 5000 rows name."""
    word = pa.array(["x" * 1_000_000]).dictionary_encode()
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(5000, np.int32)), word.dictionary)
    pq.write_table(pa.table({"a": np.arange(5000.0), "label": words}), path, compression="zstd")


def _lists(path: Path) -> None:
    lists = pa.array([[1.0] * 1000] * 200)
    pq.write_table(pa.table({"a": lists, "label": np.arange(200) % 2}), path)


def _nested(path: Path) -> None:
    kind = pa.float64()
    for _ in range(200):
        kind = pa.list_(kind)
    pq.write_table(pa.table({"a": pa.nulls(3, kind), "label": [0, 1, 0]}), path)


def _wide(path: Path) -> None:
    pq.write_table(pa.table({f"c{k}": [0.0, 1.0] for k in range(20_000)}), path)


def _packed_page(path: Path) -> None:
    """A page of one gigabyte of zeros, zstd packs it into 30 kB."""
    table = pa.table({"a": np.zeros(100_000_000), "label": np.zeros(100_000_000)})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, row_group_size=100_000_000)


def _said_rows(path: Path) -> None:
    """A footer that says 2^40 rows."""
    pq.write_table(pa.table({"a": np.arange(37.0), "label": np.arange(37) % 2}), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x16\x4a", b"\x16\x80\x80\x80\x80\x80\x80\x01"))


PARQUET: dict[str, Callable[[Path], None]] = {
    "800 million rows": _rows_bomb,
    "a long word 5000 times": _word_bomb,
    "lists": _lists,
    "nested lists": _nested,
    "20,000 columns": _wide,
    "a packed page": _packed_page,
    "more rows than there are": _said_rows,
    "a footer of 2 GB": lambda path: path.write_bytes(b"PAR1" + bytes(100) + struct.pack("<I", 2**31 - 1) + b"PAR1"),
    "an encrypted footer": lambda path: path.write_bytes(b"PAR1" + bytes(100) + struct.pack("<I", 50) + b"PARE"),
    "its mark alone": lambda path: path.write_bytes(b"PAR1"),
}


# ----------------------------------------------------------------------------------------------------------- batches
def _batch(data: bytes) -> Callable[[Path], None]:
    """Five batches and a test batch of that content."""

    def write(folder: Path) -> None:
        for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
            (folder / name).write_bytes(data.replace(b"MARKER", str(folder / MARKER).encode()))

    return write


_TOUCH = b"touch MARKER"
_CODE = b"open('MARKER', 'w').close()"
_DOUBLING = b"".join(b"(g%d\ng%d\nlp%d\n" % (k, k, k + 1) for k in range(60))
PROGRAMS: dict[str, bytes] = {
    "REDUCE": b"cos\nsystem\n(V" + _TOUCH + b"\ntR.",
    "REDUCE of protocol 4": b"\x80\x04\x8c\x02os\x8c\x06system\x93(V" + _TOUCH + b"\nt\x85R.",
    "eval": b"c__builtin__\neval\n(V" + _CODE + b"\ntR.",
    "exec in a value": b"(dVdata\nc__builtin__\nexec\n(V" + _CODE + b"\ntRs.",
    "INST": b"(V" + _TOUCH + b"\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nV" + _TOUCH + b"\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\n(V" + _TOUCH + b"\nt\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\n(V" + _TOUCH + b"\nt}\x92.",
    "BUILD with setattr": b"cnumpy\nndarray\n(Vx\ntR(dV__setstate__\ncos\nsystem\nsbV" + _TOUCH + b"\nb.",
    "EXT": b"\x80\x02\x82\x01(V" + _TOUCH + b"\ntR.",
    "a persistent id": b"P" + _TOUCH + b"\n.",
    "a persistent id from the stack": b"V" + _TOUCH + b"\nQ.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x13core.multiarray.exec\x93.",
    "NumPy's runstring": b"cnumpy.testing._private.utils\nrunstring\n(V" + _CODE + b"\n(dtR.",
    "an array of objects": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
    b"(I1\n(I1\ntcnumpy\ndtype\n(VO8\ntR(I3\nV|\nNNNI-1\nI-1\nI63\ntbI00\nS'AAAAAAAA'\ntb.",
    "an array of objects from a buffer": b"cnumpy.core.numeric\n_frombuffer\n(S'AAAAAAAA'\n"
    b"cnumpy\ndtype\n(VO8\ntR(I1\ntVC\ntR.",
    "ndarray itself": b"cnumpy\nndarray\n((I1000000\ntVO\ntR.",
    "shared lists": b"(lp0\n" + _DOUBLING + b".",
    "shared labels": b"(dVlabels\n(lp0\n" + _DOUBLING + b"sVdata\nNs.",
    "a list in itself": b"(lp0\ng0\na.",
    "a deep list": b"(" * 1_000_000 + b"l" * 1_000_000 + b".",
    "deep tuples": b")" + b"\x85" * 1_000_000 + b".",
    "a deep key": b"(d)" + b"\x85" * 900_000 + b"I1\ns.",
    "a million memos": b"N" + b"\x94" * 999_000 + b".",
    "a memo far away": b"Nr\xff\xff\xff\xff.",
    "a memo of a long number": b"Np" + b"9" * 1_000_000 + b"\n.",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "a long of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "LONG1": b"\x80\x02\x8a\xff" + b"\x7f" * 300 + b".",
    "LONG4 of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "LONG4 of negative size": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "BINBYTES8 of 2^63": b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b".",
    "BINBYTES8 of 2^62": b"\x80\x04\x8e" + struct.pack("<Q", 2**62 - 1) + b".",
    "BYTEARRAY8 of 1 TB": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "BINUNICODE8 of 1 TB": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b".",
    "a frame of 2^64": b"\x80\x04\x95" + b"\xff" * 8 + b".",
    "a buffer from outside": b"\x80\x05\x97.",
    "a read-only buffer": b"\x80\x05\x97\x98.",
    "DUP doubling": b"]" + b"2a" * 100 + b".",
    "POP_MARK": b"(((1110.",
    "a stack of marks": b"(" * 5_000_000,
    "nothing": b"",
    "STOP alone": b".",
    "strings on strings": b"(" + b"S'abc'\n" * 120_000 + b"l.",
    "one line of 30 MB": b"V" + b"x" * 30_000_000 + b"\n.",
    "lines without an end": b"I1\n" * 300_000 + b"V" + b"x" * 10_000_000,
}
_EMPTY = pickle.dumps({"data": np.zeros((0, 3072), np.uint8), "labels": []}, 2)


def _tar(content: bytes, pack: Callable[[bytes], bytes] = bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "cifar-10-python.tar.gz").write_bytes(pack(content))


def _header(name: str, size: bytes, kind: bytes = b"0") -> bytes:
    """A head of a tar file with a size as it is given."""
    head = bytearray(512)
    head[: len(name)] = name.encode()
    head[100:108], head[124:136], head[156:157], head[257:265] = (
        b"0000644\0",
        size.ljust(12, b"\0"),
        kind,
        b"ustar\x0000",
    )
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


ARCHIVES: dict[str, Callable[[Path], None]] = {
    "a bomb of zeros": lambda folder: _bomb(folder / "cifar-10-python.tar.gz", _MANY["zeros"], gzip.compress),
    "a negative size": _tar(_header("data_batch_1", b"\xff" * 12) + bytes(1024)),
    "a size of 8 GB": _tar(_header("data_batch_1", b"77777777777") + bytes(1024)),
    "a base-256 size": _tar(_header("data_batch_1", b"\x80" + b"\x7f" * 11) + bytes(1024)),
    "a link": _tar(_header("data_batch_1", b"0", b"2") + bytes(1024)),
    "a device": _tar(_header("data_batch_1", b"0", b"3") + bytes(1024)),
    "long names without end": _tar((_header("././@LongLink", b"1", b"L") + bytes(512)) * 20_000),
    "pax heads without end": _tar((_header("pax", b"20", b"x") + b"19 path=data_batch1\n".ljust(512, b"\0")) * 20_000),
    "a pax head of a huge number": _tar(_header("pax", b"30", b"x") + b"1" * 512),
    "a sparse file": _tar(_header("data_batch_1", b"10", b"S") + b"\xff" * 2048),
    "a million members": _tar(_header("x", b"0") * 50_000),
    "nothing but zeros": _tar(bytes(10_240)),
}


# ------------------------------------------------------------------------------------------------- what is no file
def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


PLACES: dict[str, Callable[[Path], None]] = {
    "a FIFO": _fifo,
    "a socket": _socket,
    "a folder": Path.mkdir,
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "/dev/stdin": lambda path: path.symlink_to("/dev/stdin"),
    "/proc/kcore": lambda path: path.symlink_to("/proc/kcore"),
    "/proc/self/mem": lambda path: path.symlink_to("/proc/self/mem"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a sparse file of 1 TB": lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 10**12),
    "nothing in it": Path.touch,
    "one byte": lambda path: path.write_bytes(b"\x1f"),
    "two bytes": lambda path: path.write_bytes(b"\x1f\x8b"),
}


def _digits_with(name: str, write: Callable[[Path], None]) -> Callable[[Path], None]:
    """The four files of MNIST, one of which is something else."""

    def all_of(folder: Path) -> None:
        write_digits(folder, "")
        (folder / name).unlink()
        write(folder / name)

    return all_of


def _idx_head(*sizes: int) -> bytes:
    return struct.pack(f">I{len(sizes)}I", 0x0800 + len(sizes), *sizes)


IDX: dict[str, bytes] = {
    "2^96 pixels": _idx_head(2**32 - 1, 2**32 - 1, 2**32 - 1),
    "no pixels": _idx_head(12, 0, 5),
    "no images": _idx_head(0, 6, 5),
    "twelve huge images": _idx_head(12, 40_000, 40_000),
    "a packed head": gzip.compress(_idx_head(12, 30_000, 30_000) + bytes(1 << 24)),
    "a bomb": gzip.compress(_idx_head(12, 6, 5) + bytes(360)) + gzip.compress(bytes(1 << 24)) * 256,
}


def _file(kind: str, name: str, main: str, write: Callable[[Path], None]) -> Crafted:
    return Crafted(kind, name, "load", main, lambda folder: write(folder / main))


def _of_text(make: Callable[[], str]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(make().encode("utf-8", "replace"))


def _packed_text(make: Callable[[], str]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(gzip.compress(make().encode(), 1))


def _of_bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


_IMAGES = "train-images-idx3-ubyte"
_BOMBS = [(what, name, PACKERS[name]) for what in _MANY for name in (".gz", ".bz2", ".xz")]


def _bombing(what: str, pack: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: _bomb(path, _MANY[what], pack)


CRAFTED = [
    *(_file("table", f"4 GB of {what} in {name}", f"x.csv{name}", _bombing(what, pack)) for what, name, pack in _BOMBS),
    _file("table", "2 GB in one stream", "x.csv.gz", _one_stream),
    *(_file("table", name, "x.csv", _of_text(make)) for name, make in TEXTS.items()),
    *(_file("table", f"{name}, packed", "x.csv.gz", _packed_text(TEXTS[name])) for name in list(TEXTS)[:5]),
    *(_file("table", name, "x.csv", write) for name, write in PLACES.items()),
    *(_file("parquet", name, "x.parquet", write) for name, write in (PARQUET | PLACES).items()),
    *(Crafted("cifar", name, "cifar10", "", _batch(content)) for name, content in PROGRAMS.items()),
    Crafted("cifar", "no images", "cifar10", "", _batch(_EMPTY)),
    *(Crafted("cifar", name, "cifar10", "", write) for name, write in ARCHIVES.items()),
    *(Crafted("mnist", name, "mnist", "", _digits_with(_IMAGES, _of_bytes(content))) for name, content in IDX.items()),
    *(Crafted("mnist", name, "mnist", "", _digits_with(_IMAGES, write)) for name, write in PLACES.items()),
]
