"""The operators of expressions: each turns its right-hand value into a test of a variable's value."""

from collections.abc import Callable
from typing import Any, TypeAlias

from bascule.match.address import AddressSet
from bascule.match.regex import RegexError, compile_regex
from bascule.match.variables import Value

Test: TypeAlias = Callable[[Value], bool]


class OperandError(ValueError):
    """The right-hand value does not suit its operator."""


def number_of(value: object) -> int | float | None:
    """The number that a variable holds or spells (decimal, ASCII), None when it is not a number."""
    if isinstance(value, str):
        # float() takes more than a number of the configuration language: "1_000", "nan", "inf", other scripts' digits.
        if not value.isascii() or "_" in value or "n" in value or "N" in value:
            return None
        try:
            return int(value) if len(value) <= 18 else float(value)
        except ValueError:
            pass
        try:
            return float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def text_of(value: Value) -> str | None:
    """The text of a string or number, None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value)


def _equal(operand: object) -> Test:
    if isinstance(operand, bool):
        return lambda value: value is operand
    if isinstance(operand, int | float):
        return lambda value: value is not None and number_of(value) == operand
    if isinstance(operand, str):
        return lambda value: value == operand or (value.__class__ is not str and text_of(value) == operand)
    raise OperandError("the value must be a string, a number or a boolean")


def _unequal(operand: object) -> Test:
    equal = _equal(operand)
    return lambda value: not equal(value)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[object], Test]:
    def build(operand: object) -> Test:
        bound = number_of(operand)
        if bound is None:
            raise OperandError("the value must be a number")

        def test(value: Value) -> bool:
            number = number_of(value)
            return number is not None and compare(number, bound)

        return test

    return build


def _regex(ignore_case: bool) -> Callable[[object], Test]:
    def build(operand: object) -> Test:
        if not isinstance(operand, str):
            raise OperandError("the value must be a regular expression (a string)")
        try:
            search = compile_regex(operand, ignore_case=ignore_case).search
        except RegexError as error:
            raise OperandError(str(error)) from None

        def test(value: Value) -> bool:
            text = text_of(value)
            return text is not None and search(text) is not None

        return test

    return build


def _in(operand: object) -> Test:
    if not isinstance(operand, list | tuple):
        raise OperandError("the value must be a list")
    strings = frozenset(item for item in operand if isinstance(item, str))
    others = tuple(_equal(item) for item in operand if not isinstance(item, str))

    def test(value: Value) -> bool:
        text = text_of(value)
        return (text is not None and text in strings) or any(equal(value) for equal in others)

    return test


def _has(operand: object) -> Test:
    equal = _equal(operand)
    return lambda value: isinstance(value, list) and any(equal(item) for item in value)


def _ipmatch(operand: object) -> Test:
    patterns = [operand] if isinstance(operand, str) else operand
    if not isinstance(patterns, list | tuple) or not all(isinstance(pattern, str) for pattern in patterns):
        raise OperandError("the value must be an IP address or CIDR, or a list of them")
    try:
        addresses = AddressSet(patterns)
    except ValueError as error:
        raise OperandError(str(error)) from None
    return lambda value: value in addresses


# Operator -> builder of the test from the right-hand value.
OPERATORS: dict[str, Callable[[object], Test]] = {
    "==": _equal,
    "~=": _unequal,
    ">": _ordered(lambda left, right: left > right),
    "<": _ordered(lambda left, right: left < right),
    ">=": _ordered(lambda left, right: left >= right),
    "<=": _ordered(lambda left, right: left <= right),
    "~~": _regex(False),
    "~*": _regex(True),
    "in": _in,
    "has": _has,
    "ipmatch": _ipmatch,
}
