import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bascule.engine.shared_counters import SharedCounters
from bascule.plugin.kit.quota import ADD_SCRIPT, DelayedQuota, FixedQuota, SlidingQuota, position, sliding
from bascule.plugin.kit.testing import MemoryHost

ALIGNED = 1_700_000_010.0


class FakeRedis:
    """Runs the one script of the delayed sync; `fault` makes it fail."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.calls = 0
        self.fault: Exception | None = None

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[int]) -> Any:
        assert script == ADD_SCRIPT
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        self.values[keys[0]] = self.values.get(keys[0], 0) + arguments[0]
        return self.values[keys[0]]


@pytest.mark.parametrize(("before", "used", "share", "estimate"), [(10, 0, 1.0, 10), (10, 2, 0.51, 8), (0, 3, 0.9, 3)])
def test_sliding_estimate(before: int, used: int, share: float, estimate: int) -> None:
    assert sliding(before, used, share) == estimate


def test_position() -> None:
    number, reset_s = position(25.0, 10)
    assert (number, reset_s) == (2, 5.0)


def test_fixed_gives_back_what_it_refuses() -> None:
    host = MemoryHost()
    quota = FixedQuota(host.counters)
    assert [quota.take("k", 2, 5, 10)[0] for _ in range(4)] == [3, 1, -1, -1]
    assert quota.take("k", 1, 5, 10) == (0, 10)


def test_fixed_over_the_shared_table() -> None:
    quota = FixedQuota(SharedCounters.create(1 << 16))
    assert [quota.take("k", 1, 2, 60)[0] for _ in range(4)] == [1, 0, -1, -1]
    assert quota.take("k", 1, 4, 60)[0] == 1


def test_sliding_gives_back_what_it_refuses() -> None:
    host = MemoryHost(now=ALIGNED)
    quota = SlidingQuota(host.counters, host.now)
    assert [quota.take("k", 4, 10, 10)[0] for _ in range(3)] == [6, 2, -2]
    assert quota.take("k", 2, 10, 10) == (0, 10)
    host.advance(10)
    assert quota.take("k", 1, 10, 10)[0] == -1  # the whole previous window still counts
    host.advance(5)
    assert quota.take("k", 1, 10, 10) == (4, 5)


def delayed(redis: FakeRedis, **options: Any) -> tuple[MemoryHost, DelayedQuota]:
    host = MemoryHost(now=ALIGNED, **options)
    return host, DelayedQuota(host, redis.run, 0.5, False)


def test_delayed_learns_of_others() -> None:
    redis = FakeRedis()
    (host_a, a), (host_b, b) = delayed(redis), delayed(redis)
    assert [a.take("k", 1, 5, 10)[0] for _ in range(3)] == [4, 3, 2]
    assert [b.take("k", 1, 5, 10)[0] for _ in range(2)] == [4, 3]
    assert redis.calls == 0
    host_a.advance(0.5)
    host_b.advance(0.5)
    assert b.take("k", 1, 5, 10)[0] == -1  # 2 here, 3 there
    assert a.take("k", 1, 5, 10)[0] == 1  # it has not asked again yet
    host_a.advance(0.5)
    assert a.take("k", 1, 5, 10)[0] == -2  # 4 here by now, 2 there
    host_a.advance(9)
    assert a.take("k", 1, 5, 10) == (4, 10)  # the next window


def test_workers_of_one_machine_are_exact() -> None:
    redis = FakeRedis()
    counters = SharedCounters.create(1 << 16)
    (host_a, a), (host_b, b) = delayed(redis, counters=counters), delayed(redis, counters=counters)
    taken = [(a, b)[n % 2].take("k", 1, 4, 1000)[0] for n in range(6)]
    assert taken == [3, 2, 1, 0, -1, -1]
    host_a.advance(0.5)
    host_b.advance(0.5)
    assert list(redis.values.values()) == [4]
    assert a.take("k", 1, 5, 1000)[0] == 0  # what the neighbour sent is not others' use


def test_sync_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    redis = FakeRedis()
    host, quota = delayed(redis)
    redis.fault = ConnectionError("away")
    quota.take("k", 1, 5, 10)
    quota.take("m", 1, 5, 10)
    host.advance(0.5)
    assert "away" in caplog.text
    redis.fault = None
    host.advance(0.5)
    assert sorted(redis.values.values()) == [1, 1]


def test_what_is_over_is_not_sent() -> None:
    redis = FakeRedis()
    host, quota = delayed(redis)
    quota.take("k", 1, 5, 10)
    host.time += 30
    host.advance(0)
    assert redis.calls == 0


def test_pending_keys_are_bounded(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DelayedQuota, "MAX_PENDING", 3)
    redis = FakeRedis()
    host, quota = delayed(redis)
    for n in range(6):
        assert quota.take(str(n), 1, 5, 10)[0] == 4
    assert caplog.text.count("wait for a sync") == 1
    host.advance(0.5)
    assert len(redis.values) == 3


def test_close_sends_the_rest() -> None:
    redis = FakeRedis()
    host, quota = delayed(redis)
    quota.close()
    assert host.spawned == []
    quota.take("k", 1, 5, 10)
    quota.close()
    asyncio.run(host.settle_async())
    assert redis.values == {f"{{k}}/{int(ALIGNED // 10)}": 1}
    assert all(timer.cancelled for timer in host.timers)
