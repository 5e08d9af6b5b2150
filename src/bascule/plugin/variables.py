"""Variables by name (spec: nginx's and APISIX's), each as a function of the request.

`getter(name)` is resolved once and kept: templates and expressions hold the functions. First come the variables
derived from the request, then those that plugins set, then the gateway's own (status, upstream_addr, …)."""

from __future__ import annotations

import math
import os
import platform
import time
from base64 import b64decode
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

from bascule.plugin.exchange import Value
from bascule.plugin.json_path import parse_json_path

# plugin/request.py reads variables through this module, so its class can't be named here.
Request = Any

Getter = Callable[["Request"], Value]


def _remote_user(request: Request) -> str | None:
    """The user of Basic credentials, whether or not anything checked them."""
    scheme, _, coded = (request.header("authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(coded.strip(), validate=True).partition(b":")[0].decode() or None
    except ValueError:
        return None


def _time_local(request: Request) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z")


def _time_iso8601(request: Request) -> str:
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return f"{text[:-2]}:{text[-2:]}"


def _of_route(attribute: str) -> Getter:
    def get(request: Request) -> Value:
        value: Value = getattr(request.route, attribute, None)
        return value

    return get


def _of_consumer(attribute: str) -> Getter:
    def get(request: Request) -> Value:
        value: Value = getattr(request.consumer, attribute, None)
        return value

    return get


def _rate_limiting_info(request: Request) -> str | None:
    """What limit-count decided, as JSON; made only when something asks for it."""
    if request.rate_limit is None:
        return None
    key, limit, remaining, reset_s = request.rate_limit
    names = ("rate_limiting_key", "rate_limiting_limit", "rate_limiting_remaining", "rate_limiting_reset")
    key = "".join(key)  # of its parts
    return orjson.dumps(dict(zip(names, (key, limit, max(0, remaining), math.ceil(reset_s)), strict=True))).decode()


def _constant(value: Value) -> Getter:
    return lambda request: value


_EXACT: dict[str, Getter] = {
    "uri": lambda r: r.path,
    "document_uri": lambda r: r.path,
    "request_uri": lambda r: r.request_uri,
    "real_request_uri": lambda r: r.raw_target,
    "request_line": lambda r: r.request_line,
    "request": lambda r: r.request_line,
    "args": lambda r: r.query or None,
    "query_string": lambda r: r.query or None,
    "is_args": lambda r: "?" if r.query else "",
    "method": lambda r: r.received_method,
    "request_method": lambda r: r.received_method,
    "host": lambda r: r.host,
    "scheme": lambda r: r.scheme,
    "https": lambda r: "on" if r.scheme == "https" else "",
    "server_protocol": lambda r: f"HTTP/{r.http_version}",
    "http2": lambda r: None if r.http_version != "2.0" else "h2" if r.scheme == "https" else "h2c",
    "remote_addr": lambda r: r.remote_addr,
    "remote_port": lambda r: r.remote_port,
    "realip_remote_addr": lambda r: r.exchange.remote_addr,
    "realip_remote_port": lambda r: r.exchange.remote_port,
    "server_addr": lambda r: r.server_addr,
    "server_port": lambda r: r.server_port,
    "server_name": lambda r: r.host,
    "content_length": lambda r: r.header("content-length"),
    "content_type": lambda r: r.header("content-type"),
    "remote_user": _remote_user,
    "route_id": _of_route("id"),
    "route_name": _of_route("name"),
    "service_id": _of_route("service_id"),
    "service_name": _of_route("service_name"),
    "consumer_name": _of_consumer("consumer_name"),
    "consumer_group_id": _of_consumer("group_id"),
    "credential_id": _of_consumer("credential_id"),
    "rate_limiting_info": _rate_limiting_info,
    "original_x_forwarded_for": lambda r: r.received_forwarded_for,
    "time_local": _time_local,
    "time_iso8601": _time_iso8601,
    "msec": lambda r: round(time.time(), 3),
    "pid": lambda r: os.getpid(),
    "hostname": _constant(platform.node()),
}


def _header(name: str) -> Getter:
    field = name.replace("_", "-")
    if field == name:
        return lambda request: request.header(field)

    def get(request: Request) -> Value:
        """http_a_b reads the field A-B, or one that is spelt A_B."""
        value: Value = request.header(field)
        return request.header(name) if value is None else value

    return get


def _sent_header(name: str) -> Getter:
    field = name.replace("_", "-")

    def get(request: Request) -> Value:
        response = request.response
        return None if response is None else response.header(field)

    return get


def _upstream_header(name: str) -> Getter:
    # The response that plugins see is the upstream's head with their changes on it.
    get_sent = _sent_header(name)

    def get(request: Request) -> Value:
        response = request.response
        return get_sent(request) if response is not None and response.source == "upstream" else None

    return get


def _posted_path(path: str) -> Getter:
    try:
        wanted = parse_json_path(f".{path}")  # the dot belongs to the path: post_arg..x is a recursive descent
    except ValueError:
        return _constant(None)
    return lambda request: _as_value(wanted.value(request.posted()))


def _posted_field(name: str) -> Getter:
    def get(request: Request) -> Value:
        document = request.posted()
        if not isinstance(document, dict):
            return None
        value = document.get(name)
        # A name that comes more than once: its first value, as arg_X has it.
        return _as_value(value[0] if isinstance(value, list) and value else value)

    return get


def _as_value(value: Any) -> Value:
    """An object isn't a value of a variable: it is there, but nothing compares to it."""
    return str(value) if isinstance(value, dict) else value


def _of_exchange(name: str) -> Getter:
    return lambda request: request.own_var(name)


def reads_body(name: str) -> bool:
    """Whether a variable has a value only once the request body is held."""
    return name.startswith(("post_arg.", "post_arg_")) or name == "request_body"


# Longest first: post_arg.x and post_arg_x, upstream_http_x.
_PREFIXES: tuple[tuple[str, Callable[[str], Getter]], ...] = (
    ("upstream_http_", _upstream_header),
    ("sent_http_", _sent_header),
    ("uri_param_", lambda name: lambda request: (request.params or {}).get(name)),
    ("post_arg.", _posted_path),
    ("post_arg_", _posted_field),
    ("cookie_", lambda name: lambda request: request.cookie(name)),
    ("http_", _header),
    ("arg_", lambda name: lambda request: request.arg(name)),
)


@lru_cache(maxsize=4096)
def getter(name: str) -> Getter:
    """The function that reads this variable off a request. Never fails: an unknown name gives None, later."""
    exact = _EXACT.get(name)
    if exact is not None:
        return exact
    for prefix, make in _PREFIXES:
        if name.startswith(prefix):
            return make(name[len(prefix) :])
    return _of_exchange(name)


@lru_cache(maxsize=4096)
def is_derived(name: str) -> bool:
    """Whether it is read off the request, so that it can't be set."""
    return name in _EXACT or name.startswith(tuple(prefix for prefix, _ in _PREFIXES))
