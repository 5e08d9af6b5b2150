"""Two workers and their clock: they agree on every step."""

from typing import Any

import pytest

from bascule.plugin.kit.memory_host import MemoryCounters
from bascule.plugin.kit.progressive_release import Plan, ProgressiveRelease, Step
from bascule.plugin.kit.version_stats import Bounds

STEPS = (Step(10, 60), Step(50, 60), Step(100, None))
BOUNDS = Bounds(error_rate_difference=0.1, latency_ratio=2, min_requests=10)


class Scene:
    def __init__(self, **changes: Any) -> None:
        self.time = 1000.0
        self.plan = Plan(**({"steps": STEPS, "bounds": BOUNDS, "window_s": 20.0} | changes))
        self.counters = MemoryCounters(lambda: self.time)
        self.workers = [self.worker(), self.worker()]
        self.events: list[str] = []
        self.check()

    def worker(self) -> ProgressiveRelease:
        return ProgressiveRelease("p/", self.plan, self.counters, lambda: self.time)

    def check(self) -> None:
        for worker in self.workers:
            self.events += [event.sentence for event in worker.check()]

    def serve(self, seconds: float, errors: int = 0, slow: bool = False, requests: int = 20) -> None:
        """Each second half of the requests per window, so many of the canary's failing."""
        end = self.time + seconds
        while self.time < end:
            for n in range(requests):
                worker = self.workers[n % 2]
                if worker.follow() < 100:
                    worker.count(False, False, 0.02)
                if worker.follow() > 0:
                    worker.count(True, n < errors, 0.1 if slow else 0.02)
            self.time += 5
            self.check()

    def both(self, name: str) -> Any:
        one, other = (getattr(worker, name) for worker in self.workers)
        assert one == other
        return one


def test_it_goes_its_way_step_by_step() -> None:
    scene = Scene()
    assert (scene.both("weight"), scene.both("state"), scene.both("verdict")) == (10, "running", "none")
    weights = []
    for _ in range(4):
        scene.serve(45)
        weights.append(scene.both("weight"))
    assert weights == [10, 50, 100, 100]
    assert scene.events == [
        "begins: step 1 of 3, 10% of the requests",
        "goes on: step 2 of 3, 50% of the requests",
        "goes on: step 3 of 3, 100% of the requests",
    ]
    assert (scene.both("state"), scene.both("verdict")) == ("running", "good")


def test_an_end_that_is_set_is_reached() -> None:
    scene = Scene(steps=(Step(10, 30), Step(100, 30)))
    scene.serve(120)
    assert (scene.both("state"), scene.both("weight")) == ("complete", 100)
    assert scene.events[-1] == "complete: 100% of the requests from now on"
    scene.serve(60, errors=20)
    assert scene.both("state") == "complete"


@pytest.mark.parametrize(("errors", "slow", "reason"), [(10, False, "errors"), (0, True, "latency")])
def test_what_is_worse_is_rolled_back_and_stays_so(errors: int, slow: bool, reason: str) -> None:
    scene = Scene()
    scene.serve(70)
    assert scene.both("weight") == 50
    scene.serve(5, errors, slow)
    assert (scene.both("weight"), scene.both("state"), scene.both("verdict")) == (0, "rolled_back", reason)
    [told] = scene.events[2:]
    assert told.startswith("rolled back from step 2 of 3, 50% of the requests: ")
    scene.serve(3600)
    assert scene.both("state") == "rolled_back"
    assert len(scene.events) == 3
    late = scene.worker()
    assert late.check() == []
    assert (late.follow(), late.state, late.verdict) == (0, "rolled_back", reason)


def test_all_know_at_once() -> None:
    scene = Scene()
    first, second = scene.workers
    for n in range(20):
        first.count(True, n % 2 == 0, 0.02)
    assert [event.bad for event in first.check()] == [True]
    assert second.follow() == 0
    assert second.check() == []


def test_another_try_after_a_while() -> None:
    scene = Scene(retry_after_s=300)
    scene.serve(10, errors=20)
    assert scene.both("state") == "rolled_back"
    scene.serve(280)
    assert scene.both("state") == "rolled_back"
    scene.serve(15)
    assert (scene.both("state"), scene.both("weight"), scene.both("attempt")) == ("running", 10, 1)
    assert scene.events[-1] == "tries again: step 1 of 3, 10% of the requests"


RARE = Bounds(error_rate_difference=0.1, min_requests=50)  # of one request in 5 s, a window of 200 s has 40


def test_too_few_requests_are_no_proof_and_are_forgotten() -> None:
    scene = Scene(bounds=RARE)
    scene.serve(205, errors=1, requests=1)  # all of the canary's failed
    assert (scene.both("state"), scene.both("weight"), scene.both("verdict")) == ("waiting", 10, "none")
    scene.serve(45)
    assert (scene.both("weight"), scene.both("state")) == (50, "running")


def test_without_bounds_time_alone_decides() -> None:
    scene = Scene(bounds=None)
    scene.serve(65, errors=20)
    assert scene.both("weight") == 50
    scene.serve(60, errors=20)
    assert scene.both("weight") == 100


def test_at_the_whole_share_it_is_compared_with_what_was() -> None:
    scene = Scene()
    scene.serve(150)
    assert scene.both("weight") == 100
    scene.serve(15, slow=True)
    assert (scene.both("state"), scene.both("verdict")) == ("rolled_back", "latency")


def test_a_new_worker_finds_things_as_they_are() -> None:
    scene = Scene()
    scene.serve(70)
    scene.workers[0] = scene.worker()
    scene.check()
    assert scene.both("weight") == 50
    assert len(scene.events) == 2


def test_a_release_that_nobody_ran_for_a_while_begins_anew() -> None:
    scene = Scene()
    scene.serve(180)
    assert scene.both("weight") == 100
    scene.time += 3600
    scene.workers = [scene.worker(), scene.worker()]
    scene.check()
    assert scene.both("weight") == 10
    assert scene.events[-1] == "begins anew: step 1 of 3, 10% of the requests"


def test_before_it_began_nobody_gets_the_canary() -> None:
    scene = Scene()
    fresh = ProgressiveRelease("other/", scene.plan, scene.counters, lambda: scene.time)
    assert fresh.follow() == 0
    fresh.count(True, True, None)
    assert repr(fresh) == "<release attempt 0 step 0 running 0%>"


def test_windows_leave_nothing_behind() -> None:
    scene = Scene()
    scene.serve(3000)
    scene.time += 1000
    alive = [key for key, (_, end) in scene.counters.values.items() if end > scene.time]
    assert len([key for key in alive if "/closed/" in key or "/w/" in key]) == 0
    assert len(alive) < 20


def test_whoever_is_killed_while_closing_a_window_holds_nobody_up() -> None:
    scene = Scene()
    scene.counters.incr("p/0/closed/0", 1, scene.workers[0]._life_s)
    scene.serve(400)
    assert (scene.both("weight"), scene.both("state")) == (10, "waiting")
    scene.serve(90)
    assert scene.both("weight") == 50
