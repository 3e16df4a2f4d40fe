"""What happens to a call whose scheduler is lost, whose tasks fail, or whose workers have something else installed."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import ntkspec as ns
from clusters import Link
from ntkspec.cluster import execution, workers
from ntkspec.cluster.connection import Patience, other_versions, version
from ntkspec.cluster.workers import Recipe, Result, Workers

N, DIM = 120, 6
PARTS = [(0, 40), (40, 80), (80, N)]


def kernel(rows):
    return ns.operators.Gram(ns.datasets.gaussian(N, DIM, seed=5).X[slice(*rows)])


def slow_square(number):
    time.sleep(0.05)
    return number**2


# ------------------------------------------------------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"connect": 0}, "connect=0"),
        ({"reconnect": -1}, "reconnect=-1, but a finite number of seconds"),
        ({"without_workers": float("inf")}, "without_workers=inf"),
        ({"retries": 1.5}, "retries=1.5, but a whole number"),
    ],
)
def test_patience_is_in_seconds_and_numbers(options, said):
    with pytest.raises(ValueError, match=said):
        Patience(**options)


# ------------------------------------------------------------------------------------------------------------ versions
class Client:
    """Of workers that answer what is given."""

    def __init__(self, answers):
        self.answers = answers

    def run(self, function, on_error):
        assert (function, on_error) == (version, "return")
        return self.answers


def test_the_worker_with_another_version_is_named():
    answers = {
        "tcp://a:1": version(),
        "tcp://b:2": "ntkspec 0.0.9 on Python 3.11",
        "tcp://c:3": ModuleNotFoundError("No module named 'ntkspec'"),
    }
    one, other = workers_told(answers)
    assert one == f"worker tcp://b:2 has ntkspec 0.0.9 on Python 3.11, but {version()} is here; " + (
        "install one version on all machines"
    )
    assert other.startswith(f"worker tcp://c:3 cannot run {version()}, which is here: No module named 'ntkspec'")
    assert not workers_told({"tcp://a:1": version()})


def workers_told(answers):
    return list(other_versions(Client(answers)).values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import ntkspec; ntkspec.__version__ = '0.0.9'", "has ntkspec 0.0.9 on Python"),
        ("import sys; sys.modules['ntkspec'] = None", "cannot run ntkspec"),
    ],
)
def test_a_worker_with_another_version_is_refused(line, said, mortal_cluster, tmp_path):
    """For kernels and for sweeps."""
    (tmp_path / "changed.py").write_text(line)
    mortal_cluster.start_worker("--preload", str(tmp_path / "changed.py"))
    mortal_cluster.wait(3)
    address = mortal_cluster.address
    with pytest.raises(ValueError, match=f"^worker tcp://127.0.0.1:[0-9]+ {said}"):
        ns.cluster.kernel(kernel, PARTS, scheduler=address)
    with pytest.raises(ValueError, match=f"^worker tcp://127.0.0.1:[0-9]+ {said}"):
        list(execution.results(slow_square, [1], execution.Place(scheduler=address)))


# --------------------------------------------------------------------------------------------------- what is made again
class Scheduler:
    """Does tasks at once, and forgets all results when it is lost."""

    def __init__(self):
        self.done, self.lost, self.names = [], 0, ("a", "b")

    def client(self):
        return SimpleNamespace(submit=self.submit, nthreads=lambda: dict.fromkeys(self.names, 1))

    def submit(self, done, function, *arguments, key, retries, workers=(), allow_other_workers=True):
        self.done.append((function.__name__, *workers))
        given = [[*map(self.value, one)] if isinstance(one, list) else self.value(one) for one in arguments]
        return SimpleNamespace(value=done(function, *given), of=self.lost)

    def value(self, one):
        return self.gather([one])[0] if isinstance(one, SimpleNamespace) else one

    def gather(self, futures):
        if any(one.of != self.lost for one in futures):
            raise OSError("the connection is closed")
        return [one.value for one in futures]


class Mended(Workers):
    """On such a scheduler."""

    def __init__(self, scheduler):
        self.names, self._results, self._instead = scheduler.names, workers.weakref.WeakSet(), {}
        self._mending = threading.RLock()
        self.connection = SimpleNamespace(
            client=scheduler.client(), patience=Patience(), gathered=scheduler.gather, recover=self.recover, losses=0
        )
        self.scheduler, self._started_with = scheduler, self.connection.client

    def recover(self, error, left):
        assert isinstance(error, OSError)
        self.connection.client = self.scheduler.client()


def first():
    return np.arange(3.0)


def twice(one):
    return 2 * one


def total(several):
    return sum(several)


def test_what_is_still_needed_is_made_again_after_a_loss():
    scheduler = Scheduler()
    own = Mended(scheduler)
    one = own.submit(first, home="a")
    middle = own.submit(twice, one, home="b")
    unused = own.submit(twice, one)
    last = own.submit(total, [middle, one])
    del one, middle, unused
    assert np.array_equal(own.answers([last])[0], [0, 3, 6])
    scheduler.lost += 1
    scheduler.names, scheduler.done = ("a", "c"), []
    assert np.array_equal(own.answers([last])[0], [0, 3, 6])
    assert scheduler.done == [("first", "a"), ("twice", "c"), ("total",)]
    scheduler.lost += 1
    assert np.array_equal(own.answers([own.submit(twice, last)])[0], [0, 6, 12])


def test_a_loss_while_things_are_made_again_is_one_more_loss():
    scheduler = Scheduler()
    own = Mended(scheduler)
    last = own.submit(twice, own.submit(first))
    scheduler.lost += 1
    submit = scheduler.submit

    def lost_once(*arguments, **options):
        scheduler.submit = submit
        raise OSError("the connection is closed")

    scheduler.submit = lost_once
    assert np.array_equal(own.answers([last])[0], [0, 2, 4])


def test_a_result_that_nobody_holds_is_given_up():
    scheduler = Scheduler()
    own = Mended(scheduler)
    one = own.submit(first)
    made = own.submit(twice, one)
    recipe = one.recipe
    assert isinstance(one, Result)
    assert recipe.result is one
    del one
    assert recipe.result is None
    assert [*made.recipe.needed()] == [recipe]
    assert isinstance(recipe, Recipe)


# ---------------------------------------------------------------------------------------------------- real connections
def answers(address, disturb=lambda: None, patience=None):
    K = ns.cluster.kernel(kernel, PARTS, scheduler=address, patience=patience)
    norm = ns.spectral_norm(K, rtol=1e-8)
    vectors = ns.eigsh(K, 3).vectors
    disturb()
    run = ns.predict_gd(K, np.ones(N), eta=0.05, steps=[1, 10], loss="logistic")
    return norm.lower, norm.upper, vectors.gather().tobytes(), run.train.gather().tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_a_connection_that_breaks_costs_time_and_no_bit(seconds, cluster):
    undisturbed, link = answers(cluster), Link(cluster)
    cutting = threading.Timer(seconds, link.cut)
    try:
        with pytest.warns(RuntimeWarning, match="was lost and is back"):
            assert answers(link.address, cutting.start) == undisturbed
    finally:
        cutting.cancel()
        link.close()


@pytest.mark.slow
def test_a_sweep_goes_on_after_its_connection_breaks(cluster):
    link = Link(cluster)

    def cut_on_the_way():
        found = []
        for pair in execution.results(slow_square, range(40), execution.Place(scheduler=link.address)):
            found.append(pair)
            if len(found) == 4:
                link.cut()
        return found

    with pytest.warns(RuntimeWarning, match="was lost and is back"):
        found = cut_on_the_way()
    link.close()
    assert sorted(found) == [(task, task**2) for task in range(40)]


@pytest.mark.slow
def test_a_scheduler_that_is_killed_and_started_again_costs_time_and_no_bit(mortal_cluster):
    address, undisturbed = mortal_cluster.address, answers(mortal_cluster.address)

    def killed():
        mortal_cluster.kill()
        threading.Timer(2.0, mortal_cluster.start, kwargs={"port": int(address.rpartition(":")[2])}).start()

    with pytest.warns(RuntimeWarning, match="was lost and is back"):
        assert answers(address, killed) == undisturbed


@pytest.mark.slow
def test_a_scheduler_that_is_lost_is_told_in_one_line(mortal_cluster):
    address = mortal_cluster.address
    patience = Patience(connect=1, reconnect=1)
    K = ns.cluster.kernel(kernel, PARTS, scheduler=address, patience=patience)
    tasks = execution.results(slow_square, range(40), execution.Place(scheduler=address, patience=patience))
    next(tasks)
    mortal_cluster.kill()
    with pytest.raises(ValueError, match=f"^the scheduler {address} was lost; what lay on its workers is gone; .*\n?"):
        ns.spectral_norm(K)
    with pytest.raises(ValueError, match=f"^the scheduler {address} was lost; what was finished is kept, and the same"):
        list(tasks)


def failing_once(path):
    if not path.exists():
        path.write_text("tried")
        raise OSError("the file system is away")
    return 1


@pytest.mark.slow
def test_a_task_that_failed_is_tried_again_as_often_as_allowed(cluster, tmp_path):
    place = execution.Place(scheduler=cluster, patience=Patience(retries=1))
    assert dict(execution.results(failing_once, [tmp_path / "a"], place)) == {tmp_path / "a": 1}
    with pytest.raises(OSError, match="the file system is away"):
        list(execution.results(failing_once, [tmp_path / "b"], execution.Place(scheduler=cluster)))


@pytest.mark.slow
def test_a_sweep_without_workers_ends(mortal_cluster):
    place = execution.Place(scheduler=mortal_cluster.address, patience=Patience(without_workers=2))
    tasks = execution.results(slow_square, range(40), place)
    next(tasks)
    for worker in mortal_cluster.workers:
        worker.kill()
    with pytest.raises(ValueError, match="has had no worker for 2 s"):
        list(tasks)
