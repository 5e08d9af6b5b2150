"""Keys of config.yaml that APISIX knows and Bascule doesn't need: taken out before the check, and named at start.

`*` stands for any key of a mapping or any item of a list. The first pattern that fits gives the reason. What stands
under an ignored key is ignored with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LUA = "no Lua here"
_SNIPPET = "no nginx underneath that it could go into"
_SNIPPETS = ("main_", "http_", "http_server_", "http_server_location_", "http_admin_", "http_end_", "stream_")
_SHARED = "no shared dicts here"
_STREAM = "TCP and UDP proxying isn't here yet"
_CACHE = "proxy-cache isn't here yet"

IGNORED: tuple[tuple[str, str], ...] = (
    ("apisix.admin_api_version", "it stands in deployment.admin"),
    ("apisix.disable_sync_configuration_during_start", "a worker serves once it has its configuration"),
    ("apisix.enable_dev_mode", "start with --workers 1 instead"),
    ("apisix.enable_resolv_search_option", "its name is enable_resolv_search_opt"),
    ("apisix.enable_reuseport", "every worker always has sockets of its own"),
    ("apisix.extra_lua_cpath", _LUA),
    ("apisix.extra_lua_path", _LUA),
    ("apisix.lua_module_hook", _LUA),
    ("apisix.lru", "see `bascule.secret_refresh`"),
    ("apisix.proxy_cache", _CACHE),
    ("apisix.proxy_protocol.enable_tcp_pp", _STREAM),
    ("apisix.proxy_protocol.enable_tcp_pp_to_upstream", _STREAM),
    ("apisix.stream_proxy", _STREAM),
    ("apisix.router.ssl", "there is one way to match SNI"),
    ("apisix.max_post_args_readable_size", "post_arg variables have one limit"),
    ("apisix.tracing", "not here yet"),
    ("apisix.worker_startup_time_threshold", "no worker is judged by the time since its start"),
    ("apisix.events", "workers hear of changes from the supervisor"),
    ("deployment.admin.enable_admin_ui", "there is no dashboard"),
    ("deployment.etcd.use_grpc", "etcd is spoken to over its HTTP gateway"),
    ("deployment.etcd.health_check_timeout", "an endpoint that failed is tried again after the others"),
    ("deployment.certs", "certificates for etcd stand in deployment.etcd.tls"),
    ("ext-plugin", "plugins are Python here, no runner is needed"),
    ("graphql", "GraphQL matching isn't here yet"),
    ("stream_plugins", _STREAM),
    ("wasm", "no Wasm here"),
    ("xrpc", _STREAM),
    ("nginx_config.user", "Bascule runs as who starts it"),
    ("nginx_config.envs", "$env:// may name every variable"),
    ("nginx_config.max_pending_timers", "timers have no such limit here"),
    ("nginx_config.max_running_timers", "timers have no such limit here"),
    ("nginx_config.meta", _SHARED),
    ("nginx_config.stream", _STREAM),
    *((f"nginx_config.{name}configuration_snippet", _SNIPPET) for name in _SNIPPETS),
    ("nginx_config.http.lua_shared_dict", _SHARED),
    ("nginx_config.http.custom_lua_shared_dict", _SHARED),
    ("nginx_config.http.charset", "answers say their own charset"),
    ("nginx_config.http.proxy_ssl_server_name", "SNI is always sent"),
    ("nginx_config.http.underscores_in_headers", "always on"),
    ("nginx_config.http.variables_hash_max_size", "variables need no table"),
    ("nginx_config.http.real_ip_*", "who may tell the client's address is said by the plugin real-ip"),
    ("nginx_config.http.server_tokens", "use apisix.enable_server_tokens"),
)


@dataclass(frozen=True, slots=True)
class IgnoredKey:
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} ({self.reason})"


def take_ignored(document: dict[str, Any]) -> tuple[dict[str, Any], tuple[IgnoredKey, ...]]:
    """`document` without its ignored keys, and those that were there with something in them."""
    found: list[IgnoredKey] = []
    rest = document
    for pattern, reason in IGNORED:
        parts = pattern.split(".")
        for path in list(_matches(rest, parts)):
            holder, value = rest, _at(rest, path)
            rest = _without(holder, path)
            if value not in (None, "", {}, []):
                found.append(IgnoredKey(".".join(path), reason))
    return rest, tuple(found)


def _matches(value: Any, parts: list[str]) -> Iterator[tuple[str, ...]]:
    if not isinstance(value, dict):
        return
    head, rest = parts[0], parts[1:]
    for key in value:
        if key == head or ("*" in head and _glob(key, head)):
            if not rest:
                yield (key,)
            else:
                for inner in _matches(value[key], rest):
                    yield (key, *inner)


def _glob(key: str, pattern: str) -> bool:
    before, _, after = pattern.partition("*")
    return len(key) >= len(before) + len(after) and key.startswith(before) and key.endswith(after)


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _without(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A copy without the key at `path`; a mapping that becomes empty goes too."""
    key, rest = path[0], path[1:]
    copy = dict(value)
    inner = _without(copy[key], rest) if rest else None
    if inner:
        copy[key] = inner
    else:
        del copy[key]
    return copy
