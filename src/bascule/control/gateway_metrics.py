"""The gateway's own metrics, beside what plugins count: connections, requests, workers, configuration."""

from __future__ import annotations

import os

from bascule.control.fleet import Fleet
from bascule.observe.metrics import Metrics


def set_gateway_metrics(
    metrics: Metrics,
    fleet: Fleet,
    *,
    prefix: str,
    generation: int,
    refused: int,
    reload_errors: int,
    store_ok: bool,
    evictions: int,
) -> None:
    """Brings the registry up to date before it is rendered. `prefix` is that of APISIX's names ("apisix_")."""

    def gauge(name: str, text: str, value: float) -> None:
        metrics.gauge(name, text).child(()).set(value)

    connections = metrics.gauge(f"{prefix}nginx_http_current_connections", "Number of HTTP connections", ("state",))
    active, busy = fleet.total("active_connections"), fleet.total("exchanges")
    accepted, requests = fleet.total("accepted"), fleet.total("requests")
    for state, value in (
        ("active", active),
        ("accepted", accepted),
        ("handled", accepted - fleet.total("turned_away")),
        ("total", requests),
        ("reading", 0),
        ("writing", busy),
        ("waiting", max(0, active - busy)),
    ):
        connections.child((state,)).set(value)
    gauge(f"{prefix}http_requests_total", "The total number of client requests", requests)
    gauge(f"{prefix}etcd_reachable", "Whether the configuration store can be read", int(store_ok))
    metrics.gauge(f"{prefix}node_info", "Info of the gateway node", ("hostname",)).child((os.uname().nodename,)).set(1)
    gauge("bascule_workers", "Workers that serve", sum(slot.ready.is_set() for slot in fleet.slots))
    gauge("bascule_worker_restarts", "Workers that ended and were started again", fleet.restarts)
    gauge("bascule_config_generation", "Number of the present configuration", generation)
    gauge("bascule_config_refused", "Resources, or parts of them, that are refused", refused)
    gauge("bascule_config_errors", "Changes of the configuration that brought errors, since the start", reload_errors)
    gauge("bascule_upstream_failures", "Tries at an upstream that failed", fleet.total("upstream_failures"))
    gauge("bascule_upstream_endpoints", "Addresses of nodes that workers hold", fleet.total("endpoints"))
    gauge("bascule_upstream_retries", "Tries that were repeated", fleet.total("retries"))
    gauge("bascule_shared_counter_evictions", "Rate-limit counters given up because their place was full", evictions)
    gauge("bascule_refused_heads", "Requests whose head was refused", fleet.total("refused_heads"))
    refused_proxies = fleet.total("refused_proxies")
    gauge("bascule_refused_proxies", "Connections without the PROXY header that was due", refused_proxies)
    gauge("bascule_http2_connections", "Open HTTP/2 connections of clients", fleet.total("http2_connections"))
    gauge("bascule_http2_streams", "Requests that came by HTTP/2", fleet.total("http2_streams"))
    gauge("bascule_tls_handshakes", "TLS handshakes with clients", fleet.total("tls_handshakes"))
    gauge(
        "bascule_tls_resumptions", "Those of them that went on with an earlier session", fleet.total("tls_resumptions")
    )
