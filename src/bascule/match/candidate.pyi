from typing import Any

from bascule.match.pattern import HostPattern, PathPattern
from bascule.match.route_match import RouteMatch

METHODS: dict[str, int]

class Entry:
    key: str
    value: Any
    match: RouteMatch
    priority: int
    order: int
    candidates: list[Candidate]
    def __init__(self, key: str, match: RouteMatch, value: object, hosts_in_tree: bool, parameters: bool) -> None: ...

class Candidate:
    entry: Entry
    pattern: str
    host_pattern: str | None
    host: HostPattern | None
    def __init__(
        self, entry: Entry, pattern: str, path: PathPattern, host: HostPattern | None, host_pattern: str | None
    ) -> None: ...
