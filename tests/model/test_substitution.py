import json

import pytest

from bascule.model.substitution import MissingVariable, Placeholders, substitute_json


def test_a_text_without_references_is_left_alone() -> None:
    assert substitute_json('{"a": "$x ${y}"}', {}) == '{"a": "$x ${y}"}'
    assert Placeholders("a: $x", {}).text == "a: $x"


def test_json_values_are_escaped_inside_strings_only() -> None:
    text = '{"a": "x${{A}}y", "n": ${{N}}, "d": "${{D:=1 2}}"}'
    assert json.loads(substitute_json(text, {"A": 'q"\n\\', "N": "8080"})) == {"a": 'xq"\n\\y', "n": 8080, "d": "1 2"}


def test_a_missing_variable_names_itself_and_its_line() -> None:
    with pytest.raises(MissingVariable) as caught:
        substitute_json('{\n"a":\n "${{NOPE}}"}', {})
    assert (caught.value.name, caught.value.line) == ("NOPE", 3)


def test_placeholders_come_back_as_values() -> None:
    held = Placeholders("a: ${{ A }}\nb: ${{B:=x:y}}", {"A": "1"})
    first, second = (line.split(": ")[1] for line in held.text.splitlines())
    assert (held.fill(first, 1), held.fill(second, 2)) == ("1", "x:y")


def test_a_word_that_looks_like_a_placeholder_is_none() -> None:
    assert Placeholders("a: ${{A}}", {"A": "1"}).fill("xBasculeVar7x", 1) == "xBasculeVar7x"
