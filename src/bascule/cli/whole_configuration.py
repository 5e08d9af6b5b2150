"""Puts together what works on the whole configuration, wherever the settings keep it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bascule.admin.configs import Configs
from bascule.admin.file_keeper import FileKeeper
from bascule.admin.history import History
from bascule.admin.secret_places import SecretPlaces
from bascule.admin.standalone_form import StandaloneForm
from bascule.admin.validator import Validator
from bascule.admin.whole import Commit, Keeper, StoreKeeper
from bascule.cli.settings_file import Configured
from bascule.plugin.registry import Registry
from bascule.store.entry import LiveStore
from bascule.store.sealing import Sealer


@dataclass(frozen=True, slots=True)
class WholeConfiguration:
    """`history` None: there is none."""

    configs: Configs
    secrets: SecretPlaces
    form: StandaloneForm
    history: History | None


def make_whole(
    configured: Configured,
    registry: Registry,
    validator: Validator,
    store: LiveStore | None,
    sealer: Sealer | None,
    commit: Commit | None = None,
) -> WholeConfiguration:
    """`store` None: a standalone file. `commit`: writes to the store in turn with its other writers."""
    # Where secrets stand is known without any key.
    secrets = SecretPlaces(sealer or Sealer((), fields_of(registry), False))
    keeper: Keeper
    history = None
    if store is None or sealer is None:
        keeper = FileKeeper(configured.resources_path, configured.store_folder / "standalone.json")
        configs = Configs(keeper, validator.check, secrets)
    else:
        keeper = StoreKeeper(store, sealer, clock=time.time, commit=commit)
        configs = Configs(keeper, validator.check, secrets)
        ledger: Any = store
        if hasattr(store, "history"):
            history = History(ledger, keeper, configs, secrets)
    return WholeConfiguration(configs, secrets, StandaloneForm(configs, secrets, clock=time.time), history)


def fields_of(registry: Registry) -> Callable[[str], tuple[str, ...]]:
    """Tells the names of a plugin's secret fields; none for a plugin that isn't there."""

    def fields(plugin: str) -> tuple[str, ...]:
        try:
            return registry.get(plugin).encrypt_fields
        except LookupError:
            return ()

    return fields
