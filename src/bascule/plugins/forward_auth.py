"""forward-auth: asks another HTTP service whether a request may pass."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bascule.plugin import BodyTooLarge, Config, Host, HttpClientError, Plugin, Request, Response, check_field
from bascule.plugin.kit.template import Template

# Of the request's own fields, those that describe the body go along with it.
BODY_FIELDS = ("Content-Type", "Content-Encoding", "Content-Language")


def _settable(name: str) -> str:
    check_field(name)
    return name


HeaderName = Annotated[str, AfterValidator(_settable)]


class ForwardAuthConfig(Config):
    uri: Annotated[str, Field(pattern=r"^https?://[^/]")]
    request_method: Literal["GET", "POST"] = "GET"
    request_headers: tuple[HeaderName, ...] = ()
    extra_headers: Annotated[dict[HeaderName, str], Field(min_length=1)] | None = None
    upstream_headers: tuple[HeaderName, ...] = ()
    client_headers: tuple[HeaderName, ...] = ()
    timeout: Annotated[int, Field(ge=1, le=60_000)] = 3000
    keepalive: bool = True
    keepalive_timeout: Annotated[int, Field(ge=1000)] = 60_000
    keepalive_pool: Annotated[int, Field(ge=1)] = 5
    ssl_verify: bool = True
    allow_degradation: bool = False
    status_on_error: Annotated[int, Field(ge=200, le=599)] = 403
    max_req_body_size: Annotated[int, Field(ge=1)] = 64 << 20


class ForwardAuth(Plugin):
    name = "forward-auth"
    priority = 2002
    needs_task = True
    Config = ForwardAuthConfig

    conf: ForwardAuthConfig

    def __init__(self, conf: ForwardAuthConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._extra = {name: Template(value) for name, value in (conf.extra_headers or {}).items()}
        self._needs_body = conf.request_method == "POST" or any(map(_reads_body, self._extra.values()))

    async def access(self, request: Request) -> Response | None:
        conf = self.conf
        body = b""
        if self._needs_body:
            try:
                body = await request.body(conf.max_req_body_size)
            except BodyTooLarge as error:
                self.host.log.warning("failed to read request body: %s", error)
                return Response(413)
        headers = self._headers(request)
        for name, value in headers:
            if "\r" in value or "\n" in value or "\0" in value:
                # Never degraded: a client could switch the check off by a header of its own.
                self.host.log.error("failed to process forward auth: invalid characters in the value of %s", name)
                return Response(conf.status_on_error)
        try:
            answer = await self.host.http.request(
                conf.request_method,
                conf.uri,
                headers=headers,
                body=body if conf.request_method == "POST" else b"",
                timeout_s=conf.timeout / 1000,
                ssl_verify=conf.ssl_verify,
            )
        except HttpClientError as error:
            if conf.allow_degradation:
                self.host.log.warning("failed to process forward auth, the request passes: %s", error)
                return None
            self.host.log.error("failed to process forward auth: %s", error)
            return Response(conf.status_on_error)
        if answer.status >= 300:
            return self._refuse(answer.status, answer.body, answer.headers)
        for name in conf.upstream_headers:
            values = _values(answer.headers, name)
            # Also when the authoriser sent none: what the client sent under this name must not pass for its word.
            request.remove_header(name)
            for value in values:
                request.add_header(name, value)
        return None

    def _headers(self, request: Request) -> list[tuple[str, str]]:
        """What the authoriser gets. The client can't replace the X-Forwarded-* ones, nor extra_headers."""
        headers = [
            ("X-Forwarded-Proto", request.scheme),
            ("X-Forwarded-Method", request.method),
            ("X-Forwarded-Host", request.authority),
            ("X-Forwarded-Uri", request.request_uri),
            ("X-Forwarded-For", request.remote_addr),
        ]
        headers += [(name, template.render(request)) for name, template in self._extra.items()]
        ours = {name.lower() for name, _ in headers}
        about_body = BODY_FIELDS if self.conf.request_method == "POST" else ()
        for name in (*about_body, *self.conf.request_headers):
            if name.lower() not in ours:
                ours.add(name.lower())
                headers += [(name, value) for value in request.header_values(name)]
        if not self.conf.keepalive:
            headers.append(("Connection", "close"))
        return headers

    def _refuse(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> Response:
        response = Response(status if status <= 599 else 403, body)
        for name in self.conf.client_headers:
            for value in _values(headers, name):
                response.add_header(name, value)
        return response


def _reads_body(template: Template) -> bool:
    return any(name.startswith(("post_arg", "graphql_", "request_body")) for name in template.names)


def _values(headers: list[tuple[str, str]], name: str) -> list[str]:
    lower = name.lower()
    return [value for key, value in headers if key.lower() == lower]
