from typing import Any

import pytest
from pydantic import ValidationError

from bascule.errors.sentences import faults
from bascule.plugin.kit.testing import MemoryHost, get, make
from bascule.plugins.proxy_mirror import ProxyMirror
from tests.plugins.faults import fault_paths


@pytest.mark.parametrize(
    ("conf", "paths"),
    [
        ({}, ["$.host"]),
        ({"host": "ftp://127.0.0.1:1999"}, ["$.host"]),
        ({"host": "http://127.0.0.1::1999"}, ["$.host"]),
        ({"host": "127.0.0.1:1999"}, ["$.host"]),
        ({"host": "http://127.0.0.1:1999/path"}, ["$.host"]),
        ({"host": "http://a:70000"}, ["$.host"]),
        ({"host": "http://a", "path": "a"}, ["$.path"]),
        ({"host": "http://a", "path": "/a?b=c"}, ["$.path"]),
        ({"host": "http://a", "path_concat_mode": "suffix"}, ["$.path_concat_mode"]),
        ({"host": "http://a", "sample_ratio": 0}, ["$.sample_ratio"]),
        ({"host": "http://a", "sample_ratio": 1.1}, ["$.sample_ratio"]),
        ({"host": "http://a", "max_concurrent": 0}, ["$.max_concurrent"]),
        ({"host": "http://a", "max_body_size": -1}, ["$.max_body_size"]),
    ],
)
def test_bad_configurations(conf: dict[str, Any], paths: list[str]) -> None:
    assert fault_paths(ProxyMirror, conf) == paths


@pytest.mark.parametrize(
    ("host", "example"),
    [
        ("127.0.0.1:1999", "http://127.0.0.1:1999"),
        ("shadow", "http://shadow"),
        ("ftp://a", "http://10.0.0.5:8080"),
        ("http://a\n", "http://10.0.0.5:8080"),
    ],
)
def test_a_host_without_a_scheme_is_told_plainly(host: str, example: str) -> None:
    conf = {"host": host}
    with pytest.raises(ValidationError) as caught:
        ProxyMirror.Config.model_validate(conf)
    [fault] = faults(caught.value, conf, ProxyMirror.Config)
    assert fault.sentence == f'needs a scheme (http, https, grpc, grpcs), a host and no path, such as "{example}"'
    # As APISIX's schema says it.
    pattern = r"^(http(s)?|grpc(s)?):\/\/([\da-zA-Z.-]+|\[[\da-fA-F:]+\])(:\d+)?$"
    spelt = pattern.replace("\\", "\\\\")
    assert f'property "host" validation failed: failed to match pattern "{spelt}" with "{host[:3]}' in fault.text
    assert ProxyMirror.Config.model_json_schema()["properties"]["host"]["pattern"] == pattern


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("http://a.b", "http://a.b:80"),
        ("https://a", "https://a:443"),
        ("grpc://127.0.0.1:50051", "grpc://127.0.0.1:50051"),
        ("http://[::1]:81", "http://::1:81"),
        ("grpcs://[::1]", "grpcs://::1:443"),
    ],
)
def test_where_to(host: str, url: str) -> None:
    memory = MemoryHost(attr={"timeout": {"connect": "2s", "read": "1m"}})
    make(ProxyMirror, {"host": host}, memory)
    assert memory.mirrors[0].url == url
    assert memory.mirrors[0].options["timeouts_s"] == (2, 60, 60)


@pytest.mark.parametrize(
    ("conf", "target", "copied"),
    [
        ({}, "/a/b?c=d", "/a/b?c=d"),
        ({"path": "/x"}, "/a/b?c=d", "/x?c=d"),
        ({"path": "/x"}, "/a", "/x"),
        ({"path": "/x", "path_concat_mode": "prefix"}, "/a/b?c=d", "/x/a/b?c=d"),
    ],
)
def test_paths(conf: dict[str, Any], target: str, copied: str) -> None:
    memory = MemoryHost()
    plugin = make(ProxyMirror, {"host": "http://a", **conf}, memory)
    request = get(target)
    plugin.before_proxy(request)
    plugin.before_proxy(request)  # the next try
    assert memory.mirrors[0].copies == [("GET", copied)]


def test_a_sample() -> None:
    memory = MemoryHost()
    plugin = make(ProxyMirror, {"host": "http://a", "sample_ratio": 0.25}, memory)
    for _ in range(4000):
        plugin.before_proxy(get("/"))
    assert 850 < len(memory.mirrors[0].copies) < 1150


def test_a_failure_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    memory = MemoryHost()
    make(ProxyMirror, {"host": "http://a"}, memory)
    mirror = memory.mirrors[0]
    for result in ("failed", "failed", "answered", "failed", "busy", "body"):
        mirror.tell(result, "why")
    assert [record.getMessage() for record in caplog.records] == [
        "routes/1: copies to http://a fail: why",
        "routes/1: copies to http://a are answered again",
        "routes/1: copies to http://a fail: why",
    ]
    rendered = memory.metrics.render().decode()
    for result, count in (("answered", 1), ("failed", 3), ("busy", 1), ("body", 1)):
        assert f'bascule_mirrored_requests{{holder="routes/1",result="{result}"}} {count}' in rendered
