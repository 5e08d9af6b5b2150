import pytest

from bascule.snapshot.references import (
    Resolver,
    Unresolved,
    from_environment,
    is_fetched,
    is_file,
    is_reference,
    left_open,
    may_refer,
    secrets_in,
    with_secrets,
)

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
    found = from_environment(ENVIRONMENT)(reference)
    assert found == answer or (answer is None and isinstance(found, Unresolved) and not found.open)


def test_references_are_replaced_wherever_they_stand():
    value = {"a": "$env://KEY", "b": [{"c": "$Env://JSON/a"}, 1, None], "d": "x $env://KEY", "$env://KEY": "e"}
    replaced = Resolver(from_environment(ENVIRONMENT)).replace(value)
    assert replaced.value == {"a": "k", "b": [{"c": "deep"}, 1, None], "d": "x $env://KEY", "$env://KEY": "e"}
    assert replaced.used == {"$env://KEY": "k", "$Env://JSON/a": "deep"}
    assert (replaced.faults, replaced.open) == ([], [])


def test_what_has_no_answer_is_told_with_its_place():
    replaced = Resolver(from_environment({})).replace({"a": ["$env://A"], "b": "$secret://vault/1/k"})
    assert replaced.faults == [
        (("a", 0), "$env://A can't be resolved: there is no such environment variable"),
        (("b",), "$secret://vault/1/k: secret managers aren't asked here"),
    ]
    assert replaced.value == {"a": ["$env://A"], "b": "$secret://vault/1/k"}
    replaced = Resolver(from_environment({})).replace("$file:///x")
    assert replaced.faults == [((), "$file:///x: files aren't read here")]


def test_where_it_is_only_checked_secrets_are_left_open():
    resolver = Resolver(from_environment({}), checking=True)
    replaced = resolver.replace({"a": ["$env://A"], "b": "$secret://vault/1/k"})
    assert [parts for parts, _ in replaced.faults] == [("a", 0)]
    assert replaced.open == [("b",)]
    replaced = Resolver(left_open(from_environment({"B": "b"})), checking=True).replace(["$env://A", "$env://B"])
    assert (replaced.value, replaced.faults, replaced.open) == (["$env://A", "b"], [], [(0,)])


def test_secrets_are_looked_up_as_they_are_now():
    secrets = {}
    resolve = with_secrets({"KEY": "k"}, secrets)
    assert resolve("$env://KEY") == "k"
    early = resolve("$secret://vault/1/a/b")
    assert early == Unresolved("$secret://vault/1/a/b can't be resolved: it was not fetched yet")
    secrets["$secret://vault/1/a/b"] = "s"
    assert resolve("$secret://vault/1/a/b") == "s"
    secrets["$secret://vault/1/a/b"] = Unresolved("gone")
    assert resolve("$secret://vault/1/a/b") == Unresolved("gone")


def test_secrets_in():
    value = {"a": "$SECRET://vault/1/k", "b": ["$secret://aws/1/x", "$env://A", "x$secret://y"], "$secret://z": 1}
    assert list(secrets_in(value)) == ["$SECRET://vault/1/k", "$secret://aws/1/x"]
    assert is_fetched("$Secret://x")
    assert is_fetched("$File:///x")
    assert not is_fetched("secret://x")
    assert is_file("$FILE:///x")
    assert not is_file("$secret://x")
    assert is_reference("$file:///x")
    assert not is_reference("x $file:///x")


def test_may_refer():
    assert may_refer(b'{"a":"$env://B"}')
    assert may_refer(b'{"a":"$ENV://B"}')
    assert not may_refer(b'{"a":"http://b"}')
