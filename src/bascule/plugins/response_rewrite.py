"""response-rewrite: changes status, headers and body of responses, when `vars` match."""

import base64
import binascii
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, field_validator, model_validator

from bascule.errors.apisix_text import NOT, MatchesAny, dependent
from bascule.errors.sentences import Refused
from bascule.match.expression import ExpressionError, compile_expression
from bascule.match.regex import RegexError
from bascule.plugin.host import Host
from bascule.plugin.kit.content_coding import DecodeError, Decoder, decoder
from bascule.plugin.kit.header_edits import FlatIsSet, HeaderEdits, HeaderName, check_headers
from bascule.plugin.kit.substitution import Substitution
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import AddHeaders, Response

HeaderLine = Annotated[str, StringConstraints(pattern=r"^[^:]+:[^:]*[^/]$")]


class HeaderChanges(Config):
    add: list[HeaderLine] | None = Field(None, min_length=1)
    set: dict[HeaderName, str | int | float] | None = Field(None, min_length=1)
    remove: list[HeaderName] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def can_be_sent(self) -> Self:
        check_headers(self.added())
        check_headers((name, str(value)) for name, value in (self.set or {}).items())
        return self

    def added(self) -> list[tuple[str, str]]:
        """The lines of `add` as (name, value)."""
        pairs = (line.partition(":") for line in self.add or ())
        return [(name.strip(), value.strip()) for name, _, value in pairs]


class Filter(Config):
    regex: str = Field(min_length=1)
    replace: str
    scope: Literal["once", "global"] = "once"
    options: str = "jo"

    @model_validator(mode="after")
    def compiles(self) -> Self:
        try:
            BodyFilter(self)
        except RegexError as error:
            raise Refused(f'regex "{self.regex}" validation failed: {error}', None, True) from error
        return self


class BodyFilter:
    """A regular expression over bytes, or over UTF-8 with the option u."""

    def __init__(self, conf: Filter) -> None:
        self.codec = "utf-8" if "u" in conf.options else "latin-1"
        # As latin-1, one character is one byte; so the pattern's own UTF-8 is spelt byte by byte too.
        regex, replace = (text.encode().decode(self.codec) for text in (conf.regex, conf.replace))
        self.substitution = Substitution(regex, replace, conf.options)
        self.everywhere = conf.scope == "global"

    def apply(self, body: bytes) -> bytes:
        errors = "surrogateescape" if self.codec == "utf-8" else "strict"
        changed = self.substitution.apply(body.decode(self.codec, errors), self.everywhere)
        return body if changed is None else changed.encode(self.codec, errors)


class ResponseRewriteConfig(Config):
    model_config = ConfigDict(
        json_schema_extra={
            "dependencies": {"body": {"not": {"required": ["filters"]}}, "filters": {"not": {"required": ["body"]}}}
        }
    )

    status_code: int | None = Field(None, ge=200, le=598)
    headers: Annotated[HeaderChanges | None, FlatIsSet, MatchesAny] = None
    body: str | None = None
    body_base64: bool = False
    filters: list[Filter] | None = Field(None, min_length=1)
    max_resp_body_size: int = Field(67108864, ge=1)
    vars: list[Any] | None = None

    @field_validator("vars")
    @classmethod
    def expression(cls, rules: list[Any] | None) -> list[Any] | None:
        try:
            compile_expression(rules or [])
        except ExpressionError as error:
            failed = "failed to validate the 'vars' expression"
            raise Refused(f"{failed}: {error}", f"{failed}: {error.text}", True) from error
        return rules

    @model_validator(mode="after")
    def one_body(self) -> Self:
        if self.body is not None and self.filters is not None:
            raise Refused("body and filters can't be used together", dependent("filters", NOT))
        self.new_body()
        return self

    def new_body(self) -> bytes | None:
        if self.body is None or not self.body_base64:
            return None if self.body is None else self.body.encode()
        try:
            decoded = base64.b64decode(self.body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused("invalid base64 content", semantic=True) from error
        if not decoded:
            raise Refused("invalid base64 content", semantic=True)
        return decoded


class ResponseRewrite(Plugin):
    name = "response-rewrite"
    priority = 899
    Config = ResponseRewriteConfig
    conf: ResponseRewriteConfig

    def __init__(self, conf: ResponseRewriteConfig, host: Host) -> None:
        super().__init__(conf, host)
        # A global rule's instance has its own.
        self.ctx_key = f"response-rewrite {host.holder}"
        self.vars = compile_expression(conf.vars) if conf.vars else None
        self.body = conf.new_body()
        self.filters = [BodyFilter(each) for each in conf.filters or ()]
        self.headers: HeaderEdits | None = None
        if conf.headers is not None:
            add = [(name, [value]) for name, value in conf.headers.added()]
            set_ = [(name, [str(value)]) for name, value in (conf.headers.set or {}).items()]
            self.headers = HeaderEdits(add, set_, conf.headers.remove or ())
        untouched = conf.status_code is None and self.body is None and not self.filters
        if untouched and self.vars is None and self.headers is not None and self.headers.constant:
            # The common case: nothing but headers with fixed values.
            self._adds, self._sets = self.headers.constant_adds, self.headers.constant_sets
            self.header_filter = self._constants if self._sets else AddHeaders(self._adds)  # type: ignore[method-assign]

    def _constants(self, request: Request, response: Response) -> None:
        response.add_headers(self._adds)
        response.set_headers(self._sets)

    def hooks(self) -> tuple[str, ...]:
        """A plugin that leaves the body alone must not slow it down."""
        return ("header_filter", "body_filter") if self.body is not None or self.filters else ("header_filter",)

    def header_filter(self, request: Request, response: Response) -> None:
        if self.vars is not None and not self.vars(request):
            return
        if self.body is not None:
            request.ctx[self.ctx_key] = True
            body_is_new(response)
            response.body_length = len(self.body)
        elif self.filters:
            coding = response.header("Content-Encoding")
            decode = decoder(coding)
            if decode is None:
                self.host.log.warning(
                    "filters may not work as expected due to unsupported compression encoding type: %s", coding
                )
            else:
                request.ctx[self.ctx_key] = HeldBody(self, decode)
                body_is_new(response)
        if self.conf.status_code is not None:
            response.status = self.conf.status_code
        if self.headers is not None:
            self.headers.apply(response, request)

    def body_filter(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
        held: HeldBody | bool | None = request.ctx.get(self.ctx_key)
        if held is None:
            return None
        if isinstance(held, HeldBody):
            return held.feed(chunk, last)
        return self.body if last else b""


def body_is_new(response: Response) -> None:
    """Drops what was said of the old body: length, coding, and what caches know it by."""
    for name in ("Content-Length", "Content-Encoding", "ETag", "Last-Modified"):
        response.remove_header(name)


class HeldBody:
    """A body on its way through the filters: decoded and held until it is whole, or too large to be filtered."""

    def __init__(self, plugin: ResponseRewrite, decode: Decoder) -> None:
        self.plugin = plugin
        self.decode: Decoder | None = decode
        self.chunks: list[bytes] | None = []
        self.size_bytes = 0

    def feed(self, chunk: bytes, last: bool) -> bytes | None:
        """What goes out now."""
        if self.decode is None:
            return None
        try:
            data = self.decode.feed(chunk)
        except DecodeError as error:
            self.plugin.host.log.warning("filters skipped: the body can't be decoded: %s", error)
            self.decode = None
            return self.release() + chunk
        if self.chunks is None:
            return data
        self.chunks.append(data)
        self.size_bytes += len(data)
        limit = self.plugin.conf.max_resp_body_size
        if self.size_bytes > limit:
            self.plugin.host.log.warning("filters skipped: the body is larger than max_resp_body_size %d", limit)
            return self.release()
        if not last:
            return b""
        body = self.release()
        for each in self.plugin.filters:
            body = each.apply(body)
        return body

    def release(self) -> bytes:
        body = b"".join(self.chunks or ())
        self.chunks = None
        return body
