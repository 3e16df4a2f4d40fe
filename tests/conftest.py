"""What several test files share."""

import contextlib
import errno
import importlib.util
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

import commands
from clusters import Cluster
from covering import covering
from ntkspec import engines
from ntkspec.engines import cpu

# The whole suite runs in a process for each core, up to so many; files and tests that are named run in this one.
MOST_PROCESSES = 4

# What JAX compiles is kept from one run to the next, as the engine's loops are: most of the time of its tests.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

if "PYTEST_XDIST_WORKER" in os.environ:
    # BLAS's threads would spin on the cores of other processes. The engine, which counts them first, keeps its workers.
    cpu.workers()
    threadpool_limits(1, user_api="blas")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # and those of commands that tests start


def _no_gpu() -> str:
    """Why there is no GPU; empty where there is one."""
    if not importlib.util.find_spec("cupy"):
        return "CuPy is not installed"
    code = "import cupy; cupy.zeros(1)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return run.stderr.strip().splitlines()[-1] if run.returncode else ""


NO_CARD = _no_gpu()
# The GPU engine is tested on a GPU where there is one, elsewhere on a stand-in that runs its kernels on the CPU;
# NTKSPEC_TEST_DEVICE=stand-in takes that on any machine.
STAND_IN = bool(NO_CARD) or os.environ.get("NTKSPEC_TEST_DEVICE") == "stand-in"
if STAND_IN:
    sys.path.insert(0, str(Path(__file__).parent / "device_stand_in"))


# Pages whose examples need a framework that is not always installed.
PAGES = {
    "any_network.md": ["torch"],
    "pitfalls.md": ["torch"],
    "tracking.md": ["torch"],
    "any_network_jax.md": ["jax", "flax", "equinox"],
}


def pytest_runtest_setup():
    """PyTorch's threads would spin on the cores of other processes, too."""
    if "PYTEST_XDIST_WORKER" in os.environ and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def pytest_configure():
    """Ctrl-C and hang-ups are heard here and in the processes of tests, also where the run ignores them (nohup, &)."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """How many processes ``-n auto`` is; one where files are named."""
    named = config.args_source is config.ArgsSource.ARGS
    return 0 if named else min(MOST_PROCESSES, len(os.sched_getaffinity(0)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Cases of a test that go beyond its marker ``covering`` are slow.

    Tests of a GPU are skipped, with the reason, where there is none; so are pages where their framework is missing.
    """
    thin_out(items)
    reason = NO_CARD or ("NTKSPEC_TEST_DEVICE asks for the stand-in" if STAND_IN else "")
    for item in items:
        if reason and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))
        missing = [name for name in PAGES.get(item.path.name, []) if not importlib.util.find_spec(name)]
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))


def thin_out(items) -> None:
    """Mark as slow what ``covering(strength)`` leaves out: its test's other cases hold all values, or pairs of them."""
    cases = {}
    for item in items:
        if item.get_closest_marker("covering") and item.get_closest_marker("slow") is None:
            cases.setdefault((item.path, item.originalname, item.cls), []).append(item)
    for some in cases.values():
        (strength,) = some[0].get_closest_marker("covering").args
        # The same object is the same value; pytest's own indices count cases.
        rows = [tuple((name, id(value)) for name, value in item.callspec.params.items()) for item in some]
        kept = covering(rows, strength)
        for k, item in enumerate(some):
            if k not in kept:
                item.add_marker(pytest.mark.slow)


class Interrupt:
    """A watcher that stops training at a call."""

    def __init__(self, call=0, value=None):
        self.call, self.calls, self.value = call, 0, value

    def __call__(self, net, now, X):
        self.calls += 1
        if self.calls == self.call:
            raise KeyboardInterrupt
        return {"output": float(now(X[:1])[0]) if self.value is None else self.value(now)}


@contextlib.contextmanager
def full_disk():
    """Each file that is written meanwhile finds the disk full at the end."""

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        yield


@contextlib.contextmanager
def largest_file(size: int):
    """Files of this process may have so many bytes: a disk that is full, for its own output too, so keep it short."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _engine(name: str):
    if name == "gpu" and STAND_IN and not shutil.which("g++"):
        pytest.skip("the stand-in for a GPU compiles its kernels with g++, which is not installed")
    return engines.named(name)


@pytest.fixture
def unpainted():
    """Figures without pictures, for tests that do not look at them."""
    with commands.unpainted():
        yield


@pytest.fixture(params=["cpu", "gpu"])
def engine(request):
    """Each engine in turn."""
    return _engine(request.param)


@pytest.fixture
def gpu():
    """The GPU engine, for tests that compare it with the CPU's."""
    return _engine("gpu")


@pytest.fixture
def on(engine):
    """Moves a NumPy array to the device of the engine that is tested."""
    return lambda array: engines.moved(array, engine)


@pytest.fixture
def mortal_cluster(tmp_path):
    """A cluster of one's own, of two workers."""
    with _cluster(tmp_path) as own:
        yield own


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The address of a cluster that all tests share, so that none may change or kill it."""
    with _cluster(tmp_path_factory.mktemp("cluster")) as own:
        yield own.address


@contextlib.contextmanager
def _cluster(folder: Path):
    pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    own = Cluster(folder)
    try:
        own.start()
        yield own
    finally:
        own.kill()
