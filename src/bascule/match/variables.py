"""What an expression reads: variables by name (spec: the gateway's variables such as arg_x, http_x, remote_addr)."""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

Value: TypeAlias = str | int | float | bool | list["Value"] | None


class Variables(Protocol):
    """Anything that knows variables; None means that there is no such variable in this request."""

    def var(self, name: str, /) -> Value: ...


class FixedVariables:
    """Variables from a mapping: for tests, `explain` and requests that exist only on paper."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self.values = values or {}

    def var(self, name: str, /) -> Value:
        return self.values.get(name)

    def __repr__(self) -> str:
        return f"FixedVariables({dict(self.values)!r})"
