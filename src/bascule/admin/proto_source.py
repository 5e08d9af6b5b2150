"""Does the content of a protos resource compile? Source text, or a base64 descriptor set as `protoc -o` writes it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from bascule.plugin.kit import proto_definition
from bascule.plugin.kit.proto_definition import EXTRA, MOST_CHARS

TIMEOUT_S = 10.0


def proto_fault(content: str) -> str | None:
    """What is wrong with it; None when it compiles. Blocks for some 100 ms: it is compiled as a worker does it, but in
    a process of its own with bounds on time and memory, since what is read comes from outside."""
    if importlib.util.find_spec("grpc_tools") is None:
        return EXTRA
    command = [sys.executable, "-P", "-m", proto_definition.__name__]
    try:
        done = subprocess.run(
            command, input=content.encode("utf-8", "surrogatepass"), capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"protoc needs more than {TIMEOUT_S:g} s for it"
    if done.returncode == 0:
        return None
    told = done.stdout.decode(errors="replace")
    return told[:MOST_CHARS] or f"protoc ended with {done.returncode}"
