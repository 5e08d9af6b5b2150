"""Does the content of a protos resource compile? Source text, or a base64 descriptor set as `protoc -o` writes it."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT_S = 10.0
_MOST_CHARS = 2000  # of what protoc says
_EXTRA = "protobuf definitions need the extra bascule[grpc]: pip install 'bascule[grpc]'"


def proto_fault(content: str) -> str | None:
    """What is wrong with it; None when it compiles. Blocks for some 100 ms: protoc has a process of its own, since
    what it reads comes from outside."""
    if importlib.util.find_spec("grpc_tools") is None:
        return _EXTRA
    descriptors = _decoded(content)
    return _compile(content) if descriptors is None else _read(descriptors)


def _decoded(content: str) -> bytes | None:
    """None: this isn't base64. Source never is: it has blanks and semicolons."""
    try:
        return base64.b64decode(content.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return None


def _compile(source: str) -> str | None:
    with tempfile.TemporaryDirectory(prefix="bascule-proto-") as folder:
        path = Path(folder, "content.proto")
        try:
            path.write_text(source, encoding="utf-8")
        except UnicodeEncodeError as error:
            return f"it is not Unicode text: {error.reason}"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"-o{folder}/out.pb", path.name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=folder, check=False)
        except subprocess.TimeoutExpired:
            return f"protoc needs more than {TIMEOUT_S:g} s for it"
    if done.returncode == 0:
        return None
    lines = done.stderr.replace(f"{folder}/", "").splitlines()
    told = [line for line in lines if line.startswith(path.name)] or lines
    return "; ".join(told)[:_MOST_CHARS] or f"protoc ended with {done.returncode}"


def _read(packed: bytes) -> str | None:
    from google.protobuf import descriptor_pb2, descriptor_pool
    from google.protobuf.message import DecodeError

    files = descriptor_pb2.FileDescriptorSet()
    try:
        files.ParseFromString(packed)
    except DecodeError:
        return "it is base64, but no FileDescriptorSet (as protoc --include_imports -o FILE writes it)"
    if not files.file:
        return "the FileDescriptorSet is empty"
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        try:
            pool.AddSerializedFile(file.SerializeToString())
        except (TypeError, ValueError) as error:
            return str(error)[:_MOST_CHARS]
    return None
