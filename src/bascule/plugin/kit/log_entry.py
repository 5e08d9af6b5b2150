"""Log entries of the logger plugins: APISIX's default one, or what `log_format` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bascule.plugin.exchange import Value
from bascule.plugin.kit.template import Reference, Template
from bascule.plugin.request import Request

_MAX_DEPTH = 5  # of nested maps in a log_format, APISIX's limit
_MISSING = object()
Entry = dict[str, Any]


class LogFormat:
    """`log_format`: maps, nested up to 5 deep, of templates. A string that is one variable gives its value as it is
    (a number stays one) and is left out when there is none; other strings are filled in. ValueError when too deep.
    Lists and numbers are taken as they stand."""

    def __init__(self, log_format: Mapping[str, Any]) -> None:
        self._fields = _compile(log_format, 1)

    def fields(self, request: Request) -> Entry:
        return _fill(self._fields, request)


class LogEntries:
    """Makes the entry of a request: by `log_format` if there is one (with route_id and service_id), else the default;
    `extra` (log_format_extra) adds to it.

    Default: request {method, uri, url, size, headers, querystring}, response {status, headers, size}, server, upstream,
    route_id, service_id, consumer, client_ip, start_time (ms since 1970), and latency, upstream_latency,
    apisix_latency in ms."""

    def __init__(
        self,
        log_format: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any],
        now: Callable[[], float],
    ) -> None:
        self._format = LogFormat(log_format) if log_format else None
        self._extra = LogFormat(extra) if extra else None
        self._server = {"hostname": settings.get("hostname", ""), "version": settings.get("version", "")}
        self._now = now

    def entry(self, request: Request, request_body: str | None = None, response_body: str | None = None) -> Entry:
        """To be called in the log phase. Bodies are included when they are given."""
        entry = self._default(request) if self._format is None else self._custom(request, self._format)
        if self._extra is not None:
            entry |= self._extra.fields(request)
        if request_body is not None:
            _within(entry, "request")["body"] = request_body
        if response_body is not None:
            _within(entry, "response")["body"] = response_body
        return entry

    def _custom(self, request: Request, log_format: LogFormat) -> Entry:
        entry = log_format.fields(request)
        if request.route is not None:
            entry["route_id"] = request.route.id
            if request.route.service_id is not None:
                entry["service_id"] = request.route.service_id
        return entry

    def _default(self, request: Request) -> Entry:
        var = request.var
        uri = request.request_uri
        latency_ms = round(seconds(var("request_time")) * 1000, 3)
        upstream_s = var("upstream_response_time")
        entry: Entry = {
            "request": {
                "method": request.received_method,
                "uri": uri,
                "url": f"{request.scheme}://{request.host}:{request.server_port}{uri}",
                "size": var("request_length"),
                "headers": _grouped(request.headers(), lower=True),
                "querystring": _grouped(request.args()),
            },
            "response": {
                "status": var("status"),
                "headers": {} if request.response is None else _grouped(request.response.headers(), lower=True),
                "size": var("bytes_sent"),
            },
            "server": self._server,
            "upstream": var("upstream_addr"),
            "route_id": var("route_id") or "",
            "service_id": var("service_id") or "",
            "client_ip": request.remote_addr,
            "start_time": round(self._now() * 1000 - latency_ms),
            "latency": latency_ms,
            "apisix_latency": latency_ms,
        }
        if upstream_s not in (None, "", "-"):
            upstream_ms = round(seconds(upstream_s) * 1000, 3)
            entry["upstream_latency"] = upstream_ms
            entry["apisix_latency"] = round(max(0.0, latency_ms - upstream_ms), 3)
        if request.consumer is not None:
            entry["consumer"] = {"username": request.consumer.consumer_name}
        return entry


def seconds(value: Value) -> float:
    """A time variable as a number: of "0.010, 0.032" (one per try) the sum; 0 for what isn't there."""
    if isinstance(value, int | float):
        return float(value)
    total = 0.0
    for part in str(value or "").replace(":", ",").split(","):
        try:
            total += float(part)
        except ValueError:
            continue
    return total


def _within(entry: Entry, name: str) -> Entry:
    inner = entry.get(name)
    if not isinstance(inner, dict):
        inner = entry[name] = {}
    return inner


def _grouped(pairs: list[tuple[str, str]], lower: bool = False) -> dict[str, Any]:
    """Name -> value, or list of values for a name that comes more than once."""
    grouped: dict[str, Any] = {}
    for key, value in pairs:
        name = key.lower() if lower else key
        present = grouped.get(name, _MISSING)
        if present is _MISSING:
            grouped[name] = value
        elif isinstance(present, list):
            present.append(value)
        else:
            grouped[name] = [present, value]
    return grouped


def _compile(fields: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"log_format is nested more than {_MAX_DEPTH} deep")
    compiled: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            compiled[name] = _compile(value, depth + 1)
        elif isinstance(value, str):
            template = Template(value)
            is_one = len(template.parts) == 1 and isinstance(template.parts[0], Reference)
            compiled[name] = template.parts[0] if is_one else template
        else:
            compiled[name] = value
    return compiled


def _fill(fields: dict[str, Any], request: Request) -> Entry:
    entry: Entry = {}
    for name, what in fields.items():
        if isinstance(what, Reference):
            value = request.var(what.name)
            if value is not None:
                entry[name] = value
            elif what.default:
                entry[name] = what.default
        elif isinstance(what, Template):
            entry[name] = what(request)
        elif isinstance(what, dict):
            entry[name] = _fill(what, request)
        else:
            entry[name] = what
    return entry
