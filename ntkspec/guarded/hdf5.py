"""The arrays of HDF5 files of other programs.

Nothing outside the file is opened: no external link, no external storage, no source of a virtual data set in another
file.
"""

import contextlib
import errno
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ntkspec.guarded.parts import BLOCK, MOST_PACKED, Allow, Content, Refused, in_parts

MOST_LINKS, MOST_HOPS = 10_000, 30
DEFLATE, SHUFFLE, FLETCHER, LZF = 1, 2, 3, 32000  # of which lzf packs less than deflate
COPY = "copy the array itself into this file, file['X'] = array"


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
    """The file, for reading. Raises Refused where another program writes it; whatever h5py raises where damaged."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK) and "lock" in str(error):
            raise Refused("is in use by another process, which writes it; wait for it") from None
        if "already open for write" in str(error):
            raise Refused("is being written, or was never closed by the program that wrote it (h5clear)") from None
        raise
    with file:
        yield file


# ------------------------------------------------------------------------------------------------------------ the tree
def names(file: Any) -> list[str]:
    """Where the arrays lie: "X", "train/X", ...; links count as what they point to, those to nothing are named too.

    A group is not entered again below itself. Raises Refused where there are more than MOST_LINKS links.
    """
    found: list[str] = []
    waiting: list[tuple[str, Any, tuple]] = [("", file, ())]
    seen = 0
    while waiting:
        place, group, above = waiting.pop()
        for key in group:
            seen += 1
            if seen > MOST_LINKS:
                raise Refused(
                    f"holds more than {MOST_LINKS} arrays and groups; save points and labels in a file of their own"
                )
            child = _child(file, key, group)
            if _is_group(child) and child.id not in (*above, group.id):
                waiting.append((f"{place}{key}/", child, (*above, group.id)))
            elif child is None or _is_array(child):
                found.append(place + key)
    return sorted(found)


def _child(file: Any, name: str, group: Any) -> Any:
    """What lies there in a group, or None for a link to nothing and for one that is not followed."""
    try:
        return _resolved(file, name, group)
    except (Refused, KeyError):  # KeyError: what h5py cannot open
        return None


def _resolved(file: Any, name: str, group: Any = None) -> Any:
    """The object of that name in a group (None: the root); each link on the way is looked at before it is followed.

    Raises Refused for a link to nothing, and for one that leaves the file.
    """
    import h5py

    here, parts, hops = group or file, name.split("/")[::-1], 0
    while parts:
        part = parts.pop()
        if part in ("", "."):
            continue
        link = here.get(part, getlink=True) if _is_group(here) else None
        if isinstance(link, h5py.ExternalLink):
            raise Refused(f"is a link to {link.path!r} in {link.filename!r}, which is not followed; {COPY}")
        if isinstance(link, h5py.SoftLink):
            hops += 1
            if hops > MOST_HOPS:
                raise Refused("is a link to nothing: it leads back to itself")
            here = file if link.path.startswith("/") else here
            parts += link.path.split("/")[::-1]
        elif link is None:
            raise Refused("is a link to nothing, or is not there")
        else:
            here = here[part]
    return here


def _is_array(found: Any) -> bool:
    import h5py

    return isinstance(found, h5py.Dataset)


def _is_group(found: Any) -> bool:
    import h5py

    return isinstance(found, h5py.Group)


# ----------------------------------------------------------------------------------------------------------- one array
def found_array(file: Any, name: str) -> tuple[Any, int]:
    """(data set of that name, bytes of its largest chunk), once all its entries are seen to lie in the file."""
    found = _resolved(file, name)
    if not _is_array(found):
        raise Refused("is a group, not an array; name an array in it")
    sources = _virtual_sources(file, found) if found.is_virtual else [found]
    for source in sources:
        _require_inside(source)
    if found.shape is None:
        raise Refused("is an empty data set")
    _require_plain(found.dtype)
    for source in sources:
        _require_stored(file, source)
    return found, max(map(_chunk_bytes, sources), default=0)


def _require_inside(found: Any) -> None:
    how = found.id.get_create_plist()
    if how.get_external_count():
        place = os.fsdecode(how.get_external(0)[0])
        raise Refused(f"keeps its numbers in another file, {place!r}, which is not read; {COPY}")


def _virtual_sources(file: Any, found: Any) -> list:
    """The data sets that a virtual one shows: plain ones of the same file, and a source for each entry."""
    how, sources, mapped = found.id.get_create_plist(), [], 0
    for number in range(how.get_virtual_count()):
        place, name = how.get_virtual_filename(number), how.get_virtual_dsetname(number)
        if place != ".":
            raise Refused(f"is put together from other files ({place!r}), which are not read; {COPY}")
        source = _resolved(file, name)
        if not _is_array(source) or source.is_virtual:
            raise Refused(f"is put together from {name!r}, which is no plain array of this file; {COPY}")
        _require_inside(source)
        shown, taken = how.get_virtual_vspace(number).get_select_npoints(), how.get_virtual_srcspace(number).shape
        if shown > source.size or any(map(int.__lt__, source.shape, taken)):  # taken is empty where it is all
            raise Refused(f"takes more of {name!r} than its shape {source.shape}")
        mapped += shown
        sources.append(source)
    if mapped < found.size:
        raise Refused(f"has {found.size} entries, but {mapped} of them have a source; the others would be zeros")
    return sources


def _require_plain(dtype: np.dtype) -> None:
    """Refuse what is neither numbers nor words, nor a table of them."""
    import h5py

    for kind in _kinds(dtype):
        if kind.names or (kind.kind == "O" and not h5py.check_string_dtype(kind)) or kind.kind == "V":
            what = "compounds in compounds" if kind.names else "references, lists of any length or opaque bytes"
            raise Refused(f"holds {what}, but numbers or words are needed; save them as a plain array")


def _require_stored(file: Any, found: Any) -> None:
    """Refuse more bytes than what the file keeps of them can make, and parts that were never written."""
    stored = min(found.id.get_storage_size(), os.path.getsize(file.filename))
    declared = found.size * found.id.get_type().get_size()
    if found.chunks:
        parts = math.prod(-(-size // step) for size, step in zip(found.shape, found.chunks, strict=True))
        missing, declared = found.id.get_num_chunks() < parts, max(declared, parts * _chunk_bytes(found))
    else:
        missing = stored == 0 < found.size
    said = f"has the shape {found.shape} ({declared / 1e9:.3g} GB), but {stored} bytes of it are stored"
    if missing:
        raise Refused(f"{said}: parts of it were never written, and would be read as zeros; write them")
    if declared > _packed(found) * stored or (found.size == 0 and max(found.shape) > 2**40):
        raise Refused(f"{said}: it is damaged")


def _chunk_bytes(found: Any) -> int:
    return math.prod(found.chunks) * found.id.get_type().get_size() if found.chunks else 0


def _packed(found: Any) -> float:
    """How many bytes one stored byte can make."""
    how = found.id.get_create_plist()
    filters = {how.get_filter(number)[0] for number in range(how.get_nfilters())} - {SHUFFLE, FLETCHER}
    return 1 if not filters else MOST_PACKED if filters <= {DEFLATE, LZF} else math.inf


# ---------------------------------------------------------------------------------------------------- what is handed on
def content(file: Any, name: str, allow: Allow) -> Content:
    """The array of that name; words of any length as bytes of one length. Raises Refused, or whatever h5py raises."""
    found, chunk = found_array(file, name)
    blocks, block = in_parts(found, found.chunks[0] if found.chunks else 1)
    if not has_words(found.dtype):
        allow(2 * block + 4 * chunk, found.nbytes + chunk)
        return Content(found.shape, found.dtype, blocks, block)
    size = os.path.getsize(file.filename)
    allow(2 * block + 4 * chunk + 8 * size, 100 * found.size + size)
    whole = np.concatenate([np.atleast_1d(_of_one_length(one)) for one in blocks]).reshape(found.shape)
    return Content(whole.shape, whole.dtype, iter([whole]), whole.nbytes, text=not whole.dtype.names)


def has_words(dtype: np.dtype) -> bool:
    """Whether it is of words of any length, or a table with such."""
    return any(kind.kind == "O" for kind in _kinds(dtype))


def _kinds(dtype: np.dtype) -> list[np.dtype]:
    """The dtypes of its columns, or its own."""
    return [dtype[name].base for name in dtype.names] if dtype.names else [dtype]


def _of_one_length(array: np.ndarray) -> np.ndarray:
    if array.dtype == object:
        return np.array([_bytes(word) for word in array.ravel()], dtype="S").reshape(array.shape)
    if not array.dtype.names:
        return array
    columns = {name: _of_one_length(array[name]) for name in array.dtype.names}
    table = np.empty(array.shape, [(name, one.dtype, one.shape[array.ndim :]) for name, one in columns.items()])
    for name, one in columns.items():
        table[name] = one
    return table


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogateescape")


# ---------------------------------------------------------------------------------------------------------- everything
def visit(file: Any, allow: Allow) -> None:
    """Read everything once: attributes, and arrays but for large ones that lie in one piece. No links are followed.

    Raises whatever h5py raises. What :func:`content` refuses is passed over.
    """
    import h5py

    waiting, seen = [file], set()
    while waiting:
        here = waiting.pop()
        address = h5py.h5o.get_info(here.id).addr
        if address in seen:
            continue
        seen.add(address)
        list(here.attrs.values())
        if _is_group(here):
            waiting += [here[key] for key in here if isinstance(here.get(key, getlink=True), h5py.HardLink)]
        elif _is_array(here) and (here.chunks or has_words(here.dtype) or here.nbytes <= BLOCK):
            with contextlib.suppress(Refused):
                for _ in content(file, here.name, allow).blocks:
                    pass
