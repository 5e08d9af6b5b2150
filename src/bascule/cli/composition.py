"""Puts a gateway's parts together: the store that the settings name, and what serves it."""

from __future__ import annotations

import hmac
import logging
import os
import secrets
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as package_version

from bascule.admin.access import Access
from bascule.admin.administration import Administration
from bascule.admin.defaults import Defaults
from bascule.admin.explain_http import ExplainApi
from bascule.admin.http import BASE, AdminApi, handlers_of
from bascule.admin.openapi import OpenApi
from bascule.admin.schema_document import schema_document
from bascule.admin.schema_handlers import SchemaHandlers
from bascule.admin.schemas import Schemas
from bascule.admin.tls import admin_tls
from bascule.admin.validator import Validator
from bascule.admin.whole_http import WholeApi
from bascule.cli.settings_file import Configured
from bascule.cli.whole_configuration import fields_of, make_whole
from bascule.control.control_api import ControlApi, Powers
from bascule.control.file_source import FileSource
from bascule.control.http_service import HttpService
from bascule.control.source import Source
from bascule.control.store_source import StoreSource
from bascule.control.supervisor import Supervisor
from bascule.engine.live_trace import make_token
from bascule.model.admin_settings import AdminKey
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from bascule.snapshot.upstream_compiler import Served
from bascule.store import generated
from bascule.store.entry import LiveStore
from bascule.store.etcd import EtcdStore
from bascule.store.file import FileStore
from bascule.store.sealing import Sealer
from bascule.store.sqlite import SqliteStore

log = logging.getLogger("bascule.admin")
_PASSING_KEY = secrets.token_bytes(32)


@dataclass(slots=True)
class Parts:
    """Of one gateway. `store` and `administration`: None with a standalone file; `discovery`: types that are
    configured, which whoever learns of a change writes into the set."""

    source: Source
    registry: Registry
    validator: Validator
    discovery: set[str]
    store: LiveStore | None = None
    sealer: Sealer | None = None
    administration: Administration | None = None


def make_parts(configured: Configured) -> Parts:
    """Opens nothing yet, but makes the store's folder and keys. Raises SecretFileRefused, OSError."""
    settings = configured.settings
    configured.allow_imports()
    registry = Registry(settings.plugins, configured.user_plugins)
    types = set(settings.discovery)
    served = Served(discovery=types)
    validator = Validator(registry, resolve=from_environment(os.environ), attr=settings.attr, served=served)
    store = make_store(configured)
    if store is None:
        return Parts(FileSource(FileStore(configured.resources_path, environ=os.environ)), registry, validator, types)
    sealer = make_sealer(configured, registry)
    prefix = _prefix(configured)
    administration = Administration(store, validator, sealer, prefix=prefix)
    return Parts(StoreSource(store, sealer), registry, validator, types, store, sealer, administration)


def _prefix(configured: Configured) -> str:
    """What stands before the keys of resources in answers."""
    settings = configured.settings
    return settings.etcd.prefix if settings.provider == "etcd" else "/apisix"


def make_store(configured: Configured) -> LiveStore | None:
    """None: a standalone file."""
    settings = configured.settings
    if settings.provider == "etcd":
        return EtcdStore(settings.etcd, configured.store_folder, writable=settings.serves_admin)
    if settings.provider == "sqlite":
        return SqliteStore(configured.store_folder / "bascule.db", history=settings.bascule.store.history)
    return None


def make_sealer(configured: Configured, registry: Registry) -> Sealer:
    encryption = configured.settings.apisix.data_encryption
    keyring = encryption.keyring or generated.keyring(configured.store_folder)
    return Sealer(keyring, fields_of(registry), encryption.enable_encrypt_fields)


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


def debug_key(configured: Configured) -> bytes:
    """What tokens for live requests are signed with. Gateways that share a keyring take each other's tokens; with a
    standalone file there is none, and the key lasts as long as this process."""
    encryption = configured.settings.apisix.data_encryption
    if encryption.keyring is None and configured.settings.provider in ("yaml", "json"):
        return _PASSING_KEY
    keyring = encryption.keyring or generated.keyring(configured.store_folder)
    return hmac.digest(keyring[0].encode(), b"bascule debug key", "sha256")


def add_services(configured: Configured, parts: Parts, supervisor: Supervisor) -> str | None:
    """The supervisor's further HTTP servers; what is to be said once. Raises as `make_parts`, and ConfigRefused."""
    settings = configured.settings
    supervisor.discovery.types = parts.discovery
    if settings.apisix.enable_control:
        supervisor.add_service(_control_service(configured, parts, supervisor))
    admin = settings.deployment.admin
    if not settings.serves_admin:
        return None

    def reload() -> None:
        parts.registry.reload()
        supervisor.reload_plugins()

    try:
        keys, new = admin_keys(configured) if admin.admin_key_required else ((), None)
    except generated.SecretFileRefused as error:
        if parts.store is not None:
            raise
        # Whoever serves from a file needs no Admin API, and may have nowhere to write.
        log.warning("no Admin API: %s; give a key in deployment.admin.admin_key", error)
        return None
    commit = None if parts.administration is None else parts.administration.commit
    whole = make_whole(configured, parts.registry, parts.validator, parts.store, parts.sealer, commit)
    api = AdminApi(
        parts.administration,
        admin,
        Access(admin, keys),
        applied=supervisor.applied,
        handlers=handlers_of(
            SchemaHandlers(Schemas(parts.registry), parts.validator.check, reload).table(),
            WholeApi(whole.form, whole.history).handlers(),
            OpenApi(
                Schemas(parts.registry), version=package_version("bascule"), resources=parts.store is not None
            ).handlers(),
            ExplainApi(supervisor.questions.explain, partial(make_token, debug_key(configured))).handlers(),
        ),
    )
    listen = admin.admin_listen
    supervisor.add_service(
        HttpService("admin", "the Admin API", api.app, listen.ip, listen.port, BASE, admin_tls(admin))
    )
    if new is None:
        return None
    return f"the key of the Admin API, shown this once (it is kept in {configured.store_folder / 'admin.key'}): {new}"


def _control_service(configured: Configured, parts: Parts, supervisor: Supervisor) -> HttpService:
    schemas = Schemas(parts.registry)

    async def reload() -> bool:
        parts.registry.reload()
        return await supervisor.reload()

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
    prefix = "" if parts.store is None else _prefix(configured)
    api = ControlApi(supervisor.configuration, powers, prefix)
    control = configured.settings.apisix.control
    return HttpService("control", "the Control API", api.app, control.ip, control.port, "/v1")
