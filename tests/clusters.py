"""A Dask scheduler and its workers, as processes of their own, and a link to them that can be cut."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path


class Cluster:
    """Processes that tests start, kill and start again; ``workers`` are those of the workers."""

    def __init__(self, folder: Path):
        self.file, self.workers, self._running = folder / "scheduler.json", [], []

    def _start(self, *command):
        quiet = subprocess.DEVNULL
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        running = subprocess.Popen([sys.executable, "-m", *command], stdout=quiet, stderr=quiet, env=environment)
        self._running.append(running)
        return running

    @property
    def _here(self):
        return "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(self.file)

    def start(self, workers=2, port=0):
        """A scheduler, at a port or at a free one, and its workers."""
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start("distributed.cli.dask_scheduler", "--port", str(port), *self._here)
        self.workers = [self.start_worker() for _ in range(workers)]
        deadline = time.monotonic() + 60
        while not (self.file.exists() and self.file.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]
        self.wait(workers)

    def start_worker(self, *options):
        """One more worker."""
        worker = ("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--memory-limit", "2GB")
        return self._start(*worker, *options, *self._here)

    def wait(self, workers):
        """Until so many workers are there."""
        from distributed import Client

        with Client(self.address, timeout=30) as client:
            client.wait_for_workers(workers, timeout=60)

    def kill(self):
        """All processes, at once."""
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()
        self._running.clear()


class Link:
    """A port that passes on to another one what comes, until :meth:`cut`: then those who come next are served."""

    def __init__(self, address: str):
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        self.there, self.ends, self.threads = (host, int(port)), [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self._begin(self._serve)

    def _begin(self, function, *arguments):
        self.threads.append(threading.Thread(target=function, args=arguments, daemon=True))
        self.threads[-1].start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                one = self.listener.accept()[0]
                self.ends.append(one)
                other = socket.create_connection(self.there)
                self.ends.append(other)
                self._begin(_pass_on, one, other)
                self._begin(_pass_on, other, one)

    def cut(self):
        """All that is connected; nothing is said to either side."""
        for end in list(self.ends):
            _shut(end)

    def close(self):
        """For good."""
        _shut(self.listener)
        self.cut()
        for thread in self.threads:
            thread.join(5)
        for end in (self.listener, *self.ends):
            end.close()


def _shut(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _pass_on(source, target):
    with contextlib.suppress(OSError):
        while content := source.recv(2**16):
            target.sendall(content)
    _shut(source)
    _shut(target)
