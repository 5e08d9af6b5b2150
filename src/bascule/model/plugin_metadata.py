"""Plugin metadata: settings for all uses of one plugin. What is inside is checked by the plugin's own Metadata."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

# What a store may put beside the plugin's own attributes.
BOOKKEEPING = ("id", "name", "create_time", "update_time")


class PluginMetadata(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


def own_attributes(value: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """`value` without the store's bookkeeping, unless the plugin itself has an attribute of that name."""
    return {name: v for name, v in value.items() if name not in BOOKKEEPING or name in known}
