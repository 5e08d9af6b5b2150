"""What the Admin API tells about schemas and plugins, and what it checks without storing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bascule.admin.answer import Answer, refuse
from bascule.admin.http import AdminRequest, Handler
from bascule.admin.schemas import NoSuchSubsystem, Schemas
from bascule.errors.fault import Fault
from bascule.model.kinds import KINDS

Check = Callable[[str, str, Any], list[Fault]]


class SchemaHandlers:
    """`check` tells what is wrong with one resource by itself; it may block. `reload`: reads users' plugins anew."""

    def __init__(self, schemas: Schemas, check: Check, reload: Callable[[], object]) -> None:
        self._schemas = schemas
        self._check = check
        self._reload = reload

    def table(self) -> tuple[tuple[str, Handler], ...]:
        return ("schema", self.schema), ("plugins", self.plugins)

    async def schema(self, request: AdminRequest) -> Answer:
        """GET schema/{kind}, GET schema/plugins/{name}, POST schema/validate/{kind}"""
        match request.method, request.rest:
            case "POST", ["validate", kind]:
                return await self._validate(kind, await request.json())
            case "GET" | "HEAD", ["plugins", name]:
                return self._plugin_schema(name, request)
            case "GET" | "HEAD", [name]:
                found = self._schemas.resource(name)
                return Answer(400, {"error_msg": f"not found schema: {name}"}) if found is None else Answer(200, found)
        return Answer(404)

    async def plugins(self, request: AdminRequest) -> Answer:
        """GET plugins?all=true, GET plugins/list, GET plugins/{name}, PUT plugins/reload"""
        subsystem = request.query.get("subsystem", "http")
        try:
            match request.method, request.rest:
                case "GET" | "HEAD", ["list"]:
                    return Answer(200, self._schemas.names(subsystem))
                case "GET" | "HEAD", []:
                    if request.query.get("all") != "true":
                        return refuse(400, "ask for /plugins/list, /plugins/{name} or /plugins?all=true").answer
                    return Answer(200, self._schemas.all(subsystem))
                case "PUT", ["reload"]:
                    request.permit.check_everything()
                    self._reload()
                    return Answer(200, "done", headers={"Content-Type": "text/plain"})
                case "GET" | "HEAD", [name]:
                    return self._plugin_schema(name, request)
        except NoSuchSubsystem as error:
            return refuse(400, str(error)).answer
        return Answer(405)

    async def _validate(self, kind: str, value: Any) -> Answer:
        if kind not in KINDS:
            return refuse(400, f"not found schema: {kind}").answer
        if value is None:
            return refuse(400, "missing configurations").answer
        faults = tuple(await asyncio.to_thread(self._check, kind, _id_of(kind, value), value))
        if not faults:
            return Answer(200)
        body: dict[str, Any] = {"error_msg": faults[0].text}
        if len(faults) > 1:
            body["errors"] = [{"path": fault.path, "message": fault.sentence} for fault in faults]
        return Answer(400, body, faults=faults)

    def _plugin_schema(self, name: str, request: AdminRequest) -> Answer:
        schema_type, subsystem = request.query.get("schema_type"), request.query.get("subsystem", "http")
        try:
            found = self._schemas.plugin(name, schema_type, subsystem)
        except NoSuchSubsystem as error:
            return refuse(400, str(error)).answer
        if found is None:
            return Answer(404, {"error_msg": f"plugin not found in subsystem {subsystem}"})
        return Answer(200, found)


def _id_of(kind: str, value: Any) -> str:
    """The id that the value itself says, as far as it says one: the check compares them."""
    if not isinstance(value, dict):
        return "1"
    if kind == "credentials":
        id = str(value.get("id", "1"))
        return id if "/" in id else f"consumer/credentials/{id}"
    return str(value.get("username" if kind == "consumers" else "id", "1"))
