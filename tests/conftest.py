"""Fixtures that start real servers, and stop them by process id.

Most are factories, and what they started ends with the test. `board`, `echo`, `websocket_server`, `greeter` and what
`module_gateway` makes last for all tests of a file, which gives its configuration in a fixture `served` of its own;
`client` is a connection to that one.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.servers.certificates import Certificates
from tests.servers.etcd import EtcdServer
from tests.servers.gateway import Gateway
from tests.servers.nginx import Nginx
from tests.servers.raw import RawClient, RawUpstream, Script
from tests.servers.redis import RedisServer
from tests.servers.switchboard import Switchboard


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


@pytest.fixture(scope="module")
def board() -> Iterator[Switchboard]:
    """An upstream that each test of the file tells what to do at a path of its own."""
    server = Switchboard()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def echo() -> Iterator[RawUpstream]:
    """An upstream that answers with the request as it got it (tests.servers.raw.echoed reads that)."""
    server = RawUpstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def websocket_server() -> Iterator[Any]:
    """A tests.servers.websocket_server.WebSocketServer."""
    from tests.servers.websocket_server import WebSocketServer

    server = WebSocketServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def greeter() -> Iterator[Any]:
    """A tests.servers.grpc_server.GrpcServer."""
    from tests.servers.grpc_server import GrpcServer

    server = GrpcServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def module_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Gateway]]:
    """module_gateway(resources, config="", files={"mine.py": text}, expected=(), **options) -> a Gateway.

    `files` are beside its config.yaml. At its end it must have gone well; see Gateway.finish for `expected`.
    """
    with ExitStack() as stack:

        def start(
            *args: Any, files: Mapping[str, str] | None = None, expected: Collection[str] = (), **options: Any
        ) -> Gateway:
            directory = tmp_path_factory.mktemp("gateway")
            for name, text in (files or {}).items():
                (directory / name).write_text(text)
            server = Gateway(directory, *args, **options)
            stack.callback(server.finish, expected)
            return server

        yield start


@pytest.fixture(scope="module")
def reloaded(module_gateway: Callable[..., Gateway]) -> Callable[..., Gateway]:
    """reloaded(resources) -> a Gateway that serves them: one for the whole file, since a start takes long."""
    started: list[Gateway] = []

    def serve(resources: str | Mapping[str, Any]) -> Gateway:
        if started:
            started[0].reload(resources)
        else:
            started.append(module_gateway(resources))
        return started[0]

    return serve


@pytest.fixture
def client(served: Gateway) -> Iterator[RawClient]:
    """A connection to the file's gateway."""
    with served.client() as connection:
        yield connection
