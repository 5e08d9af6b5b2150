"""The configuration of a gateway that doesn't run, in its own store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from bascule.admin.configs import Configs, ConfigsRefused, PlanChanged, exported
from bascule.admin.history import NO_HISTORY, History, NoRevision
from bascule.cli.checking_tables import checking_tables
from bascule.cli.composition import debug_key, make_parts
from bascule.cli.gateway_client import Change as Wanted
from bascule.cli.gateway_client import GatewayRefused, PlanOutdated, Told
from bascule.cli.settings_file import Configured
from bascule.cli.whole_configuration import make_whole
from bascule.engine.live_trace import make_token
from bascule.model.change import Change
from bascule.snapshot.explanation import NotARequest, explain
from bascule.store.entry import Conflict, Origin, StoreUnavailable
from bascule.store.generated import SecretFileRefused
from bascule.store.standalone import read_standalone

T = TypeVar("T")


class OfflineGateway:
    """Opens the store, and owns it until it is closed. `create`: one that isn't there yet is made. Raises
    GatewayRefused."""

    def __init__(self, configured: Configured, *, create: bool) -> None:
        database = configured.store_folder / "bascule.db"
        if not create and configured.settings.provider == "sqlite" and not database.exists():
            raise GatewayRefused(f"there is no store at {database} yet, and no Admin API answers: is --config right?")
        self._actor = f"{os.environ.get('USER') or 'uid ' + str(os.getuid())} (bascule)"
        self._runner = asyncio.Runner()
        try:
            parts = make_parts(configured)
            if parts.store is not None:
                self._run(parts.store.open())
        except (SecretFileRefused, OSError) as error:
            self._runner.close()
            raise GatewayRefused(str(error)) from None
        except GatewayRefused:
            self._runner.close()
            raise
        self._store = parts.store
        self._configured, self._settings = configured, configured.settings
        self._registry = parts.registry
        whole = make_whole(configured, parts.registry, parts.validator, parts.store, parts.sealer)
        self._configs: Configs = whole.configs
        self._secrets = whole.secrets
        self._kept = whole.history

    def history(self, *, limit: int, before: int | None, prefix: str) -> list[Told]:
        found = self._run(self._history.page(limit=limit, before=before, prefix=prefix))
        return [told.told(differences=False) for told in found]

    def revision(self, number: int) -> Told:
        return self._run(self._history.one(number)).told(differences=True)

    def between(self, first: int, second: int | None) -> list[Told]:
        return [step.told() for step in self._run(self._history.between(first, second))]

    def export(self, *, revision: int | None, times: bool, hide_secrets: bool) -> Told:
        whole = self._run(self._configs.read() if revision is None else self._history.at(revision))
        if whole.trouble is not None:
            raise GatewayRefused(whole.trouble)
        document = exported(whole, self._secrets if hide_secrets else None, times=times)
        return document if whole.plugins is None else {"plugins": whole.plugins, **document}

    def apply(self, change: Wanted, agreed: str | None) -> Told:
        origin = Origin(self._actor, change.note)
        applying = self._configs.apply(
            change.document, origin, prune=change.prune, dry_run=agreed is None, agreed=agreed
        )
        return self._run(applying).told()

    def rollback(self, number: int, agreed: str | None) -> Told:
        return self._run(self._history.rollback(number, self._actor, dry_run=agreed is None, agreed=agreed)).told()

    def explain(self, asked: Told) -> Told:
        document = self.export(revision=None, times=False, hide_secrets=False)
        apisix = self._settings.apisix
        tables = checking_tables(self._settings, self._registry)
        tables.apply([Change(item.kind, item.id, item.value) for item in read_standalone(document).items])
        try:
            return explain(tables, asked, (apisix.match_uri_encoded_slash, apisix.normalize_uri_like_servlet))
        except NotARequest as error:
            raise GatewayRefused(str(error)) from None

    def debug_token(self, valid_s: float) -> str:
        encryption = self._settings.apisix.data_encryption
        if self._store is None and encryption.keyring is None:
            raise GatewayRefused("no gateway runs, and without apisix.data_encryption.keyring only one could sign it")
        return make_token(debug_key(self._configured), valid_s)

    def close(self) -> None:
        if self._store is not None:
            self._run(self._store.close())
        self._runner.close()

    @property
    def _history(self) -> History:
        if self._kept is None:
            raise GatewayRefused(NO_HISTORY)
        return self._kept

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(coroutine)
        except PlanChanged as changed:
            raise PlanOutdated(changed.now.told()) from None
        except ConfigsRefused as refused:
            told = [fault.told() for fault in refused.faults]
            lines = tuple(f"{fault['path']}: {fault['message']}" for fault in told)
            raise GatewayRefused(refused.faults[0].fault.error_msg, lines) from None
        except (NoRevision, StoreUnavailable, Conflict) as error:
            raise GatewayRefused(str(error)) from None
