"""The benchmark of the GPU engine: its answers at small sizes, its record, and its refusal."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.device import Row, Way
from benchmarks.gpu.record import keep, lines
from conftest import NO_CARD, STAND_IN

ROOT = Path(__file__).parents[1]
ROWS = """
gap formed, both norms
Gram matrix of bits
triangle times two float64 vectors
gap streamed, both norms
Theta formed, both layers, erf
factored product, relu, .* vectors float32
factored product, relu, .* vectors float64
gap factored, spectral norm
training step, erf
training step, relu
"""
# Reasons for which a peer takes no part.
MISSING = r"No module named '(cupyx|jax)|sees no GPU|is not installed"


def run(*options, path=()):
    """The benchmark in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.gpu", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


def test_it_refuses_to_run_without_a_gpu():
    if not NO_CARD:
        pytest.skip("there is a GPU")
    found = run()
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert found.stderr.startswith("benchmarks.gpu: the GPU engine needs ")


@pytest.mark.slow
def test_all_its_answers_are_right(gpu):
    if not STAND_IN:
        pytest.skip("on a GPU the benchmark itself checks this, and compiles its peers for minutes")
    found = run("--quick", path=[str(ROOT / "tests" / "device_stand_in")])
    assert (found.returncode, found.stderr) == (0, ""), found.stderr
    for row in ROWS.strip().splitlines():
        assert re.search(f"^{row}.*\n    ntkspec ", found.stdout, re.MULTILINE), row
    for left_out in re.findall("^left out: .*", found.stdout, re.MULTILINE):
        assert re.search(MISSING, left_out), left_out
    for peer in ("plain CuPy, no interval", "plain CuPy, by hand"):
        assert f"    {peer} " in found.stdout


@pytest.mark.parametrize(("seconds", "verdict"), [(0.9, "met"), (1.1, "missed")])
def test_a_row_says_what_it_takes(seconds, verdict):
    peers = {
        "plain CuPy": Way(seconds, 30_000_000_000, None),
        "plain CuPy, again": Way(1.5 * seconds, 15_000_000_000, None),
        "other": Way(4 * seconds, None, None),
    }
    row = Row("case", Way(seconds, 10_000_000_000, None), seconds / 2, peers, target=1.0, note="seen")
    first, ours, plain, again, other = lines(row)
    assert first == "case: seen"
    assert ours.endswith(f"{seconds:.6f} s    10.00 GB   50% of the GPU's limit; target 1 s: {verdict}")
    assert plain.endswith("30.00 GB   1.0 x the time, 3.0 x the memory; aim 2 x one of them: met")
    assert again.endswith("15.00 GB   1.5 x the time, 1.5 x the memory; aim 2 x one of them: missed")
    assert other.endswith("4.0 x the time")


def test_runs_of_one_day_share_a_file(tmp_path):
    sections = [{"made_with": {"GPU": "NVIDIA X"}, "rows": [k]} for k in range(3)]
    paths = {keep(*case, tmp_path) for case in (("gap", sections[0]), ("smooth", sections[1]), ("gap", sections[2]))}
    (path,) = paths
    assert path.name.endswith("-NVIDIA-X.json")
    assert json.loads(path.read_text()) == {"gap": sections[2], "smooth": sections[1]}
