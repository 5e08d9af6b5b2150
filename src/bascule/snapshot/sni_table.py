"""Which certificate serves a server name: an exact name goes before a wildcard, which stands for one label."""

from __future__ import annotations

from collections.abc import Iterator

from bascule.snapshot.compiled_ssl import CompiledSsl


class SniTable:
    """Where several certificates have a name, the one that was changed last serves: so one is replaced by adding the
    new one and then removing the old."""

    def __init__(self) -> None:
        self._names: dict[str, list[CompiledSsl]] = {}  # "a.test", "*.a.test", "*"; who serves comes first
        self.asking = 0  # so many ask for client certificates

    def __iter__(self) -> Iterator[CompiledSsl]:
        """Those that serve or wait to; one with several names comes several times."""
        for holders in self._names.values():
            yield from holders

    def __len__(self) -> int:
        return len(self._names)

    def put(self, old: CompiledSsl | None, new: CompiledSsl | None) -> None:
        """Takes `old` out and `new` in; either may be None."""
        if old is not None and old.enabled:
            self.asking -= old.client_ca is not None
            for name in old.names:
                others = [one for one in self._names[name] if one is not old]
                if others:
                    self._names[name] = others
                else:
                    del self._names[name]
        if new is not None and new.enabled:
            self.asking += new.client_ca is not None
            for name in new.names:
                holders = [*self._names.get(name, ()), new]
                self._names[name] = sorted(holders, key=lambda one: (one.updated, one.id), reverse=True)

    def find(self, name: str) -> CompiledSsl | None:
        """`name`: lower-case."""
        found = self._names.get(name) or self._names.get(f"*.{name.partition('.')[2]}") or self._names.get("*")
        return found[0] if found else None
