"""`bascule status`: how the gateway that runs is doing, asked of its status server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bascule.cli.refusal import count, fail, fail_with
from bascule.cli.settings_file import read_settings
from bascule.errors.config_error import ConfigError, ConfigRefused

TIMEOUT_S = 5.0
NOT_RUNNING = 2


def status(config: Path | None, as_json: bool) -> int:
    """0: all is well; 1: something is refused, not ready or in trouble; 2: no gateway answers."""
    try:
        address = read_settings(config).settings.apisix.status
    except (ConfigRefused, OSError) as error:
        fail_with(error)
        return NOT_RUNNING
    place = f"[{address.ip}]:{address.port}" if ":" in address.ip else f"{address.ip}:{address.port}"
    try:
        details = _ask(_reachable(address.ip), address.port)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return fail(f"no gateway answers on {place} (apisix.status): {reason.lower()}", NOT_RUNNING)
    if details is None:
        return fail(f"what answers on {place} (apisix.status) isn't Bascule", NOT_RUNNING)
    troubles = list(_troubles(details))
    print(json.dumps(details, indent=2) if as_json else _told(details, troubles))
    return 1 if troubles else 0


def _reachable(ip: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)


def _ask(host: str, port: int) -> dict[str, Any] | None:
    """None: the answer is somebody else's."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/status/details")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    try:
        details = json.loads(body)
    except ValueError:
        return None
    return details if answer.status == 200 and isinstance(details, dict) and "latest_generation" in details else None


def _troubles(details: dict[str, Any]) -> Iterator[str]:
    """What is wrong, a line for each thing."""
    for worker in details["workers"]:
        if not worker["ready"]:
            last = f": it ended last with {worker['last_exit']}" if worker["last_exit"] else ""
            yield f"worker {worker['id']} does not serve{last}"
    generation, latest = details["generation"], details["latest_generation"]
    if generation < latest:
        yield f"a worker serves generation {generation}, not yet {latest}"
    if details["store"]["trouble"]:
        yield f"the store: {details['store']['trouble']}"
    if details["broken_global"]:
        yield f"no request is served: {details['broken_global']}"
    for entry in details["refused"]:
        error = ConfigError(entry["kind"], entry["id"], entry["path"], entry["message"], entry["file"], entry["line"])
        yield str(error)
    for entry in details["secrets"]["stale"]:
        yield f"an older value is in use: {entry['message']}"
    for entry in details.get("certificates", ()):
        if entry["trouble"]:
            yield f"certificate for {', '.join(entry['names'])}: {entry['trouble']}; tried again at {entry['next']}"
    for reason in details["plugin_errors"].values():
        yield f"plugin code {reason}"
    for name in details["unknown_plugins"]:
        yield f'the list of plugins names "{name}", and there is none of that name'


def _told(details: dict[str, Any], troubles: list[str]) -> str:
    listening = [*details["listening"], *details["services"]]
    lines = [
        f"bascule {details['version']}, process {details['pid']}, up {_duration(details['uptime_s'])}",
        f"generation {details['generation']}, {count(details['resources'], 'resource')}, "
        f"from {details['store']['provider']}",
        *(f"listening on {place}" for place in listening),
    ]
    for entry in details.get("certificates", ()):
        until = f"valid until {entry['until']}, renewed at {entry['next']}" if entry["until"] else "not obtained yet"
        lines.append(f"certificate for {', '.join(entry['names'])}: {until}")
    outside = [
        *_unhealthy(details.get("health", {})),
        *_outliers(details.get("outliers", ()), len(details["workers"])),
        *_registries(details.get("discovery", {})),
    ]
    lines += outside
    if details["workers"]:
        rows = [("worker", "pid", "uptime", "generation", "restarts", "last exit")]
        for worker in details["workers"]:
            uptime = _duration(worker["uptime_s"]) if worker["ready"] else "does not serve"
            rows.append(
                (
                    str(worker["id"]),
                    str(worker["pid"] or "-"),
                    uptime,
                    str(worker["generation"]),
                    str(worker["restarts"]),
                    worker["last_exit"] or "-",
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines.append("")
        lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append("")
    if troubles:
        lines += [f"{count(len(troubles), 'trouble')}:", *(f"  {text}" for text in troubles)]
    else:
        lines.append("the gateway is well, but not all that it needs: see above" if outside else "all is well")
    return "\n".join(lines)


def _unhealthy(health: dict[str, Any]) -> Iterator[str]:
    """Nodes that get no requests."""
    nodes = health.get("unhealthy_nodes", ())
    for node in nodes:
        yield f"{node['upstream']}: node {node['node']} is {node['status']} since {node['since']}: {node['reason']}"
    if len(nodes) < health.get("unhealthy", 0):
        yield f"and {health['unhealthy'] - len(nodes)} more"


def _outliers(nodes: Sequence[dict[str, Any]], workers: int) -> Iterator[str]:
    """Nodes that workers leave out by themselves."""
    for node in nodes:
        what = f"ejected ({node['reason']})" if node["state"] == "ejected" else f"breaker {node['state']}"
        yield f"{node['upstream']}: node {node['node']}: {what} in {node['workers']} of {workers} workers"


def _registries(discovery: dict[str, Any]) -> Iterator[str]:
    """What fails at the registries of services, and services that have no nodes."""
    for type, details in discovery.items():
        told = set()
        for trouble in details["troubles"]:
            service = trouble.get("service")
            told.add(service)
            yield f"discovery {service}: {trouble['message']}" if service else f"discovery {type}: {trouble['message']}"
        if details.get("more"):
            yield f"discovery {type}: and {details['more']} more"
        yield from (
            f"discovery {service}: has no nodes" for service in details.get("unknown", ()) if service not in told
        )


def _duration(seconds: float) -> str:
    """The two largest units."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])
