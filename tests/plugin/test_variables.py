import re

import pytest

from bascule.plugin import Response
from bascule.plugin.kit.drive import drive
from bascule.plugin.kit.testing import Binding, Route, get, post
from bascule.plugin.variables import getter, is_derived

HEADERS = {
    "Host": "Shop.test:81",
    "X-My-Head": "v",
    "With_Underscores": "u",
    "Cookie": "session=s1",
    "Content-Type": "text/x",
    "Authorization": "Basic dXNlcjpwYTpzcw==",
    "X-Forwarded-For": "1.1.1.1, 2.2.2.2",
}


@pytest.fixture
def made():
    request = get(
        "/a//b%20c?x=1&y=a+b",
        headers=HEADERS,
        remote_addr="10.0.0.9",
        route=Route("7", "seven", "s1", "svc"),
        params={"id": "42"},
        variables={"status": 201, "upstream_addr": "1.2.3.4:80", "request_time": "0.010"},
    )
    request.consumer = Binding("jack", group_id="g", credential_id="c")
    return request


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("uri", "/a/b c"),
        ("document_uri", "/a/b c"),
        ("request_uri", "/a/b c?x=1&y=a+b"),
        ("real_request_uri", "/a//b%20c?x=1&y=a+b"),
        ("request_line", "GET /a//b%20c?x=1&y=a+b HTTP/1.1"),
        ("request", "GET /a//b%20c?x=1&y=a+b HTTP/1.1"),
        ("args", "x=1&y=a+b"),
        ("query_string", "x=1&y=a+b"),
        ("is_args", "?"),
        ("arg_x", "1"),
        ("arg_y", "a b"),
        ("arg_z", None),
        ("method", "GET"),
        ("request_method", "GET"),
        ("host", "shop.test"),
        ("http_host", "Shop.test:81"),
        ("http_x_my_head", "v"),
        ("http_absent", None),
        ("http_with_underscores", "u"),
        ("cookie_session", "s1"),
        ("cookie_absent", None),
        ("scheme", "http"),
        ("https", ""),
        ("server_protocol", "HTTP/1.1"),
        ("server_name", "shop.test"),
        ("remote_addr", "10.0.0.9"),
        ("remote_port", 34567),
        ("realip_remote_addr", "10.0.0.9"),
        ("realip_remote_port", 34567),
        ("server_addr", "127.0.0.1"),
        ("server_port", 9080),
        ("content_type", "text/x"),
        ("content_length", None),
        ("remote_user", "user"),
        ("uri_param_id", "42"),
        ("uri_param_absent", None),
        ("route_id", "7"),
        ("route_name", "seven"),
        ("service_id", "s1"),
        ("service_name", "svc"),
        ("consumer_name", "jack"),
        ("consumer_group_id", "g"),
        ("credential_id", "c"),
        ("original_x_forwarded_for", "1.1.1.1, 2.2.2.2"),
        ("status", 201),
        ("upstream_addr", "1.2.3.4:80"),
        ("request_time", "0.010"),
        ("no_such_thing", None),
        ("graphql_name", None),
    ],
)
def test_variables(made, name, value):
    assert made.var(name) == value


def test_times(made):
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", made.var("time_local"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", made.var("time_iso8601"))
    assert made.var("msec") > 1_700_000_000
    assert isinstance(made.var("pid"), int)
    assert isinstance(made.var("hostname"), str)


def test_what_is_absent(made):
    bare = get("/", route=None)
    bare.params = None
    for name in ("args", "route_id", "service_id", "consumer_name", "uri_param_id", "remote_user", "sent_http_x"):
        assert bare.var(name) is None, name
    assert bare.var("is_args") == ""


@pytest.mark.parametrize("value", ["Bearer x", "Basic !!!", "Basic", ""])
def test_no_basic_credentials(value):
    assert get("/", headers={"Authorization": value}).var("remote_user") is None


def test_the_client_address_may_be_replaced(made):
    made.set_client("9.9.9.9", 1)
    assert (made.var("remote_addr"), made.var("realip_remote_addr")) == ("9.9.9.9", "10.0.0.9")


def test_headers_of_the_response(made):
    assert made.var("sent_http_x_up") is None
    made.response = Response.from_bytes(b"HTTP/1.1 200 OK\r\nX-Up: 1\r\n\r\n")
    assert (made.var("sent_http_x_up"), made.var("upstream_http_x_up")) == ("1", "1")
    made.response = Response(200, headers={"X-Up": "2"})
    assert (made.var("sent_http_x_up"), made.var("upstream_http_x_up")) == ("2", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("post_arg.model", "m"),
        ("post_arg.list[1].n", 2),
        ("post_arg.list[*].n", [1, 2]),
        ("post_arg..n", [1, 2]),
        ("post_arg.flag", True),
        ("post_arg.absent", None),
        ("post_arg.[", None),
        ("post_arg.object", "{'n': {}}"),
        ("post_arg_model", "m"),
    ],
)
def test_json_bodies(name, value):
    request = post("/", {"model": "m", "list": [{"n": 1}, {"n": 2}], "flag": True})
    if "object" in name:
        request = post("/", {"object": {"n": {}}})
    assert request.var(name) is None
    drive(request.body(1000))
    assert request.var(name) == value


def test_forms():
    request = post("/", "a=1&b=2&b=3", headers={"Content-Type": "application/x-www-form-urlencoded"})
    drive(request.body(1000))
    assert (request.var("post_arg_a"), request.var("post_arg_b"), request.var("post_arg.b")) == ("1", "2", ["2", "3"])
    assert request.var("post_arg_c") is None


def test_bodies_without_fields():
    request = post("/", [1])
    drive(request.body(1000))
    assert request.var("post_arg_a") is None
    assert request.var("post_arg.[0]") == 1


def test_plugins_set_what_is_not_derived(made):
    made.set_var("upstream_host", "mine")
    made.set_var("status", 500)
    assert (made.var("upstream_host"), made.var("status")) == ("mine", 500)
    assert is_derived("uri")
    assert is_derived("http_x")
    assert not is_derived("status")


def test_getters_are_kept():
    assert getter("uri") is getter("uri")
    assert getter("own thing") is getter("own thing")
