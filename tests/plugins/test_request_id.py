import re
from typing import Any

import pytest

from bascule.plugin.kit.testing import Upstream, get, make, run
from bascule.plugins.request_id import RequestId
from tests.plugins.faults import fault_paths

FORMS = {
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "uuidv7": r"018bcfe5-6800-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "nanoid": r"[A-Za-z0-9_-]{21}",
    "ksuid": r"2Y[0-9A-Za-z]{25}",
    "range_id": r"[A-Za-z0-9]{16}",
}


def test_defaults() -> None:
    conf = RequestId.Config.model_validate({})
    assert conf.model_dump() == {
        "header_name": "X-Request-Id",
        "include_in_response": True,
        "algorithm": "uuid",
        "range_id": {"char_set": "abcdefghijklmnopqrstuvwxyzABCDEFGHIGKLMNOPQRSTUVWXYZ0123456789", "length": 16},
    }


@pytest.mark.parametrize("algorithm", FORMS)
def test_one_id_for_upstream_client_and_variable(algorithm: str) -> None:
    result = run(RequestId, {"algorithm": algorithm}, get("/"))
    value = result.upstream.header("X-Request-Id")
    assert value is not None
    assert re.fullmatch(FORMS[algorithm], value)
    assert result.request.var("apisix_request_id") == value
    assert result.header("X-Request-Id") == value


@pytest.mark.parametrize("algorithm", FORMS)
def test_ids_differ(algorithm: str) -> None:
    plugin: Any = make(RequestId, {"algorithm": algorithm})
    assert len({plugin.make() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("algorithm", ["uuidv7", "ksuid"])
def test_ids_sort_by_time(algorithm: str) -> None:
    plugin: Any = make(RequestId, {"algorithm": algorithm})
    before = plugin.make()
    plugin.host.advance(1)
    assert plugin.make() > before


def test_range_id_takes_characters_and_length() -> None:
    conf = {"algorithm": "range_id", "range_id": {"char_set": "abcdef", "length": 40}}
    assert re.fullmatch("[a-f]{40}", run(RequestId, conf, get("/")).header("X-Request-Id") or "")


def test_keeps_the_clients_id() -> None:
    result = run(RequestId, {}, get("/", headers={"X-Request-ID": "mine"}))
    assert result.upstream.header_values("X-Request-Id") == ["mine"]
    assert result.header("X-Request-Id") == "mine"


def test_an_empty_id_is_none() -> None:
    assert run(RequestId, {}, get("/", headers={"X-Request-ID": ""})).upstream.header("X-Request-Id")


def test_keeps_the_upstreams_own() -> None:
    result = run(RequestId, {}, get("/"), upstream=Upstream(headers={"X-Request-Id": "theirs"}))
    assert result.header_values("X-Request-Id") == ["theirs"]


def test_another_header_that_stays_inside() -> None:
    conf = {"header_name": "Trace", "include_in_response": False}
    result = run(RequestId, conf, get("/"))
    assert result.plugins[0].hooks() == ("rewrite",)
    assert result.upstream.header("trace")
    assert result.header("trace") is None


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"algorithm": "snowflake"}, "$.algorithm"),
        ({"range_id": {"char_set": "abcde"}}, "$.range_id.char_set"),
        ({"range_id": {"length": 5}}, "$.range_id.length"),
        ({"include_in_response": "yes"}, "$.include_in_response"),
        ({"header": "X"}, "$.header"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(RequestId, conf) == [path]
