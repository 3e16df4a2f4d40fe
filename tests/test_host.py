"""Limits of containers and of the shell, on made-up trees of /proc and /sys, and on a real process."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.engines import cpu, host
from ntkspec.operators import form

GROUP2 = "0::/batch/job\n"
MOUNT2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
GROUP1 = "9:name=systemd:/\n5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n"
MOUNTS1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {shown} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {shown} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)
LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max data size             {data:<20} unlimited            bytes     \n"
    "Max address space         {space:<20} unlimited            bytes     \n"
)
STATUS = "Name:\tpython\nVmSize:\t    2000 kB\nVmRSS:\t     500 kB\nVmData:\t     700 kB\n"
UNLIMITED = str(2**63 - 4096)  # what version 1 says where there is no limit


@pytest.fixture
def tree(tmp_path):
    """Writes files below a folder that stands for the root, and returns it."""

    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(text))
        return tmp_path

    return write


def version2(folder, **files):
    return {f"sys/fs/cgroup{folder}/{name.replace('_', '.', 1)}": text for name, text in files.items()}


def test_nothing_limits_a_machine_without_such_files(tree):
    root = tree({})
    assert host.allowed_memory(root=root) == host.allowed_cores(root) == float("inf")


def test_nothing_limits_a_process_whose_limits_are_unlimited(tree):
    files = {"proc/self/cgroup": GROUP2, "proc/self/mountinfo": MOUNT2, "proc/self/status": STATUS}
    files |= {"proc/self/limits": LIMITS.format(data="unlimited", space="unlimited")}
    root = tree(files | version2("/batch/job", memory_max="max", memory_current=10, cpu_max="max 100000"))
    assert host.allowed_memory(root=root) == host.allowed_cores(root) == float("inf")


@pytest.mark.parametrize(
    ("own", "above", "left"),
    [
        ({"memory_max": 9000, "memory_current": 2000}, {}, 7000),
        ({"memory_max": "max", "memory_current": 2000}, {"memory_max": 8000, "memory_current": 7500}, 500),
        ({"memory_max": 9000, "memory_high": 5000, "memory_current": 2000}, {}, 3000),
        ({"memory_max": 9000, "memory_current": 8900, "memory_stat": "anon 900\ninactive_file 8000\n"}, {}, 8100),
        ({"memory_max": 9000, "memory_current": 9500}, {}, 0),
    ],
    ids=["own", "of the group above", "high", "cache is free", "beyond"],
)
def test_a_group_of_version_2_limits_its_processes(own, above, left, tree):
    files = {"proc/self/cgroup": GROUP2, "proc/self/mountinfo": MOUNT2}
    assert host.allowed_memory(root=tree(files | version2("/batch/job", **own) | version2("/batch", **above))) == left


def test_in_a_namespace_of_its_own_a_container_is_the_root(tree):
    for group in ("0::/\n", "0::/../other\n"):
        files = {"proc/self/cgroup": group, "proc/self/mountinfo": MOUNT2}
        files |= version2("", memory_max=4096, memory_current=96, cpu_max="150000 100000")
        assert host.allowed_memory(root=tree(files)) == 4000
        assert host.allowed_cores(tree(files)) == 1.5


@pytest.mark.parametrize(("shown", "folder"), [("/", "docker/abc/"), ("/docker/abc", ""), ("/", "")])
def test_a_group_of_version_1_limits_its_processes(shown, folder, tree):
    """Seen from the host, from a container whose mount begins at its group, and from one that is not told so."""
    memory, cpu = (f"sys/fs/cgroup/{controller}/{folder}" for controller in ("memory", "cpu,cpuacct"))
    files = {"proc/self/cgroup": GROUP1, "proc/self/mountinfo": MOUNTS1.format(shown=shown)}
    files |= {f"{memory}memory.limit_in_bytes": 10**6, f"{memory}memory.usage_in_bytes": 400_000}
    files |= {f"{memory}memory.stat": "inactive_file 1\ntotal_inactive_file 50000\n"}
    files |= {f"{cpu}cpu.cfs_quota_us": 250_000, f"{cpu}cpu.cfs_period_us": 100_000}
    assert host.allowed_memory(root=tree(files)) == 650_000
    assert host.allowed_cores(tree(files)) == 2.5


def test_version_1_without_limits(tree):
    files = {"proc/self/cgroup": GROUP1, "proc/self/mountinfo": MOUNTS1.format(shown="/")}
    files |= {"sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": -1}
    files |= {"sys/fs/cgroup/memory/memory.usage_in_bytes": 5, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": 100_000}
    assert host.allowed_memory(root=tree(files)) > 2**62
    assert host.allowed_cores(tree(files)) == float("inf")


@pytest.mark.parametrize(
    ("data", "space", "left"),
    [("unlimited", 3_000_000, 952_000), (1_000_000, "unlimited", 283_200), (1_000_000, 2_100_000, 52_000)],
)
def test_the_shell_limits_address_space_and_data(data, space, left, tree):
    files = {"proc/self/limits": LIMITS.format(data=data, space=space), "proc/self/status": STATUS}
    assert host.allowed_memory(root=tree(files)) == left


def caches(core, sizes, shared):
    """The caches of a core, level by level, the last of them shared by cores."""
    folder = f"sys/devices/system/cpu/cpu{core}/cache"
    levels = {f"{folder}/index{k}/level": f"{k}\n" for k in range(len(sizes))}
    alone = {f"{folder}/index{k}/shared_cpu_list": f"{core}\n" for k in range(len(sizes) - 1)}
    last = {f"{folder}/index{len(sizes) - 1}/shared_cpu_list": f"{shared}\n"}
    return levels | alone | last | {f"{folder}/index{k}/size": f"{size}K\n" for k, size in enumerate(sizes)}


@pytest.mark.parametrize(
    ("cores", "size"),
    [
        ({}, 0),
        ({0: ((48, 2048, 1000), "0-1"), 1: ((48, 2048, 1000), "0-1")}, 1_024_000),
        ({0: ((48, 2048, 1000), "0"), 1: ((48, 2048, 1000), "1")}, 2_048_000),
    ],
)
def test_the_last_caches_of_the_cores_are_counted_once(cores, size, tree, monkeypatch):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda pid: {0, 1})
    files = [caches(core, *found) for core, found in cores.items()]
    assert host.last_cache(tree({name: text for own in files for name, text in own.items()})) == size


@pytest.mark.parametrize(("allowed", "workers"), [(0.5, 1), (2.5, 3), (8, 8), (float("inf"), 8)])
def test_a_container_has_as_many_workers_as_it_has_cores(allowed, workers, monkeypatch):
    monkeypatch.setattr(cpu.threads, "_blas", lambda: SimpleNamespace(info=lambda: [{"num_threads": 8}]))
    monkeypatch.setattr(cpu.threads, "allowed_cores", lambda: allowed)
    assert cpu.threads.workers.__wrapped__() == workers


IN_A_SHELL = """
import resource
import numpy as np
import ntkspec as ns
from ntkspec.engines import cpu, host

resource.setrlimit(getattr(resource, "RLIMIT_{limit}"), (2 * 10**9,) * 2)
free = cpu.free_memory()
assert free < host.allowed_memory() < 2 * 10**9
rows = int((free / 8) ** 0.5)
np.empty((rows // 2, rows))  # half of what is said to be free is there
try:
    np.empty(int(host.allowed_memory()) + 10**8, np.uint8)
except MemoryError:
    pass
else:
    raise SystemExit("more was there than is said to be free")
try:
    ns.plan(ns.operators.Gram(np.zeros((60_000, 3))), method="dense")
except ValueError as error:
    assert "are free" in str(error), error
else:
    raise SystemExit("14 GB were planned")
"""


@pytest.mark.parametrize("limit", ["AS", "DATA"])
def test_a_process_with_a_limit_plans_within_it(limit):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", IN_A_SHELL.format(limit=limit)], check=True, env=environment, timeout=60)


ACCEPTED = """
import re, resource
import numpy as np
import ntkspec as ns

gram = ns.operators.Gram(np.random.default_rng(0).standard_normal((8000, 4), dtype=np.float32))
now = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_AS, (now + int({room}),) * 2)
try:
    norm = ns.spectral_norm(gram, method="dense")
except ValueError as error:
    assert "are free" in str(error), error
    print("refused")
else:
    F = gram.low_rank_factors()[0].astype(float)
    assert norm.lower <= np.linalg.norm(F.T @ F, 2) <= norm.upper, norm
    print("done")
"""


@pytest.mark.parametrize(("room", "end"), [(180e6, "refused"), (620e6, "done")])
def test_a_plan_is_refused_or_done(room, end):
    """128 MB of a triangle: where less than the libraries' own address space is left, BLAS and LLVM end the process."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    command = [sys.executable, "-c", ACCEPTED.format(room=room)]
    run = subprocess.run(command, check=False, env=environment, timeout=60, capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, end), run.stderr


class Greedy(ns.operators.KernelOperator):
    """An operator whose products and entries ask for an exabyte."""

    entrywise = True

    def __init__(self):
        self.shape, self.dtype, self.engine, self.symmetric = (20, 20), np.dtype(np.float64), cpu, True

    def _matmat(self, V):
        return np.empty(2**57)

    accumulate = write = _product = diagonal = lambda self, *_, **__: np.empty(2**57)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda kernel: kernel @ np.ones(20), "a product of a kernel 20 x 20 with 1 vectors"),
        (lambda kernel: kernel.to_dense(), "the whole matrix 20 x 20 in float64"),
        (form, "the triangle of a kernel 20 x 20 in float64"),
    ],
    ids=["product", "matrix", "triangle"],
)
def test_memory_that_runs_out_is_told_in_one_sentence(call, what):
    with pytest.raises(MemoryError, match=rf"^{what} needs 1.15e\+09 GB more, but [\d.]+ GB are free for it; [^.]+$"):
        call(Greedy())


def test_training_that_runs_out_of_memory_says_so():
    def watch(net, now, X):
        return {"a": float(np.empty(2**57)[0])}

    with pytest.raises(MemoryError, match=r"^training needs 1.15e\+09 GB more, but"):
        ns.train_gd(ns.TwoLayer.symmetric(2, 4, "erf"), np.eye(2), np.ones(2), eta=0.1, steps=[3], watch=watch)


def test_threads_that_cannot_start_are_told(monkeypatch):
    """What the system calls "can't start new thread", under a limit of memory or of processes."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    cpu.threads._pool.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        with pytest.raises(MemoryError, match=r"no room for . threads; set OMP_NUM_THREADS to fewer"):
            cpu.run(str, range(4))
    cpu.threads._pool.cache_clear()
    assert cpu.run(str, range(4)) == ["0", "1", "2", "3"]
