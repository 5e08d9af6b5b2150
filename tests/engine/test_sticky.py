"""Sticky sessions, in an engine of this process."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from bascule.engine.sticky import StickySessions, sticky_key
from bascule.model.sticky import Sticky
from bascule.snapshot.compiled_upstream import CompiledUpstream, Node
from tests.engine.in_process import InProcess
from tests.servers.raw import Message, RawConnection, RawUpstream, answers, response

Start = Callable[..., RawUpstream]
KEY = "routes/r#upstream"


@pytest.fixture
def nodes(raw_upstream: Start) -> list[RawUpstream]:
    return [raw_upstream(answers(response(name, headers=[("X-A", "b")]))) for name in (b"a", b"b", b"c")]


def serve(stand: InProcess, nodes: list[RawUpstream], weights: tuple[int, ...] = (1, 1, 1), **more: Any) -> None:
    listed = [
        {"host": "127.0.0.1", "port": n.port, "weight": weight} for n, weight in zip(nodes, weights, strict=False)
    ]
    stand.write("routes", "r", {"uri": "/*", "upstream": {"nodes": listed, "sticky": {}, **more}})


def ask(stand: InProcess, cookie: str | None = None, count: int = 1) -> list[Message]:
    return stand.get("/", count, (("Cookie", f"x=1; {cookie}"),) if cookie else ())


def cookie_of(message: Message) -> str:
    (value,) = message.header_values("set-cookie")
    return value.split(";")[0]


def test_a_client_stays_at_the_node_of_its_first_request(stand: InProcess, nodes: list[RawUpstream]) -> None:
    serve(stand, nodes)
    first = ask(stand)[0]
    assert (first.header("set-cookie") or "").endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert first.header("x-a") == "b"
    cookie = cookie_of(first)
    assert cookie.startswith("bascule_node=")
    assert all(node.address not in cookie for node in nodes)
    for message in ask(stand, cookie, 7):
        assert message.body == first.body
        assert message.header("set-cookie") is None
    assert {message.body for message in ask(stand, count=6)} == {b"a", b"b", b"c"}


def test_what_the_gateway_did_not_sign_names_nobody(stand: InProcess, nodes: list[RawUpstream]) -> None:
    serve(stand, nodes)
    cookie = cookie_of(ask(stand)[0])
    for forged in (cookie[:-1], cookie + "A", "bascule_node=", f"bascule_node={nodes[0].address}", "bascule_node=0"):
        got = ask(stand, forged, 6)
        assert len({message.body for message in got}) == 3
        assert all(message.header("set-cookie") for message in got)


def test_a_node_that_is_passed_over_or_gone_loses_its_clients(stand: InProcess, nodes: list[RawUpstream]) -> None:
    serve(stand, nodes)
    first = ask(stand)[0]
    cookie = cookie_of(first)
    home = b"abc".index(first.body)
    states = stand.engine.node_states
    states.set(KEY, "health", frozenset({nodes[home].address}))
    moved = ask(stand, cookie)[0]
    assert moved.body != first.body
    assert {message.body for message in ask(stand, cookie_of(moved), 4)} == {moved.body}
    states.set(KEY, "health", frozenset())
    assert ask(stand, cookie)[0].body == first.body
    serve(stand, [node for i, node in enumerate(nodes) if i != home])
    got = ask(stand, cookie)[0]
    assert got.body != first.body
    assert got.header("set-cookie")


def test_a_draining_node_keeps_its_sessions_and_gets_no_new_ones(stand: InProcess, nodes: list[RawUpstream]) -> None:
    serve(stand, nodes, type="least_conn")
    first = ask(stand)[0]
    home = b"abc".index(first.body)
    serve(stand, nodes, tuple(int(i != home) for i in range(3)), type="least_conn")
    assert {message.body for message in ask(stand, cookie_of(first), 5)} == {first.body}
    assert first.body not in {message.body for message in ask(stand, count=8)}
    serve(stand, nodes, (0, 0, 0))
    assert ask(stand, cookie_of(first))[0].body == first.body
    assert ask(stand)[0].status == 502


def test_a_node_that_fails_hands_its_client_on(stand: InProcess, nodes: list[RawUpstream], raw_upstream: Start) -> None:
    def fails(connection: RawConnection) -> None:
        connection.read_request()
        connection.close()

    broken = raw_upstream(answers(response(b"broken")), fails)
    serve(stand, [broken, nodes[1]])
    messages = ask(stand, count=2)
    cookie = next(cookie_of(message) for message in messages if message.body == b"broken")
    for connection in broken.connections:
        connection.sock.shutdown(socket.SHUT_RDWR)
    got = ask(stand, cookie)[0]
    assert got.body == b"b"
    assert ask(stand, cookie_of(got))[0].body == b"b"


def test_with_plugins_that_look_at_the_response(stand: InProcess, nodes: list[RawUpstream]) -> None:
    listed = {node.address: 1 for node in nodes}
    plugins = {"response-rewrite": {"headers": {"set": {"X-B": "c"}}}}
    route = {"uri": "/*", "plugins": plugins, "upstream": {"nodes": listed, "sticky": {"name": "n"}}}
    stand.write("routes", "r", route)
    first = ask(stand)[0]
    assert first.header("x-b") == "c"
    assert {message.body for message in ask(stand, cookie_of(first), 4)} == {first.body}


def sessions(key: bytes, upstream: str = "upstreams/1", **conf: Any) -> StickySessions:
    nodes = (Node("10.0.0.1", 80, 1), Node("::1", 80, 1))
    return StickySessions(CompiledUpstream(upstream, "1", nodes, sticky=Sticky.model_validate(conf)), key)


def test_the_cookie_s_attributes() -> None:
    key = sticky_key("0123456789abcdef", b"")
    one = sessions(key, name="n", ttl=60, path="/shop", secure=True, http_only=False, same_site="none")
    value, attributes = one.cookie(1, False).decode().split("; ", 1)
    assert value.startswith("n=")
    assert attributes == "Path=/shop; Max-Age=60; SameSite=None; Secure"
    assert sessions(key, same_site=None).cookie(0, True).endswith(b"; Path=/; HttpOnly; Secure")
    assert sessions(key, secure=False).cookie(0, True).endswith(b"; Path=/; HttpOnly; SameSite=Lax")
    assert repr(one) == "<StickySessions n, 2 nodes>"


def test_gateways_with_the_same_secret_take_each_other_s_cookies() -> None:
    secret = sticky_key("0123456789abcdef", b"one gateway's")
    assert secret == sticky_key("0123456789abcdef", b"another's")
    assert sessions(secret).cookie(0, False) == sessions(secret).cookie(0, False)
    assert sessions(secret).cookie(0, False) != sessions(secret).cookie(1, False)
    assert sessions(secret).cookie(0, False) != sessions(secret, "upstreams/2").cookie(0, False)
    assert sticky_key(None, b"a") == sticky_key(None, b"a") != sticky_key(None, b"b")


def test_tokens_are_kept_over_edits_and_go_with_their_nodes() -> None:
    def version(known: dict[str, str], *hosts: str) -> StickySessions:
        nodes = tuple(Node(host, 80, 1) for host in hosts)
        return StickySessions(CompiledUpstream("u", "1", nodes, sticky=Sticky.model_validate({})), b"key", known)

    known: dict[str, str] = {}
    first = version(known, "a", "b").cookie(0, False)
    token = known["a:80"]
    second = version(known, "c", "a")
    assert second.cookie(1, False) == first
    assert known["a:80"] is token
    assert set(known) == {"a:80", "c:80"}
