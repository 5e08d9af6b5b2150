"""Tables as plain data: what a request could observe of them."""

from __future__ import annotations

from typing import Any

from bascule.snapshot.chain import PHASES, Chain
from bascule.snapshot.compiled_route import CompiledRoute
from bascule.snapshot.tables import Tables


def chain_summary(chain: Chain) -> dict[str, list[str]]:
    """Phase -> "plugin(tag of its conf)" in order, leaving out empty phases."""
    summary = {}
    for phase in PHASES:
        hooks = getattr(chain, phase)
        if hooks:
            summary[phase] = [_hook(hook) for hook in hooks]
    return summary


def _hook(hook: Any) -> str:
    plugin = getattr(hook.call, "__self__", None)
    return f"{hook.plugin}({'refuses' if plugin is None else plugin.conf.tag})"


def route_summary(tables: Tables, route: CompiledRoute) -> dict[str, Any]:
    summary: dict[str, Any] = {"id": route.id, "service": route.service_name, "websocket": route.websocket}
    if route.upstream is not None:
        summary["upstream"] = f"{route.upstream.key} {[f'{n.host}:{n.port}*{n.weight}' for n in route.upstream.nodes]}"
    for attribute in ("service_missing", "refusal", "upstream_missing", "timeout"):
        if getattr(route, attribute) is not None:
            summary[attribute] = str(getattr(route, attribute))
    summary["chain"] = chain_summary(tables.chain(route))
    return {name: value for name, value in summary.items() if value not in (None, False, {})}


def consumer_summary(tables: Tables, route: CompiledRoute, plugin: str, key: str) -> dict[str, Any] | None:
    binding = tables.find_consumer(plugin, key)
    if binding is None:
        return None
    chain, brought = tables.consumer_chain(route, binding)
    return {
        "consumer": binding.consumer_name,
        "credential": binding.credential_id,
        "group": binding.group_id,
        "chain": chain_summary(chain),
        "brought": [_hook(hook) for hook in brought],
    }


def summary(tables: Tables, probes: list[tuple[str, str]], keys: list[tuple[str, str]]) -> dict[str, Any]:
    """`probes`: (host, path) of requests; `keys`: (auth plugin, key), tried on each route that a probe finds."""
    routes: dict[str, Any] = {}
    for host, path in probes:
        route = tables.router.match("GET", host, path)
        routes[f"{host}{path}"] = None if route is None else route_summary(tables, route)
        if route is not None and keys:
            routes[f"{host}{path}"]["consumers"] = {
                f"{plugin}:{key}": consumer_summary(tables, route, plugin, key) for plugin, key in keys
            }
    return {
        "requests": routes,
        "global": chain_summary(tables.global_chain),
        "broken_global": tables.broken_global,
        "errors": sorted(map(str, tables.refused)),
        "counts": {kind: count for kind, count in tables.counts.items() if count},
    }
