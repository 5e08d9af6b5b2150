"""Changes to the headers of a request or response that a configuration asks for."""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, StringConstraints

from bascule.errors.sentences import Refused
from bascule.plugin.fields import check_field
from bascule.plugin.kit.template import Template, Variables

# A value of a variable may hold what can't stand in a header (a decoded CR LF): it becomes a blank.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")


def _flat_is_set(headers: Any) -> Any:
    if not isinstance(headers, dict):
        return headers
    if any(isinstance(headers.get(key), dict | list) for key in ("add", "set", "remove")):
        return headers
    return {"set": headers}


HeaderName = Annotated[str, StringConstraints(pattern=r"^[^:]+$")]
# On a Config's `headers`: the older form, a plain map of names to values, means `set`.
FlatIsSet = BeforeValidator(_flat_is_set)


def check_headers(headers: Iterable[tuple[str, str]]) -> None:
    """For validators: Refused when a name or the text of a value can't stand in a head, or frames the body."""
    for name, value in headers:
        try:
            check_field(name)
        except ValueError as error:
            raise Refused(
                f"invalid field character in header: {error}", "invalid field character in header", True
            ) from error
        if _CONTROL.search(value):
            raise Refused(f"invalid value character in header {name!r}", "invalid value character in header", True)


class HasHeaders(Protocol):
    def set_header(self, name: str, value: str | bytes, /) -> None: ...
    def add_header(self, name: str, value: str | bytes, /) -> None: ...
    def remove_header(self, name: str, /) -> None: ...


class HeaderEdits:
    """Adds, then sets, then removes. Values are templates: set to an empty one removes, an empty one isn't added."""

    def __init__(
        self,
        add: Iterable[tuple[str, Sequence[str]]] = (),
        set: Iterable[tuple[str, Sequence[str]]] = (),
        remove: Iterable[str] = (),
    ) -> None:
        adds = [(name, [Template(value) for value in values]) for name, values in add]
        sets = [(name, [Template(value) for value in values]) for name, values in set]
        self.removes = tuple(remove)
        edits = (*adds, *sets)
        # Names of the variables that the values need.
        self.variables = frozenset(name for _, values in edits for value in values for name in value.names)
        # Nearly every configuration: constant values, so nothing is left to decide per request.
        self.constant_adds, self.adds = _constants(adds)
        self.constant_sets, self.sets = ((), sets) if self.adds else _constants(sets, single=True)
        self.constant = not (self.adds or self.sets or self.removes)  # nothing but constants

    def apply(self, message: HasHeaders, variables: Variables) -> None:
        for name, raw in self.constant_adds:
            message.add_header(name, raw)
        for name, raw in self.constant_sets:
            message.set_header(name, raw)
        for name, values in self.adds:
            for text in _texts(values, variables):
                message.add_header(name, text)
        for name, values in self.sets:
            texts = _texts(values, variables)
            if not texts:
                message.remove_header(name)
                continue
            message.set_header(name, texts[0])
            for text in texts[1:]:
                message.add_header(name, text)
        for name in self.removes:
            message.remove_header(name)


Edits = list[tuple[str, list[Template]]]
Constants = tuple[tuple[str, bytes], ...]


def _constants(edits: Edits, single: bool = False) -> tuple[Constants, Edits]:
    """(constants, []) where nothing is left to decide per request, else ((), edits). `single`: one value each."""
    texts = [(name, value.constant) for name, values in edits for value in values]
    if any(text is None for _, text in texts):
        return (), edits
    if single and not all(len(values) == 1 and values[0].constant for _, values in edits):
        return (), edits
    return tuple((name, _raw(text)) for name, text in texts if text), []


def _raw(text: str) -> bytes:
    """As a header's value goes out."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _texts(values: list[Template], variables: Variables) -> list[str]:
    texts = []
    for value in values:
        text = value.constant
        if text is None:
            text = _CONTROL.sub(" ", value.render(variables))
        if text:
            texts.append(text)
    return texts
