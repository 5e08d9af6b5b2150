"""The expression language of `vars`, `_meta.filter` and plugin conditions.

    [[var, operator, value], …]                    every condition must hold
    [var, "!", operator, value]                    the condition must not hold
    ["OR", condition, condition, …]                also "AND", "!AND", "!OR"; they nest

A missing variable is nil: every operator fails on it except `~=`. An expression is compiled once, into closures.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeGuard

from bascule.match.comparison import OPERATORS, OperandError
from bascule.match.variables import Value, Variables

Predicate: TypeAlias = Callable[[Variables], bool]
LOGICAL = ("AND", "OR", "!AND", "!OR")
# Deeper nesting than anybody writes, and well within the interpreter's recursion limit.
MAX_DEPTH = 32


class ExpressionError(ValueError):
    """An expression that cannot be used: `path` is the JSON path inside it ("$[0][1]"), `message` a sentence, `text`
    the same in APISIX's words."""

    def __init__(self, path: str, message: str, text: str | None = None) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
        self.text = message if text is None else text


class _Part(Protocol):
    test: Predicate

    def why(self, variables: Variables) -> str | None: ...


class Expression:
    """A compiled expression: call it with variables. Two expressions are equal when they are written alike."""

    __slots__ = ("_root", "source", "test", "variables")

    def __init__(self, source: str, root: _Part, variables: frozenset[str]) -> None:
        self.source = source
        self.variables = variables
        self.test: Predicate = root.test
        self._root = root

    def __call__(self, variables: Variables, /) -> bool:
        return self.test(variables)

    def why(self, variables: Variables) -> str | None:
        """None when it holds, else what failed: "arg_x == 1 failed because arg_x is missing"."""
        return self._root.why(variables)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.source == other.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __repr__(self) -> str:
        return f"Expression({self.source})"


def compile_expression(rule: object) -> Expression:
    """The expression that a configuration's list means. ExpressionError names the faulty part by its path."""
    if not _is_list(rule):
        raise ExpressionError("$", "an expression is a list of conditions")
    names: set[str] = set()
    if rule and isinstance(rule[0], str) and rule[0] not in LOGICAL:
        wanted = f"an expression is a list of conditions: write [{_text(rule)}]"
        raise ExpressionError("$", wanted, "rule should be wrapped inside brackets")
    root = _logical(rule, "$", names, 0) if rule else _Logic("AND", ())
    return Expression(json.dumps(rule), root, frozenset(names))


def _is_list(rule: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(rule, list | tuple)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _part(rule: object, path: str, names: set[str], depth: int) -> _Part:
    if not _is_list(rule) or not rule:
        raise ExpressionError(path, "expected a condition [variable, operator, value]")
    if depth > MAX_DEPTH:
        raise ExpressionError(path, f"conditions are nested more than {MAX_DEPTH} deep")
    if _is_list(rule[0]) or rule[0] in LOGICAL:
        return _logical(rule, path, names, depth)
    return _condition(rule, path, names)


def _logical(rule: Sequence[Any], path: str, names: set[str], depth: int) -> _Part:
    """["OR", …] and its kin, or a list of conditions (AND)."""
    first = 1 if isinstance(rule[0], str) else 0
    if len(rule) == first:
        raise ExpressionError(path, f"{rule[0]} needs at least one condition")
    parts = tuple(_part(item, f"{path}[{i}]", names, depth + 1) for i, item in enumerate(rule) if i >= first)
    if not first and len(parts) == 1:
        return parts[0]
    return _Logic(rule[0] if first else "AND", parts)


def _condition(rule: Sequence[Any], path: str, names: set[str]) -> _Part:
    negated = len(rule) == 4
    if len(rule) not in (3, 4):
        raise ExpressionError(path, f"a condition is [variable, operator, value], not {len(rule)} items")
    if negated and rule[1] != "!":
        raise ExpressionError(f"{path}[1]", f'expected "!" before the operator, not {_text(rule[1])}')
    name, operator, operand = rule[0], rule[-2], rule[-1]
    if not isinstance(name, str) or not name:
        raise ExpressionError(f"{path}[0]", "the variable's name must be a non-empty string")
    at = len(rule) - 2
    if not isinstance(operator, str) or operator not in OPERATORS:
        unknown = f"unknown operator {_text(operator)}{_hint(operator)}"
        raise ExpressionError(f"{path}[{at}]", unknown, f"invalid operator '{operator}'")
    try:
        held = OPERATORS[operator](operand)
    except OperandError as error:
        raise ExpressionError(f"{path}[{at + 1}]", f"{operator}: {error}") from None
    names.add(name)
    return _Condition(name, negated, operator, operand, held)


def _hint(operator: object) -> str:
    if isinstance(operator, str) and operator.lower() in OPERATORS:
        return f', write "{operator.lower()}"'
    return {"!=": ', write "~="', "=": ', write "=="', "=~": ', write "~~"'}.get(str(operator), "")


class _Condition:
    """[variable, operator, value], perhaps negated."""

    __slots__ = ("name", "negated", "operand", "operator", "test")

    def __init__(self, name: str, negated: bool, operator: str, operand: object, held: Callable[[Value], bool]) -> None:
        self.name = name
        self.negated = negated
        self.operator = operator
        self.operand = operand
        if negated:
            self.test: Predicate = lambda variables: not held(variables.var(name))
        elif operator == "==" and isinstance(operand, str):
            # By far the most frequent condition: a string compare without a second call.
            def equal(variables: Variables) -> bool:
                value = variables.var(name)
                return value == operand or (value.__class__ is not str and held(value))

            self.test = equal
        else:
            self.test = lambda variables: held(variables.var(name))

    def why(self, variables: Variables) -> str | None:
        if self.test(variables):
            return None
        value = variables.var(self.name)
        present = f"{self.name} is missing" if value is None else f"{self.name} is {_shown(value)}"
        return f"{self} failed because {present}"

    def __str__(self) -> str:
        return f"{self.name} {'! ' if self.negated else ''}{self.operator} {_shown(self.operand)}"


class _Logic:
    """Conditions joined by AND, OR, !AND or !OR."""

    __slots__ = ("joint", "parts", "test")

    def __init__(self, joint: str, parts: tuple[_Part, ...]) -> None:
        self.joint = joint
        self.parts = parts
        tests = tuple(part.test for part in parts)
        self.test: Predicate = {"AND": _every, "OR": _some, "!AND": _not_every, "!OR": _none}[joint](tests)

    def why(self, variables: Variables) -> str | None:
        if self.test(variables):
            return None
        reasons = [reason for part in self.parts if (reason := part.why(variables))]
        if self.joint == "AND":
            return reasons[0]
        if self.joint == "OR":
            return f"no condition of OR holds: {'; '.join(reasons)}"
        if self.joint == "!AND":
            return f"{self} failed because every condition holds"
        holding = next(part for part in self.parts if part.test(variables))
        return f"{self} failed because {holding} holds"

    def __str__(self) -> str:
        return f"{self.joint}({', '.join(str(part) for part in self.parts)})"


def _every(tests: tuple[Predicate, ...]) -> Predicate:
    def test(variables: Variables) -> bool:
        for part in tests:  # noqa: SIM110 - a loop is faster than all() over a generator
            if not part(variables):
                return False
        return True

    return test


def _some(tests: tuple[Predicate, ...]) -> Predicate:
    def test(variables: Variables) -> bool:
        for part in tests:  # noqa: SIM110 - a loop is faster than any() over a generator
            if part(variables):
                return True
        return False

    return test


def _not_every(tests: tuple[Predicate, ...]) -> Predicate:
    every = _every(tests)
    return lambda variables: not every(variables)


def _none(tests: tuple[Predicate, ...]) -> Predicate:
    some = _some(tests)
    return lambda variables: not some(variables)


def _shown(value: object) -> str:
    """A value inside a sentence, cut to a readable length."""
    text = value if isinstance(value, str) and value else _text(value)
    return text if len(text) <= 80 else text[:77] + "..."
