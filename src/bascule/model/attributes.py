"""The attribute types that resources share, with APISIX's limits.

Scalars are strict ("1" is no integer, true is no number), as in a JSON Schema; containers take lists and objects.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Hashable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from bascule.errors.apisix_text import Keys, MatchesAny, MatchesOne, Pattern, Told
from bascule.errors.sentences import Refused

T = TypeVar("T", bound=Hashable)

Bool = Annotated[bool, Strict()]
Int = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Str = Annotated[str, Strict()]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
Seconds = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Json = dict[str, Any]
_SECRET = re.compile(r"\$(env|secret|file)://", re.IGNORECASE)


class Model(BaseModel):
    """Base of every resource: frozen, and an attribute it doesn't know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def one_of(*attributes: str) -> Json:
    """JSON Schema: exactly one of them is there."""
    return {"oneOf": [{"required": [attribute]} for attribute in attributes]}


def _id(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise Refused("must be at least 1 when it is a number")
        return str(value)
    if not isinstance(value, str):
        raise Refused("must be a string or a positive integer")
    return value


def _unique(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) != len(values):
        first: dict[T, int] = {}
        for position, value in enumerate(values, 1):
            if first.setdefault(value, position) != position:
                text = f"expected unique items but items {first[value]} and {position} are equal"
                raise Refused(f"holds {value!r} twice", text)
    return values


def _ip(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Refused(f"{value!r} is neither an IP address nor a CIDR range") from None
    return value


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise Refused(f"{value!r} is not a regular expression: {error}") from None
    return value


def _pem(least: int) -> AfterValidator:
    def check(value: str) -> str:
        if not least <= len(value) <= 65536 and not _SECRET.match(value):
            raise Refused(f"must be PEM text of {least} to 65536 characters, or a secret reference")
        return value

    return AfterValidator(check)


def lua(what: str, instead: str) -> Any:
    """An attribute that holds Lua source: refused, since serving without it would drop what it guards."""

    def refuse(_: Any) -> Any:
        raise Refused(f"{what} is Lua source, which Bascule doesn't run; {instead}")

    return BeforeValidator(refuse)


class _Unique:
    """On a tuple: no item twice."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(_unique, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        return {**handler(schema), "uniqueItems": True}


Unique = _Unique()
_ID_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[a-zA-Z0-9-_.]+$"},
            {"type": "integer", "minimum": 1},
        ]
    }
)
Id = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9\-_.]+$"), BeforeValidator(_id), MatchesAny, _ID_SCHEMA
]
Name = Annotated[str, Strict(), Field(min_length=1, max_length=256)]
Desc = Annotated[str, Strict(), Field(max_length=256)]
Label = Annotated[str, Strict(), Field(min_length=1, max_length=256, pattern=r"^\S+$")]
Labels = Annotated[dict[str, Label], Keys(".*")]
Host = Annotated[
    str, Strict(), Field(pattern=r"^(\*|\*?[0-9a-zA-Z\-._\[\]:]+)$"), Pattern(r"^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$")
]
Hosts = Annotated[tuple[Host, ...], Field(min_length=1), Unique]
Ip = Annotated[str, Strict(), AfterValidator(_ip), MatchesAny]
Regex = Annotated[str, Strict(), AfterValidator(_regex)]
Method = Literal["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE"]
Methods = Annotated[tuple[Method, ...], Unique]
Uri = Annotated[str, Strict(), Field(min_length=1, max_length=4096)]
Status = Annotated[int, Strict(), Field(ge=0, le=1), Told("matches none of the enum values")]
Time = Annotated[int, Strict(), Field(ge=0), WithJsonSchema({"type": "integer"})]
Cert = Annotated[str, Strict(), _pem(128), MatchesOne]
Key = Annotated[str, Strict(), _pem(64), MatchesOne]


# Plugin name -> its conf. The conf is checked by the plugin's own Config, when the snapshot is compiled.
def _empty_object(value: Any) -> Any:
    """Lua has one empty table: what wrote [] may have meant {}."""
    return {} if value == [] else value


_PluginConf = Annotated[
    Json, BeforeValidator(_empty_object), Told("invalid plugin conf {value} for plugin [{key}]", semantic=True)
]
Plugins = Annotated[dict[str, _PluginConf], BeforeValidator(_empty_object), WithJsonSchema({"type": "object"})]
Script = Annotated[Any, lua("script", "write it as a Python plugin")]
FilterFunc = Annotated[Any, lua("filter_func", 'say the condition in "vars", or write a Python plugin')]


class TimeoutConf(Model):
    """Seconds; all three are required."""

    connect: Seconds
    send: Seconds
    read: Seconds


class Resource(Model):
    """What nearly every resource has."""

    id: Id | None = None
    name: Name | None = None
    desc: Desc | None = None
    labels: Labels | None = None
    create_time: Time | None = None
    update_time: Time | None = None
