"""A Dask scheduler and its workers as processes of this machine, each in a host of its own where links are slow."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# The network of the hosts, and how long they may take to be there.
BRIDGE, NETWORK, SECONDS = "ntkspec", "10.77.0", 90.0


@contextlib.contextmanager
def cluster(count: int, *, link: str | None = None, memory: str = "4GB") -> Iterator[str]:
    """The address of a scheduler with so many workers of one thread.

    link : a rate such as "200mbit": each worker is then a host of its own, a network namespace of Linux, whose link
    lets no more pass in either direction. This needs root and iproute2. There is no delay beside the kernel's.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = Path(folder, "scheduler.json")
        where = f"{NETWORK}.254" if link else "127.0.0.1"
        if link:
            stack.enter_context(_bridge(f"{where}/24"))
        common = ["--host", where, "--no-dashboard", "--scheduler-file", str(file)]
        stack.enter_context(_running(folder, [], "distributed.cli.dask_scheduler", "--port", "0", *common))
        for k in range(count):
            host = stack.enter_context(_host(k, link)) if link else []
            common[1] = f"{NETWORK}.{k + 1}" if link else where
            worker = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--memory-limit", memory]
            stack.enter_context(_running(folder, host, *worker, *common))
        yield _address(file, count)


def _address(file: Path, count: int) -> str:
    from distributed import Client

    end = time.monotonic() + SECONDS
    while not (file.exists() and file.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    address = json.loads(file.read_text(encoding="utf-8"))["address"]
    with Client(address, timeout=SECONDS) as client:
        client.wait_for_workers(count, timeout=SECONDS)
    return address


@contextlib.contextmanager
def _running(folder: str, host: list[str], module: str, *options: str) -> Iterator[None]:
    """A program of Dask with one thread of BLAS."""
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [*host, sys.executable, "-P", "-m", module, *options]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment, cwd=folder)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _bridge(address: str) -> Iterator[None]:
    _do(f"ip link add {BRIDGE} type bridge")
    try:
        _do(f"ip addr add {address} dev {BRIDGE}")
        _do(f"ip link set {BRIDGE} up")
        yield
    finally:
        _do(f"ip link del {BRIDGE}")


@contextlib.contextmanager
def _host(number: int, link: str) -> Iterator[list[str]]:
    """What starts a program in a host of its own."""
    host, cable = f"{BRIDGE}{number}", f"{BRIDGE}-{number}"
    inside, limit = f"ip netns exec {host}", f"root tbf rate {link} burst 256kb latency 400ms"
    _do(f"ip netns add {host}")
    try:
        _do(f"ip link add {cable} type veth peer name eth0 netns {host}")
        _do(f"ip link set {cable} master {BRIDGE} up")
        _do(f"{inside} ip link set lo up")
        _do(f"{inside} ip addr add {NETWORK}.{number + 1}/24 dev eth0")
        _do(f"{inside} ip link set eth0 up")
        _do(f"{inside} tc qdisc add dev eth0 {limit}")
        _do(f"tc qdisc add dev {cable} {limit}")
        yield inside.split()
    finally:
        _do(f"ip link del {cable}")
        _do(f"ip netns del {host}")


def _do(command: str) -> None:
    subprocess.run(command.split(), check=True)
