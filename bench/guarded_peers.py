"""The gateways with what each offers against failing nodes: three nodes, the same time limits and health checks.

Nothing may carry a POST out twice, so none of them sends one again once its bytes went out.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import envoy as envoy_config
from bench.peers import BIN, Peer, start_bascule, start_peer
from tests.servers.ports import free_port


def nginx(nodes: Sequence[int], directory: Path) -> Peer:
    """It has no active checks, and counts failures of requests."""
    port = free_port()
    servers = "".join(f"server 127.0.0.1:{node} max_fails=1 fail_timeout=5s;\n" for node in nodes)
    conf = directory / "nginx.conf"
    conf.write_text(f"""
daemon off; user root; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_connect_timeout 1s; proxy_read_timeout 1s; proxy_send_timeout 1s;
    proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504;
    proxy_next_upstream_tries 3;
    upstream pool {{ {servers} keepalive 64; }}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://pool; }} }}
}}
""")
    return start_peer("nginx", ["/usr/sbin/nginx", "-p", str(directory), "-c", str(conf)], directory, port)


def haproxy(nodes: Sequence[int], directory: Path) -> Peer:
    port = free_port()
    servers = "".join(f"    server n{node} 127.0.0.1:{node}\n" for node in nodes)
    conf = directory / "haproxy.cfg"
    conf.write_text(f"""
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 1s
    option http-keep-alive
    option redispatch 1
    retries 2
    retry-on all-retryable-errors
    default-server check inter 1s fall 2 rise 2 observe layer7 error-limit 3 on-error mark-down
frontend main
    bind 127.0.0.1:{port}
    http-request disable-l7-retry if METH_POST
    default_backend pool
backend pool
    balance roundrobin
    option httpchk GET /health
{servers}""")
    return start_peer("haproxy", ["/usr/sbin/haproxy", "-db", "-f", str(conf)], directory, port)


def envoy(nodes: Sequence[int], directory: Path) -> Peer:
    port = free_port()

    def route(match: dict[str, Any], retry_on: str) -> dict[str, Any]:
        policy = {
            "retry_on": retry_on,
            "num_retries": 2,
            "per_try_timeout": "1s",
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": f"{envoy_config.TYPES}.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                    },
                }
            ],
            "host_selection_retry_max_attempts": 5,
        }
        return {"match": match, "route": {"cluster": "pool", "timeout": "5s", "retry_policy": policy}}

    post = {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}
    routes = [
        route(post, "connect-failure,refused-stream"),
        route({"prefix": "/"}, "connect-failure,refused-stream,reset,5xx"),
    ]
    cluster = envoy_config.cluster(
        [{"endpoint": {"address": envoy_config.address(number)}} for number in nodes],
        connect_timeout="1s",
        health_checks=[
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 2,
                "http_health_check": {"path": "/health"},
            }
        ],
        outlier_detection={
            "consecutive_5xx": 3,
            "consecutive_gateway_failure": 3,
            "enforcing_consecutive_gateway_failure": 100,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_percent": 50,
        },
    )
    manager = envoy_config.manager({"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]})
    argv = envoy_config.command(BIN / "envoy", directory, port, manager, cluster, "error")
    return start_peer("envoy", argv, directory, port)


CHECKS = {
    "active": {
        "http_path": "/health",
        "timeout": 1,
        "healthy": {"interval": 1, "successes": 2},
        "unhealthy": {"interval": 1, "http_failures": 2, "tcp_failures": 2, "timeouts": 2},
    },
    "passive": {"unhealthy": {"http_failures": 3, "tcp_failures": 1, "timeouts": 1}},
}


def bascule(nodes: Sequence[int], directory: Path, hedge: dict[str, float] | None = None) -> Peer:
    guards = json.loads((Path(__file__).parent / "guarded_bascule.json").read_text())
    if hedge is not None:
        guards["retry_policy"]["hedge"] = hedge
    upstream = {
        "nodes": {f"127.0.0.1:{node}": 1 for node in nodes},
        "retries": 2,
        "timeout": {"connect": 1, "send": 1, "read": 1},
        "checks": CHECKS,
        **guards,
    }
    resources = {"routes": [{"id": 1, "uri": "/*", "upstream": upstream}]}
    return start_bascule("bascule", resources, directory, "0-1")


def hedging(nodes: Sequence[int], directory: Path) -> Peer:
    """Bascule with hedged requests besides."""
    return bascule(nodes, directory, {"delay": 0.05})


GUARDED: dict[str, Callable[[Sequence[int], Path], Peer]] = {
    "bascule": bascule,
    "bascule-hedging": hedging,
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": envoy,
}
