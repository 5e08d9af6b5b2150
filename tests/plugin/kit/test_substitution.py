import pytest

from bascule.match.regex import RegexError
from bascule.plugin.kit.substitution import Substitution


@pytest.mark.parametrize(
    ("pattern", "replacement", "options", "text", "result"),
    [
        ("b", "x", "jo", "abcb", "axcb"),
        ("z", "x", "jo", "abc", None),
        (r"(\w)(\w)", "$2${1}$0$$", "jo", "ab!", "baab$!"),
        ("(a)|(b)", "[$1$2$3]", "jo", "b", "[b]"),
        ("(?<first>a)b", "$1", "jo", "xab", "xa"),
        ("B", "x", "i", "abc", "axc"),
        ("b$", "x", "m", "ab\nc", "ax\nc"),
        ("a.c", "x", "s", "a\nc", "x"),
        ("a b # comment", "x", "x", "ab", "x"),
        ("b|a", "x", "a", "ab", "xb"),
        ("b", "x", "a", "ab", None),
    ],
)
def test_apply(pattern: str, replacement: str, options: str, text: str, result: str | None) -> None:
    assert Substitution(pattern, replacement, options).apply(text) == result


def test_everywhere() -> None:
    assert Substitution("b", "x").apply("abcb", everywhere=True) == "axcx"


@pytest.mark.parametrize(
    ("pattern", "replacement", "options", "message"),
    [
        ("(", "", "jo", "bad regular expression"),
        ("a", "", "jh", 'unknown flag "h" \\(flags "jh"\\)'),
        ("a", "$b", "jo", 'invalid capturing variable name found in "\\$b"'),
        ("a", "cost: $", "jo", "invalid capturing variable name"),
    ],
)
def test_refuses(pattern: str, replacement: str, options: str, message: str) -> None:
    with pytest.raises(RegexError, match=message):
        Substitution(pattern, replacement, options)
