"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396) of one resource, safe against hostile patches."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
from jsonpointer import JsonPointer, JsonPointerException

MAX_OPERATIONS = 1000
# Values that `copy` may multiply to, in all: a resource has some dozens.
MAX_COPIED = 100_000
_MEMBERS = {
    "add": ("value",),
    "replace": ("value",),
    "test": ("value",),
    "remove": (),
    "move": ("from",),
    "copy": ("from",),
}


class PatchRefused(ValueError):
    """The patch can't be applied; the sentence says which operation, and why."""


def apply_json_patch(value: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The patched copy. Raises PatchRefused; then nothing of the patch counts."""
    if not isinstance(patch, list):
        raise PatchRefused("a JSON Patch is a list of operations")
    if len(patch) > MAX_OPERATIONS:
        raise PatchRefused(f"a JSON Patch has at most {MAX_OPERATIONS} operations")
    patched: Any = copy.deepcopy(value)
    budget = MAX_COPIED
    for number, operation in enumerate(patch):
        _check(number, operation)
        try:
            if operation["op"] == "copy":
                budget -= _size(JsonPointer(operation["from"]).resolve(patched))
            if budget < 0:
                raise PatchRefused(f"operation {number}: copies too much")
            patched = jsonpatch.JsonPatch([operation]).apply(patched, in_place=True)
        except (jsonpatch.JsonPatchException, JsonPointerException, LookupError, TypeError, AttributeError) as error:
            raise PatchRefused(f"operation {number} ({_told(operation)}): {_reason(error)}") from None
    if not isinstance(patched, dict):
        raise PatchRefused("what the patch leaves is no object")
    return patched


def apply_merge_patch(value: Any, patch: Any) -> Any:
    """Objects are merged, null deletes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for key, inner in patch.items():
        if inner is None:
            merged.pop(key, None)
        else:
            merged[key] = apply_merge_patch(merged.get(key), inner)
    return merged


def _check(number: int, operation: Any) -> None:
    if not isinstance(operation, dict):
        raise PatchRefused(f"operation {number}: must be an object")
    op = operation.get("op")
    needed = _MEMBERS.get(op) if isinstance(op, str) else None
    if needed is None:
        raise PatchRefused(f'operation {number}: "op" must be one of {", ".join(_MEMBERS)}')
    for member in ("path", *needed):
        if member not in operation:
            raise PatchRefused(f'operation {number}: "{op}" needs "{member}"')
        if member != "value" and not isinstance(operation[member], str):
            raise PatchRefused(f'operation {number}: "{member}" must be a string')


def _told(operation: dict[str, Any]) -> str:
    return f"{operation['op']} {operation['path'][:200]}"


def _reason(error: Exception) -> str:
    if isinstance(error, jsonpatch.JsonPatchTestFailed):
        return "the value there is another"
    return str(error.args[0]) if error.args and isinstance(error.args[0], str) else "there is no such place"


def _size(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inner))
