"""`bascule export`: the whole configuration as a standalone document."""

from __future__ import annotations

import sys
from pathlib import Path

from bascule.admin.document import as_json, as_yaml
from bascule.cli.gateway_client import GatewayClient
from bascule.cli.settings_file import Configured
from bascule.cli.working import with_gateway


def export(config: Path | None, *, format: str, revision: int | None, times: bool, hide_secrets: bool) -> int:
    """Prints it; the same configuration gives the same text."""

    def work(gateway: GatewayClient, configured: Configured) -> int:
        document = gateway.export(revision=revision, times=times, hide_secrets=hide_secrets)
        sys.stdout.buffer.write(as_json(document) if format == "json" else as_yaml(document))
        sys.stdout.flush()
        return 0

    return with_gateway(config, work)
