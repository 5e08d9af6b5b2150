"""The router's order written as a sort over every pattern of every route: slow, obvious, the judge of the real one."""

import re
from typing import Any

from bascule.match.address import AddressSet
from bascule.match.route_match import RouteMatch
from bascule.match.variables import Variables

# Ranks of what a pattern has at one place of the path.
END, LITERAL, PARAMETER, STAR = range(4)


def tokens(uri: str, parameters: bool) -> list[tuple[int, str]]:
    """[(rank, text)]: one token per byte of literal text, one per parameter, END or STAR last."""
    out: list[tuple[int, str]] = []
    segments = uri.split("/")
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if number:
            out.append((LITERAL, "/"))
        if parameters and number and re.fullmatch(":.+", segment):
            out.append((PARAMETER, segment[1:]))
        elif last and ((parameters and number and segment.startswith("*")) or segment.endswith("*")):
            literal = "" if parameters and number and segment.startswith("*") else segment[:-1]
            out += [(LITERAL, byte) for byte in literal]
            return [*out, (STAR, segment[1:] if not literal else "")]
        else:
            out += [(LITERAL, byte) for byte in segment]
    return [*out, (END, "")]


def regex(pattern: list[tuple[int, str]]) -> str:
    pieces = {END: lambda text: "", LITERAL: re.escape, PARAMETER: lambda text: "([^/]+)", STAR: lambda text: "(.*)"}
    return "".join(pieces[rank](text) for rank, text in pattern)


def bare_host(pattern: str) -> str:
    return re.sub(r"(?<!:):\d+$|(?<=\]):\d+$", "", pattern).lower() if "::" not in pattern else pattern.lower()


def host_rank(pattern: str, host: str) -> tuple[int, int] | None:
    """(0, 0) exact, (1, -length) wildcard; None: does not fit."""
    bare = bare_host(pattern)
    if bare.startswith("*"):
        return (1, -len(bare)) if host.endswith(bare[1:]) else None
    return (0, 0) if bare == host else None


class NaiveRouter:
    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.routes: dict[str, tuple[int, RouteMatch, Any]] = {}
        self.added = 0

    def add(self, key: str, match: RouteMatch, value: Any) -> None:
        self.routes[key] = (self.added, match, value)
        self.added += 1

    def replace(self, key: str, match: RouteMatch, value: Any) -> None:
        self.routes[key] = (self.routes[key][0], match, value)

    def remove(self, key: str) -> None:
        del self.routes[key]

    def candidates(self, host: str, path: str) -> list[tuple[Any, ...]]:
        """(rank…, key, pattern, host pattern, captures) of every pattern that fits host and path, best first."""
        parameters = self.mode == "radixtree_uri_with_parameter"
        out = []
        for key, (order, match, _) in self.routes.items():
            hosts: list[tuple[tuple[int, int], str | None]] = [
                ((2, 0) if self.mode == "radixtree_host_uri" else (0, 0), None)
            ]
            if match.hosts:
                fitting = [(rank, pattern) for pattern in match.hosts if (rank := host_rank(pattern, host)) is not None]
                hosts = sorted(fitting, key=lambda item: item[0])
                if self.mode != "radixtree_host_uri":
                    hosts = [((0, 0), pattern) for _, pattern in hosts[:1]]
            for host_order, host_pattern in hosts:
                for number, uri in enumerate(match.uris):
                    pattern = tokens(uri, parameters)
                    found = re.fullmatch(regex(pattern), path, re.DOTALL)
                    if found:
                        names = [text for rank, text in pattern if rank in (PARAMETER, STAR)]
                        captures = {name: text for name, text in zip(names, found.groups(), strict=True) if name}
                        path_order = [rank for rank, _ in pattern]
                        out.append(
                            (host_order, path_order, -match.priority, order, number, key, uri, host_pattern, captures)
                        )
        return sorted(out, key=lambda item: item[:5])

    def find(self, method: str, host: str, path: str, variables: Variables) -> tuple[Any, ...] | None:
        """(value, pattern, host pattern, captures) or None."""
        for *_, key, uri, host_pattern, captures in self.candidates(host.lower(), path):
            _, match, value = self.routes[key]
            if match.methods is not None and method not in match.methods:
                continue
            if match.remote_addrs and variables.var("remote_addr") not in AddressSet(match.remote_addrs):
                continue
            if match.vars is not None and not match.vars(variables):
                continue
            return value, uri, host_pattern, captures
        return None
