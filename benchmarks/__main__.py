"""Run the benchmarks, print the table, and record it where asked."""

import argparse
import itertools
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import any_network, deep, kernel_gap, large, prediction, spectra, startup, training
from benchmarks.common import Result, made_with, rates, run

CASES = {
    "kernel_gap": kernel_gap,
    "spectra": spectra,
    "training": training,
    "prediction": prediction,
    "deep": deep,
    "any_network": any_network,
}


def main() -> None:
    """`python -m benchmarks [--quick] [--large] [--only NAME ...] [--record FILE]`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat: are the answers right?")
    parser.add_argument("--large", action="store_true", help="also n = 60,000 to 1,000,000, some minutes and 8 GB")
    parser.add_argument("--only", nargs="+", choices=CASES, help="these cases alone, without products and start-up")
    parser.add_argument("--record", type=Path, help="write the results to this JSON file")
    options = parser.parse_args()
    found: dict = {"cases": []}
    print(f"{'case':<56}{'ntkspec':>10}  {'peer':<26}{'time':>10}{'ratio':>8}{'of floor':>10}")
    for name in options.only or CASES:
        for case in CASES[name].cases(options.quick):
            found["cases"].append(run(case, repeats=1 if options.quick else 5))
            print("\n".join(_lines(found["cases"][-1])), flush=True)
    if not (options.quick or options.only):
        found["products at n=4096"] = spectra.products_at_4096()
        print(f"products until the interval closes, n=4096, five seeds: {found['products at n=4096']}")
        found["startup"] = dict(zip(("cold", "warm"), startup.cold_and_warm(), strict=True))
        print("ntkspec analyze, n=500: {cold:.2f} s with a cold cache of compiled loops, {warm:.2f} s warm".format(
            **found["startup"]
        ))  # fmt: skip
    if options.large:
        found["large"] = []
        for result in itertools.chain(large.all_settings(), any_network.all_large()):
            found["large"].append(result)
            print(_large_line(result), flush=True)
    if options.record:
        _record(options.record, found, " ".join(["python -m benchmarks", *sys.argv[1:]]))


def _lines(result: Result):
    for name, seconds in result.peers.items():
        yield (
            f"{result.name:<56}{result.ours:>9.4f}s  {name:<26}{seconds:>9.4f}s{seconds / result.ours:>7.1f}x"
            f"{result.floor / result.ours:>10.0%}"
        )
    for name, seconds in result.first.items():
        yield (
            f"    {name}: {result.cpu[name]:.4f} CPU seconds; first call {seconds:.2f} s, "
            f"{result.extra_bytes[name] / 1e6:.0f} MB beyond data and answer"
        )


def _large_line(result: large.Large) -> str:
    frobenius = "" if result.frobenius is None else f", Frobenius {result.frobenius:.6g}"
    peak, allowed = result.peak_bytes / 1e9, result.allowed_bytes / 1e9
    return (
        f"{result.name:<32}{result.seconds:>8.1f}s, forecast {result.forecast:.1f} s, "
        f"{result.seconds / result.floor:.2f} of the floor; {result.products} products; first touch of the memory "
        f"{result.first_touch:.1f} s before; "
        f"peak {peak:.2f} of {allowed:.2f} GB allowed; "
        f"spectral norm in [{result.spectral:.6g}, {result.upper:.6g}]{frobenius}"
    )


def _record(path: Path, found: dict, command: str) -> None:
    limits = {dtype: asdict(rates(dtype)) for dtype in ("float32", "float64")}
    for limit in limits.values():
        del limit["entries"]
    results = {
        name: [asdict(result) for result in part] if isinstance(part, list) else part for name, part in found.items()
    }
    content = {"made_with": made_with(command), "rates, per second": limits, **results}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
