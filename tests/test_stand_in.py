"""The stand-in for CuPy offers nothing that CuPy does not, and refuses what CuPy refuses."""

import importlib.machinery
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "device_stand_in"
NAMES = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
import cupy
sys.path.pop(0)
names = [name for name in vars(cupy) if not name.startswith("_") and name not in ("sys", "types")]
members = [name for name in vars(cupy.ndarray) if not name.startswith("_")]
members += [f"__{{name}}__" for name in cupy._OPERATORS.split() + cupy._IN_PLACE.split()]
linalg, fft, pool = cupy._LINALG.split(), cupy._FFT.split(), cupy._POOL.split()
generator = [name for name in vars(type(cupy.random.default_rng())) if not name.startswith("_")]
modules = {{
    module: [name for name in vars(getattr(cupy.cuda, module)) if not name.startswith("_")]
    for module in ("runtime", "device", "cublas")
}}
modules[""] = [name for name in vars(cupy.cuda) if not name.startswith("_")]
for name in [name for name in sys.modules if name.split(".")[0] == "cupy"]:
    del sys.modules[name]
import cupy
missing = [name for name in names if not hasattr(cupy, name)]
missing += [f"ndarray.{{name}}" for name in members if not hasattr(cupy.ndarray, name)]
missing += [f"linalg.{{name}}" for name in linalg if not hasattr(cupy.linalg, name)]
missing += [f"fft.{{name}}" for name in fft if not hasattr(cupy.fft, name)]
missing += [f"random.Generator.{{name}}" for name in generator if not hasattr(cupy.random.Generator, name)]
missing += [f"MemoryPool.{{name}}" for name in pool if not hasattr(cupy.cuda.MemoryPool, name)]
for module, names in modules.items():
    try:
        home = getattr(cupy.cuda, module) if module else cupy.cuda
    except ImportError:  # the library itself, where CUDA is not installed
        continue
    missing += [f"cuda.{{module}}.{{name}}" for name in names if name != "cublas" and not hasattr(home, name)]
print(cupy.__file__, *missing)
"""


@pytest.fixture
def cupy():
    """The stand-in, whatever else is installed."""
    cupy = pytest.importorskip("cupy")
    if not cupy.__file__.startswith(str(FOLDER)):
        pytest.skip("tests run on a GPU; NTKSPEC_TEST_DEVICE=stand-in takes its place")
    return cupy


def test_products_with_vectors_take_no_room(cupy):
    A, x = cupy.ones((3, 2)), cupy.ones(2)
    assert (A @ x == 2).all()
    assert (cupy.matmul(A, A.T, out=cupy.empty((3, 3))) == 2).all()
    with pytest.raises(ValueError, match="axes"):
        cupy.matmul(A, x, out=cupy.empty(3))


def test_all_its_names_are_cupys():
    elsewhere = [path for path in sys.path if path != str(FOLDER)]
    if importlib.machinery.PathFinder.find_spec("cupy", elsewhere) is None:
        pytest.skip("CuPy is not installed")
    run = subprocess.run([sys.executable, "-c", NAMES.format(folder=str(FOLDER))], capture_output=True, text=True)
    if "ImportError" in run.stderr:
        pytest.skip(f"CuPy does not load: {run.stderr.splitlines()[-1]}")
    assert run.returncode == 0, run.stderr
    where, *missing = run.stdout.split()
    assert not where.startswith(str(FOLDER))
    assert missing == []


def test_nothing_crosses_in_silence(cupy):
    there, here = cupy.asarray([1.0, 2.0]), np.ones(2)
    for crossing in (
        lambda: np.asarray(there),
        lambda: there + here,
        lambda: here * there,
        lambda: np.isfinite(there),
        lambda: np.linalg.norm(there),
        lambda: there[np.array([0])],
        lambda: there.__setitem__(0, np.ones(1)),
        lambda: cupy.maximum(there, here),
        lambda: cupy.concatenate([there, here]),
        lambda: np.concatenate([there, there]),
    ):
        with pytest.raises(TypeError):
            crossing()
    assert type(np.float32(2) * there) is type(there.sum()) is cupy.ndarray
    assert float(there.sum()) == 3.0
    assert type(cupy.asnumpy(there)) is np.ndarray


def test_kernels_are_held_to_their_arguments(cupy):
    code = 'extern "C" __global__ void halve(double *out, long long count) { out[threadIdx.x] /= 2; }'
    halve, numbers = cupy.RawModule(code=code).get_function("halve"), cupy.asarray(np.ones(4))
    halve((1,), (4,), (numbers, np.int64(4)))
    assert cupy.asnumpy(numbers).tolist() == [0.5] * 4
    for wrong in ((numbers, np.int32(4)), (numbers.astype(np.float32), np.int64(4)), (numbers,)):
        with pytest.raises(TypeError, match="do not fit"):
            halve((1,), (4,), wrong)


def test_structs_are_passed_by_value(cupy):
    """As an array of NumPy with one entry; more entries would be read from the host's memory."""
    code = 'struct Two { double *out; long long add; }; extern "C" __global__ void lift(Two by) { *by.out += by.add; }'
    lift, number = cupy.RawModule(code=code).get_function("lift"), cupy.asarray(np.ones(1))
    two = np.array((number.data.ptr, 3), [("out", "u8"), ("add", "i8")])
    lift((1,), (1,), (two,))
    assert float(number[0]) == 4.0
    for wrong in (np.ones(2), two["out"]):
        with pytest.raises(TypeError, match=r"no argument|do not fit"):
            lift((1,), (1,), (wrong,))


def test_a_barrier_for_some_threads_only_ends_the_program(cupy):
    code = 'extern "C" __global__ void lame(long long count) { if (threadIdx.x < 2) __syncthreads(); }'
    script = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import cupy, numpy as np; "
    script += f"cupy.RawModule(code={code!r}).get_function('lame')((1,), (4,), (np.int64(1),))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode != 0
    assert "a barrier was reached by some threads" in run.stderr


def test_a_capture_keeps_launches_and_refuses_everything_else(cupy):
    code = 'extern "C" __global__ void halve(double *out, long long count) { out[threadIdx.x] /= 2; }'
    halve, numbers = cupy.RawModule(code=code).get_function("halve"), cupy.asarray(np.ones(4))
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        for _ in range(2):
            halve((1,), (4,), (numbers, np.int64(4)))
        for refused in (
            lambda: numbers @ numbers,
            lambda: cupy.zeros(2),
            lambda: numbers.__iadd__(1),
            lambda: numbers.__setitem__(0, 1),
            lambda: cupy.asnumpy(numbers),
            lambda: float(numbers[0]),
            stream.synchronize,
        ):
            with pytest.raises(NotImplementedError, match="during stream capture"):
                refused()
        graph = stream.end_capture()
    assert cupy.asnumpy(numbers).tolist() == [1.0] * 4
    for expected in (0.25, 0.0625):
        graph.launch()
        assert cupy.asnumpy(numbers).tolist() == [expected] * 4
    with pytest.raises(RuntimeError, match="legacy"):
        cupy.cuda.Stream(null=True).begin_capture()
    with pytest.raises(RuntimeError, match="not capturing"):
        stream.end_capture()
    with pytest.raises(NotImplementedError, match="capture of a stream"):
        cupy.cuda.Graph()
