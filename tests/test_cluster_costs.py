"""What an iteration on a cluster is said to cost, against what one submits, sends and waits for."""

import itertools
import math
import time

import numpy as np
import pytest

import ntkspec as ns
from ntkspec.cluster import costs
from ntkspec.cluster.kernel import built
from ntkspec.cluster.workers import FAN_IN
from ntkspec.engines.rates import Rates
from ntkspec.spectra.lanczos import Lanczos
from workers_here import Here

RATES = Rates(flops=1e11, words=1e10, entries=1e9, bytes=2e10, cached=4e10)
SIZES = {"n": 10**6, "m": 512, "d": 100}
LINKS = ns.cluster.Links(task=1e-3, answer=0.02, bytes=1e8)


def gram(rows):
    return ns.operators.Gram(np.random.default_rng(0).standard_normal((240, 40))[slice(*rows)])


class Counting(Here):
    """It counts what it is given to do, and how often it is asked."""

    tasks = asked = 0

    def submit(self, *given, **options):
        self.tasks += 1
        return super().submit(*given, **options)

    def answers(self, futures):
        self.asked += 1
        return super().answers(futures)


@pytest.mark.parametrize("count", [1, 3, 12])
def test_an_iteration_has_the_tasks_and_answers_that_are_counted(count):
    """Beside those of the tree of sums, and less than one for each part where blocks are put together."""
    workers = Counting()
    lanczos = Lanczos(built(workers, gram, [(20 * k, 20 * k + 20) for k in range(count)]))
    lanczos.begin_random(0, 2)
    lanczos.extend(4)  # until products are freed of the vectors that they are expected to be freed of
    tasks, asked = workers.tasks, workers.asked
    lanczos.extend(4)
    added = sum(len(range(0, left, FAN_IN)) for left in (count, math.ceil(count / FAN_IN)) if left > 1)
    assert costs.TASKS * count <= (workers.tasks - tasks) / 4 <= (costs.TASKS + 1) * count + added
    assert workers.asked - asked == 4 * costs.ANSWERS


@pytest.mark.parametrize("workers", [1, 2, 7, 8, 9, 64, 65, 300])
def test_sums_come_to_one_worker_and_go_out_to_all(workers):
    """By following the tree of sums and the copies, a round at a time."""
    groups, received = workers, 0
    while groups > 1:
        sizes = [min(FAN_IN, groups - k) for k in range(0, groups, FAN_IN)]
        groups, received = len(sizes), received + max(sizes) - 1
    assert costs._received(workers) == received
    have, rounds = 1, 0
    while have < workers:
        left = workers - have
        for sent in range(min(costs.AT_A_TIME, left)):
            rounds += left > sent * have
        have += min(left, have * costs.AT_A_TIME)
    assert costs._sent(workers) == rounds


def test_one_worker_sends_nothing_and_many_spend_their_time_on_links():
    alone = ns.cluster.iteration(**SIZES, workers=1, rates=RATES, links=LINKS)
    assert alone.moving == 0
    assert alone.seconds == alone.computing + alone.tasks
    found = [ns.cluster.iteration(**SIZES, workers=count, rates=RATES, links=LINKS) for count in (1, 4, 16, 64, 256)]
    assert [one.computing * count for one, count in zip(found, (1, 4, 16, 64, 256), strict=True)] == pytest.approx(
        [alone.computing] * 5
    )
    assert all(before.efficiency > after.efficiency for before, after in itertools.pairwise(found))
    assert "tasks" in str(alone)


class Slow(Here):
    """An answer takes a while, and each byte as well."""

    def answers(self, futures):
        time.sleep(0.01 + sum(one.value.nbytes for one in futures if hasattr(one.value, "nbytes")) / 2e8)
        return super().answers(futures)


def test_links_are_measured():
    """What a sleep takes at least is known; the answer, which is taken off, may have taken longer."""
    links = ns.cluster.Links._of(Slow(1))
    assert links.answer >= 0.01
    assert 0 < links.bytes < 4e8
    assert links.task > 0


@pytest.mark.parametrize("wrong", [{"task": 0}, {"answer": -1.0}, {"bytes": math.inf}, {"task": "1"}])
def test_links_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.*a finite number above 0 is needed"):
        ns.cluster.Links(**wrong)


@pytest.mark.parametrize("name", ["n", "m", "d", "workers", "block", "known"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0"):
        ns.cluster.iteration(**{**SIZES, "workers": 2, "rates": RATES, name: 0})
