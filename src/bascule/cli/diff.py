"""`bascule diff`: what a revision changed, or what lies between two."""

from __future__ import annotations

from pathlib import Path

from bascule.cli.gateway_client import GatewayClient
from bascule.cli.settings_file import Configured
from bascule.cli.telling import console, tell_json, tell_plan
from bascule.cli.working import with_gateway


def diff(config: Path | None, first: int | None, second: int | None, *, as_json: bool) -> int:
    """Without revisions: what the latest changed. With one: from it to now."""

    def work(gateway: GatewayClient, configured: Configured) -> int:
        if first is None:
            latest = gateway.history(limit=1, before=None, prefix="")
            steps = gateway.revision(latest[0]["revision"])["changes"] if latest else []
        else:
            steps = gateway.between(first, second)
        if as_json:
            tell_json(steps)
        elif steps:
            tell_plan(console(), steps)
        else:
            print("no difference")
        return 0

    return with_gateway(config, work)
