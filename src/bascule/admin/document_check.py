"""A whole standalone document checked without storing anything: what is wrong with which item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bascule.admin.validator import Validator
from bascule.errors.fault import Fault
from bascule.errors.sentences import json_path
from bascule.store.standalone import Item, Path, read_standalone

FAILED = "Configuration validation failed"


@dataclass(frozen=True, slots=True)
class ItemFaults:
    """`index` counts from 0 in the document's list `resource_type`; None: of the document itself."""

    resource_type: str | None
    resource_id: str | None
    index: int | None
    faults: tuple[Fault, ...]

    def told(self) -> dict[str, Any]:
        """As the Admin API answers: APISIX's four attributes, and every fault when there are several."""
        told: dict[str, Any] = {
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
            "index": self.index,
            "error": self.faults[0].error_msg,
        }
        if len(self.faults) > 1:
            told["errors"] = [{"path": fault.path, "message": fault.error_msg} for fault in self.faults]
        return {attribute: value for attribute, value in told.items() if value is not None}


def check_document(document: Any, validator: Validator) -> list[ItemFaults]:
    """Each item by itself, and that no id comes twice; by kind and position. What items refer to isn't looked at."""
    read = read_standalone(document)
    repeated = {item.place: item for item in read.repeated}
    found: dict[Path, ItemFaults] = {}
    for place, sentence in read.faults:
        item = repeated.get(place)
        text = sentence if item is None else _duplicate(item)
        kind, index = (str(place[0]), int(place[1])) if len(place) > 1 else (str(place[0]) if place else None, None)
        fault = Fault(json_path(place), sentence, text, "")
        found[place] = ItemFaults(kind, item.id if item else None, index, (fault,))
    for item in (*read.items, *read.repeated):
        faults = validator.check(item.kind, item.id, item.value)
        if faults:
            before = found[item.place].faults if item.place in found else ()
            id = None if item.id.startswith("arr_") and "id" not in item.value else item.id
            found[item.place] = ItemFaults(str(item.place[0]), id, int(item.place[1]), (*before, *faults))
    return sorted(found.values(), key=lambda item: (item.resource_type or "", -1 if item.index is None else item.index))


def _duplicate(item: Item) -> str:
    """APISIX's words."""
    if item.kind == "consumers":
        return f"found duplicate username {item.id} in consumers"
    if item.kind == "credentials":
        return f"found duplicate credential id {item.id} in consumers"
    return f"found duplicate id {item.id} in {item.kind}"
