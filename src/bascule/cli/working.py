"""What every command on the configuration does around its work: finds the gateway, and says in one line what failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from bascule.cli.gateway_client import GatewayClient, GatewayRefused
from bascule.cli.refusal import count, fail, fail_with
from bascule.cli.settings_file import Configured, read_settings
from bascule.cli.version import missing_modules
from bascule.errors.config_error import ConfigRefused


def with_gateway(config: Path | None, work: Callable[[GatewayClient, Configured], int], *, create: bool = False) -> int:
    """The exit code of `work`, or 1. `create`: a store that isn't there yet is made."""
    missing = missing_modules()
    if missing:
        return fail(f"not compiled: {', '.join(missing)}; build the package again (pip install .)")
    try:
        configured = read_settings(config)
    except (ConfigRefused, OSError) as error:
        return fail_with(error)
    try:
        gateway = connect(configured, create=create)
        try:
            return work(gateway, configured)
        finally:
            gateway.close()
    except GatewayRefused as refused:
        for line in refused.errors:
            print(line, file=sys.stderr)
        if len(refused.errors) > 1:
            return fail(f"{count(len(refused.errors), 'error')}; nothing was changed")
        return fail(str(refused))
    except KeyboardInterrupt:
        return fail("interrupted", 130)


def connect(configured: Configured, *, create: bool) -> GatewayClient:
    """The gateway that runs; the store itself when nothing listens. Raises GatewayRefused."""
    from bascule.cli.http_gateway import HttpGateway, NothingListens

    if configured.settings.serves_admin:
        try:
            return HttpGateway(configured)
        except NothingListens:
            pass  # its store, then
    # Half a second of imports that only this way needs.
    from bascule.cli.offline_gateway import OfflineGateway

    return OfflineGateway(configured, create=create)
