import pytest

from bascule.snapshot.references import Resolver, from_environment, may_refer

ENVIRONMENT = {"KEY": "k", "EMPTY": "", "JSON": '{"a": "deep", "n": 1}', "LIST": "[1]"}


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("$env://KEY", "k"),
        ("$ENV://KEY", "k"),
        ("$env://EMPTY", ""),
        ("$env://NOPE", None),
        ("$env://JSON/a", "deep"),
        ("$env://JSON/n", None),
        ("$env://JSON/x", None),
        ("$env://KEY/a", None),
        ("$env://LIST/a", None),
    ],
)
def test_environment(reference, answer):
    assert from_environment(ENVIRONMENT)(reference) == answer


def test_references_are_replaced_wherever_they_stand():
    faults = []
    value = {"a": "$env://KEY", "b": [{"c": "$Env://JSON/a"}, 1, None], "d": "x $env://KEY", "$env://KEY": "e"}
    assert Resolver(from_environment(ENVIRONMENT)).replace(value, faults) == {
        "a": "k",
        "b": [{"c": "deep"}, 1, None],
        "d": "x $env://KEY",
        "$env://KEY": "e",
    }
    assert faults == []


def test_what_has_no_answer_is_told_with_its_place():
    faults = []
    Resolver(from_environment({})).replace({"a": ["$env://A"], "b": "$secret://vault/1/k"}, faults)
    assert faults == [
        (("a", 0), "$env://A can't be resolved: there is no such environment variable"),
        (("b",), "$secret://vault/1/k: secret managers are not served yet; use $env://NAME"),
    ]


def test_may_refer():
    assert may_refer(b'{"a":"$env://B"}')
    assert may_refer(b'{"a":"$ENV://B"}')
    assert not may_refer(b'{"a":"http://b"}')
