"""cupy.cuda, cupy.random and RawModule of the stand-in: a device of five multiprocessors, cuBLAS in NumPy, kernels
compiled by g++."""

import ctypes
import hashlib
import re
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
import psutil

HEADER = Path(__file__).parents[1] / "cuda_on_host.h"
_COMPILER = ["g++", "-std=c++20", "-O2", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-w"]


class RawModule:
    """Kernels of a CUDA source, compiled on first use."""

    def __init__(self, *, code, options=()):
        self.code, self.options = code, options

    def get_function(self, name):
        if not hasattr(self, "_library"):
            self._library = _compiled(self.code, self.options)
        return RawKernel(getattr(self._library, f"launch_{name}"))


def _compiled(code, options):
    names = re.findall(r'extern "C" __global__ void (\w+)\(', code)
    names += [f"fill_{name}" for name in re.findall(r"^FILL\((\w+)\)", code, re.MULTILINE)]
    text = f"{HEADER.read_text()}\n{code}\n"
    for name in sorted(names):
        text += (
            f'extern "C" int launch_{name}(unsigned x, unsigned y, unsigned threads, void **given, const long *kinds, '
            f"long count) {{ return launch({name}, x, y, threads, given, kinds, count); }}\n"
        )
    command = [*_COMPILER, *(option for option in options if option.startswith("-D"))]
    digest = hashlib.sha256((text + " ".join(command)).encode()).hexdigest()[:24]
    library = Path(tempfile.gettempdir()) / f"ntkspec-kernels-{digest}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            source, built = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
            source.write_text(text)
            run = subprocess.run([*command, "-o", built, source], capture_output=True, text=True, check=False)
            if run.returncode:
                raise RuntimeError(f"the kernels do not compile:\n{run.stderr}")
            partial = library.with_suffix(f".{time.monotonic_ns()}")
            partial.write_bytes(built.read_bytes())
            partial.replace(library)
    return ctypes.CDLL(str(library))


class RawKernel:
    """A kernel: arguments are device arrays and NumPy scalars, whose kinds must be those of its parameters."""

    def __init__(self, function):
        self.function = function

    def __call__(self, grid, block, arguments):
        if min(*grid, *block) < 1 or max(grid[1:], default=1) > 65535 or block[0] > 1024:
            raise ValueError(f"grid {grid} of blocks {block}")
        if _current().captured is not None:
            _current().captured.append((self, grid, block, arguments))
            return
        values, kinds = zip(*map(_as_argument, arguments), strict=True)
        given = (ctypes.c_void_p * len(values))(*(one.ctypes.data for one in values))
        across, down = (*grid, 1)[:2]
        if self.function(
            across, down, block[0], given, (ctypes.c_long * len(kinds))(*kinds), ctypes.c_long(len(kinds))
        ):
            raise TypeError(f"arguments of kinds {kinds} do not fit the kernel's parameters")


class _Graph:
    """Launches in their order, with the arguments of the capture."""

    def __init__(self):
        raise NotImplementedError("a graph is created by the capture of a stream")

    def launch(self, stream=None):
        refuse_while_capturing("the launch of a graph")
        for kernel, *how in self.launches:
            kernel(*how)


def _as_argument(argument):
    """(the value in memory, its kind): the size of a number, 1000 + that of an entry (+ 100 of a float) of an array.

    An array of NumPy with one entry, such as a struct, goes by value.
    """
    import cupy

    if isinstance(argument, cupy.ndarray):
        return np.array(argument.data.ptr, np.uint64), 1000 + argument.itemsize + 100 * (argument.dtype.kind == "f")
    if isinstance(argument, np.generic):
        return np.array(argument), argument.itemsize
    if isinstance(argument, np.ndarray) and argument.size == 1:
        return argument, argument.itemsize
    raise TypeError(f"a {type(argument).__name__} is no argument of a kernel")


def _module(name, **contents):
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module
    return module


def _free():
    return psutil.virtual_memory().available, psutil.virtual_memory().total


def _at(pointer, kind, rows, columns, step):
    """A matrix in cuBLAS's order of columns."""
    size = np.dtype(kind).itemsize
    memory = (ctypes.c_char * (size * step * columns)).from_address(pointer)
    return np.frombuffer(memory, kind).reshape(columns, step)[:, :rows].T


def _gemm_ex(handle, transa, transb, m, n, k, alpha, A, kind, lda, B, other, ldb, beta, C, out, ldc, compute, algo):
    """int32 sums of int8 products, as cuBLAS is asked for here: Aᵀ B."""
    assert (transa, transb, kind, other, out, compute) == (1, 0, 3, 3, 10, 72)
    assert m % 4 == k % 4 == lda % 4 == ldb % 4 == ldc % 4 == 0, "the tensor cores take multiples of 4 int8 numbers"
    one, zero = (ctypes.c_int.from_address(pointer).value for pointer in (alpha, beta))
    assert (one, zero) == (1, 0)
    product = _at(A, np.int8, k, m, lda).T.astype(np.float64) @ _at(B, np.int8, k, n, ldb).astype(np.float64)
    _at(C, np.int32, m, n, ldc)[...] = product


_streams: list = []


def _current():
    return _streams[-1] if _streams else _NULL


def refuse_while_capturing(what):
    """A graph holds kernels of RawModule only. CuPy refuses cuBLAS, copies to the host, and whatever waits."""
    if _current().captured is not None:
        raise NotImplementedError(f"{what} during stream capture")


class _Stream:
    """A stream that is as late as it may be: copies that it was given are done when somebody waits for them.

    The null stream is not late, and kernels are launched at once; in a capture they are kept for a graph instead.
    """

    def __init__(self, null=False, non_blocking=False):
        self.waiting, self.null, self.captured = [], null, None

    def __enter__(self):
        _streams.append(self)
        return self

    def __exit__(self, *error):
        _streams.pop()

    def do(self, task):
        """Now or later."""
        self.waiting.append(task)
        if self.null:
            self.synchronize()

    def synchronize(self):
        refuse_while_capturing("synchronize")
        while self.waiting:
            self.waiting.pop(0)()

    def wait_event(self, event):
        self.do(event.synchronize)

    def begin_capture(self, mode=None):
        if self.null:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.captured is not None:
            raise RuntimeError("cudaErrorIllegalState: the stream is capturing already")
        self.captured = []

    def end_capture(self):
        if self.captured is None:
            raise RuntimeError("cudaErrorIllegalState: the stream is not capturing")
        graph = object.__new__(_Graph)
        graph.launches, self.captured = self.captured, None
        return graph

    def is_capturing(self):
        return self.captured is not None


_NULL = _Stream(null=True)


class _Event:
    """What a stream had been given to do when the event was recorded; nothing where it was not."""

    def __init__(self, block=False, disable_timing=False):
        self.timed, self.before, self.stream = not disable_timing, 0, _NULL

    def record(self, stream=_NULL):
        self.stream, self.done = stream, False
        stream.do(self._reached)

    def _reached(self):
        self.done, self.time = True, time.perf_counter()

    def synchronize(self):
        while not self.done:
            self.stream.waiting.pop(0)()

    done = True


class MemoryPointer:
    """Where an array begins on the device; copies between it and pinned memory of the host."""

    def __init__(self, array):
        self.array, self.ptr = array, array.__array_interface__["data"][0]

    def copy_from_host_async(self, memory, size, stream):
        self._copy(self.ptr, memory, size, stream)

    def copy_to_host_async(self, memory, size, stream):
        self._copy(memory, self.ptr, size, stream)

    def _copy(self, target, source, size, stream):
        host = source if target == self.ptr else target
        if not any(start <= host and host + size <= start + room for start, room in _PINNED.items()):
            raise ValueError("memory that is not pinned came to an asynchronous copy")
        if not (self.array.flags.c_contiguous and size <= self.array.nbytes):
            raise ValueError(f"{size} bytes came for an array of {self.array.nbytes}")
        kept = self.array
        stream.do(lambda: (ctypes.memmove(target, source, size), kept))


class _PinnedMemory:
    """So much memory of the host that copies reach; it lies in its pointer."""

    def __init__(self, size):
        self.size = size


class _PinnedMemoryPointer(bytearray):
    """Pinned memory, which arrays take as their buffer; forgotten when it goes."""

    def __init__(self, memory, offset):
        assert offset == 0
        super().__init__(memory.size)
        self.place = ctypes.addressof(ctypes.c_char.from_buffer(self))
        _PINNED[self.place] = memory.size

    def __del__(self):
        _PINNED.pop(self.place, None)


_PINNED: dict[int, int] = {}


class _Device:
    attributes = types.MappingProxyType({"MultiProcessorCount": 5})

    def synchronize(self):
        pass


class Generator:
    """Draws other numbers than CuPy's."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)

    def standard_normal(self, size=None, dtype=np.float64):
        import cupy

        return cupy.asarray(self._rng.standard_normal(size, dtype))


def default_rng(seed=None):
    return Generator(seed)


runtime = _module(
    "cupy.cuda.runtime",
    memGetInfo=_free,
    getDeviceProperties=lambda device: {"name": b"stand-in"},
    driverGetVersion=lambda: 12000,
    runtimeGetVersion=lambda: 12000,
)
cublas = _module(
    "cupy.cuda.cublas", gemmEx=_gemm_ex, CUBLAS_OP_N=0, CUBLAS_OP_T=1, CUBLAS_GEMM_DEFAULT=-1, CUBLAS_COMPUTE_32I=72
)
device = _module("cupy.cuda.device", get_cublas_handle=lambda: 0)
cuda = _module(
    "cupy.cuda",
    runtime=runtime,
    cublas=cublas,
    device=device,
    Device=_Device,
    Event=_Event,
    Stream=_Stream,
    PinnedMemory=_PinnedMemory,
    PinnedMemoryPointer=_PinnedMemoryPointer,
    get_current_stream=_current,
    Graph=_Graph,
    get_elapsed_time=lambda start, end: 1e3 * (end.time - start.time),
)
