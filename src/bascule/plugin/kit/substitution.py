"""A regular expression and what takes the place of its match: `regex_uri`, the filters of response-rewrite."""

import re

from bascule.match.regex import RegexError, compile_regex

# OpenResty's options. Those that only tune its engine (compile once, JIT, DFA, duplicate names) change nothing here.
_OPTIONS = "adDijJmosuUx"
_REFERENCE = re.compile(r"\$(?:(\d+)|\{(\d+)\}|(\$)|)")


class Substitution:
    """`$1` or `${1}` stands for a group, `$0` for the match, `$$` for a dollar.

    Options: i ignores case, m lets ^ and $ match at lines, s lets . match newlines, x allows blanks and comments,
    a anchors at the start. RegexError when pattern, options or replacement can't be used."""

    def __init__(self, pattern: str, replacement: str, options: str = "jo") -> None:
        for option in options:
            if option not in _OPTIONS:
                raise RegexError(f'unknown flag "{option}" (flags "{options}")')
        flags = "".join(flag for flag in "imsx" if flag in options)
        # A comment of x would swallow the end of the group that the flags open.
        text = f"(?{flags}){pattern}" + ("\n" if "x" in options else "") if flags else pattern
        self.regex = compile_regex(f"\\A(?:{text})" if "a" in options else text)
        self.parts = _parts(replacement)
        for part in self.parts:
            if isinstance(part, int) and part > self.regex.groups:
                # As PCRE's callers do: a group that isn't there is empty.
                self.parts = [p for p in self.parts if isinstance(p, str) or p <= self.regex.groups]
                break

    def search(self, text: str) -> re.Match[str] | None:
        return self.regex.search(text)

    def expand(self, match: re.Match[str]) -> str:
        """What takes the place of this match. A group that took no part is empty."""
        return "".join([part if isinstance(part, str) else match[part] or "" for part in self.parts])

    def apply(self, text: str, everywhere: bool = False) -> str | None:
        """The text with its first match replaced, or all of them; None when there is none."""
        result, count = self.regex.subn(self.expand, text, 0 if everywhere else 1)
        return result if count else None


def _parts(replacement: str) -> list[str | int]:
    """Literal pieces and numbers of groups."""
    parts: list[str | int] = []
    end = 0
    for reference in _REFERENCE.finditer(replacement):
        parts.append(replacement[end : reference.start()])
        end = reference.end()
        number = reference[1] or reference[2]
        if number is not None:
            parts.append(int(number))
        elif reference[3]:
            parts.append("$")
        else:
            raise RegexError(f'invalid capturing variable name found in "{replacement}"')
    parts.append(replacement[end:])
    return [part for part in parts if part != ""]
