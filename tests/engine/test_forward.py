"""The request head as the upstream sees it: spec §11, hop-by-hop fields, pass_host."""

from collections.abc import Callable

import pytest

from tests.servers.gateway import Gateway
from tests.servers.raw import RawUpstream, echoed

Pairs = list[tuple[str, str]]


def resources(address: str) -> dict[str, object]:
    nodes = {"nodes": {address: 1}}
    return {
        "routes": [
            {"id": "pass", "uri": "/pass", "upstream": nodes},
            {"id": "node", "uri": "/node", "upstream": {**nodes, "pass_host": "node"}},
            {
                "id": "rewrite",
                "uri": "/rewrite",
                "upstream": {**nodes, "pass_host": "rewrite", "upstream_host": "inner.example"},
            },
            *(
                {
                    "id": change,
                    "uri": f"/{change}",
                    "upstream": nodes,
                    "plugins": {"proxy-rewrite": {"headers": {change: {"X-Forwarded-For": "2.2.2.2", "X-Other": "o"}}}},
                }
                for change in ("set", "add")
            ),
        ]
    }


@pytest.fixture(scope="module")
def served(echo: RawUpstream, module_gateway: Callable[..., Gateway]) -> Gateway:
    return module_gateway(resources(echo.address))


def seen(server: Gateway, headers: Pairs, path: str = "/pass") -> dict[str, list[str]]:
    """The headers that the upstream saw, names in lower case."""
    with server.client() as client:
        account = client.request("GET", path, headers).json()
    assert isinstance(account, dict)
    found: dict[str, list[str]] = {}
    for name, value in account["headers"]:
        found.setdefault(name.lower(), []).append(value)
    return found


def forwarded(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: values for name, values in found.items() if name.startswith("x-forwarded-") or name == "x-real-ip"}


def test_what_the_gateway_adds(served: Gateway) -> None:
    assert forwarded(seen(served, [("Host", "a.example:81")])) == {
        "x-forwarded-for": ["127.0.0.1"],
        "x-forwarded-proto": ["http"],
        "x-forwarded-host": ["a.example:81"],
        "x-forwarded-port": ["81"],
        "x-real-ip": ["127.0.0.1"],
    }
    found = seen(served, [("Host", "[::1]")])
    assert (found["x-forwarded-host"], found["x-forwarded-port"]) == (["[::1]"], [str(served.port)])


def test_without_a_trust_list_x_forwarded_for_is_appended_to_and_the_rest_replaced(served: Gateway) -> None:
    given = [
        ("X-Forwarded-For", "9.9.9.9"),
        ("x-forwarded-for", "8.8.8.8"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Port", "1"),
        ("X-Real-IP", "7.7.7.7"),
        ("Forwarded", "for=6.6.6.6"),
    ]
    found = seen(served, given)
    assert forwarded(found) == {
        "x-forwarded-for": ["9.9.9.9, 8.8.8.8, 127.0.0.1"],
        "x-forwarded-proto": ["http"],
        "x-forwarded-host": ["localhost"],
        "x-forwarded-port": [str(served.port)],
        "x-real-ip": ["127.0.0.1"],
    }
    assert "forwarded" not in found


GIVEN = [
    ("X-Forwarded-For", "9.9.9.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "outer.example"),
    ("X-Forwarded-Port", "443"),
    ("Forwarded", "for=6.6.6.6"),
]


def test_a_trusted_peer_is_believed(gateway: Callable[..., Gateway], echo: RawUpstream) -> None:
    server = gateway(resources(echo.address), {"apisix": {"trusted_addresses": ["127.0.0.0/8"]}})
    found = seen(server, GIVEN)
    assert forwarded(found) == {
        "x-forwarded-for": ["9.9.9.9, 127.0.0.1"],
        "x-forwarded-proto": ["https"],
        "x-forwarded-host": ["outer.example"],
        "x-forwarded-port": ["443"],
        "x-real-ip": ["127.0.0.1"],
    }
    assert found["forwarded"] == ["for=6.6.6.6"]
    found = seen(server, [("Host", "a.example:81"), *((name, "") for name, _ in GIVEN[1:4])])
    assert forwarded(found) == {
        "x-forwarded-for": ["127.0.0.1"],
        "x-forwarded-proto": ["http"],
        "x-forwarded-host": ["a.example:81"],
        "x-forwarded-port": ["81"],
        "x-real-ip": ["127.0.0.1"],
    }


def test_another_peer_is_not(gateway: Callable[..., Gateway], echo: RawUpstream) -> None:
    server = gateway(resources(echo.address), {"apisix": {"trusted_addresses": ["10.0.0.0/8"]}})
    found = seen(server, GIVEN)
    assert forwarded(found) == {
        "x-forwarded-for": ["127.0.0.1"],
        "x-forwarded-proto": ["http"],
        "x-forwarded-host": ["localhost"],
        "x-forwarded-port": [str(server.port)],
        "x-real-ip": ["127.0.0.1"],
    }
    assert "forwarded" not in found


def test_routes_and_plugins_do_not_see_what_another_peer_says(
    gateway: Callable[..., Gateway], echo: RawUpstream
) -> None:
    rewrite = {"proxy-rewrite": {"headers": {"set": {"X-Seen": "$http_x_forwarded_for,$http_x_forwarded_proto"}}}}
    upstream = {"nodes": {echo.address: 1}}
    routes = [
        {"uri": "/of", "vars": [["http_x_forwarded_for", "==", "9.9.9.9"]], "upstream": upstream},
        {"uri": "/all", "plugins": rewrite, "upstream": upstream},
    ]
    for addresses, status, told in (("10.0.0.0/8", 404, ","), ("127.0.0.1", 200, "9.9.9.9,https")):
        server = gateway({"routes": routes}, {"apisix": {"trusted_addresses": [addresses]}})
        with server.client() as client:
            assert client.request("GET", "/of", GIVEN).status == status
        assert seen(server, GIVEN, "/all")["x-seen"] == [told]
        server.stop()


def test_a_request_without_a_host(served: Gateway) -> None:
    with served.client() as client:
        client.send(b"GET /rewrite HTTP/1.0\r\n\r\n")
        found = echoed(client.read_response("GET").body)
    assert (found.header("host"), found.header("x-forwarded-host")) == ("inner.example", "inner.example")


def test_what_a_plugin_says_of_the_client_is_appended_to_as_well(served: Gateway) -> None:
    found = seen(served, [("X-Forwarded-For", "1.1.1.1")], "/set")
    assert (found["x-forwarded-for"], found["x-other"]) == (["2.2.2.2, 127.0.0.1"], ["o"])
    found = seen(served, [("X-Forwarded-For", "1.1.1.1")], "/add")
    assert (found["x-forwarded-for"], found["x-other"]) == (["1.1.1.1, 2.2.2.2, 127.0.0.1"], ["o"])


def test_the_host_upstream(served: Gateway, echo: RawUpstream) -> None:
    given = [("Host", "Client.example:8080")]
    assert seen(served, given, "/pass")["host"] == ["Client.example:8080"]
    assert seen(served, given, "/node")["host"] == [echo.address]
    assert seen(served, given, "/rewrite")["host"] == ["inner.example"]


def test_the_fields_of_this_hop_stay_here(served: Gateway) -> None:
    given = [
        ("Connection", "keep-alive, X-Secret, x-other"),
        ("Connection", "X-Third"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("X-Secret", "1"),
        ("X-Other", "2"),
        ("X-Third", "3"),
        ("X-Stays", "4"),
        ("X-Stays", "5"),
    ]
    found = seen(served, given)
    hop = {"connection", "keep-alive", "proxy-connection", "te", "upgrade", "x-secret", "x-other", "x-third"}
    assert not hop & set(found)
    assert found["x-stays"] == ["4", "5"]


def test_the_fields_of_the_upstreams_hop_stay_there(
    gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]
) -> None:
    from tests.servers.raw import answers, response

    headers = [("Connection", "keep-alive, X-Hop"), ("Keep-Alive", "timeout=9"), ("X-Hop", "1"), ("X-Stays", "2")]
    upstream = raw_upstream(answers(response(b"ok", headers=[*headers, ("Server", "inner"), ("Upgrade", "h2c")])))
    server = gateway(resources(upstream.address))
    with server.client() as client:
        answer = client.request("GET", "/pass")
    names = {name.lower() for name, _ in answer.headers}
    assert not names & {"connection", "keep-alive", "x-hop", "upgrade"}
    assert answer.header("X-Stays") == "2"
    assert len(answer.header_values("Server")) == 1
    assert answer.header("Server") != "inner"
    assert len(answer.header_values("Date")) == 1


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("/pass?a=b&c=%20", "/pass?a=b&c=%20"),
        ("/pass?", "/pass?"),
        ("http://localhost/pass?x", "/pass?x"),
        ("/%70ass?x", "/%70ass?x"),
    ],
)
def test_the_target_goes_on_as_it_came(sent: str, expected: str, served: Gateway) -> None:
    with served.client() as client:
        account = client.request("GET", sent).json()
    assert isinstance(account, dict)
    assert account["target"] == expected


def test_an_absolute_target_without_a_path_asks_for_the_root(
    gateway: Callable[..., Gateway], echo: RawUpstream
) -> None:
    server = gateway({"routes": [{"id": "root", "uri": "/", "upstream": {"nodes": {echo.address: 1}}}]})
    with server.client() as client:
        for sent, expected in (("http://localhost", "/"), ("http://localhost?q=1", "/?q=1")):
            account = client.request("GET", sent).json()
            assert isinstance(account, dict)
            assert account["target"] == expected
