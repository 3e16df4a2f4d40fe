"""The time of `ntkspec analyze` on small data with a cold and with a warm cache of compiled loops."""

import os
import subprocess
import sys
import tempfile
import time

COMMAND = ["analyze", "--n", "500", "--d", "20", "--n-test", "100", "--steps", "100"]


def cold_and_warm() -> tuple[float, float]:
    """Seconds of the first run, which compiles, and the best of three further ones."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": f"{folder}/cache"}
        command = [sys.executable, "-m", "ntkspec", *COMMAND, "--output", f"{folder}/out"]
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
    return seconds[0], min(seconds[1:])
