"""What every Envoy of the benchmarks has: one listener, one cluster "pool", one worker."""

from pathlib import Path
from typing import Any

import yaml

TYPES = "type.googleapis.com/envoy.extensions"


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def manager(route_config: dict[str, Any], router: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """The connection manager; `router`: settings of the filter that forwards."""
    name = "envoy.filters.http.router"
    return {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "route_config": route_config,
        "http_filters": [
            {"name": name, "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router", **(router or {})}}
        ],
        **options,
    }


def cluster(endpoints: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    return {
        "name": "pool",
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": "pool", "endpoints": [{"lb_endpoints": endpoints}]},
        **options,
    }


def command(
    binary: Path, directory: Path, port: int, manager: dict[str, Any], cluster: dict[str, Any], log_level: str
) -> list[str]:
    """Writes the configuration; the command that serves it."""
    config = {
        "static_resources": {
            "listeners": [
                {
                    "name": "main",
                    "address": address(port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [cluster],
        }
    }
    conf = directory / "envoy.yaml"
    conf.write_text(yaml.safe_dump(config))
    return [str(binary), "-c", str(conf), "--concurrency", "1", "--base-id", str(port), "-l", log_level]
