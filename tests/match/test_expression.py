from pathlib import Path
from typing import Any

import pytest
import yaml

from bascule.match.expression import MAX_DEPTH, ExpressionError, compile_expression
from bascule.match.variables import FixedVariables

A = ["arg_a", "==", "1"]
B = ["arg_b", "==", "1"]


@pytest.mark.parametrize(
    ("rule", "neither", "only_a", "both"),
    [
        ([], True, True, True),
        ([A], False, True, True),
        ([A, B], False, False, True),
        (["AND", A, B], False, False, True),
        (["OR", A, B], False, True, True),
        (["!AND", A, B], True, True, False),
        (["!OR", A, B], True, False, False),
        (["OR", A], False, True, True),
        ([["arg_a", "!", "==", "1"]], True, False, False),
        ([["arg_a", "~=", "1"]], True, False, False),
        ([["arg_a", "!", "~=", "1"]], False, True, True),
        ([["OR", A, B], ["!AND", A, B]], False, True, False),
        (["OR", ["AND", A, B], ["!OR", A, B]], True, False, True),
        ([[A, B]], False, False, True),
        (["!OR", [A, B]], True, True, False),
        ((tuple(A),), False, True, True),
    ],
)
def test_logic(rule: Any, neither: bool, only_a: bool, both: bool) -> None:
    expression = compile_expression(rule)
    given = ({}, {"arg_a": "1"}, {"arg_a": "1", "arg_b": "1"})
    for values, expected in zip(given, (neither, only_a, both), strict=True):
        variables = FixedVariables(values)
        assert expression(variables) is expected
        assert (expression.why(variables) is None) is expected


@pytest.mark.parametrize("operator", ["==", ">", "<", ">=", "<=", "~~", "~*", "in", "has", "ipmatch"])
def test_a_missing_variable_fails_every_positive_operator(operator: str) -> None:
    operand: Any = {"in": ["1"], "~~": ".*", "~*": ".*", "ipmatch": ["0.0.0.0/0", "::/0"]}.get(operator, "0")
    assert compile_expression([["x", operator, operand]])(FixedVariables()) is False
    assert compile_expression([["x", "!", operator, operand]])(FixedVariables()) is True


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ([A], "arg_a == 1 failed because arg_a is missing"),
        ([["http_x", "==", "1"]], "http_x == 1 failed because http_x is a"),
        ([["http_x", "!", "in", ["a", "b"]]], 'http_x ! in ["a", "b"] failed because http_x is a'),
        ([["http_x", "==", ""]], 'http_x == "" failed because http_x is a'),
        ([["http_x", "==", "a"], A, B], "arg_a == 1 failed because arg_a is missing"),
        (
            ["OR", A, B],
            "no condition of OR holds: arg_a == 1 failed because arg_a is missing; "
            "arg_b == 1 failed because arg_b is missing",
        ),
        (["!OR", A, ["http_x", "~~", "a"]], "!OR(arg_a == 1, http_x ~~ a) failed because http_x ~~ a holds"),
        (["!AND", ["http_x", "==", "a"]], "!AND(http_x == a) failed because every condition holds"),
    ],
)
def test_why(rule: Any, sentence: str) -> None:
    assert compile_expression(rule).why(FixedVariables({"http_x": "a"})) == sentence


def test_long_values_are_cut_in_sentences() -> None:
    why = compile_expression([A]).why(FixedVariables({"arg_a": "x" * 10_000}))
    assert why is not None
    assert len(why) < 150


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ({}, "$", "an expression is a list of conditions"),
        ("x", "$", "an expression is a list of conditions"),
        (None, "$", "an expression is a list of conditions"),
        (A, "$", 'write [["arg_a", "==", "1"]]'),
        ([A, "x"], "$[1]", "expected a condition"),
        ([A, []], "$[1]", "expected a condition"),
        ([A, ["x"]], "$[1]", "not 1 items"),
        ([["x", "==", "a", "b", "c"]], "$[0]", "not 5 items"),
        ([["x", "not", "==", "a"]], "$[0][1]", 'expected "!" before the operator, not "not"'),
        ([[5, "==", "a"]], "$[0][0]", "the variable's name must be a non-empty string"),
        ([["", "==", "a"]], "$[0][0]", "the variable's name must be a non-empty string"),
        ([["x", "IN", ["a"]]], "$[0][1]", 'unknown operator "IN", write "in"'),
        ([["x", "!=", "a"]], "$[0][1]", 'unknown operator "!=", write "~="'),
        ([["x", "!", "!=", "a"]], "$[0][2]", 'unknown operator "!=", write "~="'),
        ([["x", 5, "a"]], "$[0][1]", "unknown operator 5"),
        ([["x", None, "a"]], "$[0][1]", "unknown operator null"),
        ([["x", "!", "~~", "("]], "$[0][3]", "~~: bad regular expression"),
        ([["x", "in", "a"]], "$[0][2]", "in: the value must be a list"),
        (["OR"], "$", "OR needs at least one condition"),
        (["OR", A, ["AND", B, ["x", ">", "y"]]], "$[2][2][2]", ">: the value must be a number"),
        (["or", A], "$", "write"),
        ([["AND", "==", "x"]], "$[0][1]", "expected a condition"),
    ],
)
def test_errors_have_a_path_and_a_sentence(rule: Any, path: str, message: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(rule)
    assert refused.value.path == path
    assert message in refused.value.message
    assert str(refused.value) == f"{path}: {refused.value.message}"


def test_nesting_is_bounded() -> None:
    rule: list[Any] = ["AND", A]
    for _ in range(MAX_DEPTH - 1):
        rule = ["AND", rule]
    assert compile_expression(rule)(FixedVariables({"arg_a": "1"}))
    for _ in range(5000):
        rule = ["AND", rule]
    with pytest.raises(ExpressionError, match="nested more than 32 deep"):
        compile_expression(rule)


def test_equality_names_and_source() -> None:
    one, same, other = compile_expression([A, B]), compile_expression([A, B]), compile_expression([A])
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "x"
    assert compile_expression([["x", "==", 1]]) != compile_expression([["x", "==", True]])
    assert one.variables == {"arg_a", "arg_b"}
    assert compile_expression([]).variables == frozenset()
    assert repr(other) == 'Expression([["arg_a", "==", "1"]])'


def test_the_documented_example() -> None:
    page = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text()
    document = yaml.safe_load(page.partition("```yaml")[2].partition("```")[0])
    canary = compile_expression(document["routes"][0]["vars"])
    assert canary.variables == {"http_x_canary", "cookie_group", "http_user_agent", "remote_addr"}
    assert canary(FixedVariables({"http_x_canary": "1", "remote_addr": "10.1.1.1"}))
    assert canary(FixedVariables({"cookie_group": "staff", "remote_addr": "127.0.0.1", "http_user_agent": "curl"}))
    assert not canary(FixedVariables({"cookie_group": "staff", "remote_addr": "127.0.0.1", "http_user_agent": "Bot"}))
    missing = compile_expression([["arg_x", "!", "~~", ""]])
    assert [missing(FixedVariables({"arg_x": value})) for value in (None, "", "1")] == [True, False, False]
