"""The data that a request body carries: JSON, form or multipart."""

from __future__ import annotations

from email.message import Message
from typing import Any

import orjson

from bascule.plugin.quoting import decode, decode_query


def parse_posted(content_type: str, body: bytes) -> Any:
    """JSON as it is; a form or multipart as a dict of name -> str, or list of str when a name comes more than once.
    None when the body is neither, or malformed. Without a Content-Type, a form (as in nginx's $arg-like use)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
    if kind in ("", "application/x-www-form-urlencoded"):
        return _collect(decode_query(body.decode("latin-1")))
    if kind == "multipart/form-data":
        return _collect(_parts(content_type, body))
    return None


def _parts(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """(name, value) of each part (RFC 7578). A part without a name is left out."""
    boundary = _parameter("Content-Type", content_type, "boundary")
    if not boundary:
        return []
    fields = []
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))[1:]:
        if part.startswith(b"--"):
            break
        head, blank, value = part.partition(b"\r\n\r\n")
        if not blank:
            continue
        for line in head.split(b"\r\n"):
            key, _, text = decode(line).partition(":")
            if key.strip().lower() == "content-disposition":
                name = _parameter("Content-Disposition", text.strip(), "name")
                if name:
                    fields.append((name, decode(value)))
    return fields


def _parameter(header: str, value: str, name: str) -> str | None:
    message = Message()
    message[header] = value.replace("\r", "").replace("\n", "")
    found = message.get_param(name, header=header)
    return found if isinstance(found, str) else None


def _collect(pairs: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    fields: dict[str, str | list[str]] = {}
    for name, value in pairs:
        present = fields.get(name)
        if present is None:
            fields[name] = value
        elif isinstance(present, list):
            present.append(value)
        else:
            fields[name] = [present, value]
    return fields
