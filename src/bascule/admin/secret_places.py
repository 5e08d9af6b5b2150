"""Where in a resource secret texts stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from bascule.admin.diff import ABSENT, Place, at

# Of secret managers: their stores keep them as they are, people needn't see them.
_OF_MANAGERS: tuple[Place, ...] = (
    ("token",),
    ("secret_access_key",),
    ("session_token",),
    ("auth_config", "private_key"),
)
_MARK = "secret"


class Hider(Protocol):
    def hide(self, kind: str, value: Mapping[str, Any], instead: str) -> dict[str, Any]:
        """A copy with `instead` for each secret text."""


class SecretPlaces:
    """Called with a kind and a value: the places of all secret texts in it."""

    def __init__(self, hider: Hider) -> None:
        self._hider = hider

    def __call__(self, kind: str, value: Mapping[str, Any]) -> list[Place]:
        if kind == "secrets":
            return [place for place in _OF_MANAGERS if at(value, place) is not ABSENT]
        mark = _MARK + kind  # an object of its own, told from equal texts by identity
        return list(_marked((), value, self._hider.hide(kind, value, mark), mark))


def _marked(place: Place, value: Any, hidden: Any, mark: str) -> Iterator[Place]:
    if hidden is value:
        return
    if hidden is mark:
        yield place
    elif isinstance(hidden, dict):
        for key, inner in hidden.items():
            yield from _marked((*place, key), value[key], inner, mark)
    elif isinstance(hidden, list):
        for index, inner in enumerate(hidden):
            yield from _marked((*place, index), value[index], inner, mark)
