"""Variables that the exchange knows: status, times, the upstream's address… (spec: nginx's names)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bascule.engine.tls_variables import TLS_VARIABLES


def _seconds(us: int | None) -> float | None:
    return None if us is None else round(us / 1e6, 3)


def _tried(exchange: Any, index: int, final: str | None) -> str | None:
    """nginx's form: the values of all tries, separated by ", "."""
    parts = [t[index] for t in exchange.facts()["tries"] or ()]
    if final is not None:
        parts.append(final)
    return ", ".join(parts) or None


def _upstream_addr(exchange: Any) -> str | None:
    facts = exchange.facts()
    return _tried(exchange, 0, exchange.address_text() if facts["endpoint"] is not None else None)


def _upstream_status(exchange: Any) -> str | int | None:
    facts = exchange.facts()
    if facts["endpoint"] is None:
        return None
    if not facts["tries"]:
        return facts["upstream_status"] or (facts["status"] or None)
    return _tried(exchange, 1, str(facts["upstream_status"] or facts["status"]))


def _upstream_time(key: str) -> Callable[[Any], Any]:
    return lambda exchange: _seconds(exchange.facts()[key])


def _balancer_ip(exchange: Any) -> str | None:
    if exchange.facts()["endpoint"] is None:
        return None
    text: str = exchange.address_text()
    return text.rpartition(":")[0].strip("[]")


def _balancer_port(exchange: Any) -> int | None:
    endpoint = exchange.facts()["endpoint"]
    return None if endpoint is None else endpoint.port


def _upstream_host(exchange: Any) -> str | None:
    upstream = exchange.upstream_config
    request = exchange.ensure()
    if request.upstream_host:
        return str(request.upstream_host)
    if upstream is None:
        return None
    if upstream.pass_host == "rewrite":
        return str(upstream.upstream_host)
    if upstream.pass_host == "node":
        endpoint = exchange.facts()["endpoint"]
        return None if endpoint is None else endpoint.host
    return str(request.authority)


def _proxied(attribute: str) -> Callable[[Any], Any]:
    def read(exchange: Any) -> Any:
        header = exchange.proxied
        return None if header is None or header.source is None else getattr(header, attribute)

    return read


VARIABLES: dict[str, Callable[[Any], Any]] = {
    **TLS_VARIABLES,
    "status": lambda x: x.facts()["status"] or None,
    "request_time": lambda x: _seconds(x.facts()["request_us"]),
    "request_length": lambda x: x.facts()["request_length"],
    "bytes_sent": lambda x: x.facts()["sent"],
    "body_bytes_sent": lambda x: max(0, x.facts()["sent"] - x.facts()["head_bytes"]),
    "upstream_addr": _upstream_addr,
    "upstream_status": _upstream_status,
    "upstream_response_time": _upstream_time("response_us"),
    "upstream_header_time": _upstream_time("header_us"),
    "upstream_connect_time": _upstream_time("connect_us"),
    "apisix_upstream_response_time": lambda x: (
        None if x.facts()["response_us"] is None else round(x.facts()["response_us"] / 1000)
    ),
    "upstream_scheme": lambda x: None if x.upstream_config is None else x.upstream_config.scheme,
    "upstream_host": _upstream_host,
    "upstream_uri": lambda x: x.ensure().upstream_target,
    "upstream_unresolved_host": lambda x: None if x.facts()["endpoint"] is None else x.facts()["endpoint"].host,
    "balancer_ip": _balancer_ip,
    "balancer_port": _balancer_port,
    "matched_uri": lambda x: x.facts()["pattern"],
    "matched_host": lambda x: x.facts()["host_pattern"],
    "response_source": lambda x: x.facts()["source"],
    "connection_requests": lambda x: x.facts()["connection_requests"],
    "request_completion": lambda x: "OK" if x.finished and x.facts()["status"] != 499 else "",
    "request_body": lambda x: _text(x.held_body()),
    "error": lambda x: x.facts()["failure"],
    "proxy_protocol_addr": _proxied("source"),
    "proxy_protocol_port": _proxied("source_port"),
    "proxy_protocol_server_addr": _proxied("destination"),
    "proxy_protocol_server_port": _proxied("destination_port"),
}


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "replace")
