import asyncio
import gzip
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from bascule.engine.http_client import AiohttpClient
from bascule.plugin.kit.testing import HttpAnswer, HttpCall, MemoryHost, Upstream, get, make, post, run, run_async
from bascule.plugins.http_logger import HttpLogger
from tests.servers.gateway import Gateway
from tests.servers.raw import RawUpstream

URI = "http://logs.test/in"


def host(status: int = 200, **options: Any) -> MemoryHost:
    return MemoryHost("http-logger", http={URI: HttpAnswer(status, [], b"")}, **options)


def logged(conf: dict[str, Any], *requests: Any, upstream: Upstream | None = None, **options: Any) -> list[HttpCall]:
    """The calls of the log server after these requests and enough time."""
    mine = host(**options)
    plugin = make(HttpLogger, {"uri": URI, **conf}, mine)
    for request in requests:
        run(plugin, request, upstream=upstream or Upstream())
    mine.advance(100)
    calls: list[HttpCall] = mine.http.calls
    return calls


def entry(conf: dict[str, Any], request: Any, **options: Any) -> Any:
    [call] = logged({"batch_max_size": 1, **conf}, request, **options)
    return orjson.loads(call.body)


def test_default_entry() -> None:
    [call] = logged({"auth_header": "Basic 123"}, get("/a?b=c", variables={"status": 200}))
    assert (call.method, call.url, call.timeout_s, call.ssl_verify) == ("POST", URI, 3, False)
    assert (call.header("Content-Type"), call.header("Authorization")) == ("application/json", "Basic 123")
    [one] = orjson.loads(call.body)
    assert one["request"]["uri"] == "/a?b=c"
    assert one["response"]["status"] == 200
    assert (one["route_id"], one["client_ip"]) == ("1", "127.0.0.1")
    assert "body" not in one["request"]
    assert "body" not in one["response"]


def test_batches() -> None:
    calls = logged({"batch_max_size": 2}, *[get("/")] * 5)
    assert [len(orjson.loads(call.body)) for call in calls] == [2, 2, 1]
    assert calls[0].header("Authorization") is None
    assert isinstance(entry({}, get("/")), dict)  # a batch size of one: not a list


def test_new_lines() -> None:
    [call] = logged({"concat_method": "new_line"}, get("/1"), get("/2"))
    assert call.header("Content-Type") == "text/plain"
    assert [orjson.loads(line)["request"]["uri"] for line in call.body.split(b"\n")] == ["/1", "/2"]


def test_log_formats() -> None:
    mine = {"log_format": {"ip": "$remote_addr"}, "log_format_extra": {"deep": {"m": "$request_method"}}}
    metadata = {"log_format": {"host": "$host"}, "log_format_extra": {"q": "$arg_q"}}
    of_metadata = HttpLogger.Metadata.model_validate(metadata)
    assert entry(mine, get("/")) == {"ip": "127.0.0.1", "deep": {"m": "GET"}, "route_id": "1"}
    assert entry({}, get("/?q=1"), metadata=of_metadata) == {"host": "gateway.test", "q": "1", "route_id": "1"}
    assert entry(mine, get("/"), metadata=of_metadata) == {"ip": "127.0.0.1", "deep": {"m": "GET"}, "route_id": "1"}


def test_metadata_may_change() -> None:
    mine = host()
    plugin = make(HttpLogger, {"uri": URI, "batch_max_size": 1}, mine)
    run(plugin, get("/"))
    mine.metadata_value = HttpLogger.Metadata(log_format={"h": "$host"})
    run(plugin, get("/"))
    mine.advance(1)
    assert "client_ip" in orjson.loads(mine.http.calls[0].body)
    assert orjson.loads(mine.http.calls[1].body) == {"h": "gateway.test", "route_id": "1"}


def test_bodies() -> None:
    conf = {"include_req_body": True, "include_resp_body": True, "max_req_body_bytes": 4, "max_resp_body_bytes": 6}
    one = entry(conf, post("/", b"request"), upstream=Upstream(body=[b"resp", b"onse"]))
    assert one["request"]["body"] == "requ"
    assert one["response"]["body"] == "respon"


def test_body_goes_on_unchanged() -> None:
    result = run(HttpLogger, {"uri": URI, "include_req_body": True, "max_req_body_bytes": 3}, post("/", b"request"))
    assert result.upstream.body == b"request"


@pytest.mark.parametrize("kind", ["req", "resp"])
def test_bodies_on_condition(kind: str) -> None:
    conf = {f"include_{kind}_body": True, f"include_{kind}_body_expr": [["arg_bar", "==", "foo"]]}
    part = "request" if kind == "req" else "response"
    assert entry(conf, post("/?bar=foo", b"x"))[part]["body"]
    assert "body" not in entry(conf, post("/?bar=bar", b"x"))[part]


def test_compressed_body_is_readable() -> None:
    upstream = Upstream(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"hello world"))
    assert entry({"include_resp_body": True}, get("/"), upstream=upstream)["response"]["body"] == "hello world"


def test_only_what_is_needed_is_installed() -> None:
    assert make(HttpLogger, {"uri": URI}).hooks() == ("log",)
    both = {"uri": URI, "include_req_body": True, "include_resp_body": True}
    assert make(HttpLogger, both).hooks() == ("access", "body_filter", "log")
    assert HttpLogger.observes_body


def test_retries() -> None:
    conf = {"batch_max_size": 1, "max_retry_count": 2, "retry_delay": 7}
    mine = host(500)
    plugin = make(HttpLogger, {"uri": URI, **conf}, mine)
    run(plugin, get("/"))
    mine.advance(1)
    assert len(mine.http.calls) == 3
    assert mine.slept == [7, 7]


def test_close_sends_the_rest() -> None:
    mine = host()
    plugin = make(HttpLogger, {"uri": URI}, mine)
    plugin.close()
    run(plugin, get("/"))
    plugin.close()
    mine.settle()
    assert len(mine.http.calls) == 1


def test_pending_entries_are_bounded() -> None:
    mine = host(metadata=HttpLogger.Metadata(max_pending_entries=2))
    plugin = make(HttpLogger, {"uri": URI}, mine)
    for _ in range(5):
        run(plugin, get("/"))
    mine.advance(10)
    assert len(orjson.loads(mine.http.calls[0].body)) == 2


def test_over_a_real_connection(raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = raw_upstream()

    async def go() -> None:
        client = AiohttpClient()
        mine = MemoryHost(http=client)
        plugin = make(HttpLogger, {"uri": f"http://{upstream.address}/log", "batch_max_size": 1}, mine)
        await run_async(plugin, get("/x"))
        await mine.settle_async()
        await client.close()

    asyncio.run(go())
    assert b"POST /log HTTP/1.1" in upstream.requests_seen
    assert b'"uri":"/x"' in upstream.requests_seen


@pytest.mark.parametrize("limit", [3, 8, 100_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_through_the_gateway(
    reloaded: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream], limit: int, chunked: bool
) -> None:
    """Bodies of every size pass unharmed while their beginning is held."""
    upstream, logs = raw_upstream(), raw_upstream()
    bodies = {"include_req_body": True, "max_req_body_bytes": limit, "include_resp_body": True}
    conf = {"uri": f"http://{logs.address}/", "batch_max_size": 1, **bodies}
    nodes = {"type": "roundrobin", "nodes": {upstream.address: 1}}
    server = reloaded({"routes": [{"id": "1", "uri": "/*", "plugins": {"http-logger": conf}, "upstream": nodes}]})
    for size in (0, 1, 8, 5000, 300_000):
        body = b"0123456789abcdef" * (size // 16 + 1)
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        with server.client() as client:
            answer = client.request("POST", "/", [("Transfer-Encoding", "chunked")] if chunked else [], sent)
        assert answer.status == 200
        assert orjson.loads(answer.body)["body"] == body.decode()
        deadline = time.monotonic() + 5
        wanted = b'"body":"' + body[: min(limit, 100)]
        while wanted not in logs.requests_seen:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({}, "uri"),
        ({"uri": "127.0.0.1"}, "pattern"),
        ({"uri": "127.0.0.1:1024"}, "pattern"),
        ({"uri": URI, "concat_method": "xml"}, "json"),
        ({"uri": URI, "batch_max_size": 0}, "greater"),
        ({"uri": URI, "include_resp_body_expr": []}, "at least 1"),
        ({"uri": URI, "include_resp_body_expr": [["bar", "<>", "foo"]]}, "<>"),
        ({"uri": URI, "log_format": {"a": {"b": {"c": {"d": {"e": {"f": "g"}}}}}}}, "nested"),
    ],
)
def test_bad_configurations(conf: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        make(HttpLogger, conf)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:1024/x?aa=b", "http://x.con", "https://[::1]:80/a", "http://127.0.0.1"]
)
def test_good_uris(uri: str) -> None:
    make(HttpLogger, {"uri": uri})
