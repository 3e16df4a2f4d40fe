"""What several test files share."""

import json
import os
import subprocess
import sys
import time

import pytest


@pytest.fixture
def cluster(tmp_path):
    """A real scheduler and two real workers, as processes of their own."""
    pytest.importorskip("distributed", reason="Dask's distributed is not installed")
    file, running = tmp_path / "scheduler.json", []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}

    def start(*command):
        quiet = subprocess.DEVNULL
        running.append(subprocess.Popen([sys.executable, "-m", *command], stdout=quiet, stderr=quiet, env=environment))
        return running[-1]

    start(
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--scheduler-file",
        str(file),
        "--no-dashboard",
    )
    worker = ["distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny"]
    worker += ["--host", "127.0.0.1"]
    workers = [start(*worker, "--no-dashboard", "--memory-limit", "2GB") for _ in range(2)]
    deadline = time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    from distributed import Client

    with Client(address, timeout=30) as client:
        client.wait_for_workers(2, timeout=60)
    yield address, workers
    for process in running:
        process.kill()
        process.wait()
