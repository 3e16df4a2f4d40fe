"""What is printed and kept of a run: a table, and one file for each GPU and day."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.common import made_with
from benchmarks.gpu.device import Device, Row, Way

RESULTS = Path(__file__).parents[1] / "results"


def lines(row: Row):
    """The row as a table: a line for each way, with what it takes beside ours."""
    yield row.name + (f": {row.note}" if row.note else "")
    ours, width = row.ntkspec, max(map(len, ("ntkspec", *row.peers)))
    aim = "" if row.target is None else f"; target {row.target:.3g} s: {_verdict(row)}"
    yield f"    {'ntkspec':<{width}}{_cost(ours)}   {row.floor / ours.seconds:.0%} of the GPU's limit{aim}"
    for name, way in row.peers.items():
        yield f"    {name:<{width}}{_cost(way)}   {_beside(name, way, ours)}"


def _beside(name: str, way: Way, ours: Way) -> str:
    """A peer's time and memory as multiples of ours; this package aims at twice one of them beside plain CuPy."""
    ratios = {"time": way.seconds / ours.seconds}
    if way.bytes and ours.bytes:
        ratios["memory"] = way.bytes / ours.bytes
    text = ", ".join(f"{ratio:.1f} x the {what}" for what, ratio in ratios.items())
    if name.startswith("plain CuPy") and len(ratios) == 2:
        text += f"; aim 2 x one of them: {'met' if max(ratios.values()) >= 2 else 'missed'}"
    return text


def _cost(way: Way) -> str:
    held = f"{way.bytes / 1e9:>9.2f} GB" if way.bytes else " " * 12
    return f"{way.seconds:>14.6f} s{held}"


def _verdict(row: Row) -> str:
    return "met" if row.target is not None and row.ntkspec.seconds <= row.target else "missed"


def section(device: Device, command: str, rows: list[Row], failed: str) -> dict:
    """What is kept of one case: with what, the GPU's limits, all ways, who took no part, and what went wrong."""
    return {
        "made_with": made_with(command) | device.facts,
        "limits, per second": asdict(device.limits),
        "rows": [_kept(row) for row in rows],
        "left out": device.left_out,
        "failed": failed,
    }


def _kept(row: Row) -> dict:
    ways = {"ntkspec": row.ntkspec, **row.peers}
    return {
        "name": row.name,
        "note": row.note,
        "floor": row.floor,
        "target": row.target,
        "verdict": None if row.target is None else _verdict(row),
        "ways": {name: {"seconds": way.seconds, "bytes": way.bytes} for name, way in ways.items()},
    }


def keep(name: str, content: dict, folder: Path = RESULTS) -> Path:
    """Put a case into the file of this GPU and day, in the place of an earlier run of it."""
    day, device = datetime.now(UTC).date().isoformat(), content["made_with"]["GPU"].replace(" ", "-")
    path = folder / f"{day}-{device}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(found | {name: content}, indent=2) + "\n", encoding="utf-8")
    return path
