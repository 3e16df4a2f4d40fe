"""`ntkspec doctor --scheduler`: what workers have, and what does not fit together."""

import json
from dataclasses import replace

import pytest

from ntkspec import cli
from ntkspec.cluster import machines
from ntkspec.cluster.machines import FoundWorker, Link, Machine, Misfit, misfits, workers_of
from ntkspec.engines.rates import Rates

RATES = Rates(flops=1e11, words=1e10, entries=1e9, bytes=1e10, cached=2e10, lookups=1e9)
MACHINE = Machine(
    host="one",
    versions=dict.fromkeys(("python", "ntkspec", "numpy", "scipy", "numba", "torch", "jax"), "1.0"),
    system="Linux",
    processor="Xeon",
    blas="openblas 0.3, SkylakeX",
    cores=4,
    threads=2,
    free_memory=16 * 10**9,
    gpu="no: CuPy is missing",
    gpu_memory=0,
    rates={"float32": RATES, "float64": RATES},
)
WORKER = FoundWorker("tcp://one:1", tasks=1, memory_limit=0, machine=MACHINE, link=Link(0.01, 1e8, 2e8))


def other(number=2, *, tasks=1, memory_limit=0, **changed):
    """One more worker, on another machine unless it is said."""
    machine = replace(MACHINE, **({"host": "two"} | changed))
    return replace(WORKER, address=f"tcp://two:{number}", tasks=tasks, memory_limit=memory_limit, machine=machine)


def test_workers_of_one_kind_fit_together():
    assert not misfits([WORKER, other()])
    assert not misfits([WORKER])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": MACHINE.versions | {"numpy": "2.0"}}, "numpy: 1.0 on tcp://one:1; 2.0 on tcp://two:2: a part"),
        ({"processor": "EPYC"}, "processor: Xeon on tcp://one:1; EPYC on tcp://two:2: a part that moves"),
        ({"blas": "mkl 2024"}, "BLAS: openblas 0.3, SkylakeX on tcp://one:1; mkl 2024 on tcp://two:2"),
        ({"tasks": 4}, "machine two: 1 workers run 4 tasks at once on 8 threads, and there are 4 cores"),
        ({"host": "one", "threads": 4}, "machine one: 2 workers run 2 tasks at once on 6 threads"),
        ({"memory_limit": 10**9}, "worker tcp://two:2 has 1.0 GB, and another one 16.0 GB"),
        ({"free_memory": 7 * 10**9}, "worker tcp://two:2 has 7.0 GB, and another one 16.0 GB"),
        ({"gpu": "H200", "gpu_memory": 10**11}, "no GPU on tcp://one:1, while others have one"),
    ],
)
def test_what_does_not_fit_is_named(changed, said):
    (one,) = misfits([WORKER, other(**changed)])
    assert one.text.startswith(said)
    assert not one.fatal


def test_two_workers_of_a_machine_share_its_memory():
    assert not misfits([WORKER, other(host="one"), other(3, free_memory=9 * 10**9)])
    assert len(misfits([WORKER, other(free_memory=7 * 10**9)])) == 1


def test_a_worker_with_another_version_comes_first_and_is_fatal():
    refused = FoundWorker("tcp://two:9", 1, 0, "worker tcp://two:9 has ntkspec 0.0.9")
    first, second = misfits([WORKER, refused, other(processor="EPYC")])
    assert first == Misfit("worker tcp://two:9 has ntkspec 0.0.9", fatal=True)
    assert not second.fatal


@pytest.mark.parametrize("refused", ["", "worker tcp://two:9 has ntkspec 0.0.9"])
def test_the_command_tells_of_all_workers_and_how_they_fit(refused, monkeypatch, capsys):
    found = [WORKER, FoundWorker("tcp://two:9", 1, 0, refused) if refused else other()]
    monkeypatch.setattr(machines, "workers_of", lambda address, report: found)
    monkeypatch.setattr("ntkspec.cli.doctor.this_machine", lambda: MACHINE)
    monkeypatch.setattr("ntkspec.cli.doctor._found", lambda *_: "no")
    words = ["doctor", "--scheduler", "tcp://10.0.0.1:8786"]
    assert cli.main(words) == (1 if refused else 0)
    said = capsys.readouterr().out
    assert "worker              tcp://one:1, on one\n" in said
    assert "link                10 ms for a task there and back, 100 MB/s there, 200 MB/s back\n" in said
    assert said.endswith(f"error: {refused}\n" if refused else "all workers fit together\n")
    assert cli.main([*words, "--json"]) == (1 if refused else 0)
    document = json.loads(capsys.readouterr().out)
    assert [one["worker"].split(",")[0] for one in document["workers"]] == [one.address for one in found]
    assert document["misfits"] == ([{"text": refused, "fatal": True}] if refused else [])


@pytest.mark.slow
def test_real_workers_are_measured(cluster):
    one, two = workers_of(cluster)
    for worker in (one, two):
        assert worker.memory_limit == 2 * 10**9
        assert worker.tasks == worker.machine.threads == 1
        assert worker.machine.rates["float32"].flops > 1e8
        assert 0 < worker.link.seconds < 60
        assert worker.link.there > 0
        assert worker.link.back > 0
    assert one.machine.versions == machines.this_machine().versions
    assert not misfits([one, two])
