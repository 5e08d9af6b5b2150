"""How a gRPC call ended: grpc-status, grpc-message and grpc-status-details-bin, of a head or of trailers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from google.protobuf.message import Message

OK, UNKNOWN, INTERNAL = 0, 2, 13
# As APISIX has it; what isn't here is 599.
_HTTP = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501,
    13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip


def http_status(code: int) -> int:
    return _HTTP.get(code, 599)


@dataclass(frozen=True, slots=True)
class GrpcStatus:
    code: int
    message: str = ""
    packed_details: bytes = b""  # a google.rpc.Status, or nothing

    def as_data(self, decode_detail: Callable[[str, bytes], Any]) -> dict[str, Any]:
        """code, message and, if there are any, details; each is what `decode_detail(type_url, value)` makes of it."""
        data: dict[str, Any] = {"code": self.code, "message": self.message}
        status = _read_details(self.packed_details)
        if status is not None:
            data["code"], data["message"] = status.code, status.message
            data["details"] = [decode_detail(detail.type_url, detail.value) for detail in status.details]
        return data


def read_status(fields: Iterable[tuple[str, str]]) -> GrpcStatus | None:
    """Of header or trailer fields; None when they don't have it. A grpc-status that is no number is UNKNOWN."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name[:5].lower() == "grpc-":
            found.setdefault(name.lower(), value)
    code = found.get("grpc-status")
    if code is None:
        return None
    known = code.isascii() and code.isdecimal() and len(code) < 10
    return GrpcStatus(
        int(code) if known else UNKNOWN,
        unquote_to_bytes(found.get("grpc-message", "").encode("latin-1", "replace")).decode(errors="replace"),
        _from_base64(found.get("grpc-status-details-bin", "")),
    )


def _from_base64(text: str) -> bytes:
    """Padding may be left out; what isn't base64 is nothing."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _read_details(packed: bytes) -> Any:
    if not packed:
        return None
    from google.protobuf.message import DecodeError

    try:
        return _status_class().FromString(packed)
    except DecodeError:
        return None


@lru_cache(maxsize=1)
def _status_class() -> type[Message]:
    """google.rpc.Status, which protobuf itself doesn't bring."""
    from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="status.proto", package="google.rpc", syntax="proto3", dependency=[any_pb2.DESCRIPTOR.name]
    )
    status = file.message_type.add(name="Status")
    kind = descriptor_pb2.FieldDescriptorProto
    status.field.add(name="code", number=1, label=kind.LABEL_OPTIONAL, type=kind.TYPE_INT32)
    status.field.add(name="message", number=2, label=kind.LABEL_OPTIONAL, type=kind.TYPE_STRING)
    status.field.add(
        name="details",
        number=3,
        label=kind.LABEL_REPEATED,
        type=kind.TYPE_MESSAGE,
        type_name=".google.protobuf.Any",
    )
    pool.AddSerializedFile(file.SerializeToString())
    made: type[Message] = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status"))
    return made
