"""Protobuf definitions made to run: source text, or a base64 FileDescriptorSet, as a pool of message types.

protoc comes with the extra `bascule[grpc]`. It runs in this process: a millisecond or two for what people write. What
the Admin API stores was compiled before by a process of its own (`main`), so that it takes no worker down."""

from __future__ import annotations

import base64
import binascii
import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import Message

EXTRA = "protobuf definitions need the extra bascule[grpc]: pip install 'bascule[grpc]'"
MOST_CHARS = 2000  # of what is told of one definition
_NAME = "content.proto"


class ProtoError(ValueError):
    """The content is no definition, or a wrong one."""


@dataclass(frozen=True, slots=True)
class Method:
    path: str  # as in a request: /package.Service/Method
    input: type[Message]
    output: type[Message]
    client_streams: bool
    server_streams: bool


class ProtoDefinition:
    """What the content of one protos resource defines."""

    def __init__(self, content: str) -> None:
        """Raises ProtoError."""
        if importlib.util.find_spec("grpc_tools") is None:
            raise ProtoError(EXTRA)
        from google.protobuf import descriptor_pool
        from google.protobuf.message_factory import GetMessageClass

        self._message_class: Any = GetMessageClass
        packed = _decoded(content)
        files = _read(_compile(content) if packed is None else packed)
        self._pool = descriptor_pool.DescriptorPool()
        try:
            for file in _in_order(files):
                self._pool.AddSerializedFile(file.SerializeToString())
            for file in files:
                self._pool.FindFileByName(file.name)
        except (TypeError, KeyError, ValueError) as error:
            raise ProtoError(_short(error)) from None

    def method(self, service: str, name: str) -> Method | None:
        """`service` with its package. None: there is no such method."""
        try:
            found = self._pool.FindServiceByName(service).FindMethodByName(name)
        except KeyError:
            return None
        if found is None:
            return None
        return Method(
            f"/{service}/{name}",
            self._message_class(found.input_type),
            self._message_class(found.output_type),
            bool(found.client_streaming),
            bool(found.server_streaming),
        )

    def message(self, name: str) -> type[Message] | None:
        """The class of a message type, named with its package; None when there is none."""
        try:
            descriptor: Descriptor = self._pool.FindMessageTypeByName(name)
        except KeyError:
            return None
        made: type[Message] = self._message_class(descriptor)
        return made


def _decoded(content: str) -> bytes | None:
    """None: this isn't base64. Source never is: it has blanks and semicolons."""
    try:
        return base64.b64decode(content.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return None


def _compile(source: str) -> bytes:
    """A FileDescriptorSet with all that is imported. Only what protobuf itself brings can be imported."""
    from grpc_tools import _protoc_compiler, protoc

    well_known = Path(protoc.__file__).with_name("_proto")
    with tempfile.TemporaryDirectory(prefix="bascule-proto-") as folder:
        path, out = Path(folder, _NAME), Path(folder, "out.pb")
        try:
            path.write_text(source, encoding="utf-8")
        except UnicodeEncodeError as error:
            raise ProtoError(f"it is not Unicode text: {error.reason}") from None
        includes = [str(folder).encode(), str(well_known).encode()]
        options = [b"-I" + include for include in includes]
        target = f"-o{out}".encode()
        if _protoc_compiler.run_main([b"protoc", *options, b"--include_imports", target, _NAME.encode()]) == 0:
            return out.read_bytes()
        try:  # what it says itself goes to standard error
            _protoc_compiler.get_protos(_NAME.encode(), includes)
        except _protoc_compiler.ProtocErrors as errors:
            raise ProtoError(_told(errors.args[0])) from None
        raise ProtoError("protoc refuses it")


def _told(errors: Iterable[Any]) -> str:
    """protoc's errors as a sentence; it counts lines and columns from 0."""
    parts = []
    for error in errors:
        name, message = (part.decode(errors="replace") for part in (error.filename, error.message))
        place = f"{name}:{error.line + 1}:{error.column + 1}" if error.line >= 0 else name
        parts.append(f"{place}: {message}")
    own = [part for part in parts if part.startswith(_NAME)]
    return "; ".join(own or parts)[:MOST_CHARS]


def _read(packed: bytes) -> list[FileDescriptorProto]:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.message import DecodeError

    files = FileDescriptorSet()
    try:
        files.ParseFromString(packed)
    except DecodeError:
        sentence = "it is base64, but no FileDescriptorSet (as protoc --include_imports -o FILE writes it)"
        raise ProtoError(sentence) from None
    if not files.file:
        raise ProtoError("the FileDescriptorSet is empty")
    return list(files.file)


def _in_order(files: list[FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Each file after those that it imports; what protobuf itself brings is added where it is left out."""
    by_name = {file.name: file for file in files}
    ordered: dict[str, FileDescriptorProto] = {}
    todo = [(file, False) for file in reversed(files)]
    while todo:
        file, ready = todo.pop()
        if ready:
            ordered.setdefault(file.name, file)
            continue
        if file.name in ordered or (seen := by_name.get(file.name)) is None:
            continue
        del by_name[file.name]
        todo.append((seen, True))
        for name in seen.dependency:
            known = by_name.get(name)
            if known is None and name not in ordered and name.startswith("google/protobuf/"):
                known = by_name[name] = _well_known(name)
            if known is not None:
                todo.append((known, False))
    return list(ordered.values())


def _well_known(name: str) -> FileDescriptorProto:
    """A file that protobuf brings, by its name in imports. Raises ProtoError for one that it doesn't."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    module = f"google.protobuf.{name.removeprefix('google/protobuf/').removesuffix('.proto')}_pb2"
    try:
        descriptor = importlib.import_module(module).DESCRIPTOR
    except (ImportError, AttributeError):
        raise ProtoError(f"it imports {name}, which is neither in it nor known") from None
    file = FileDescriptorProto()
    descriptor.CopyToProto(file)
    return file


def _short(error: Exception) -> str:
    return str(error).strip("'\"")[:MOST_CHARS]


def main() -> int:
    """Compiles what standard input holds, within bounds; what is wrong goes to standard output. 0: nothing is."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        ProtoDefinition(sys.stdin.buffer.read().decode("utf-8", "surrogatepass"))
    except ProtoError as error:
        sys.stdout.write(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
