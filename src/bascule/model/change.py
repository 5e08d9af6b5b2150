"""One step of the configuration: a resource written or deleted. Stores produce changes, the snapshot applies them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` is the plural name ("routes"), `id` the key inside the kind (a credential's is "user/credentials/id",
    a secret's "manager/id", a plugin_metadata's the plugin name). `value` None means deleted. `file` and `line` say
    where a file has the item; `created` and `revision` are the store's revisions that made it and changed it last."""

    kind: str
    id: str
    value: dict[str, Any] | None
    revision: int = 0
    file: str | None = None
    line: int | None = None
    created: int = 0
