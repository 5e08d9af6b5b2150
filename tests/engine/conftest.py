"""Fixtures of several files: an engine that tests look into, and what HTTP/2 upstreams are tried with."""

from collections.abc import Callable, Iterator

import pytest

from tests.engine.http2_bench import Bench
from tests.engine.in_process import InProcess, engine_in_process
from tests.servers.gateway import Gateway
from tests.servers.http2_peer import (
    Http2Peer,
    answering,
    speaks_http2,
)
from tests.servers.raw import RawUpstream

Play = Callable[..., RawUpstream]


@pytest.fixture(scope="module")
def stand() -> Iterator[InProcess]:
    """An engine in this process."""
    with engine_in_process() as one:
        yield one


@pytest.fixture(scope="module")
def bench(module_gateway: Callable[..., Gateway]) -> Bench:
    return Bench(module_gateway(config={"nginx_config": {"http": {"client_max_body_size": "0"}}}))


@pytest.fixture
def http2_upstream(raw_upstream: Callable[..., RawUpstream]) -> Play:
    """http2_upstream(script, ..., max_concurrent_streams=2): connections play the scripts, the last one for ever."""

    def start(*scripts: Callable[[Http2Peer], None], **settings: int) -> RawUpstream:
        return raw_upstream(*(speaks_http2(script, **settings) for script in scripts or (answering,)))

    return start
