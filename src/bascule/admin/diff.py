"""What differs between two JSON values, place by place; secret values are hidden, that they changed is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bascule.errors.sentences import json_path

HIDDEN = "******"
Place = tuple[str | int, ...]


class Absent:
    """There is nothing at this place."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


class Difference(NamedTuple):
    """`path`: a JSON path inside the resource. `before`, `after`: JSON values, or ABSENT."""

    path: str
    before: Any = ABSENT
    after: Any = ABSENT

    def told(self) -> dict[str, Any]:
        """As the Admin API answers: what is absent is left out."""
        found = {"path": self.path, "before": self.before, "after": self.after}
        return {key: value for key, value in found.items() if value is not ABSENT}


def differences(before: Any, after: Any, secret: Iterable[Place] = ()) -> list[Difference]:
    """From `before` to `after`; ABSENT for a resource that isn't there. `secret`: places whose values are hidden."""
    hidden = tuple(secret)
    return [
        Difference(json_path(place), _shown(place, old, hidden), _shown(place, new, hidden))
        for place, old, new in _walk((), before, after)
    ]


def at(value: Any, place: Place) -> Any:
    """What stands at a place; ABSENT when there is nothing."""
    for part in place:
        inside = isinstance(part, int) and part < len(value) if isinstance(value, list) else _has(value, part)
        if not inside:
            return ABSENT
        value = value[part]
    return value


def _has(value: Any, part: str | int) -> bool:
    return isinstance(value, Mapping) and part in value


def replaced(value: Any, place: Place, inner: Any) -> Any:
    """A copy with `inner` at a place that exists."""
    if not place:
        return inner
    part, rest = place[0], place[1:]
    if isinstance(value, list):
        assert isinstance(part, int)
        return [*value[:part], replaced(value[part], rest, inner), *value[part + 1 :]]
    return {**value, part: replaced(value[part], rest, inner)}


def hide(value: Any, secret: Iterable[Place]) -> Any:
    """A copy of a JSON value with HIDDEN at the places `secret`, as far as they exist."""
    places = list(secret)
    return _hide(value, places) if places else value


def _walk(place: Place, before: Any, after: Any) -> Iterator[tuple[Place, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from _walk((*place, key), before.get(key, ABSENT), after.get(key, ABSENT))
    elif _lists_of_objects(before, after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _walk((*place, index), old, new)
    elif not _same(before, after):
        yield place, before, after


def _lists_of_objects(before: Any, after: Any) -> bool:
    """Lists that are worth telling item by item."""
    return (
        isinstance(before, list)
        and isinstance(after, list)
        and len(before) == len(after)
        and all(isinstance(item, dict) for item in (*before, *after))
    )


def _same(before: Any, after: Any) -> bool:
    """Equal as JSON: True is not 1."""
    if isinstance(before, bool) or isinstance(after, bool):
        return before is after
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    return bool(before == after)


def _shown(place: Place, value: Any, secret: tuple[Place, ...]) -> Any:
    if value is ABSENT:
        return value
    if any(place[: len(hidden)] == hidden for hidden in secret):
        return HIDDEN
    return hide(value, [hidden[len(place) :] for hidden in secret if hidden[: len(place)] == place])


def _hide(value: Any, places: list[Place]) -> Any:
    if () in places:
        return HIDDEN
    if isinstance(value, dict):
        return {key: _hide(inner, _inside(places, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hide(inner, _inside(places, index)) for index, inner in enumerate(value)]
    return value


def _inside(places: list[Place], part: str | int) -> list[Place]:
    return [place[1:] for place in places if place and place[0] == part]
