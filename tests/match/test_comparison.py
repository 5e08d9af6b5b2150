from typing import Any

import pytest

from bascule.match.comparison import OPERATORS, OperandError, number_of, text_of


@pytest.mark.parametrize(
    ("operator", "operand", "true", "false"),
    [
        ("==", "1", ["1", 1], ["01", 1.5, "", None, True, ["1"]]),
        ("==", 10, ["10", "10.0", " 10", "1e1", 10, 10.0], ["abc", "", None, True, ["10"], "10x"]),
        ("==", 1, ["1"], [True, None]),
        ("==", True, [True], ["true", 1, "1", False, None]),
        ("==", "", [""], [None, " "]),
        ("~=", "1", ["2", None, ["1"], True], ["1", 1]),
        ("~=", 10, ["abc", None, "11"], ["10", 10]),
        (">", 5, ["6", 5.1, "5.0001", 6], ["5", "abc", "", None, True, ["6"], "nan", "inf", "1_0"]),
        (">", "5", ["6"], ["5"]),
        ("<", 5, ["4", "-1"], ["5", "abc", None]),
        (">=", 5, ["5", "6"], ["4", None]),
        ("<=", 5, ["5", "4"], ["6", None]),
        ("~~", "^a\\d$", ["a1"], ["A1", "a", None, ["a1"]]),
        ("~~", "^5", [500, "5"], [404]),
        ("~*", "^a\\d$", ["a1", "A1"], ["b1", None]),
        ("in", ["1", 2, True], ["1", 1, "2", 2, True], ["3", None, False, ["1"]]),
        ("in", [], [], ["1", None]),
        ("has", "a", [["b", "a"]], ["a", [], None, [["a"]]]),
        ("has", 1, [["1"], [1]], [["2"], "1"]),
        ("ipmatch", ["10.0.0.0/8", "::1"], ["10.1.1.1", "::1"], ["11.1.1.1", "abc", "", None, 5, ["10.1.1.1"]]),
        ("ipmatch", "10.0.0.1", ["10.0.0.1"], ["10.0.0.2"]),
    ],
)
def test_operators(operator: str, operand: Any, true: list[Any], false: list[Any]) -> None:
    test = OPERATORS[operator](operand)
    assert [value for value in true if test(value) is not True] == []
    assert [value for value in false if test(value) is not False] == []


def test_every_operator_of_the_language_and_no_other() -> None:
    assert set(OPERATORS) == {"==", "~=", ">", "<", ">=", "<=", "~~", "~*", "in", "has", "ipmatch"}


@pytest.mark.parametrize(
    ("operator", "operand", "message"),
    [
        ("==", None, "must be a string, a number or a boolean"),
        ("==", ["a"], "must be a string, a number or a boolean"),
        ("~=", {}, "must be a string, a number or a boolean"),
        (">", "abc", "must be a number"),
        ("<", True, "must be a number"),
        ("~~", 5, "must be a regular expression"),
        ("~*", "(", "missing )"),
        ("in", "abc", "must be a list"),
        ("in", [["a"]], "must be a string, a number or a boolean"),
        ("has", None, "must be a string, a number or a boolean"),
        ("ipmatch", ["10.0.0.0/99"], "'10.0.0.0/99' is not an IP address or CIDR"),
        ("ipmatch", [5], "must be an IP address or CIDR, or a list of them"),
        ("ipmatch", {}, "must be an IP address or CIDR, or a list of them"),
    ],
)
def test_operands_that_do_not_suit(operator: str, operand: Any, message: str) -> None:
    with pytest.raises(OperandError) as refused:
        OPERATORS[operator](operand)
    assert message in str(refused.value)


def test_numbers() -> None:
    assert number_of("12345678901234567") == 12345678901234567
    assert number_of("9" * 5000) == float("inf")
    assert number_of("1e400") == float("inf")
    for text in ("", " ", "abc", "0x10", "\u0661", "1_000", "nan", "Infinity", "-", "1 2"):
        assert number_of(text) is None
    assert (text_of(5), text_of("a"), text_of(True), text_of(None), text_of(["a"])) == ("5", "a", None, None, None)
