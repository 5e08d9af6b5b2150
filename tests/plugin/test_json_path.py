import pytest

from bascule.plugin.json_path import parse_json_path

DOCUMENT = {
    "model": "m",
    "messages": [{"role": "a", "n": 1}, {"role": "b", "n": 2, "more": {"n": 3}}],
    "a-b": {"c d": True},
    "empty": [],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model", "m"),
        ("$.model", "m"),
        (".model", "m"),
        ("messages[0].role", "a"),
        ("messages[-1].role", "b"),
        ("messages[5].role", None),
        ("messages[*].role", ["a", "b"]),
        ("messages.*.n", [1, 2]),
        ("$..n", [1, 2, 3]),
        ("..more.n", [3]),
        ("messages[*].absent", None),
        ("a-b['c d']", True),
        ('["a-b"]["c d"]', True),
        ("model.deeper", None),
        ("empty[*]", None),
        ("absent", None),
    ],
)
def test_values(path, value):
    assert parse_json_path(path).value(DOCUMENT) == value


@pytest.mark.parametrize("path", ["", "$", "a[", "a[]", "a..", "a[x]", "a.b.", "[0]b", "a['"])
def test_no_paths(path):
    with pytest.raises(ValueError, match="JSONPath"):
        parse_json_path(path)


def test_scalars_have_no_children():
    for document in (None, 1, "text", True):
        assert parse_json_path("a").value(document) is None
        assert parse_json_path("..a").value(document) is None


def test_depth_is_the_clients_choice():
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert len(parse_json_path("..a").value(deep)) == 100_000
    while deep:  # freed level by level
        deep = deep["a"]
