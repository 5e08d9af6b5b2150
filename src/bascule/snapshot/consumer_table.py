"""Consumers and credentials, bound to their groups and found by their keys."""

from __future__ import annotations

from collections.abc import Iterable

from bascule.errors.config_error import ConfigError
from bascule.errors.sentences import json_path
from bascule.snapshot.consumer_binding import ConsumerBinding
from bascule.snapshot.consumer_index import Claimant, ConsumerIndex, Key
from bascule.snapshot.merged_plugins import ConsumerPlugins
from bascule.snapshot.records import ConsumerRecord, CredentialRecord, HolderRecord
from bascule.snapshot.refusing_hook import refusing_hook
from bascule.snapshot.state import Item, State


class ConsumerTable:
    def __init__(self) -> None:
        self.index = ConsumerIndex()

    def link(
        self, touched: Iterable[Item], old_consumers: dict[str, ConsumerRecord], state: State
    ) -> dict[Item, tuple[ConfigError, ...]]:
        """Binds the touched consumers and credentials anew. Returns what is wrong between items, for each item whose
        errors may have changed. `old_consumers`: the versions before this step, by name."""
        items = sorted(touched, key=lambda item: item[0] == "credentials")  # consumers first: their plugins are needed
        claims: list[tuple[Claimant, dict[Key, ConsumerBinding]]] = []
        for kind, id in items:
            if kind == "consumers":
                claims.append(((kind, id), self._link_consumer(id, old_consumers.get(id), state)))
            else:
                claims.append(((kind, id), self._link_credential(id, state)))
        changed = self.index.claim(claims)
        return {item: self._errors(item, state) for item in changed}

    def _link_consumer(self, id: str, old: ConsumerRecord | None, state: State) -> dict[Key, ConsumerBinding]:
        record: ConsumerRecord | None = state.records["consumers"].get(id)
        earlier = old or record
        before: ConsumerPlugins | None = None if earlier is None else earlier.merged
        if record is None:
            if before is not None:
                before.forget()
            self.index.name(id, None)
            return {}
        record.merged = _plugins(record, before, state)
        if before is not None and before is not record.merged:
            before.forget()
        self.index.name(id, _binding(record))
        return {(auth.plugin, auth.key): _binding(record, auth.conf) for auth in record.auths if auth.key is not None}

    def _link_credential(self, id: str, state: State) -> dict[Key, ConsumerBinding]:
        credential: CredentialRecord | None = state.records["credentials"].get(id)
        record = None if credential is None else state.records["consumers"].get(credential.username)
        if credential is None or record is None:
            return {}
        return {
            (auth.plugin, auth.key): _binding(record, auth.conf, credential.credential_id)
            for auth in credential.auths
            if auth.key is not None
        }

    def _errors(self, item: Item, state: State) -> tuple[ConfigError, ...]:
        kind, id = item
        record: ConsumerRecord | CredentialRecord | None = state.records[kind].get(id)
        if record is None:
            return ()
        found = [
            (json_path(("plugins", plugin)), f"duplicate key of plugin {plugin} found with consumer: {owner}")
            for plugin, owner in self.index.duplicates(item)
        ]
        if isinstance(record, CredentialRecord):
            if record.username not in state.records["consumers"]:
                found.append(("$", f'there is no consumer "{record.username}"'))
        elif record.group_id is not None and not _known("consumer_groups", record.group_id, state):
            found.append(("$.group_id", f'there is no consumer group "{record.group_id}"'))
        return tuple(ConfigError(kind, id, path, sentence, record.file, record.line) for path, sentence in found)


def _plugins(record: ConsumerRecord, before: ConsumerPlugins | None, state: State) -> ConsumerPlugins | None:
    """What the consumer brings; `before` itself when that is the same."""
    group: HolderRecord | None = None
    reason = None
    if record.group_id is not None:
        group = state.records["consumer_groups"].get(record.group_id)
        if group is None:
            reason = f'consumer group "{record.group_id}" can\'t be used'
    holders = (group, record)
    sets = tuple(holder.plugins for holder in holders if holder is not None and holder.plugins is not None)
    if not sets and reason is None:
        return None
    if before is not None and before.sets == sets and (before.refusal is None) == (reason is None):
        return before
    return ConsumerPlugins(sets, None if reason is None else refusing_hook(reason))


def _binding(record: ConsumerRecord, conf: object = None, credential_id: str | None = None) -> ConsumerBinding:
    labels = record.labels or {}
    return ConsumerBinding(
        consumer_name=record.username,
        conf=conf,
        credential_id=credential_id,
        group_id=record.group_id,
        labels=labels,
        custom_id=labels.get("custom_id"),
        plugins=record.merged,
    )


def _known(kind: str, id: str, state: State) -> bool:
    return id in state.records[kind] or (kind, id) in state.broken
