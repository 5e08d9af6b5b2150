"""What would happen to a request, and why: candidates, the merged plugins and where each comes from, the upstream.

Nothing is run: plugins that decide by themselves (an authentication, a rewrite) are listed, not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bascule.balance.balancer import make_balancer
from bascule.plugin.kit.template import Template
from bascule.plugin.kit.testing import request as paper_request
from bascule.plugin.request import Request
from bascule.snapshot.compiled_route import CompiledRoute
from bascule.snapshot.compiled_upstream import CompiledUpstream
from bascule.snapshot.consumer_binding import ConsumerBinding
from bascule.snapshot.merged_plugins import merge
from bascule.snapshot.plugin_instance import PluginInstance, PluginSet
from bascule.snapshot.tables import Tables
from bascule.wire.target import normalise


class NotARequest(ValueError):
    """What was asked about is no request; the sentence says why."""


def explain(tables: Tables, asked: Mapping[str, Any], flags: tuple[bool, bool] = (False, False)) -> dict[str, Any]:
    """JSON. `asked`: {method, url, headers: [[name, value], …], client, consumer}; all but url may be absent. `flags`:
    match_uri_encoded_slash and normalize_uri_like_servlet. Raises NotARequest."""
    request = _paper(asked)
    path = normalise(request.raw_target.partition("?")[0].encode(), *flags)
    told: dict[str, Any] = {
        "request": {
            "method": request.method,
            "host": request.host,
            "path": None if path is None else path.decode("latin-1"),
            "client": request.remote_addr,
        },
        "candidates": [],
        "route": None,
    }
    if path is None:
        return told | {"answer": _answer(400, "the request path cannot be normalised")}
    if tables.broken_global is not None:
        return told | {"answer": _answer(503, f"a global rule is broken: {tables.broken_global}")}
    rows = tables.router.explain(request.method, request.host, path.decode("latin-1"), request)
    told["candidates"] = [_candidate(route, reason) for route, reason in rows]
    found = next((route for route, reason in rows if reason is None), None)
    consumer, missing = _consumer(tables, asked.get("consumer"))
    told["plugins"] = _plugins(tables, found, consumer, request)
    if missing is not None:
        told["consumer"] = missing
    if found is None:
        return told | {"answer": _answer(404, "no route matches")}
    told["route"] = _route(found)
    told["upstream"] = None if found.upstream is None else _upstream(found, request)
    return told | {"answer": _refusal(found, consumer)}


def _paper(asked: Mapping[str, Any]) -> Request:
    url = asked.get("url")
    if not isinstance(url, str) or not url:
        raise NotARequest("there is no url")
    method = str(asked.get("method") or "GET").upper()
    if "://" not in url and not url.startswith("/"):
        raise NotARequest(f"{url!r} is neither a URL (http://host/path) nor a path")
    try:
        headers = [(str(name), str(value)) for name, value in asked.get("headers") or ()]
        made: Request = paper_request(method, url, headers=headers, remote_addr=str(asked.get("client") or "127.0.0.1"))
    except (ValueError, TypeError, UnicodeError) as error:
        raise NotARequest(f"this can't be a request: {error}") from None
    return made


def _answer(status: int, reason: str) -> dict[str, Any]:
    return {"status": status, "reason": reason}


def _refusal(route: CompiledRoute, consumer: ConsumerBinding | None) -> dict[str, Any] | None:
    """What the gateway answers in place of the upstream, once the plugins have let the request pass."""
    if route.refusal is not None:
        return _answer(503, route.refusal)
    if route.service_missing is not None:
        return _answer(404, route.service_missing)
    if consumer is not None and consumer.plugins is not None and consumer.plugins.refusal is not None:
        return _answer(503, f"the group of consumer {consumer.consumer_name} can't be used")
    if route.upstream_missing is not None:
        return _answer(502, route.upstream_missing)
    if route.upstream is None:
        return _answer(503, "the route has no upstream; only a plugin can answer")
    if not route.upstream.nodes:
        return _answer(503, "the upstream has no nodes")
    return None


def _candidate(route: CompiledRoute, reason: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"route": route.id, "uris": list(route.uris), "matches": reason is None}
    if route.name is not None:
        row["name"] = route.name
    if reason is not None:
        row["reason"] = reason
    return row


def _route(route: CompiledRoute) -> dict[str, Any]:
    found: dict[str, Any] = {"id": route.id, "uris": list(route.uris), "enable_websocket": route.websocket}
    for name in ("name", "service_id", "service_name", "labels"):
        value = getattr(route, name)
        if value is not None:
            found[name] = value
    if route.websocket and route.websocket_limits is not None:
        found["websocket"] = route.websocket_limits.model_dump(exclude_none=True)
    return found


def _consumer(tables: Tables, name: Any) -> tuple[ConsumerBinding | None, str | None]:
    if not name:
        return None, None
    binding = tables.find_consumer_by_name(str(name))
    return binding, None if binding is not None else f"there is no consumer {name}"


def _plugins(
    tables: Tables, route: CompiledRoute | None, consumer: ConsumerBinding | None, request: Request
) -> list[dict[str, Any]]:
    """In the order in which they run: global rules' first, each by falling priority; then what is switched off."""
    sets: tuple[PluginSet, ...] = () if route is None or route.merged is None else route.merged.sets
    if consumer is not None and consumer.plugins is not None:
        sets = (*sets, *consumer.plugins.sets)
    merged = merge(sets)
    chosen = [
        instance for instance in tables.global_instances if not (instance.prefer_route and instance.name in merged)
    ]
    rows = [_plugin(instance, "global rule", request) for instance in _ordered(chosen)]
    rows += [_plugin(instance, _holder(instance, sets), request) for instance in _ordered(list(merged.values()))]
    for plugins in sets:
        for name, instance in plugins.instances.items():
            if instance is merged.get(name):
                continue
            stronger = next((other for other in reversed(sets) if name in other.instances), plugins)
            why = "switched off by _meta.disable" if instance.plugin is None else f"{stronger.holder} has its own"
            rows.append({"name": name, "from": plugins.holder, "runs": False, "reason": why})
    return rows


def _ordered(instances: list[PluginInstance]) -> list[PluginInstance]:
    return sorted(instances, key=lambda instance: (-instance.priority, instance.name))


def _holder(instance: PluginInstance, sets: tuple[PluginSet, ...]) -> str:
    return next(plugins.holder for plugins in reversed(sets) if plugins.instances.get(instance.name) is instance)


def _plugin(instance: PluginInstance, holder: str, request: Request) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": instance.name,
        "from": holder,
        "runs": True,
        "priority": instance.priority,
        "phases": list(instance.hooks()),
    }
    if instance.upstreams:
        row["upstreams"] = [handle.key for handle in instance.upstreams]
    state = None if instance.plugin is None else instance.plugin.present_state()
    if state is not None:
        row["state"] = state
    if instance.filter is not None:
        reason = instance.filter.why(request)
        row["runs"] = reason is None
        if reason is not None:
            row["reason"] = f"_meta.filter: {reason}"
    return row


def _upstream(route: CompiledRoute, request: Request) -> dict[str, Any]:
    upstream = route.upstream
    assert upstream is not None
    timeout = route.timeout or upstream.timeout
    told: dict[str, Any] = {
        "id": upstream.id,
        "key": upstream.key,
        "type": upstream.type,
        "scheme": upstream.scheme,
        "pass_host": upstream.pass_host,
        "retries": max(0, len(upstream.nodes) - 1) if upstream.retries is None else upstream.retries,
        "timeout": None
        if timeout is None
        else {"connect": timeout.connect_s, "send": timeout.send_s, "read": timeout.read_s},
        "nodes": _nodes(upstream),
        "choice": _choice(upstream, request),
    }
    if upstream.name is not None:
        told["name"] = upstream.name
    return told


def _nodes(upstream: CompiledUpstream) -> list[dict[str, Any]]:
    """With each node's share of the requests, where the balancer goes by weight alone."""
    highest = max((node.priority for node in upstream.nodes if node.weight), default=0)
    first = [node for node in upstream.nodes if node.priority == highest]
    total = sum(node.weight for node in first)
    return [
        {
            "node": node.name,
            "weight": node.weight,
            "priority": node.priority,
            "share": round(node.weight / total, 4) if total and node in first else 0.0,
        }
        for node in upstream.nodes
    ]


def _choice(upstream: CompiledUpstream, request: Request) -> str:
    if len(upstream.nodes) == 1:
        return "the only node"
    if upstream.type == "chash":
        key = _hash_key(upstream, request)
        picker = make_balancer(
            "chash",
            [(node.weight, node.priority) for node in upstream.nodes],
            [node.name for node in upstream.nodes],
        )
        index = picker.pick(key, set())
        node = "none" if index < 0 else upstream.nodes[index].name
        return f"by the hash of {' '.join(filter(None, (upstream.hash_on, upstream.hash_key)))} ({key!r}): {node}"
    return {
        "roundrobin": "in turn, by weight",
        "least_conn": "the one with the fewest running requests for its weight",
        "ewma": "the quicker of two picked at random",
        "p2c": "the less busy of two picked at random, by weight",
    }.get(upstream.type, upstream.type)


def _hash_key(upstream: CompiledUpstream, request: Request) -> str:
    key = upstream.hash_key or ""
    if upstream.hash_on == "consumer":
        value: Any = request.var("consumer_name")
    elif upstream.hash_on == "header":
        value = request.header(key)
    elif upstream.hash_on == "cookie":
        value = request.var(f"cookie_{key}")
    elif upstream.hash_on == "vars_combinations":
        value = Template(key)(request)
    else:
        value = request.var(key)
    return str(value) if value not in (None, "") else request.remote_addr
