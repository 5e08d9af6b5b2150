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
    def set_header(self, name: str, value: str, /) -> None: ...
    def add_header(self, name: str, value: str, /) -> None: ...
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
        # Nearly every configuration: one constant value each, so nothing is left to decide per request.
        constants = [(name, values[0].constant or "") for name, values in sets if len(values) == 1]
        plain = not adds and len(constants) == len(sets) and all(text for _, text in constants)
        self.constants = tuple(constants) if plain else ()
        self.constant = plain and not self.removes  # nothing but constants
        self.adds, self.sets = ([], []) if plain else (adds, sets)

    def apply(self, message: HasHeaders, variables: Variables) -> None:
        for name, text in self.constants:
            message.set_header(name, text)
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


def _texts(values: list[Template], variables: Variables) -> list[str]:
    texts = []
    for value in values:
        text = value.constant
        if text is None:
            text = _CONTROL.sub(" ", value.render(variables))
        if text:
            texts.append(text)
    return texts
