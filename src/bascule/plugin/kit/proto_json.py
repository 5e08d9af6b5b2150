"""Protobuf messages as plain data, ready for JSON, and back: as lua-protobuf maps them, which APISIX's users know, and
not as protobuf itself does. Fields are named as in the definition, well-known types are messages, bytes are text."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_DEPTH = 100  # of messages in each other, as protobuf has it
# Integers within these bounds are numbers whatever the options say.
_LEAST, _MOST = -(1 << 31), (1 << 32) - 1
_RANGES = {
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint64": (0, (1 << 64) - 1),
}
# By the numbers that descriptors have for types.
_INTEGERS = {
    3: "int64", 4: "uint64", 5: "int32", 6: "uint64", 7: "uint32", 13: "uint32", 15: "int32", 16: "int64", 17: "int32",
    18: "int64",
}  # fmt: skip
_DOUBLE, _FLOAT, _BOOL, _STRING, _GROUP, _MESSAGE, _BYTES, _ENUM = 1, 2, 8, 9, 10, 11, 12, 14

Convert = Callable[[Any], Any]
Descriptor: TypeAlias = Any  # of messages, fields and enums: their stubs differ from version to version


class DataError(ValueError):
    """The data doesn't fit the message type; the text begins with the place."""


@dataclass(frozen=True, slots=True)
class JsonOptions:
    """`int64`: what becomes of integers that need more than 32 bits: a number, or a string such as "#123" or "#0x7B".
    `defaults`: which unset fields show: those that can't be told from set ones ("auto"), none, or all scalar ones."""

    enum_as_value: bool = False
    int64: Literal["number", "string", "hexstring"] = "number"
    defaults: Literal["auto", "none", "all"] = "auto"
    bytes_as_base64: bool = False


class _Field:
    """One field, with what its values are converted by. `key` and `value` are there for maps."""

    __slots__ = ("alias", "default", "is_map", "is_message", "key_in", "key_out", "name", "read", "repeated", "write")

    def __init__(self, codec: JsonCodec, field: Descriptor) -> None:
        self.name = field.name
        self.alias = None if field.json_name == field.name else field.json_name
        self.repeated = field.is_repeated
        entry = field.message_type if field.type == _MESSAGE and field.message_type.GetOptions().map_entry else None
        self.is_map = entry is not None
        value = field if entry is None else entry.fields_by_name["value"]
        self.is_message = value.type in (_MESSAGE, _GROUP)
        self.write = codec.writer(value)
        self.read = codec.reader(value)
        if entry is not None:
            key = entry.fields_by_name["key"]
            self.key_out: Convert = _bool_key if key.type == _BOOL else str
            self.key_in = codec.reader(key)
        self.default = self._default(codec.options, field)

    def _default(self, options: JsonOptions, field: Descriptor) -> Callable[[], Any] | None:
        """Makes what shows for the field when it isn't set; None: nothing shows."""
        if options.defaults == "none":
            return None
        if self.repeated:
            return dict if self.is_map else list
        in_choice = field.containing_oneof is not None and len(field.containing_oneof.fields) > 1
        if self.is_message or (field.has_presence and (options.defaults == "auto" or in_choice)):
            return None
        shown = self.write(field.default_value)
        return lambda: shown


class JsonCodec:
    """Converts messages of any types, by one set of options."""

    def __init__(self, options: JsonOptions = JsonOptions()) -> None:
        self.options = options
        self._shapes: dict[str, list[_Field]] = {}  # by the full name of the type

    def to_data(self, message: Message) -> dict[str, Any]:
        """The message as JSON has it: nothing but dicts, lists, str, int, finite float, bool."""
        present = {field.name: value for field, value in message.ListFields()}
        data = {}
        for field in self._shape(message.DESCRIPTOR):
            value = present.get(field.name)
            if value is None:
                if field.default is not None:
                    data[field.name] = field.default()
            elif field.is_map:
                data[field.name] = {field.key_out(key): field.write(value[key]) for key in value}
            elif field.repeated:
                data[field.name] = [field.write(item) for item in value]
            else:
                data[field.name] = field.write(value)
        return data

    def fill(self, message: Message, data: Any, *, text: bool = False) -> None:
        """Sets the fields that the data has; members without a field are passed over. `text`: it is of a query or a
        form, where one value of a repeated field isn't in a list. Raises DataError."""
        self._fill(message, data, "$", text, 1)

    def _shape(self, descriptor: Descriptor) -> list[_Field]:
        shape = self._shapes.get(descriptor.full_name)
        if shape is None:
            shape = self._shapes[descriptor.full_name] = [_Field(self, field) for field in descriptor.fields]
        return shape

    def _fill(self, message: Message, data: Any, place: str, text: bool, depth: int) -> None:
        if not isinstance(data, dict):
            raise DataError(f"{place}: must be an object, not {_kind(data)}")
        if depth > MAX_DEPTH:
            raise DataError(f"{place}: more than {MAX_DEPTH} messages are in each other")
        for field in self._shape(message.DESCRIPTOR):
            value = data.get(field.name)
            if value is None and field.alias is not None:
                value = data.get(field.alias)
            if value is None:
                continue
            here = f"{place}.{field.name}"
            try:
                if field.is_map:
                    self._fill_map(message, field, value, here, depth)
                elif field.repeated:
                    self._fill_list(
                        message, field, [value] if text and not isinstance(value, list) else value, here, depth
                    )
                elif field.is_message:
                    inner = getattr(message, field.name)
                    inner.SetInParent()
                    self._fill(inner, value, here, False, depth + 1)
                else:
                    setattr(message, field.name, field.read(value[0] if text and isinstance(value, list) else value))
            except DataError as error:
                raise error if str(error).startswith("$") else DataError(f"{here}: {error}") from None
            except (TypeError, ValueError) as error:  # protobuf's own: a closed enum, text that isn't Unicode
                raise DataError(f"{here}: {error}") from None

    def _fill_list(self, message: Message, field: _Field, value: Any, here: str, depth: int) -> None:
        if not isinstance(value, list):
            raise DataError(f"must be a list, not {_kind(value)}")
        items = getattr(message, field.name)
        for index, item in enumerate(value):
            place = f"{here}[{index}]"
            if field.is_message:
                self._fill(items.add(), item, place, False, depth + 1)
                continue
            try:
                items.append(field.read(item))
            except ValueError as error:
                raise DataError(f"{place}: {error}") from None

    def _fill_map(self, message: Message, field: _Field, value: Any, here: str, depth: int) -> None:
        if not isinstance(value, dict):
            raise DataError(f"must be an object, not {_kind(value)}")
        members = getattr(message, field.name)
        for name, item in value.items():
            place = f"{here}.{name}"
            try:
                key = field.key_in(name)
                if not field.is_message:
                    members[key] = field.read(item)
            except ValueError as error:
                raise DataError(f"{place}: {error}") from None
            if field.is_message:
                self._fill(members[key], item, place, False, depth + 1)

    # Conversions of single values.

    def bytes_text(self, value: bytes) -> str:
        """Text where it is text; base64 where it can't be, since JSON has nothing else, or where that is asked for."""
        if not self.options.bytes_as_base64:
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass
        return base64.b64encode(value).decode()

    def writer(self, field: Descriptor) -> Convert:
        kind = field.type
        if kind in (_MESSAGE, _GROUP):
            return self.to_data
        if kind == _ENUM:
            names = {value.number: value.name for value in reversed(field.enum_type.values)}
            return _same if self.options.enum_as_value else lambda number: names.get(number, number)
        if kind == _BYTES:
            return self.bytes_text
        if kind in (_DOUBLE, _FLOAT):
            return _shortest if kind == _FLOAT else _finite
        if _INTEGERS.get(kind) in ("int64", "uint64"):
            return {"number": _same, "string": _as_string, "hexstring": _as_hexstring}[self.options.int64]
        return _same

    def reader(self, field: Descriptor) -> Convert:
        """A function that gives what protobuf takes, or raises DataError without a place."""
        kind = field.type
        if kind == _ENUM:
            return _enum_reader(field.enum_type)
        if kind in _INTEGERS:
            low, high = _RANGES[_INTEGERS[kind]]
            return lambda value: _integer(value, low, high)
        simple: dict[int, Convert] = {
            _DOUBLE: _number,
            _FLOAT: _number,
            _BOOL: _boolean,
            _STRING: _text,
            _BYTES: _from_base64 if self.options.bytes_as_base64 else _text_bytes,
        }
        return simple.get(kind, _same)


def _same(value: Any) -> Any:
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _bool_key(value: bool) -> str:
    return "true" if value else "false"


def _as_string(value: int) -> int | str:
    return value if _LEAST <= value <= _MOST else f"#{value}"


def _as_hexstring(value: int) -> int | str:
    if _LEAST <= value <= _MOST:
        return value
    return f"#{'-' if value < 0 else ''}0x{abs(value):X}"


def _finite(value: float) -> float | str:
    """JSON has no word for the others."""
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _shortest(value: float) -> float | str:
    """Of 32 bits: 0.1, where the float itself is 0.10000000149011612."""
    if math.isfinite(value):
        for digits in range(6, 9):
            short = float(f"{value:.{digits}g}")
            if abs(short) < 3.4e38 and struct.unpack("f", struct.pack("f", short))[0] == value:
                return short
    return _finite(value)


def _text_bytes(value: Any) -> bytes:
    return _text(value).encode()


def _from_base64(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
        except (binascii.Error, ValueError):
            pass
    raise DataError("must be base64")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"must be a string, not {_kind(value)}")
    return str(value) if isinstance(value, int) else f"{value:.14g}"


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "1": True, "false": False, "0": False}.get(str(value))
    if known is None:
        raise DataError("must be true or false")
    return known


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise DataError(f"must be a number, not {value[:40]!r}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"must be a number, not {_kind(value)}")
    return float(value)


def _integer(value: Any, low: int, high: int) -> int:
    """Also of text: "12", "0x1f", or "#12", as long integers are written by the option int64_as_string."""
    number = value
    if isinstance(value, str):
        text = value.removeprefix("#")
        digits = text.removeprefix("-")
        try:
            # Longer ones aren't within any range; Python takes its time for them.
            number = int(text, 16 if digits[:2].lower() == "0x" else 10) if len(text) <= 24 else None
        except ValueError:
            number = None
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise DataError(
            f"must be an integer, not {value[:40]!r}"
            if isinstance(value, str)
            else f"must be an integer, not {_kind(value)}"
        )
    if not low <= number <= high:
        raise DataError(f"{number} is not within {low} to {high}")
    return number


def _enum_reader(enum: Descriptor) -> Convert:
    numbers: dict[str, int] = {value.name: value.number for value in enum.values}

    def read(value: Any) -> int:
        if isinstance(value, str):
            known = numbers.get(value)
            if known is not None:
                return known
            if not value.lstrip("-").isdecimal():
                raise DataError(f"{value[:40]!r} is no value of {enum.full_name}")
        return _integer(value, *_RANGES["int32"])

    return read
