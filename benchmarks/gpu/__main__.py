"""`python -m benchmarks.gpu [--quick] [--only NAME ...]` prints a table, and writes benchmarks/results/DATE-GPU.json.

Every answer is checked, against the CPU where that is quick and else against an independent formula. Times are the best
of several runs after one that compiles and allocates, with the GPU idle before and after; memory is the most that
CuPy's pool held beyond the data (compiled PyTorch and jax have their own). Runs of one day on one GPU share a file.
"""

import argparse
import shlex
import sys
import traceback

from benchmarks.gpu import gap, million, smooth, training
from benchmarks.gpu.device import Device, Row
from benchmarks.gpu.record import keep, lines, section
from ntkspec import engines

CASES = {
    "gap": gap.formed,
    "streamed": gap.streamed,
    "smooth": smooth.cases,
    "million": million.cases,
    "training": training.cases,
}


def main() -> None:
    """Run the cases; exit code 1 where one failed, and one line and exit code 2 where there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: are the answers right? Writes nothing.")
    parser.add_argument("--only", nargs="+", choices=CASES, help="these cases alone")
    options = parser.parse_args()
    try:
        engine = engines.named("gpu")
    except ValueError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        sys.exit(2)
    device = Device(engine, options.quick)
    print(", ".join(f"{what} {value}" for what, value in device.facts.items()))
    print(", ".join(f"{what} {rate:.3g}/s" for what, rate in vars(device.limits).items()), flush=True)
    failed = [name for name in options.only or CASES if not _done(name, device)]
    if failed:
        sys.exit(f"benchmarks.gpu: failed: {', '.join(failed)}")


def _done(name: str, device: Device) -> bool:
    """Run, print and keep one case; what goes wrong is kept too, and does not stop the others."""
    rows: list[Row] = []
    failed = ""
    device.left_out.clear()
    try:
        for row in CASES[name](device):
            rows.append(row)
            print("\n".join(lines(row)), flush=True)
    except Exception as error:
        traceback.print_exc()
        failed = f"{type(error).__name__}: {error}"
    if not device.quick:
        command = shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]])
        print(f"kept in {keep(name, section(device, command, rows, failed))}", flush=True)
    return not failed


if __name__ == "__main__":
    main()
