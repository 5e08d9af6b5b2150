"""`bascule import openapi`: an OpenAPI document as a service and routes."""

from __future__ import annotations

import sys
from pathlib import Path

from bascule.admin.document import BodyRefused, as_json, as_yaml, parse_body
from bascule.admin.openapi_import import Imported, import_openapi
from bascule.admin.openapi_schema import OpenApiRefused
from bascule.cli.agreeing import carry_out
from bascule.cli.gateway_client import Change, GatewayClient
from bascule.cli.refusal import fail, fail_with
from bascule.cli.settings_file import Configured, read_settings
from bascule.cli.working import with_gateway
from bascule.errors.config_error import ConfigRefused


def import_file(
    config: Path | None,
    file: Path,
    *,
    name: str | None,
    upstream: str | None,
    apply: bool,
    yes: bool,
    format: str,
) -> int:
    """Prints the document, or applies it to what there is. What can't be checked is told on stderr."""
    try:
        imported = _read(file, read_settings(config).settings.apisix.router.http, name, upstream)
    except (ConfigRefused, OSError) as error:
        return fail_with(error)
    except (BodyRefused, OpenApiRefused) as error:
        return fail(f"{file}: {error}")
    for note in imported.notes:
        print(f"note: {note}", file=sys.stderr)
    if not apply:
        sys.stdout.buffer.write(as_json(imported.document) if format == "json" else as_yaml(imported.document))
        sys.stdout.flush()
        return 0
    change = Change(imported.document, False, f"import of {file.name}"[:256])

    def work(gateway: GatewayClient, configured: Configured) -> int:
        return carry_out(lambda agreed: gateway.apply(change, agreed), yes=yes)

    return with_gateway(config, work, create=True)


def _read(file: Path, router: str, name: str | None, upstream: str | None) -> Imported:
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    document = parse_body(data, "application/json" if file.suffix == ".json" else "application/yaml")
    return import_openapi(document, router=router, name=name, upstream=upstream)
