"""grpc-web: gRPC for browsers, which see no trailers: these come as the last frame of the body (PROTOCOL-WEB.md)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple
from urllib.parse import quote

from pydantic import Field

from bascule.plugin import BodyTooLarge, Config, Host, Plugin, Request, Response
from bascule.plugin.kit.grpc_frames import TRAILERS, FrameError, check_frames, frame

_MIME = re.compile(r"application/grpc-web(?P<text>-text)?(?P<format>\+[a-z0-9.-]+)?")
_EXPOSED = "grpc-message,grpc-status"
_QUAD = 4  # characters of base64 that stand for three bytes


class GrpcWebConfig(Config):
    cors_allow_headers: str = "content-type,x-grpc-web,x-user-agent"
    max_req_body_size: int = Field(67108864, ge=1)


class _Call(NamedTuple):
    content_type: str  # of the request, and of the response
    is_text: bool


class GrpcWeb(Plugin):
    name = "grpc-web"
    priority = 505
    Config = GrpcWebConfig
    conf: GrpcWebConfig

    def __init__(self, conf: GrpcWebConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.ctx_key = f"grpc-web {host.holder}"

    async def access(self, request: Request) -> Response | None:
        request.ctx[self.ctx_key] = None
        if request.received_method == "OPTIONS":
            return Response(204)
        if request.received_method != "POST":
            return Response(405, {"error_msg": "gRPC-Web calls are POST requests"}, {"Allow": "POST, OPTIONS"})
        content_type = request.header("content-type") or ""
        found = _MIME.fullmatch(content_type.partition(";")[0].strip().lower())
        if found is None:
            return _bad(f"the Content-Type {content_type[:100]!r} is none of gRPC-Web")
        path = _behind_prefix(request)
        if path is None:
            self.host.log.error("%s: grpc-web needs a route whose uri ends with *", self.host.holder)
            return _bad("grpc-web needs a route whose uri ends with *: what comes after is the method")
        try:
            body = await request.body(self.conf.max_req_body_size)
        except BodyTooLarge as error:
            return Response(413, {"error_msg": str(error)})
        is_text = found["text"] is not None
        try:
            if is_text:
                body = _decoded(body)
                request.set_body(body)
            check_frames(body)
        except FrameError as error:
            return _bad(f"the body is not gRPC-Web: {error}")
        request.set_header("Content-Type", "application/grpc" + (found["format"] or ""))
        request.set_upstream_target(path)
        request.ctx[self.ctx_key] = _Call(content_type, is_text)
        return None

    def header_filter(self, request: Request, response: Response) -> None:
        if request.received_method == "OPTIONS":
            response.set_header("Access-Control-Allow-Methods", "POST")
            response.set_header("Access-Control-Allow-Headers", self.conf.cors_allow_headers)
        # Where the plugin cors has a say, an origin that it doesn't name isn't let in.
        if response.header("Access-Control-Allow-Origin") is None and not any(
            key[:5] == "cors " for key in request.ctx
        ):
            response.set_header("Access-Control-Allow-Origin", "*")
        exposed = response.header("Access-Control-Expose-Headers")
        if exposed != "*":
            response.set_header("Access-Control-Expose-Headers", f"{exposed},{_EXPOSED}" if exposed else _EXPOSED)
        call: _Call | None = request.ctx.get(self.ctx_key)
        if call is None:
            return
        if response.source == "upstream" and (response.header("content-type") or "").startswith("application/grpc"):
            response.set_header("Content-Type", call.content_type)
        else:
            request.ctx[self.ctx_key] = None  # an error page, not a call's answer

    def body_filter(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
        call: _Call | None = request.ctx.get(self.ctx_key)
        if call is None:
            return None
        if last:
            chunk += _trailer_frame(response)
            response.trailers = []
        return base64.b64encode(chunk) if call.is_text else chunk


def _bad(reason: str) -> Response:
    return Response(400, {"error_msg": reason})


def _behind_prefix(request: Request) -> str | None:
    """What stands for the `*` at the end of the route's uri, as a path; None when there is none."""
    *head, tail = str(request.var("matched_uri") or "").split("/")
    star = tail.find("*")
    if star < 0:
        return None
    rest = "/".join(request.path.split("/")[len(head) :])[star:]
    return "/" + quote(rest.removeprefix("/"), safe="/:@!$&'()*+,;=-._~")


def _decoded(body: bytes) -> bytes:
    """Base64 in which padding may also stand between parts, since each part may have been encoded by itself."""
    packed = body.translate(None, b"\r\n")
    if len(packed) % _QUAD:
        raise FrameError("it is not base64: its length is no multiple of 4")
    try:
        if b"=" not in packed[:-_QUAD]:
            return base64.b64decode(packed, validate=True)
        parts = re.split(rb"(?<==)(?=[^=])", packed)
        return b"".join(base64.b64decode(part, validate=True) for part in parts)
    except (binascii.Error, ValueError) as error:
        raise FrameError(f"it is not base64: {error}") from None


def _trailer_frame(response: Response) -> bytes:
    """The trailers; nothing when the status stands in the head."""
    trailers = response.trailers
    if not any(name.lower() == "grpc-status" for name, _ in trailers):
        if response.header("grpc-status") is not None:
            return b""
        trailers = [*trailers, ("grpc-status", "13"), ("grpc-message", "the upstream sent no grpc-status")]
    text = "".join(f"{name.lower()}:{value}\r\n" for name, value in trailers)
    return frame(text.encode("latin-1"), TRAILERS)
