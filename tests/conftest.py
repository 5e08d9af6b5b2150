"""Fixtures that start real servers. Each is a factory; what it started is stopped after the test, by process id."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.etcd import EtcdServer
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.raw import RawUpstream, Script
from tests.servers.redis import RedisServer


@pytest.fixture
def server_stack() -> Iterator[ExitStack]:
    """Stops in reverse order whatever the other fixtures started."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def server_directory(tmp_path: Path) -> Callable[[str], Path]:
    """A new directory for each server of a test."""
    numbers = count(1)
    return lambda kind: tmp_path / f"{kind}-{next(numbers)}"


@pytest.fixture
def nginx(server_stack: ExitStack, server_directory: Callable[[str], Path]) -> Callable[[str], Nginx]:
    """nginx("location / { return 200 ok; }") -> Nginx with .port, .url, .address."""

    def start(conf_body: str = "location / { return 200 'ok'; }") -> Nginx:
        server = Nginx(conf_body, server_directory("nginx"))
        server_stack.callback(server.stop)
        return server

    return start


@pytest.fixture
def redis_server(server_stack: ExitStack, server_directory: Callable[[str], Path]) -> Callable[..., RedisServer]:
    """redis_server(password=None) -> RedisServer with .port."""

    def start(password: str | None = None, options: dict[str, str] | None = None) -> RedisServer:
        server = RedisServer(server_directory("redis"), password, options)
        server_stack.callback(server.stop)
        return server

    return start


@pytest.fixture
def etcd_server(server_stack: ExitStack, server_directory: Callable[[str], Path]) -> Callable[..., EtcdServer]:
    """etcd_server(tls=None, client_auth=False, options=None) -> EtcdServer with .url, .port."""

    def start(**options: Any) -> EtcdServer:
        server = EtcdServer(server_directory("etcd"), **options)
        server_stack.callback(server.stop)
        return server

    return start


@pytest.fixture
def certificates(server_directory: Callable[[str], Path]) -> Certificates:
    """An authority, a server's certificate (localhost, 127.0.0.1), a client's."""
    return Certificates(server_directory("certificates"))


@pytest.fixture
def raw_upstream(server_stack: ExitStack) -> Callable[..., RawUpstream]:
    """raw_upstream(script, ...) -> RawUpstream with .port, .address; without a script it echoes requests as JSON."""

    def start(*scripts: Script, **options: Any) -> RawUpstream:
        upstream = RawUpstream(*scripts, **options)
        server_stack.callback(upstream.stop)
        return upstream

    return start


@pytest.fixture
def gateway(server_stack: ExitStack, server_directory: Callable[[str], Path]) -> Callable[..., Gateway]:
    """gateway(resources, config="", workers=1) -> a Gateway that serves already."""

    def start(*args: Any, **options: Any) -> Gateway:
        server = Gateway(server_directory("gateway"), *args, **options)
        server_stack.callback(server.stop)
        return server

    return start


@pytest.fixture
def grpc_server(server_stack: ExitStack) -> Callable[..., Any]:
    """grpc_server(options=None) -> tests.servers.grpc_server.GrpcServer with .port, .address."""
    # Imported here: gRPC takes its time, and most tests don't need it.
    from tests.servers.grpc_server import GrpcServer

    def start(**options: Any) -> GrpcServer:
        server = GrpcServer(**options)
        server_stack.callback(server.stop)
        return server

    return start
