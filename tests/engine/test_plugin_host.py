"""What a plugin gets of the gateway."""

import asyncio
import logging
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from bascule.engine.plugin_host import Hosts
from bascule.model.engine_settings import EngineSettings


def make_hosts(loop: asyncio.AbstractEventLoop) -> Hosts:
    engine = SimpleNamespace(
        loop=loop,
        settings=EngineSettings(version="1.2.3"),
        worker_id=0,
        counters_table=None,
        in_flight=None,
        metrics=None,
        tables=SimpleNamespace(metadata=lambda plugin: {"of": plugin}, proto={"1": "syntax"}.get),
    )
    return Hosts(engine, {"echo": {"a": 1}})


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 10))


def test_facts_attributes_and_metadata() -> None:
    async def main() -> None:
        host = make_hosts(asyncio.get_running_loop()).make("echo", "routes/1")
        assert host.holder == "routes/1"
        assert host.attr == {"a": 1}
        assert host.settings["version"] == "1.2.3"
        assert host.metadata() == {"of": "echo"}
        assert host.metadata() is host.metadata()
        assert (host.proto("1"), host.proto("2")) == ("syntax", None)

    run(main())


def test_state_is_kept_by_plugin_and_key() -> None:
    async def main() -> None:
        hosts = make_hosts(asyncio.get_running_loop())
        first = hosts.make("echo", "routes/1").state("k", list)
        assert hosts.make("echo", "routes/2").state("k", list) is first
        assert hosts.make("other", "routes/1").state("k", list) is not first

    run(main())


def test_timers_fire_and_can_be_cancelled() -> None:
    async def main() -> None:
        host = make_hosts(asyncio.get_running_loop()).make("echo", "routes/1")
        fired = asyncio.Event()
        cancelled = asyncio.Event()
        host.call_later(0.02, cancelled.set).cancel()
        host.call_later(0.02, fired.set)
        await fired.wait()
        await host.sleep(0.02)
        assert not cancelled.is_set()

    run(main())


def test_tasks_are_awaited_at_the_end_and_their_failures_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        hosts = make_hosts(asyncio.get_running_loop())
        host = hosts.make("echo", "routes/1")
        done = []

        async def work() -> None:
            await asyncio.sleep(0.01)
            done.append(1)

        async def fail() -> None:
            raise RuntimeError("broken task")

        host.spawn(work(), "work")
        host.spawn(fail(), "fail")
        await hosts.close()
        assert done == [1]
        assert not hosts.tasks

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "broken task" in caplog.text
