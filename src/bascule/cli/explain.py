"""`bascule explain`: what would happen to a request, and why; `bascule debug-token`: the same of live requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bascule.cli.gateway_client import GatewayClient
from bascule.cli.refusal import fail
from bascule.cli.settings_file import Configured
from bascule.cli.telling import console, tell_json
from bascule.cli.working import with_gateway
from bascule.model.quantity import duration_s


def explain(
    config: Path | None,
    method: str,
    url: str,
    *,
    headers: list[str],
    client: str,
    consumer: str | None,
    as_json: bool,
) -> int:
    pairs = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            return fail(f"-H {header!r}: a header is written as 'Name: value'", 2)
        pairs.append([name.strip(), value.strip()])
    asked = {"method": method, "url": url, "headers": pairs, "client": client, "consumer": consumer}

    def work(gateway: GatewayClient, configured: Configured) -> int:
        told = gateway.explain(asked)
        if as_json:
            tell_json(told)
        else:
            _tell(console(), told)
        return 0

    return with_gateway(config, work)


def debug_token(config: Path | None, valid_for: str) -> int:
    try:
        valid_s = duration_s(valid_for)
    except ValueError as error:
        return fail(f"--for: {error}", 2)

    def work(gateway: GatewayClient, configured: Configured) -> int:
        print(gateway.debug_token(valid_s))
        return 0

    return with_gateway(config, work)


def _tell(out: Console, told: dict[str, Any]) -> None:
    asked = told["request"]
    out.print(f"[bold]{escape(asked['method'])} {escape(str(asked['path']))}[/] on host {escape(asked['host'])}")
    _tell_candidates(out, told["candidates"])
    if told.get("consumer"):
        out.print(escape(told["consumer"]), style="red")
    _tell_plugins(out, told.get("plugins", ()))
    upstream = told.get("upstream")
    if upstream:
        out.print(f"\n[bold]Upstream[/] {escape(upstream['key'])} ({upstream['type']}, {upstream['scheme']}):", end=" ")
        out.print(escape(upstream["choice"]))
        for node in upstream["nodes"]:
            out.print(f"  {escape(node['node'])}  weight {node['weight']}  {node['share']:.1%}")
    answer = told.get("answer")
    if answer:
        out.print(f"\nThe gateway itself answers [bold red]{answer['status']}[/]: {escape(answer['reason'])}")


def _tell_candidates(out: Console, candidates: list[dict[str, Any]]) -> None:
    if not candidates:
        out.print("No route's path fits.")
        return
    table = Table(title="Routes whose path fits, in the order they are tried", title_justify="left", box=None)
    for name in ("route", "uris", ""):
        table.add_column(name, overflow="fold")
    for row in candidates:
        why = "[green]matches[/]" if row["matches"] else escape(row["reason"])
        table.add_row(escape(row["route"]), escape(" ".join(row["uris"])), why)
    out.print(table)


def _tell_plugins(out: Console, plugins: list[dict[str, Any]]) -> None:
    if not plugins:
        return
    table = Table(title="\nPlugins, in the order they run", title_justify="left", box=None)
    for name in ("plugin", "from", "priority", "phases"):
        table.add_column(name, overflow="fold")
    for row in plugins:
        if row["runs"]:
            phases = " ".join(row["phases"])
            if "state" in row:
                phases += "\n" + escape(", ".join(f"{name} {value}" for name, value in row["state"].items()))
            table.add_row(row["name"], escape(row["from"]), str(row["priority"]), phases)
        else:
            table.add_row(row["name"], escape(row["from"]), "", f"[yellow]doesn't run: {escape(row['reason'])}[/]")
    out.print(table)
