"""An OpenAPI document as resources: a service for its servers, a route for each operation that checks the request.

What a client may send is narrowed as far as routes and the plugin request-validation can; what they can't check is told
in `notes`, never left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bascule.admin.openapi_schema import OpenApiRefused, OpenApiSchemas

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_PARAMETER = re.compile(r"\{([^{}/]+)\}")
_NO_ID = re.compile(r"[^a-zA-Z0-9\-_.]+")
# Of these header fields OpenAPI says that parameters which name them mean nothing.
_NOT_PARAMETERS = ("accept", "content-type", "authorization")
_SAY_WHERE = "say where the API is with --upstream http://host:port"
_SEGMENT = {"integer": "-?[0-9]+", "other": "[^/]+"}


@dataclass(slots=True)
class Imported:
    """`document`: in the standalone form. `notes`: what the gateway won't check, a sentence each."""

    document: dict[str, list[dict[str, Any]]]
    notes: list[str] = field(default_factory=list)


def import_openapi(
    document: Any, *, router: str = "radixtree_host_uri", name: str | None = None, upstream: str | None = None
) -> Imported:
    """`router`: apisix.router.http of the gateway, which decides how paths with parameters are written. `name`: begins
    every id; by default the title's. `upstream`: "http://host:port" instead of the document's servers. Raises
    OpenApiRefused."""
    return _Importer(document, router == "radixtree_uri_with_parameter", name, upstream).run()


class _Importer:
    def __init__(self, document: Any, parameters: bool, name: str | None, upstream: str | None) -> None:
        if not isinstance(document, dict):
            raise OpenApiRefused("an OpenAPI document is an object")
        version = document.get("openapi")
        if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
            old = " (Swagger 2: convert it first)" if "swagger" in document else ""
            raise OpenApiRefused(f'"openapi" must say 3.0.x or 3.1.x{old}')
        info = document.get("info")
        title = str(info.get("title") or "") if isinstance(info, dict) else ""
        self._document = document
        self._schemas = OpenApiSchemas(document, old=version.startswith("3.0"))
        self._parameters = parameters
        self._name = _id(name or title or "api")[:32]
        self._title = title[:256]
        self._upstream = upstream
        self._notes: list[str] = []
        self._ids: set[str] = set()

    def run(self) -> Imported:
        paths = self._document.get("paths")
        if not isinstance(paths, dict) or not paths:
            raise OpenApiRefused('"paths" names no path')
        upstream, base = self._servers(self._document.get("servers"))
        service: dict[str, Any] = {"id": self._name, "upstream": upstream}
        if self._title:
            service["name"] = self._title
        routes: list[dict[str, Any]] = []
        for path, item in paths.items():
            if not str(path).startswith("/"):
                raise OpenApiRefused(f'paths: "{path}" must begin with "/"')
            routes += self._path(base, path, self._object(self._schemas.resolve(item, path), path))
        return Imported({"services": [service], "routes": routes}, self._notes)

    # ---- servers

    def _servers(self, servers: Any) -> tuple[dict[str, Any], str]:
        """The upstream, and what every path begins with."""
        if self._upstream is not None:
            scheme, address, base = self._server(self._upstream, "--upstream")
            same = [address]
            if not base and isinstance(servers, list) and servers:
                base = urlsplit(self._url(servers[0], "servers[0]")).path.rstrip("/")
        else:
            if not isinstance(servers, list) or not servers:
                raise OpenApiRefused(f'"servers" names no server; {_SAY_WHERE}')
            places = [f"servers[{number}]" for number in range(len(servers))]
            found = [self._server(self._url(*named), named[1]) for named in zip(servers, places, strict=True)]
            scheme, _, base = found[0]
            same = [address for other, address, path in found if (other, path) == (scheme, base)]
            if len(same) < len(found):
                self._notes.append("servers: only those with the scheme and the path of the first one are taken")
        return {"type": "roundrobin", "scheme": scheme, "pass_host": "node", "nodes": dict.fromkeys(same, 1)}, base

    def _url(self, server: Any, place: str) -> str:
        """With its variables' defaults."""
        url = self._object(server, place).get("url")
        if not isinstance(url, str):
            raise OpenApiRefused(f'{place}: needs a "url"')
        variables = server.get("variables")
        for name, variable in variables.items() if isinstance(variables, dict) else ():
            if isinstance(variable, dict) and "default" in variable:
                url = url.replace("{" + str(name) + "}", str(variable["default"]))
        return url

    def _server(self, url: str, place: str) -> tuple[str, str, str]:
        """(scheme, host:port, path without a slash at its end)"""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise OpenApiRefused(f"{place}: {url!r}: {error}") from None
        if parts.scheme not in ("http", "https") or not host or "{" in url:
            raise OpenApiRefused(f"{place}: {url!r} names no address; {_SAY_WHERE}")
        address = f"[{host}]" if ":" in host else host
        return parts.scheme, f"{address}:{port or (443 if parts.scheme == 'https' else 80)}", parts.path.rstrip("/")

    # ---- paths

    def _path(self, base: str, path: str, item: dict[str, Any]) -> list[dict[str, Any]]:
        shared = self._parameter_list(item.get("parameters"), path)
        if "servers" in item:
            self._notes.append(f"{path}: servers of a single path are not taken")
        routes = []
        for method in METHODS:
            if method in item:
                place = f"{method.upper()} {path}"
                operation = self._object(item[method], place)
                own = self._parameter_list(operation.get("parameters"), place)
                routes.append(self._route(base, path, method, operation, {**shared, **own}))
        if not routes:
            self._notes.append(f"{path}: names no operation")
        return routes

    def _parameter_list(self, parameters: Any, place: str) -> dict[tuple[str, str], dict[str, Any]]:
        """By (place in the request, name)."""
        if parameters is None:
            return {}
        if not isinstance(parameters, list):
            raise OpenApiRefused(f'{place}: "parameters" must be a list')
        found = {}
        for parameter in parameters:
            resolved = self._object(self._schemas.resolve(parameter, place), place)
            where, name = resolved.get("in"), resolved.get("name")
            if not isinstance(where, str) or not isinstance(name, str) or not name:
                raise OpenApiRefused(f'{place}: a parameter needs a "name" and an "in"')
            found[where, name] = resolved
        return found

    def _route(
        self,
        base: str,
        path: str,
        method: str,
        operation: dict[str, Any],
        parameters: Mapping[tuple[str, str], dict[str, Any]],
    ) -> dict[str, Any]:
        place = f"{method.upper()} {path}"
        plain = _PARAMETER.sub(r"\1", path).strip("/") or "root"
        named = operation.get("operationId") or f"{method}-{plain}"
        route: dict[str, Any] = {"id": self._new_id(str(named)), "name": place[:256]}
        summary = operation.get("summary") or operation.get("description")
        if isinstance(summary, str) and summary:
            route["desc"] = summary[:256]
        route["uri"], condition = self._uri(base + path, place, parameters)
        route["methods"] = [method.upper()]
        if condition is not None:
            route["vars"] = [["uri", "~~", condition]]
        route["service_id"] = self._name
        checks = self._checks(operation, parameters, place)
        if checks:
            route["plugins"] = {"request-validation": checks}
        return route

    def _uri(
        self, path: str, place: str, parameters: Mapping[tuple[str, str], dict[str, Any]]
    ) -> tuple[str, str | None]:
        """The route's uri, and the regular expression that a path must fit besides; None when the uri says it all."""
        if not _PARAMETER.search(path):
            return path, None
        kinds = {name: self._kind(parameters.get(("path", name)), place) for name in _PARAMETER.findall(path)}
        pieces = _PARAMETER.split(path)
        pattern = "".join(
            _SEGMENT[kinds[piece]] if number % 2 else re.escape(piece) for number, piece in enumerate(pieces)
        )
        condition = f"^{pattern}$"
        whole = all(segment.count("{") == 0 or _PARAMETER.fullmatch(segment) for segment in path.split("/"))
        if self._parameters and whole and all(re.fullmatch(r"\w+", name) for name in kinds):
            uri = _PARAMETER.sub(r":\1", path)
            return uri, condition if "integer" in kinds.values() else None
        return pieces[0] + "*", condition

    def _kind(self, parameter: dict[str, Any] | None, place: str) -> str:
        schema = self._schemas.resolve((parameter or {}).get("schema"), place)
        return "integer" if isinstance(schema, dict) and schema.get("type") == "integer" else "other"

    # ---- checks of requests

    def _checks(
        self, operation: dict[str, Any], parameters: Mapping[tuple[str, str], dict[str, Any]], place: str
    ) -> dict[str, Any]:
        checks: dict[str, Any] = {}
        headers: dict[str, Any] = {}
        required = []
        for (where, name), parameter in parameters.items():
            if where == "header" and name.lower() not in _NOT_PARAMETERS:
                headers[name] = self._schemas.of_parameter(parameter.get("schema", {}), f"{place}: header {name}")
                required += [name] if parameter.get("required") is True else []
            elif where in ("query", "cookie"):
                self._notes.append(f'{place}: the {where} parameter "{name}" is not checked')
        if headers:
            checks["header_schema"] = {"type": "object", "properties": headers}
            if required:
                checks["header_schema"]["required"] = required
        body = self._body(operation.get("requestBody"), place)
        if body is not None:
            checks["body_schema"] = body
        return checks

    def _body(self, body: Any, place: str) -> dict[str, Any] | None:
        if body is None:
            return None
        body = self._object(self._schemas.resolve(body, place), place)
        content = self._object(body.get("content"), f"{place}: requestBody.content")
        if not all(_is_json(kind) for kind in content):
            self._notes.append(f"{place}: the body is not checked, since it may be something else than JSON")
        elif body.get("required") is not True:
            self._notes.append(f"{place}: the body is not checked, since it may be left out")
        else:
            schemas = [media["schema"] for media in content.values() if isinstance(media, dict) and "schema" in media]
            if schemas:
                schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
                return self._schemas.standalone(schema, f"{place}: requestBody")
        return None

    # ---- parts

    def _object(self, value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise OpenApiRefused(f"{place}: must be an object")
        return value

    def _new_id(self, name: str) -> str:
        id = base = f"{self._name}-{_id(name)}"[:64].rstrip("-")
        number = 2
        while id in self._ids:
            id = f"{base[:60]}-{number}"
            number += 1
        self._ids.add(id)
        return id


def _id(text: str) -> str:
    return _NO_ID.sub("-", text).strip("-") or "api"


def _is_json(media_type: str) -> bool:
    kind = str(media_type).partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")
