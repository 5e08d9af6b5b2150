"""The HTTP servers that a gateway has for its operators: the Admin API and the Control API.

What they need is imported when they start, while workers come up already.
"""

from __future__ import annotations

import logging
from functools import cache, partial
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING

from bascule.admin.access import BASE, Access
from bascule.admin.tls import admin_tls
from bascule.cli.composition import Parts, debug_key, prefix_of
from bascule.cli.settings_file import Configured
from bascule.cli.whole_configuration import make_whole
from bascule.control.http_service import HttpService
from bascule.control.supervisor import Supervisor
from bascule.engine.live_trace import make_token
from bascule.model.admin_settings import AdminKey
from bascule.store import generated

if TYPE_CHECKING:
    from bascule.admin.http import AdminApi
    from bascule.control.control_api import ControlApi

log = logging.getLogger("bascule.admin")


def admin_keys(configured: Configured) -> tuple[tuple[AdminKey, ...], str | None]:
    """With the generated one filled in, and that one if it is new: it is shown once."""
    new = None
    keys = []
    for key in configured.settings.deployment.admin.admin_key:
        if not key.key:
            value, fresh = generated.admin_key(configured.store_folder)
            new = value if fresh else new
            key = key.model_copy(update={"key": value})
        keys.append(key)
    return tuple(keys), new


def add_services(configured: Configured, parts: Parts, supervisor: Supervisor) -> str | None:
    """The supervisor's further HTTP servers; what is to be said once. Raises as `make_parts`, and ConfigRefused."""
    settings = configured.settings
    supervisor.discovery.types = parts.discovery
    if settings.apisix.enable_control:
        control = settings.apisix.control
        control_api = cache(partial(_control_api, configured, parts, supervisor))
        supervisor.add_service(
            HttpService("control", "the Control API", lambda: control_api().app(), control.ip, control.port, "/v1")
        )
    admin = settings.deployment.admin
    if not settings.serves_admin:
        return None
    try:
        keys, new = admin_keys(configured) if admin.admin_key_required else ((), None)
    except generated.SecretFileRefused as error:
        if parts.store is not None:
            raise
        # Whoever serves from a file needs no Admin API, and may have nowhere to write.
        log.warning("no Admin API: %s; give a key in deployment.admin.admin_key", error)
        return None
    admin_api = cache(partial(_admin_api, configured, parts, supervisor, keys))
    listen, tls = admin.admin_listen, admin_tls(admin)
    supervisor.add_service(
        HttpService("admin", "the Admin API", lambda: admin_api().app(), listen.ip, listen.port, BASE, tls)
    )
    if new is None:
        return None
    return f"the key of the Admin API, shown this once (it is kept in {configured.store_folder / 'admin.key'}): {new}"


def _admin_api(configured: Configured, parts: Parts, supervisor: Supervisor, keys: tuple[AdminKey, ...]) -> AdminApi:
    from bascule.admin.explain_http import ExplainApi
    from bascule.admin.http import AdminApi, handlers_of
    from bascule.admin.openapi import OpenApi
    from bascule.admin.schema_handlers import SchemaHandlers
    from bascule.admin.schemas import Schemas
    from bascule.admin.whole_http import WholeApi

    def reload() -> None:
        parts.registry.reload()
        supervisor.reload_plugins()

    admin = configured.settings.deployment.admin
    commit = None if parts.administration is None else parts.administration.commit
    whole = make_whole(configured, parts.registry, parts.validator, parts.store, parts.sealer, commit)
    schemas = Schemas(parts.registry)
    return AdminApi(
        parts.administration,
        admin,
        Access(admin, keys),
        applied=supervisor.applied,
        handlers=handlers_of(
            SchemaHandlers(schemas, parts.validator.check, reload).table(),
            WholeApi(whole.form, whole.history).handlers(),
            OpenApi(schemas, version=package_version("bascule"), resources=parts.store is not None).handlers(),
            ExplainApi(supervisor.questions.explain, partial(make_token, debug_key(configured))).handlers(),
        ),
    )


def _control_api(configured: Configured, parts: Parts, supervisor: Supervisor) -> ControlApi:
    from bascule.admin.defaults import Defaults
    from bascule.admin.schema_document import schema_document
    from bascule.admin.schemas import Schemas
    from bascule.control.control_api import ControlApi, Powers

    async def reload() -> bool:
        parts.registry.reload()
        return await supervisor.reload()

    schemas = Schemas(parts.registry)
    powers = Powers(
        schema=lambda: schema_document(schemas),
        complete=Defaults(parts.registry).complete,
        reload=reload,
        collect_garbage=supervisor.collect_garbage,
        outliers=supervisor.outliers,
        discovery=supervisor.discovery.dump,
        discovery_file=supervisor.discovery.dump_file,
        health=supervisor.health.describe,
    )
    return ControlApi(supervisor.configuration, powers, "" if parts.store is None else prefix_of(configured))
