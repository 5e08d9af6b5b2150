"""The plugins that run for every request."""

from __future__ import annotations

from bascule.errors.config_error import ConfigError
from bascule.errors.sentences import json_path
from bascule.snapshot.plugin_instance import PluginInstance
from bascule.snapshot.records import HolderRecord
from bascule.snapshot.state import Item, State


def global_instances(state: State) -> list[PluginInstance]:
    """Of all rules, in order of their ids. A plugin that two rules hold runs for both: neither's protection is lost."""
    return [
        instance
        for _, rule in _rules(state)
        if rule.plugins is not None
        for instance in rule.plugins.instances.values()
        if instance.plugin is not None
    ]


def duplicates(state: State) -> dict[Item, tuple[ConfigError, ...]]:
    """For every rule, what it holds that a rule with a smaller id holds already."""
    holders: dict[str, str] = {}
    errors: dict[Item, tuple[ConfigError, ...]] = {item: () for item in state.link_errors if item[0] == "global_rules"}
    for id, rule in _rules(state):
        names = list(rule.plugins.instances) if rule.plugins else []
        errors["global_rules", id] = tuple(
            ConfigError(
                "global_rules",
                id,
                json_path(("plugins", name)),
                f"plugin '{name}' already exists in global rule with id '{holders[name]}'",
                rule.file,
                rule.line,
            )
            for name in names
            if name in holders
        )
        for name in names:
            holders.setdefault(name, id)
    return errors


def broken_rules(state: State) -> str | None:
    """Why no request may be served: rules that can't be used and have no last good version."""
    reasons = [
        f"global rule {id}: {broken.errors[0].message}"
        for (kind, id), broken in state.broken.items()
        if kind == "global_rules" and id not in state.records["global_rules"]
    ]
    return "; ".join(reasons) or None


def _rules(state: State) -> list[tuple[str, HolderRecord]]:
    return sorted(state.records["global_rules"].items())
