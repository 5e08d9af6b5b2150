"""A YAML text as plain values, with the line of every place in it. Safe against hostile and half-written files.

Differences from PyYAML's safe loader: keys are strings as written (`80:` is "80"), a date stays a string, and so do `=`
and a `<<` that is no key; a key given twice is an error, and aliases may not blow a small file up.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from bascule.model.substitution import MissingVariable, Placeholders

# Values that a file may expand to by aliases. Plain files have no such limit.
MAX_ALIASED_VALUES = 2_000_000
_MAX_DEPTH = 200
# libyaml's composer recurses in C: what might be deeper than this is measured before it is let in.
_SAFE_DEPTH = 2000
_INDENT = re.compile(rf"^[ \-?]{{{_SAFE_DEPTH // 2}}}", re.MULTILINE)
_ANCHOR = re.compile(r"(?:^|[\s\[{,:])&\S")

Part = str | int


class YamlRefused(Exception):
    """The text can't be read. `faults` are (line from 1 or None, JSON path, sentence)."""

    def __init__(self, faults: Sequence[tuple[int | None, str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(sentence for _, _, sentence in faults))


class YamlDocument:
    """`value` is the document (None when it is empty). `environ` None: `${{NAME}}` stays as it is."""

    def __init__(self, data: bytes, environ: Mapping[str, str] | None) -> None:
        """Raises YamlRefused."""
        placeholders = Placeholders(decode(data), environ)
        loader = _Loader(placeholders.text)
        try:
            _check_depth(placeholders.text)
            self._root: yaml.Node | None = loader.get_single_node()
            if self._root is not None and _ANCHOR.search(placeholders.text):
                _check_aliases(self._root)
            if self._root is not None and placeholders:
                _fill(self._root, placeholders, loader)
            self.value: Any = None if self._root is None else loader.construct_document(self._root)
        except MissingVariable as missing:
            raise YamlRefused([(missing.line, "", str(missing))]) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if "nesting depth" in (error.problem or ""):  # PyYAML from 6.0.4 on has a limit of its own
                raise YamlRefused([(mark.line + 1 if mark else None, "", "is nested too deeply")]) from None
            raise YamlRefused([(mark.line + 1 if mark else None, "", _sentence(error))]) from None
        except RecursionError:
            raise YamlRefused([(None, "", "is nested too deeply")]) from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            raise YamlRefused([(None, "", f"is not valid YAML: {error}".replace("\n", " "))]) from None
        finally:
            loader.dispose()
        if loader.faults:
            raise YamlRefused(loader.faults)

    def line(self, path: Sequence[Part]) -> int | None:
        """The line of the deepest part of `path` that exists: of its key in a mapping, of the item in a list."""
        node, line = self._root, None if self._root is None else self._root.start_mark.line + 1
        for part in path:
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            elif isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if str(pair[0].value) == str(part)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            else:
                break
        return line

    def item_lines(self, key: str) -> list[int]:
        """The line of each item of the list at a top-level key."""
        if isinstance(self._root, yaml.MappingNode):
            for name, node in self._root.value:
                if name.value == key and isinstance(node, yaml.SequenceNode):
                    return [item.start_mark.line + 1 for item in node.value]
        return []


def decode(data: bytes) -> str:
    """UTF-8 text, with or without a byte order mark. Raises YamlRefused naming the line of the first bad byte."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlRefused([(line, "", f"is not UTF-8 text: byte 0x{data[error.start]:02x}")]) from None
    if "\0" in text:
        raise YamlRefused([(text.count("\n", 0, text.index("\0")) + 1, "", "holds a NUL character")])
    return text


class _Loader(yaml.CSafeLoader):
    """The safe loader with the differences named above."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.faults: list[tuple[int | None, str, str]] = []

    def construct_mark(self, node: yaml.Node) -> str:
        return str(node.value)

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, "expected a mapping", node.start_mark)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain word", key.start_mark)
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                self.faults.append((line, "", f'the key "{key.value}" stands here and in line {seen[key.value]}'))
            seen.setdefault(key.value, line)
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep=deep) for key, value in node.value}


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
# Of YAML 1.1; PyYAML has nothing that makes a value of these. APISIX's parser takes both as strings.
for _tag in ("value", "merge"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _Loader.construct_mark)


def _check_depth(text: str) -> None:
    """Each level costs a bracket or a column of indentation, so nearly every file passes without being parsed here."""
    if text.count("[") + text.count("{") < _SAFE_DEPTH and not _INDENT.search(text):
        return
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise ValueError(f"is nested more than {_MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_aliases(root: yaml.Node) -> None:
    """Refuses recursion and expansion by aliases, before anything is built from the nodes."""
    sizes: dict[int, int] = {}  # 0 while a node's children are being counted

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node))
        if known == 0:
            raise yaml.constructor.ConstructorError(None, None, "an alias refers to itself", node.start_mark)
        if known is not None:
            return known
        sizes[id(node)] = 0
        total = 1 + sum(map(size, _children(node)))
        sizes[id(node)] = total
        return total

    total = size(root)
    if total > MAX_ALIASED_VALUES and total > len(sizes):
        raise yaml.constructor.ConstructorError(
            None, None, f"aliases expand to more than {MAX_ALIASED_VALUES} values", root.start_mark
        )


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _fill(root: yaml.Node, placeholders: Placeholders, loader: _Loader) -> None:
    """Puts the values of the environment into the scalars; an unquoted one is typed by what it then holds."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            filled = placeholders.fill(node.value, node.start_mark.line + 1)
            if filled != node.value:
                node.value = filled
                if not node.style:
                    node.tag = loader.resolve(yaml.ScalarNode, filled, (True, False))  # type: ignore[no-untyped-call]
        stack += _children(node)


def _sentence(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or error.context or "is not valid").strip()
    context = f" ({error.context.strip()})" if error.context and error.problem else ""
    return f"is not valid YAML: {problem}{context}"
