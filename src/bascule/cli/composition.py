"""Puts a gateway's parts together: the store that the settings name, and what serves it."""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass

from bascule.admin.administration import Administration
from bascule.admin.validator import Validator
from bascule.cli.settings_file import Configured
from bascule.cli.whole_configuration import fields_of
from bascule.control.file_source import FileSource
from bascule.control.source import Source
from bascule.control.store_source import StoreSource
from bascule.plugin.registry import Registry
from bascule.snapshot.references import from_environment
from bascule.snapshot.upstream_compiler import Served
from bascule.store import generated
from bascule.store.entry import LiveStore
from bascule.store.file import FileStore
from bascule.store.sealing import Sealer
from bascule.store.sqlite import SqliteStore

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
    prefix = prefix_of(configured)
    administration = Administration(store, validator, sealer, prefix=prefix)
    return Parts(StoreSource(store, sealer), registry, validator, types, store, sealer, administration)


def prefix_of(configured: Configured) -> str:
    """What stands before the keys of resources in answers."""
    settings = configured.settings
    return settings.etcd.prefix if settings.provider == "etcd" else "/apisix"


def make_store(configured: Configured) -> LiveStore | None:
    """None: a standalone file."""
    settings = configured.settings
    if settings.provider == "etcd":
        # With aiohttp, which nobody else needs as early.
        from bascule.store.etcd import EtcdStore

        return EtcdStore(settings.etcd, configured.store_folder, writable=settings.serves_admin)
    if settings.provider == "sqlite":
        return SqliteStore(configured.store_folder / "bascule.db", history=settings.bascule.store.history)
    return None


def make_sealer(configured: Configured, registry: Registry) -> Sealer:
    encryption = configured.settings.apisix.data_encryption
    keyring = encryption.keyring or generated.keyring(configured.store_folder)
    return Sealer(keyring, fields_of(registry), encryption.enable_encrypt_fields)


def debug_key(configured: Configured) -> bytes:
    """What tokens for live requests are signed with. Gateways that share a keyring take each other's tokens; with a
    standalone file there is none, and the key lasts as long as this process."""
    encryption = configured.settings.apisix.data_encryption
    if encryption.keyring is None and configured.settings.provider in ("yaml", "json"):
        return _PASSING_KEY
    keyring = encryption.keyring or generated.keyring(configured.store_folder)
    return hmac.digest(keyring[0].encode(), b"bascule debug key", "sha256")
