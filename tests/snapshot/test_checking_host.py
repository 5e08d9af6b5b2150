import asyncio

import pytest

from bascule.observe.metrics import Metrics
from bascule.snapshot.checking_host import CheckingHost


def test_it_has_the_facts_and_does_nothing() -> None:
    host = CheckingHost("cors", "routes/1", {"a": 1}, Metrics())
    assert (host.holder, host.attr, host.metadata(), host.proto("1")) == ("routes/1", {"a": 1}, None, None)
    assert host.state("k", list) == []
    host.call_later(1, print).cancel()

    async def never() -> None:
        raise AssertionError

    host.spawn(never(), "never")
    with pytest.raises(RuntimeError):
        asyncio.run(host.sleep(1))
    incr = host.counters.incr  # a constructor may keep it
    with pytest.raises(RuntimeError):
        incr("key", 1, 60)
