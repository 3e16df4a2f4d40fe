"""The CUDA sources compile for the GPUs they are written for, without a GPU: by nvcc, or by NVRTC as CuPy does."""

import ctypes
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ARCHITECTURES = (pytest.param("sm_80", marks=pytest.mark.slow), "sm_90")
# What CuPy adds to the options of all kernels; NVRTC refuses an option that comes twice.
OF_CUPY = ("-ftz=true",)
REALS = ("float", "double")
SYMMETRIC = [("float", "float", 1), ("float", "double", 2), ("float", "double", 4), ("double", "double", 4)]
# Both types of each; every second of all is compiled by default, float and double in turn.
VARIANTS = [
    (name, (f"-Dreal={real}",))
    for k, name in enumerate(("tiles", "functions", "bits", "pairs", "patches"))
    for real in REALS[:: (-1) ** k]
]
VARIANTS += [("symmetric", (f"-Dreal={real}", f"-Dnumber={number}", f"-DVECTORS={k}")) for real, number, k in SYMMETRIC]
VARIANTS += [
    ("rows", tuple(f"-D{name}={real}" for name, real in zip(("real", "OTHER", "number"), one, strict=True)))
    for one in (("float", "float", "double"), ("double", "float", "double"), ("float", "float", "float"))
]
# Matrices, which of them are counts of bits, which of those stand for two values, and low-rank terms.
SUMS = [(0, 0, 0, 1), (1, 0, 0, 0), (2, 1, 0, 1), (2, 1, 1, 1), (3, 1, 0, 2), (4, 6, 2, 4)]
NAMES = "GRAMS", "COUNTS", "LEVELS", "LOW_RANK"
VARIANTS += [
    ("terms", (f"-Dreal={real}", *(f"-D{name}={value}" for name, value in zip(NAMES, one, strict=True))))
    for k, one in enumerate(SUMS)
    for real in REALS[:: (-1) ** k]
]
# Steps of training: type, activation, columns, sets of neurons, points in work at once, and the layers that move.
STEPS = [
    *(("float", "piecewise_linear", 56, 1, 16, (1, 1)), ("float", "erf", 80, 1, 16, (1, 1))),
    *(("float", "gelu", 16, 4, 4, (1, 0)), ("float", "sin", 24, 3, 5, (0, 1))),
    *(("double", "tanh", 40, 1, 8, (1, 1)), ("double", "gelu", 8, 4, 2, (1, 1)), ("double", "elu", 8, 1, 8, (0, 1))),
]
STEP_NAMES = ("real", "PHI", "D", "SETS", "ROWS", "FIRST", "SECOND")
VARIANTS += [
    (
        "training",
        tuple(
            f"-D{name}={value}" for name, value in zip(STEP_NAMES, (real, f"phi_{phi}", *sizes, *layers), strict=True)
        ),
    )
    for real, phi, *sizes, layers in STEPS
]


@pytest.fixture(scope="module")
def compiling():
    """How the engine hands its sources to CuPy."""
    return pytest.importorskip("ntkspec.engines.gpu.compiling")


def nvrtc():
    """NVIDIA's run-time compiler from its wheel, or None."""
    found = importlib.util.find_spec("nvidia")
    for place in found.submodule_search_locations if found else ():
        for library in sorted(Path(place).glob("*/lib/libnvrtc.so.*")):
            return ctypes.CDLL(str(library))
    return None


def compiled_by_nvrtc(library, text: str, options) -> tuple[int, str]:
    """(size of the machine code, messages); as ``cupy.RawModule`` compiles."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = library.nvrtcCompileProgram(program, len(options), given)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcGetCUBINSize(program, ctypes.byref(size))
    return 0 if failed else size.value, log.value.decode()


def compiled_by_nvcc(folder: Path, text: str, options) -> tuple[int, str]:
    """(size of the machine code, messages)."""
    source, cubin = folder / "kernels.cu", folder / "kernels.cubin"
    source.write_text(text, encoding="utf-8")
    command = ["nvcc", "-cubin", "-o", cubin, *options, source]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return cubin.stat().st_size if run.returncode == 0 else 0, run.stdout + run.stderr


def test_sources_are_ascii_whatever_the_locale(compiling):
    for path in compiling.FOLDER.glob("*.cu"):
        assert compiling.source(path.stem).isascii()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("name", "definitions"),
    [pytest.param(*one, marks=[] if k % 2 else [pytest.mark.slow]) for k, one in enumerate(VARIANTS)],
)
def test_every_source_compiles_without_a_warning(name, definitions, architecture, compiling, tmp_path):
    options = [*compiling.OPTIONS, *definitions, *OF_CUPY, f"--gpu-architecture={architecture}"]
    library = nvrtc()
    if library:
        size, log = compiled_by_nvrtc(library, compiling.source(name), options)
    elif shutil.which("nvcc"):
        size, log = compiled_by_nvcc(tmp_path, compiling.source(name), options)
    else:
        pytest.skip("neither nvcc nor NVRTC (pip install nvidia-cuda-nvrtc-cu12) is here")
    assert size > 1000, log
    assert not log.strip()


def test_every_kernel_is_launched_by_the_engine(compiling):
    """Names in the sources and in Python are the same; so is the number of threads."""
    sources = {path.stem: path.read_text(encoding="utf-8") for path in compiling.FOLDER.glob("*.cu")}
    kernels = r'extern "C" __global__ void (\w+)\(|^FILL\((\w+)\)'
    offered = {"".join(match) for text in sources.values() for match in re.findall(kernels, text, re.MULTILINE)}
    package = compiling.FOLDER.parent / "gpu"
    asked = " ".join(path.read_text(encoding="utf-8") for path in package.glob("*.py"))
    assert len(offered) > 20
    assert [name for name in sorted(offered) if f'"{name}"' not in asked] == []
    assert {name for name, _ in VARIANTS} == set(sources)
    assert f"#define THREADS {compiling.THREADS}\n" in (compiling.FOLDER / "common.cuh").read_text(encoding="utf-8")
