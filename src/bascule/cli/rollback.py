"""`bascule rollback`: puts the resources of an older revision in place, as a new one."""

from __future__ import annotations

from pathlib import Path

from bascule.cli.agreeing import carry_out
from bascule.cli.gateway_client import GatewayClient
from bascule.cli.settings_file import Configured
from bascule.cli.working import with_gateway


def rollback(config: Path | None, revision: int, *, yes: bool, check: bool, as_json: bool) -> int:
    """Shows the plan and asks."""

    def work(gateway: GatewayClient, configured: Configured) -> int:
        return carry_out(lambda agreed: gateway.rollback(revision, agreed), yes=yes, check=check, as_json=as_json)

    return with_gateway(config, work)
