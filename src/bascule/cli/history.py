"""`bascule history`: who changed what and when."""

from __future__ import annotations

from pathlib import Path

from bascule.cli.gateway_client import GatewayClient
from bascule.cli.settings_file import Configured
from bascule.cli.telling import console, tell_history, tell_json
from bascule.cli.working import with_gateway


def history(config: Path | None, *, limit: int, before: int | None, prefix: str, as_json: bool) -> int:
    """Prints revisions, newest first."""

    def work(gateway: GatewayClient, configured: Configured) -> int:
        found = gateway.history(limit=limit, before=before, prefix=prefix)
        if as_json:
            tell_json(found)
        elif found:
            tell_history(console(), found)
        else:
            print("no revisions")
        return 0

    return with_gateway(config, work)
