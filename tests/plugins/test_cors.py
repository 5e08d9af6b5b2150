from typing import Any

import pytest

from bascule.plugin.kit.testing import Result, Upstream, get, request, run
from bascule.plugins.cors import Cors, CorsMetadata
from tests.plugins.faults import fault_paths, faults

ORIGIN = "Access-Control-Allow-Origin"
METADATA = {
    "allow_origins": {
        "key_1": "https://domain.com",
        "key_2": "https://sub.domain.com,https://sub2.domain.com",
        "key_3": "*",
    }
}
GOOD_ORIGINS = [
    "*",
    "**",
    "null",
    "http://y.com.uk",
    "https://x.com,http://y.com.uk:12000,http://c.tv",
]
BAD_ORIGINS = [
    "",
    "*a",
    "*,http://y.com",
    "nul",
    "http//y.com.uk",
    "x.com",
    "https://x.com,y.com.uk",
    "https://x.com,*,https://y.com.uk",
    "https://x.com,http://y.com.uk,http:c.tv",
]


def call(conf: dict[str, Any], origin: str | None = None, **options: Any) -> Result:
    headers = {} if origin is None else {"Origin": origin}
    return run(Cors, conf, get("/hello", headers=headers), **options)


def cors_headers(result: Result) -> dict[str, str]:
    return {name: value for name, value in result.headers if name.startswith(("Access-", "Timing-", "Vary"))}


def test_defaults() -> None:
    conf = Cors.Config.model_validate({})
    assert conf.model_dump(exclude_none=True) == {
        "allow_origins": "*",
        "allow_methods": "*",
        "allow_headers": "*",
        "max_age": 5,
        "allow_credential": False,
    }


@pytest.mark.parametrize("origin", [None, "https://a.test"])
def test_anybody(origin: str | None) -> None:
    assert cors_headers(call({}, origin)) == {
        ORIGIN: "*",
        "Access-Control-Allow-Methods": "*",
        "Access-Control-Max-Age": "5",
        "Access-Control-Allow-Headers": "*",
    }


def test_every_attribute() -> None:
    conf = {
        "allow_origins": "http://sub.domain.com,http://sub2.domain.com",
        "allow_methods": "GET,POST",
        "allow_headers": "headr1,headr2",
        "expose_headers": "ex-headr1,ex-headr2",
        "max_age": 50,
        "allow_credential": True,
    }
    assert cors_headers(call(conf, "http://sub2.domain.com")) == {
        "Vary": "Origin",
        ORIGIN: "http://sub2.domain.com",
        "Access-Control-Allow-Methods": "GET,POST",
        "Access-Control-Max-Age": "50",
        "Access-Control-Allow-Headers": "headr1,headr2",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "ex-headr1,ex-headr2",
    }
    assert cors_headers(call(conf, "http://sub3.domain.com")) == {"Vary": "Origin"}
    assert cors_headers(call(conf)) == {"Vary": "Origin"}


def test_echoes_what_was_asked_for() -> None:
    conf = {
        "allow_origins": "**",
        "allow_methods": "**",
        "allow_headers": "**",
        "expose_headers": "",
        "allow_credential": True,
    }
    asked = {"Origin": "https://a.test", "Access-Control-Request-Headers": "req-1, req-2"}
    assert cors_headers(run(Cors, conf, get("/", headers=asked))) == {
        "Vary": "Origin",
        ORIGIN: "https://a.test",
        "Access-Control-Allow-Methods": "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE",
        "Access-Control-Max-Age": "5",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Headers": "req-1, req-2",
    }
    assert call(conf).header(ORIGIN) == "*"
    assert call(conf, "https://a.test").header("Access-Control-Allow-Headers") is None


def test_every_options_request_is_answered() -> None:
    result = run(Cors, {}, request("OPTIONS", "/hello", headers={"Origin": "https://a.test"}))
    assert (result.status, result.body, result.answered_by, result.header(ORIGIN)) == (200, b"", "cors", "*")


@pytest.mark.parametrize(
    ("conf", "origin", "allowed"),
    [
        ({"allow_origins": "null"}, "null", "null"),
        ({"allow_origins": "https://a.test"}, "https://a.test", "https://a.test"),
        ({"allow_origins": "https://a.test"}, "https://a.test.evil", None),
        ({"allow_origins_by_regex": [r".*\.test.com$"]}, "http://a.test.com", "http://a.test.com"),
        ({"allow_origins_by_regex": [r"a\.com$", r"b\.com$"]}, "http://b.com", "http://b.com"),
        ({"allow_origins_by_regex": [r".*\.test.com$"]}, "http://a.test2.com", None),
        ({"allow_origins_by_regex": [r"b\.com$"], "allow_origins": "http://a.com"}, "http://a.com", None),
    ],
)
def test_which_origins(conf: dict[str, Any], origin: str, allowed: str | None) -> None:
    result = call(conf, origin)
    assert result.header(ORIGIN) == allowed
    assert result.header("Vary") == "Origin"


@pytest.mark.parametrize(
    ("origins", "names", "origin", "allowed"),
    [
        ("https://test.com", ["key_1"], "http://foo.example.org", None),
        ("https://test.com", ["key_1"], "https://test.com", "https://test.com"),
        ("https://test.com", ["key_1"], "https://domain.com", "https://domain.com"),
        ("https://test.com", ["key_1", "key_2"], "https://sub2.domain.com", "https://sub2.domain.com"),
        ("https://test.com", ["key_3"], "http://foo.example.org", "http://foo.example.org"),
        ("https://test.com", ["key_4"], "https://domain.com", None),
        ("*", ["key_1"], "http://foo.example.org", None),
        ("*", ["key_1"], "https://domain.com", "https://domain.com"),
    ],
)
def test_origins_by_metadata(origins: str, names: list[str], origin: str, allowed: str | None) -> None:
    conf = {"allow_origins": origins, "allow_origins_by_metadata": names}
    result = call(conf, origin, metadata=METADATA)
    assert (result.header(ORIGIN), result.header("Vary")) == (allowed, "Origin")
    assert call({"allow_origins_by_metadata": names}, origin).header(ORIGIN) is None


def test_vary_joins_the_upstreams_own() -> None:
    result = call({"allow_origins": "**"}, "https://a.test", upstream=Upstream(headers={"Vary": "Via"}))
    assert result.header_values("Vary") == ["Via", "Origin"]


@pytest.mark.parametrize(
    ("conf", "origin", "timed"),
    [
        ({"timing_allow_origins": "*"}, None, "*"),
        ({"timing_allow_origins": "**"}, "http://a.com", "http://a.com"),
        ({"timing_allow_origins": "http://a.com,http://b.com"}, "http://b.com", "http://b.com"),
        ({"timing_allow_origins": "http://a.com"}, "http://c.com", None),
        ({"timing_allow_origins_by_regex": [r"\.a\.com$"]}, "http://x.a.com", "http://x.a.com"),
        ({"timing_allow_origins_by_regex": ["b"], "timing_allow_origins": "http://a.com"}, "http://a.com", None),
        ({"allow_origins": "http://c.com", "timing_allow_origins": "http://a.com"}, "http://a.com", "http://a.com"),
        ({}, "http://a.com", None),
    ],
)
def test_timing(conf: dict[str, Any], origin: str | None, timed: str | None) -> None:
    assert call(conf, origin).header("Timing-Allow-Origin") == timed


def test_the_clients_origin_decides_whatever_goes_upstream() -> None:
    plugin = run(Cors, {"allow_origins": "https://a.test"}, get("/")).plugins[0]
    asked = get("/", headers={"Origin": "https://a.test"})
    plugin.rewrite(asked)
    asked.set_header("Origin", "https://internal.test")
    result = run([(plugin)], asked)  # type: ignore[list-item]
    assert result.header(ORIGIN) in (None, "https://a.test")


@pytest.mark.parametrize("attribute", ["allow_origins", "timing_allow_origins"])
def test_forms_of_origins(attribute: str) -> None:
    for origins in GOOD_ORIGINS:
        assert fault_paths(Cors, {attribute: origins}) == []
    for origins in BAD_ORIGINS:
        assert fault_paths(Cors, {attribute: origins}) == [f"$.{attribute}"]


def test_what_means_nothing_in_metadata() -> None:
    assert CorsMetadata.model_validate({"allow_origins": {}, "inactive_timeout": 1}).allow_origins == {}


def test_forms_of_metadata() -> None:
    good = {"allow_origins": {f"key_{index}": origins for index, origins in enumerate(GOOD_ORIGINS)}}
    assert fault_paths(Cors, good, CorsMetadata) == []
    for origins in BAD_ORIGINS:
        assert fault_paths(Cors, {"allow_origins": {"key": origins}}, CorsMetadata) == ["$.allow_origins.key"]


@pytest.mark.parametrize("attribute", ["allow_origins", "allow_methods", "allow_headers", "expose_headers"])
def test_no_wildcard_with_credentials(attribute: str) -> None:
    conf = {"allow_credential": True, "allow_origins": "**", "allow_methods": "**", "allow_headers": "**"}
    assert fault_paths(Cors, conf) == []
    sentence = "you can not set '*' for other option when 'allow_credential' is true"
    assert faults(Cors, {**conf, attribute: "*"}) == [("$", sentence)]


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"max_age": "1"}, "$.max_age"),
        ({"allow_origins_by_regex": []}, "$.allow_origins_by_regex"),
        ({"allow_origins_by_regex": ["a", "a"]}, "$.allow_origins_by_regex"),
        ({"allow_origins_by_regex": ["("]}, "$.allow_origins_by_regex"),
        ({"allow_origins_by_regex": [""]}, "$.allow_origins_by_regex[0]"),
        ({"allow_origins_by_regex": ["a" * 4097]}, "$.allow_origins_by_regex[0]"),
        ({"allow_origins_by_metadata": []}, "$.allow_origins_by_metadata"),
        ({"allow_origins_by_metadata": ["a", "a"]}, "$.allow_origins_by_metadata"),
        ({"timing_allow_origins_by_regex": ["["]}, "$.timing_allow_origins_by_regex"),
        ({"origins": "*"}, "$.origins"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(Cors, conf) == [path]
