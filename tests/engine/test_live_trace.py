import asyncio
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from bascule.engine.live_trace import HEADER, LiveTrace, make_token, open_trace
from bascule.plugin.kit.testing import get
from bascule.snapshot.chain import Hook

KEY = b"k"


def test_a_token_is_good_for_its_time_and_key() -> None:
    token = make_token(KEY, 60, lambda: 1000.0)
    assert open_trace(KEY, token, lambda: 1059.0) is not None
    assert open_trace(KEY, token, lambda: 1061.0) is None
    assert open_trace(b"other", token, lambda: 1000.0) is None
    expiry, _, signature = token.partition(".")
    for wrong in (
        "",
        ".",
        token[:-1],
        f"{int(expiry) + 1}.{signature}",
        f"x.{signature}",
        "9" * 30 + "." + signature,
        "é.é",
    ):
        assert open_trace(KEY, wrong, lambda: 1000.0) is None


class Taken:
    """A response that keeps what is set on it."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def set_header(self, name: str, value: str) -> None:
        self.headers[name] = value


def traced(*hooks: tuple[str, Hook]) -> dict[str, Any]:
    """What is told of a chain whose hooks were all called."""
    trace = LiveTrace()
    request = get("/")
    for phase, hook in hooks:
        (noting,) = trace.hooks(phase, [hook])
        result = noting.call(request)
        if asyncio.iscoroutine(result):
            asyncio.run(result)
    response = Taken()
    trace._tell(request, response)
    told: dict[str, Any] = json.loads(response.headers[HEADER])
    return told


async def waits(_: Any) -> None:
    await asyncio.sleep(0)


def test_what_each_plugin_decided_and_how_long_it_took() -> None:
    class Answer:
        status = 403

    told = traced(
        ("rewrite", Hook(lambda _: None, "real-ip")),
        ("access", Hook(lambda _: Answer(), "ip-restriction")),
        ("access", Hook(waits, "forward-auth")),
        ("access", Hook(lambda _: None, "cors", filter=lambda _: False)),  # type: ignore[arg-type]
    )
    decided = [(note["plugin"], note["phase"], note["decision"]) for note in told["plugins"]]
    assert decided == [
        ("real-ip", "rewrite", "passed"),
        ("ip-restriction", "access", "answered 403"),
        ("forward-auth", "access", "passed"),
        ("cors", "access", "skipped by _meta.filter"),
    ]
    assert all(note["us"] >= 0 for note in told["plugins"][:3])


def test_a_failure_is_noted_and_goes_on_failing() -> None:
    def fails(_: Any) -> None:
        raise KeyError("x")

    trace = LiveTrace()
    (noting,) = trace.hooks("access", [Hook(fails, "broken")])
    with pytest.raises(KeyError):
        noting.call(get("/"))
    assert trace._notes[0]["decision"] == "failed: KeyError"


def test_what_is_told_has_a_bound() -> None:
    names = [f"a-long-name-{n}" * (20 if n < 30 else 1) for n in range(500)]
    told = traced(*[("access", Hook(lambda _: None, name)) for name in names])
    assert told["more"] + len(told["plugins"]) == 500
    assert len(told["plugins"]) > 10
    assert len(json.dumps(told, separators=(",", ":"))) <= 8192


def test_a_live_request_with_a_token(gateway: Callable[..., Any], nginx: Callable[[str], Any]) -> None:
    upstream = nginx("location / { return 200 '$http_x_bascule_debug'; }")
    keyring = "0123456789abcdef"
    resources = {
        "routes": [
            {
                "id": "r1",
                "uri": "/*",
                "plugins": {"key-auth": {}, "cors": {}},
                "upstream": {"type": "roundrobin", "nodes": {upstream.address: 1}},
            }
        ],
        "consumers": [{"username": "jack", "plugins": {"key-auth": {"key": "k"}, "request-id": {}}}],
    }
    server = gateway(resources, {"apisix": {"data_encryption": {"keyring": [keyring]}}})
    token = make_token(hmac.digest(keyring.encode(), b"bascule debug key", "sha256"), 60)
    with server.client() as client:
        answer = client.request("GET", "/", [("apikey", "k"), ("X-Bascule-Debug", token)])
        assert answer.body == b""  # the token isn't passed on
        told = json.loads(answer.header(HEADER) or "")
        assert (told["route"], told["consumer"]) == ("r1", "jack")
        assert told["upstream"]["addr"] == upstream.address
        decided = {(note["plugin"], note["phase"]): note["decision"] for note in told["plugins"]}
        assert decided["key-auth", "rewrite"] == decided["request-id", "rewrite"] == "passed"
        refused = client.request("GET", "/", [("X-Bascule-Debug", token)])
        assert refused.status == 401
        told = json.loads(refused.header(HEADER) or "")
        assert "answered 401" in {note["decision"] for note in told["plugins"]}
        plain = client.request("GET", "/", [("apikey", "k"), ("X-Bascule-Debug", token[:-1] + "x")])
        assert plain.header(HEADER) is None
        assert plain.body == b""
