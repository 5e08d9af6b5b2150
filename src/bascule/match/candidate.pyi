from typing import Any

from bascule.match.route_match import RouteMatch

METHODS: dict[str, int]

class Entry:
    key: str
    value: Any
    match: RouteMatch
    priority: int
    order: int
    candidates: tuple[Candidate, ...]
    def __init__(self, key: str, match: RouteMatch, value: object, hosts_in_tree: bool, parameters: bool) -> None: ...

class Candidate:
    entry: Entry
    pattern: str
    host_pattern: str | None
    def __init__(
        self, entry: Entry, pattern: str, captures: tuple[int | str | bool, ...] | None, host_pattern: str | None
    ) -> None: ...
