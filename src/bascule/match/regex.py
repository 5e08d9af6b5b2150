"""PCRE-flavoured patterns, as APISIX configurations hold them, for Python's `re`.

The two dialects agree on nearly everything. What differs and is translated: names of groups and references to them
((?<n>…), (?'n'…), \\k<n>), \\z and \\Z, \\h, \\v, \\N, \\R, \\e, \\x{…}, \\Q…\\E, POSIX classes, and inline flags
that do not stand at the start of the pattern. Recursion, branch reset, \\K, \\G, \\p{…} and (*VERBS) have no
counterpart and are refused. Classes such as \\w are ASCII, as they are in PCRE without its UTF mode.
"""

import re
import warnings

_ESCAPES = {
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "h": r"[ \t]",
    "H": r"[^ \t]",
    "v": r"[\n\x0b\f\r]",
    "V": r"[^\n\x0b\f\r]",
    "N": r"[^\n]",
    "R": r"(?:\r\n|[\n\x0b\f\r])",
    "e": r"\x1b",
}
_CLASS_ESCAPES = {"h": r" \t", "v": r"\n\x0b\f\r", "e": r"\x1b"}
_POSIX = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9A-Fa-f",
    "word": r"\w",
    "print": " -~",
    "graph": "!-~",
    "cntrl": r"\x00-\x1f\x7f",
}
_REFUSED = {"K": "\\K", "G": "\\G", "p": "\\p{…}", "P": "\\P{…}", "X": "\\X", "C": "\\C"}
_FLAGS = re.compile(r"\(\?([imsx]*)(?:-([imsx]+))?\)")
_NAMED_GROUP = re.compile(r"\(\?(?:<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)')")
_NAMED_REFERENCE = re.compile(r"\\(?:k(?:<(\w+)>|\{(\w+)\}|'(\w+)')|g\{([A-Za-z_]\w*)\})")
_NUMBERED_REFERENCE = re.compile(r"\\g(?:\{(\d+)\}|(\d+))")
_HEXADECIMAL = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_POSIX_CLASS = re.compile(r"\[:(\^?)(\w+):\]")
_NO_COUNTERPART = re.compile(r"\(\?(?:\||R\)|[+-]?\d+\)|&\w+\)|P>)|\(\*")


class RegexError(ValueError):
    """The pattern is not one that can be used; the message says why."""


def compile_regex(pattern: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """A compiled pattern from PCRE's notation. RegexError when it is malformed or has no counterpart in Python."""
    translated = _Translation(pattern).run()
    with warnings.catch_warnings():
        # Python warns of notations like [[a] that may change their meaning in future: here they mean what PCRE says.
        warnings.simplefilter("ignore")
        try:
            return re.compile(translated, re.ASCII | (re.IGNORECASE if ignore_case else 0))
        except (re.error, OverflowError, RecursionError) as error:
            raise RegexError(_sentence(pattern, str(error))) from None


class _Translation:
    """One pass over a pattern; `out` grows by pieces of Python's notation."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.out: list[str] = []
        # Per open group: the prefixes of the (?i:…) groups that inline flags opened inside it.
        self.flags: list[list[str]] = [[]]

    def run(self) -> str:
        while self.at < len(self.pattern):
            character = self.pattern[self.at]
            if character == "\\":
                self._escape()
            elif character == "[":
                self._character_class()
            elif character == "(":
                self._open()
            elif character == ")":
                self.out.append(")" * (1 + len(self.flags[-1])))
                if len(self.flags) > 1:
                    self.flags.pop()
                self.at += 1
            elif character == "|" and self.flags[-1]:
                # An inline flag holds for the alternatives that follow as well.
                self.out.append(")" * len(self.flags[-1]) + "|" + "".join(self.flags[-1]))
                self.at += 1
            else:
                self.out.append(character)
                self.at += 1
        self.out.append(")" * len(self.flags[0]))
        return "".join(self.out)

    def _open(self) -> None:
        if found := _NO_COUNTERPART.match(self.pattern, self.at):
            raise self._refusal(found[0])
        if found := _FLAGS.match(self.pattern, self.at):
            prefix = f"(?{found[1]}{'-' + found[2] if found[2] else ''}:"
            self.flags[-1].append(prefix)
            self.out.append(prefix)
            self.at = found.end()
            return
        if self.pattern.startswith("(?#", self.at):
            end = self.pattern.find(")", self.at)
            if end < 0:
                raise RegexError(_sentence(self.pattern, "missing ) of a comment"))
            self.at = end + 1
            return
        self.flags.append([])
        if found := _NAMED_GROUP.match(self.pattern, self.at):
            self.out.append(f"(?P<{found[1] or found[2]}>")
            self.at = found.end()
        else:
            self.out.append("(")
            self.at += 1

    def _escape(self) -> None:
        following = self.pattern[self.at + 1 : self.at + 2]
        if following == "Q":
            self._quoted()
        elif found := _NAMED_REFERENCE.match(self.pattern, self.at):
            self._take(found, f"(?P={next(group for group in found.groups() if group)})")
        elif found := _NUMBERED_REFERENCE.match(self.pattern, self.at):
            self._take(found, f"(?:\\{found[1] or found[2]})")
        elif found := _HEXADECIMAL.match(self.pattern, self.at):
            self._take(found, self._code_point(found[1]))
        elif following in _REFUSED:
            raise self._refusal(_REFUSED[following])
        else:
            self.out.append(_ESCAPES.get(following, "\\" + following))
            self.at += 2

    def _quoted(self) -> None:
        end = self.pattern.find("\\E", self.at)
        stop = len(self.pattern) if end < 0 else end
        self.out.append(re.escape(self.pattern[self.at + 2 : stop]))
        self.at = stop if end < 0 else end + 2

    def _character_class(self) -> None:
        """From '[' to its ']': POSIX names and escapes are spelled out, a bare '[' is escaped."""
        self.out.append("[")
        self.at += 1
        if self.pattern.startswith("^", self.at):
            self.out.append("^")
            self.at += 1
        if self.pattern.startswith("]", self.at):
            self.out.append("\\]")
            self.at += 1
        while self.at < len(self.pattern) and self.pattern[self.at] != "]":
            character = self.pattern[self.at]
            if character == "[" and (found := _POSIX_CLASS.match(self.pattern, self.at)):
                if found[1] or found[2] not in _POSIX:
                    raise self._refusal(found[0])
                self._take(found, _POSIX[found[2]])
            elif found := _HEXADECIMAL.match(self.pattern, self.at):
                self._take(found, self._code_point(found[1]))
            elif character == "\\":
                following = self.pattern[self.at + 1 : self.at + 2]
                self.out.append(_CLASS_ESCAPES.get(following, "\\" + following))
                self.at += 2
            else:
                self.out.append("\\[" if character == "[" else character)
                self.at += 1

    def _take(self, found: re.Match[str], piece: str) -> None:
        self.out.append(piece)
        self.at = found.end()

    def _code_point(self, digits: str) -> str:
        if int(digits, 16) > 0x10FFFF:
            raise RegexError(_sentence(self.pattern, f"\\x{{{digits}}} is no character"))
        return f"\\U{int(digits, 16):08x}"

    def _refusal(self, piece: str) -> RegexError:
        return RegexError(_sentence(self.pattern, f"{piece} has no counterpart in Python"))


def _sentence(pattern: str, reason: str) -> str:
    shown = pattern if len(pattern) <= 100 else pattern[:97] + "..."
    return f"bad regular expression {shown!r}: {reason}"
