"""Fixtures of the tests of HTTP/2 upstreams."""

from collections.abc import Callable, Iterator

import pytest

from tests.engine.http2_bench import Bench
from tests.servers.gateway import Gateway
from tests.servers.http2_peer import (
    Http2Peer,
    answering,
    speaks_http2,
)
from tests.servers.raw import RawUpstream

Play = Callable[..., RawUpstream]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    config = {"nginx_config": {"http": {"client_max_body_size": "0"}}}
    server = Gateway(tmp_path_factory.mktemp("http2-upstream"), config=config)
    yield Bench(server)
    assert "internal error" not in server.log
    assert server.stop() == 0


@pytest.fixture
def http2_upstream(raw_upstream: Callable[..., RawUpstream]) -> Play:
    """http2_upstream(script, ..., max_concurrent_streams=2): connections play the scripts, the last one for ever."""

    def start(*scripts: Callable[[Http2Peer], None], **settings: int) -> RawUpstream:
        return raw_upstream(*(speaks_http2(script, **settings) for script in scripts or (answering,)))

    return start
