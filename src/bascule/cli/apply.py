"""`bascule apply`: makes the configuration what a file says."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from bascule.admin.document import BodyRefused, parse_body
from bascule.cli.agreeing import carry_out
from bascule.cli.gateway_client import Change, GatewayClient
from bascule.cli.refusal import fail, fail_with
from bascule.cli.settings_file import Configured
from bascule.cli.working import with_gateway


def apply(config: Path | None, file: Path, *, yes: bool, check: bool, prune: bool, note: str, as_json: bool) -> int:
    """Shows the plan and asks. `file` "-": standard input, YAML or JSON."""
    try:
        document = read_document_file(file)
    except OSError as error:
        return fail_with(error)
    except BodyRefused as error:
        return fail(f"{file}: {error}")
    change = Change({} if document is None else document, prune, note)

    def work(gateway: GatewayClient, configured: Configured) -> int:
        return carry_out(lambda agreed: gateway.apply(change, agreed), yes=yes, check=check, as_json=as_json)

    return with_gateway(config, work, create=True)


def read_document_file(file: Path) -> Any:
    """JSON when the name ends so, else YAML (which JSON is, too); `${{NAME}}` is from the environment. Raises
    OSError, BodyRefused."""
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    if file.suffix == ".json" and b"${{" not in data:
        return parse_body(data, "application/json")
    return parse_body(data, "application/yaml", os.environ)
