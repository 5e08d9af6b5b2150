import pytest

from bascule.plugin.kit.target import with_query, without_arg


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("/a", "/a"),
        ("/a?", "/a?"),
        ("/a?b=%20&c", "/a?b=%20&c"),
        ("/a?key=1", "/a"),
        ("/a?b=1&key=2&key&c=3&k%65y=4", "/a?b=1&c=3"),
        ("/a?keys=1&KEY=2", "/a?keys=1&KEY=2"),
    ],
)
def test_without_arg(target: str, left: str) -> None:
    assert without_arg(target, "key") == left


@pytest.mark.parametrize(
    ("target", "query", "result"), [("/a", "", "/a"), ("/a", "b=1", "/a?b=1"), ("/a?c", "b=1", "/a?c&b=1")]
)
def test_with_query(target: str, query: str, result: str) -> None:
    assert with_query(target, query) == result
