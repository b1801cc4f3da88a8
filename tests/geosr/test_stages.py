"""Work in stages: everything goes through once, errors and interrupts end it, memory is bounded."""

from __future__ import annotations

import threading
import time
import weakref

import pytest

from geosr.run.stages import Stage, run_stages


def stages(*works):
    return [Stage(work, threads, f"stage {i}") for i, (work, threads) in enumerate(works)]


@pytest.mark.parametrize("count", [0, 1, 7, 500])
@pytest.mark.parametrize("threads", [(1, 1, 1), (3, 1, 2), (1, 4, 1)])
def test_every_task_goes_through_every_stage_once(count, threads):
    works = [(lambda item, i=i: (*item, i), n) for i, n in enumerate(threads)]
    results = list(run_stages(stages(*works), ((number,) for number in range(count))))
    assert sorted(results) == [(number, 0, 1, 2) for number in range(count)]


def test_stages_go_on_at_the_same_time():
    lock, at_work, most = threading.Lock(), set(), [0]

    def work(item, stage):
        with lock:
            at_work.add(stage)
            most[0] = max(most[0], len(at_work))
        time.sleep(0.02)
        with lock:
            at_work.discard(stage)
        return item

    works = [(lambda item, i=i: work(item, i), 1) for i in range(3)]
    assert len(list(run_stages(stages(*works), range(12)))) == 12
    assert most == [3]


def test_few_tasks_are_under_way_at_a_time():
    begun = []
    results = run_stages(stages((lambda item: begun.append(item) or item, 1), (lambda item: item, 2)), range(10_000))
    next(results)
    time.sleep(0.2)
    assert len(begun) < 12
    results.close()
    assert len(begun) < 14


@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_error_ends_everything(where):
    done = []

    def work(item, stage):
        if stage == where and item == 20:
            raise ValueError(f"stage {stage}")
        done.append((item, stage))
        return item

    def run():
        works = [(lambda item, i=i: work(item, i), 2) for i in range(3)]
        for _ in run_stages(stages(*works), range(10**9)):
            pass

    before = threading.active_count()
    with pytest.raises(ValueError, match=f"stage {where}"):
        run()
    assert threading.active_count() == before
    assert max(item for item, _ in done) < 60


def test_tasks_that_cannot_be_made_are_an_error():
    def tasks():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(run_stages(stages((lambda item: item, 2)), tasks()))


def test_who_waits_keeps_nothing_of_what_was_done():
    class Large:
        """Result of a stage."""

    made, more = [], threading.Event()

    def make(_):
        large = Large()
        made.append(weakref.ref(large))
        return large

    def tasks():
        yield from range(3)
        more.wait(10)

    results = run_stages(stages((make, 1), (lambda large: large, 2), (lambda large: None, 2)), tasks())
    assert [next(results) for _ in range(3)] == [None] * 3
    ends = time.monotonic() + 5
    while any(one() is not None for one in made) and time.monotonic() < ends:
        time.sleep(0.01)
    assert [one() for one in made] == [None] * 3
    more.set()
    assert list(results) == []
