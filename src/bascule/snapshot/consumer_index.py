"""Finds consumers by the keys of their authentication plugins.

A key belongs to whoever claimed it first; later claimants wait, each with an error, and the next one gets the key when
the owner gives it up. So an edit can never hand a consumer's key to another one.
"""

from __future__ import annotations

from collections.abc import Iterable

from bascule.snapshot.consumer_binding import ConsumerBinding

# Who claims: the kind and id of a consumer or credential.
Claimant = tuple[str, str]
Key = tuple[str, str]  # plugin, key


class ConsumerIndex:
    def __init__(self) -> None:
        self._by_key: dict[str, dict[str, ConsumerBinding]] = {}
        self._by_name: dict[str, ConsumerBinding] = {}
        self._claims: dict[Claimant, dict[Key, ConsumerBinding]] = {}
        self._waiting: dict[Key, list[Claimant]] = {}  # only keys claimed more than once, without the owner

    @property
    def keys(self) -> dict[str, dict[str, ConsumerBinding]]:
        """By plugin and key; to be read only. It stays the same object."""
        return self._by_key

    def find(self, plugin: str, key: str) -> ConsumerBinding | None:
        found = self._by_key.get(plugin)
        return None if found is None else found.get(key)

    def find_by_name(self, name: str) -> ConsumerBinding | None:
        return self._by_name.get(name)

    def name(self, name: str, binding: ConsumerBinding | None) -> None:
        if binding is None:
            self._by_name.pop(name, None)
        else:
            self._by_name[name] = binding

    def duplicates(self, claimant: Claimant) -> list[tuple[str, str]]:
        """(plugin, name of the consumer that has the key) for each key that `claimant` waits for."""
        return [
            (plugin, self._by_key[plugin][key].consumer_name)
            for plugin, key in self._claims.get(claimant, ())
            if claimant in self._waiting.get((plugin, key), ())
        ]

    def claim(self, claims: Iterable[tuple[Claimant, dict[Key, ConsumerBinding]]]) -> set[Claimant]:
        """Replaces the claims of each claimant; all keys that are given up are free before any is taken. Returns
        whose duplicates may have changed."""
        claims = list(claims)
        touched: set[Claimant] = set()
        for claimant, wanted in claims:
            for key in self._claims.get(claimant, {}).keys() - wanted.keys():
                self._give_up(key, claimant, touched)
        for claimant, wanted in claims:
            held = self._claims.get(claimant, {})
            for key, binding in wanted.items():
                self._take(key, claimant, binding, key in held, touched)
            if wanted:
                self._claims[claimant] = wanted
            else:
                self._claims.pop(claimant, None)
            touched.add(claimant)
        return touched

    def _give_up(self, key: Key, claimant: Claimant, touched: set[Claimant]) -> None:
        waiting = self._waiting.get(key)
        if waiting is None:
            del self._by_key[key[0]][key[1]]
        elif claimant in waiting:
            waiting.remove(claimant)
        else:
            heir = waiting.pop(0)
            self._by_key[key[0]][key[1]] = self._claims[heir][key]
            touched.add(heir)
            touched.update(waiting)  # their errors name the owner
        if not waiting:
            self._waiting.pop(key, None)

    def _take(
        self, key: Key, claimant: Claimant, binding: ConsumerBinding, again: bool, touched: set[Claimant]
    ) -> None:
        bindings = self._by_key.setdefault(key[0], {})
        waiting = self._waiting.get(key, [])
        if again:
            if claimant not in waiting:
                bindings[key[1]] = binding
        elif key[1] in bindings:
            self._waiting.setdefault(key, []).append(claimant)
        else:
            bindings[key[1]] = binding
