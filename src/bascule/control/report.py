"""What is wrong with the configuration at present: the store's own errors and those that workers report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from bascule.errors.config_error import ConfigError

log = logging.getLogger("bascule.supervisor")


@dataclass(slots=True)
class Report:
    """`changes_with_errors` counts steps of the configuration that brought any, since the start."""

    store: tuple[ConfigError, ...] = ()
    refused: tuple[ConfigError, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    broken_global: str | None = None
    plugin_errors: Mapping[str, str] = field(default_factory=dict)
    unknown_plugins: tuple[str, ...] = ()
    changes_with_errors: int = 0
    _counted: int = 0
    _told: frozenset[str] = frozenset()

    def count(self, generation: int) -> None:
        """A step of the configuration brought errors; counted once, however many workers say so."""
        if generation > self._counted:
            self._counted = generation
            self.changes_with_errors += 1

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        return (*self.store, *self.refused)

    def all_faults(self) -> list[ConfigError]:
        """With those of plugins' code and of the list of plugins."""
        code = [f"plugin code {reason}" for reason in self.plugin_errors.values()]
        code += [f"the list of plugins names {name!r}, and there is none of that name" for name in self.unknown_plugins]
        return [*self.errors, *(ConfigError("", None, "", text) for text in code)]

    def tell(self) -> None:
        """Logs each fault once, and again when it comes back."""
        faults = [str(fault) for fault in self.all_faults()]
        for text in faults:
            if text not in self._told:
                log.error("%s", text)
        self._told = frozenset(faults)

    def details(self) -> dict[str, object]:
        """For the status server."""
        return {
            "counts": self.counts,
            "refused": [
                {"kind": e.kind, "id": e.id, "path": e.path, "message": e.message, "file": e.file, "line": e.line}
                for e in self.errors
            ],
            "broken_global": self.broken_global,
            "plugin_errors": self.plugin_errors,
            "unknown_plugins": self.unknown_plugins,
            "changes_with_errors": self.changes_with_errors,
        }
