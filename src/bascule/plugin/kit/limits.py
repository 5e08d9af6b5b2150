"""What limits have in common: numbers that may depend on the request, and what a request is counted under."""

from __future__ import annotations

import logging
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from bascule.errors.apisix_text import MatchesOne
from bascule.plugin.kit.template import Template
from bascule.plugin.request import Request
from bascule.plugin.response import Response

MOST = 2**53 - 1  # what every JSON reader holds exactly


class InvalidLimit(ValueError):
    """A number that can't be used."""


def integer(text: str, least: int = 1) -> int:
    """The integer that a text stands for. Clients may have had a hand in it, so nothing odd is let through."""
    try:
        value = float(text)
    except ValueError:
        raise InvalidLimit(f"must be a number, not {text!r}") from None
    if not value >= least:
        wanted = "a positive number" if least else "0 or more"
        raise InvalidLimit(f"must be {wanted}, not {text}")
    if value > MOST:
        raise InvalidLimit(f"exceeds the safe integer range: {text}")
    if value != int(value):
        raise InvalidLimit(f"must be an integer, not {text}")
    return int(value)


def _constant_is_positive(value: str) -> str:
    constant = Template(value).constant
    if constant is not None:
        integer(constant)
    return value


def _constant_is_an_amount(value: str) -> str:
    constant = Template(value).constant
    if constant is not None:
        integer(constant, 0)
    return value


# Attributes: an integer, or a string with variables.
Positive = Annotated[Annotated[int, Field(gt=0)] | Annotated[str, AfterValidator(_constant_is_positive)], MatchesOne]
Amount = Annotated[Annotated[int, Field(ge=0)] | Annotated[str, AfterValidator(_constant_is_an_amount)], MatchesOne]


def number(value: int | str, least: int = 1) -> int | Template:
    """Of such an attribute: the integer, if it is the same for all requests."""
    if isinstance(value, int):
        return value
    template = Template(value)
    return template if template.constant is None else integer(template.constant, least)


def resolve(value: int | Template, name: str, request: Request, least: int = 1) -> int:
    """The number for this request. Raises InvalidLimit, which says the attribute's name."""
    if isinstance(value, int):
        return value
    try:
        return integer(value.render(request), least)
    except InvalidLimit as error:
        raise InvalidLimit(f"{name}: the resolved value {error}") from None


class KeyReader:
    """`read(request)`: what a request is counted under, by `key` and `key_type` (var, var_combination, constant). When
    that is empty it is the client's address, which is logged once."""

    def __init__(self, key: str, key_type: str, log: logging.Logger) -> None:
        self._key = key
        self._log = log
        self._fell_back = False
        self.read: Callable[[Request], str]
        if key_type == "constant":
            self.read = lambda request: key
        elif key_type == "var" and key == "remote_addr":
            self.read = attrgetter("remote_addr")
        elif key_type == "var":
            self.read = lambda request: _text(request.var(key)) or self._fallback(request)
        else:
            template = Template(key)
            self.read = lambda request: _rendered(template, request) or self._fallback(request)

    def _fallback(self, request: Request) -> str:
        if not self._fell_back:
            self._fell_back = True
            self._log.warning('the value of the key "%s" is empty, the client\'s address is used', self._key)
        return request.remote_addr


def rule_reader(key: Template) -> Callable[[Request], str | None]:
    """A rule whose variables are all missing doesn't apply (None); one without variables always does."""
    constant = key.constant
    return lambda request: _rendered(key, request) if constant is None else constant


def rejection(conf: Any) -> Response:
    """By the attributes `rejected_code` and `rejected_msg`."""
    if conf.rejected_msg is None:
        return Response(conf.rejected_code)
    return Response(conf.rejected_code, {"error_msg": conf.rejected_msg})


def _rendered(template: Template, request: Request) -> str | None:
    """None when no variable of the template has a value (or it has no variables)."""
    if all(request.var(name) in (None, "") for name in template.names):
        return None
    return template.render(request)


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
