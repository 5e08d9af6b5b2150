"""Bodies for log entries: the beginning of the request's and the response's, where the conf asks for them."""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo

from bascule.errors.sentences import Refused
from bascule.match.expression import Expression, ExpressionError, compile_expression
from bascule.plugin.plugin import Config
from bascule.plugin.request import Request
from bascule.plugin.response import Response


def _expression(value: list[Any], info: ValidationInfo) -> list[Any]:
    try:
        compile_expression(value)
    except ExpressionError as error:
        text = f"failed to validate the '{info.field_name}' expression: {error.text}"
        raise Refused(str(error), text, True) from None
    return value


Condition = Annotated[list[Any], Field(min_length=1), AfterValidator(_expression)]


class CapturedBodiesConf(Config):
    """The attributes; derive the Config of a logger from it."""

    include_req_body: bool = False
    include_req_body_expr: Condition | None = None
    max_req_body_bytes: Annotated[int, Field(ge=1)] = 512 << 10
    include_resp_body: bool = False
    include_resp_body_expr: Condition | None = None
    max_resp_body_bytes: Annotated[int, Field(ge=1)] = 512 << 10


class CapturedBodies:
    """One per plugin instance. `slot` names the instance's place in request.ctx."""

    def __init__(self, conf: CapturedBodiesConf, slot: str) -> None:
        self.wants_request = conf.include_req_body
        self.wants_response = conf.include_resp_body
        self._request_limit = conf.max_req_body_bytes
        self._response_limit = conf.max_resp_body_bytes
        self._request_if = _compiled(conf.include_req_body_expr)
        self._response_if = _compiled(conf.include_resp_body_expr)
        self._slot = slot

    async def hold_request(self, request: Request) -> None:
        """Access phase: sees to it that the beginning of the body is there later."""
        if self._request_if is None or self._request_if(request):
            await request.peek_body(self._request_limit)

    def collect_response(self, request: Request, response: Response, chunk: bytes) -> None:
        """Body filter: keeps what is still within the limit."""
        ctx = request.ctx
        kept: bytearray | None = ctx.get(self._slot, _UNDECIDED)
        if kept is _UNDECIDED:
            wanted = self._response_if is None or self._response_if(request)
            kept = ctx[self._slot] = bytearray() if wanted else None
        if kept is not None and chunk and len(kept) < self._response_limit:
            kept += chunk[: self._response_limit - len(kept)]

    def request_text(self, request: Request) -> str | None:
        """Log phase; None when it isn't wanted or there is none."""
        if not self.wants_request or (self._request_if is not None and not self._request_if(request)):
            return None
        body = request.held_body
        return body[: self._request_limit].decode("utf-8", "replace") if body else None

    def response_text(self, request: Request) -> str | None:
        """Log phase; a compressed body is given as it was before."""
        kept: bytearray | None = request.ctx.get(self._slot)
        if kept is None:
            return None
        coding = None if request.response is None else request.response.header("content-encoding")
        return _decoded(bytes(kept), coding, self._response_limit).decode("utf-8", "replace")


_UNDECIDED: Any = object()


def _compiled(condition: list[Any] | None) -> Expression | None:
    return None if condition is None else compile_expression(condition)


def _decoded(body: bytes, coding: str | None, limit: int) -> bytes:
    """As much as can be read of a body that may have been cut; the body itself when its coding is unknown or wrong."""
    try:
        match (coding or "").strip().lower():
            case "gzip" | "x-gzip":
                return zlib.decompressobj(31).decompress(body, limit)
            case "deflate":
                return zlib.decompressobj(15).decompress(body, limit)
            case "br":
                # Brotli has no magic number: nothing at all is its way of saying that this is something else.
                return bytes(import_module("brotli").Decompressor().process(body))[:limit] or body
    except (zlib.error, ImportError):
        return body
    except Exception as error:
        if type(error).__name__ != "error":  # brotli.error; brotli is an extra
            raise
    return body
