"""One thing that is wrong with a value, told twice: in our words, and as APISIX tells it."""

from __future__ import annotations

from dataclasses import dataclass

INVALID = "invalid configuration: "


@dataclass(frozen=True, slots=True)
class Fault:
    """`path`: JSON path of what is wrong ("$.uri"); `sentence`: "is required"; `text`: APISIX's wording of the same,
    which tells the place itself ('property "uri" is required'). `prefix`: what APISIX writes before that text in the
    answer to a write; to a mere validation it answers with the text alone."""

    path: str
    sentence: str
    text: str
    prefix: str = INVALID

    @property
    def error_msg(self) -> str:
        """The `error_msg` of an answer of the Admin API."""
        return self.prefix + self.text
