import pytest
from pydantic import TypeAdapter

from bascule.errors.sentences import Refused
from bascule.plugin.kit.header_edits import FlatIsSet, HeaderEdits, check_headers
from bascule.plugin.kit.testing import get
from bascule.plugin.response import Response


def test_adds_then_sets_then_removes() -> None:
    edits = HeaderEdits(
        add=[("A", ["1", "2"]), ("B", ["1"]), ("C", ["1"])], set=[("B", ["2", "3"]), ("C", ["2"])], remove=["c"]
    )
    response = Response(200, headers={"A": "0", "B": "0", "C": "0"})
    edits.apply(response, get("/"))
    assert response.headers() == [("A", "0"), ("A", "1"), ("A", "2"), ("B", "2"), ("B", "3")]


def test_constants_are_told_apart() -> None:
    edits = HeaderEdits(add=[("A", ["1", "", "é"])], set=[("B", ["漢"])])
    assert (edits.constant, edits.adds, edits.sets) == (True, [], [])
    response = Response(200, headers={"A": "0", "B": "0"})
    edits.apply(response, get("/"))
    assert response.headers() == [("A", "0"), ("A", "1"), ("A", "é"), ("B", "漢".encode().decode("latin-1"))]
    assert not HeaderEdits(add=[("A", ["1"])], remove=["A"]).constant
    assert not HeaderEdits(add=[("A", ["$uri"])], set=[("B", ["1"])]).constant
    assert not HeaderEdits(set=[("A", [""])]).constant  # removes it


def test_values_are_templates_and_empty_ones_are_none() -> None:
    edits = HeaderEdits(add=[("A", ["$arg_none"])], set=[("B", ["$arg_none"]), ("C", ["$uri"]), ("D", [""])])
    assert edits.variables == {"arg_none", "uri"}
    response = Response(200, headers={"A": "0", "B": "0", "D": "0"})
    edits.apply(response, get("/x%0D%0Ay"))
    assert response.headers() == [("A", "0"), ("C", "/x y")]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a:b", "c", "invalid field character in header"),
        ("", "c", "invalid field character in header"),
        ("Connection", "c", "invalid field character in header"),
        ("a", "b\r\n", "invalid value character in header 'a'"),
    ],
)
def test_check_headers(name: str, value: str, message: str) -> None:
    check_headers([("a", "b\tc"), ("d", "")])
    with pytest.raises(Refused, match=message):
        check_headers([("a", "b"), (name, value)])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"a": "b"}, {"set": {"a": "b"}}),
        ({"set": "b"}, {"set": {"set": "b"}}),
        ({"set": {"a": "b"}}, {"set": {"a": "b"}}),
        ({"add": ["a: b"], "c": 1}, {"add": ["a: b"], "c": 1}),
        ([], []),
    ],
)
def test_flat_is_set(given: object, meant: object) -> None:
    from typing import Annotated, Any

    assert TypeAdapter(Annotated[Any, FlatIsSet]).validate_python(given) == meant
