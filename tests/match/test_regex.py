import pytest

from bascule.match.regex import RegexError, compile_regex


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        # the same in both dialects
        ("^/api/v\\d+/", ["/api/v1/x"], ["/api/vx/", "x/api/v1/"]),
        ("", ["", "a"], []),
        ("a++b", ["aab"], ["b"]),
        ("(?>a|ab)c", ["ac"], ["abc"]),
        ("end$", ["end", "end\n"], ["ends"]),
        ("(a)(?=b)(?!bc)", ["abe"], ["abc"]),
        # names of groups and references
        ("(?<y>\\d)-\\k<y>", ["1-1"], ["1-2"]),
        ("(?'y'\\d)-\\k{y}\\k'y'\\g{y}", ["1-111"], ["1-121"]),
        ("(?P<y>\\d)(?P=y)", ["11"], ["12"]),
        ("(a|b)\\g1\\g{1}", ["aaa", "bbb"], ["aab"]),
        ("(?<=x)y(?<!z)", ["xy"], ["zy"]),
        # anchors and escapes
        ("a\\z", ["a"], ["a\n"]),
        ("a\\Z", ["a", "a\n"], ["ab"]),
        ("^\\h+\\H$", [" \tx"], ["x"]),
        ("^\\R$", ["\r\n", "\n", "\r"], ["x"]),
        ("^\\v\\V\\N$", ["\nab"], ["abc"]),
        ("\\x41\\x{42}\\e", ["AB\x1b"], ["AB"]),
        ("^\\Qa.b*\\E+$", ["a.b*", "a.b**"], ["axb"]),
        ("^\\Qa.b", ["a.b"], ["axb"]),
        ("^\\w$", ["a"], ["é"]),
        ("\\/\\-\\.", ["/-."], ["/-x"]),
        # classes
        ("^[[:alpha:]_]+$", ["a_B"], ["a1"]),
        ("^[^[:space:]]$", ["a"], [" "]),
        ("^[]a]$", ["]", "a"], ["b"]),
        ("^[^]a]$", ["b"], ["]"]),
        ("^[[a]$", ["[", "a"], ["b"]),
        ("^[\\h\\x{41}\\]]$", [" ", "A", "]"], ["h"]),
        ("^[a&&b||c~~]$", ["&", "|"], ["e"]),
        ("^[[:punct:]]+$", ["[]^!-~`{"], ["a"]),
        ("[(|)]", ["(", "|", ")"], ["a"]),
        # inline flags
        ("(?i)abc", ["ABC"], ["ABX"]),
        ("a(?i)b", ["ab", "aB"], ["AB"]),
        ("a(?i)b|c", ["aB", "C", "c"], ["AB"]),
        ("(a(?i)b|c)x", ["aBx", "Cx"], ["aBX"]),
        ("(?i)a(?-i)b", ["Ab"], ["AB"]),
        ("(?i:a)b", ["Ab"], ["AB"]),
        ("(?is)a.b", ["A\nB"], ["ab"]),
        ("a(?#note (x)b", ["ab"], ["a"]),
    ],
)
def test_pcre(pattern: str, yes: list[str], no: list[str]) -> None:
    compiled = compile_regex(pattern)
    assert [text for text in yes + no if compiled.search(text)] == yes


def test_ignore_case() -> None:
    assert compile_regex("^abc$", ignore_case=True).search("aBC")
    assert not compile_regex("^abc$").search("aBC")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "missing )"),
        ("a)", "unbalanced parenthesis"),
        ("[a", "unterminated character set"),
        ("*a", "nothing to repeat"),
        ("a\\", "bad escape"),
        ("(?R)", "(?R) has no counterpart in Python"),
        ("(a)(?1)", "(?1) has no counterpart"),
        ("(?|a|b)", "(?| has no counterpart"),
        ("(?&x)", "(?&x) has no counterpart"),
        ("(*ANY)a", "(* has no counterpart"),
        ("a\\Kb", "\\K has no counterpart"),
        ("\\p{L}", "\\p{…} has no counterpart"),
        ("[[:^alpha:]]", "[:^alpha:] has no counterpart"),
        ("[[:nonsense:]]", "[:nonsense:] has no counterpart"),
        ("\\x{110000}", "is no character"),
        ("(?<=a+)b", "look-behind requires fixed-width"),
        ("a{99999999999999999999}", "repetition number is too large"),
        ("(?<1>a)", "bad regular expression"),
        ("(?#", "bad regular expression"),
        ("(" * 10_000, "bad regular expression"),
    ],
)
def test_what_cannot_be_used_is_said(pattern: str, message: str) -> None:
    with pytest.raises(RegexError) as refused:
        compile_regex(pattern)
    assert message in str(refused.value)
    assert str(refused.value).startswith("bad regular expression")
    assert len(str(refused.value)) < 400
