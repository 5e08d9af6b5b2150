"""grpc-transcode: JSON over HTTP in front, a gRPC method behind, by a protobuf definition of the resource `protos`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import parse_qsl
from weakref import WeakValueDictionary

import orjson
from pydantic import Field, StringConstraints

from bascule.plugin import Config, Host, Plugin, Request, Response
from bascule.plugin.kit.grpc_frames import FrameError, Frames, frame
from bascule.plugin.kit.grpc_status import INTERNAL, GrpcStatus, http_status, read_status
from bascule.plugin.kit.proto_definition import Method, ProtoDefinition, ProtoError
from bascule.plugin.kit.proto_json import DataError, JsonCodec, JsonOptions

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_REQUEST_BYTES = 64 << 20
MAX_ARGUMENTS = 10_000
_LONGEST_TIMEOUT = 99_999_999  # a grpc-timeout has at most 8 digits
_JSON = "application/json"
_LINES = "application/x-ndjson"

Option = Literal[
    "enum_as_name", "enum_as_value",
    "int64_as_number", "int64_as_string", "int64_as_hexstring",
    "auto_default_values", "no_default_values", "use_default_values", "use_default_metatable",
    "enable_hooks", "disable_hooks",
    "bytes_as_base64",
]  # fmt: skip
_DEFAULTS: dict[str, Literal["auto", "none", "all"]] = {
    "auto_default_values": "auto",
    "no_default_values": "none",
    "use_default_values": "all",
    "use_default_metatable": "none",
}
_INT64: dict[str, Literal["number", "string", "hexstring"]] = {
    "int64_as_number": "number",
    "int64_as_string": "string",
    "int64_as_hexstring": "hexstring",
}
ProtoId = (
    Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9-_.]+$")]
    | Annotated[int, Field(ge=1)]
)


class GrpcTranscodeConfig(Config):
    proto_id: ProtoId
    service: str
    method: str
    deadline: float = 0
    pb_option: list[Option] = Field(
        ["enum_as_name", "int64_as_number", "auto_default_values", "disable_hooks"], min_length=1
    )
    show_status_in_body: bool = False
    status_detail_type: str | None = None
    max_resp_body_size: int = Field(67108864, ge=1)


class _Call:
    """One call, from its request to the end of its response."""

    __slots__ = ("broken", "frames", "method", "status")

    def __init__(self, method: Method) -> None:
        self.method = method
        self.frames: Frames | None = None  # None: the response isn't gRPC
        self.status: GrpcStatus | None = None  # when it stands in the head
        self.broken = False


class _Refusal(Exception):
    """The answer instead of the call."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.response = Response(status, {"error_msg": sentence})


class GrpcTranscode(Plugin):
    name = "grpc-transcode"
    priority = 506
    Config = GrpcTranscodeConfig
    conf: GrpcTranscodeConfig

    def __init__(self, conf: GrpcTranscodeConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.ctx_key = f"grpc-transcode {host.holder}"
        self.codec = JsonCodec(options_of(conf.pb_option))
        timeout_ms = min(math.ceil(conf.deadline), _LONGEST_TIMEOUT)
        self.timeout = f"{timeout_ms}m" if timeout_ms > 0 else None
        # Instances of one worker share what one content defines, as long as one of them uses it.
        self.shared: WeakValueDictionary[str, ProtoDefinition] = host.state("definitions", WeakValueDictionary)
        self.content: str | None = None
        self.definition: ProtoDefinition | None = None
        self.called: Method | None = None
        self.fault = ""

    # ---- the definition

    def method(self) -> Method:
        """The method as the definition has it now. Raises _Refusal."""
        content = self.host.proto(str(self.conf.proto_id))
        if content is None:
            raise self._unusable(f'there is no protobuf definition "{self.conf.proto_id}"')
        if content is not self.content and content != self.content:
            self._use(content)
        self.content = content
        if self.called is None:
            raise self._unusable(self.fault)
        return self.called

    def _use(self, content: str) -> None:
        conf = self.conf
        self.codec = JsonCodec(self.codec.options)  # types of the same name may have other fields now
        self.called = self.definition = None
        try:
            definition = self.shared.get(content)
            if definition is None:
                definition = self.shared[content] = ProtoDefinition(content)
        except ProtoError as error:
            self.fault = f'the protobuf definition "{conf.proto_id}" can\'t be used: {error}'
            return
        self.definition = definition
        self.called = definition.method(conf.service, conf.method)
        if self.called is None:
            self.fault = f'the protobuf definition "{conf.proto_id}" has no method {conf.service}/{conf.method}'

    def _unusable(self, sentence: str) -> _Refusal:
        self.host.log.error("%s: grpc-transcode: %s", self.host.holder, sentence)
        return _Refusal(503, sentence)

    # ---- the request

    async def access(self, request: Request) -> Response | None:
        request.ctx.pop(self.ctx_key, None)
        try:
            method = self.method()
            data, is_text = arguments(request, await request.body(MAX_REQUEST_BYTES))
            packed = self._packed(method, data, is_text)
        except _Refusal as refusal:
            return refusal.response
        request.method = "POST"
        request.set_upstream_target(method.path)
        request.set_body(frame(packed))
        request.set_header("Content-Type", "application/grpc")
        request.set_header("grpc-accept-encoding", "identity,deflate,gzip")
        for name in ("grpc-encoding", "Accept-Encoding"):
            request.remove_header(name)
        if self.timeout is not None:
            request.set_header("grpc-timeout", self.timeout)
        request.ctx[self.ctx_key] = _Call(method)
        return None

    def _packed(self, method: Method, data: Any, is_text: bool) -> bytes:
        from google.protobuf.message import EncodeError

        message = method.input()
        try:
            self.codec.fill(message, data, text=is_text)
            return message.SerializeToString()
        except (DataError, EncodeError) as error:  # EncodeError: a required field of proto2 is missing
            sentence = f"the request doesn't fit {method.input.DESCRIPTOR.full_name}: {error}"
            self.host.log.info("failed to encode request data to protobuf: %s", error)
            raise _Refusal(400, sentence[:1000]) from None

    # ---- the response

    def header_filter(self, request: Request, response: Response) -> None:
        call: _Call | None = request.ctx.get(self.ctx_key)
        if call is None:
            return
        kind = (response.header("content-type") or "").lower()
        if response.source != "upstream" or response.status != 200 or not kind.startswith("application/grpc"):
            call.frames = None
            del request.ctx[self.ctx_key]
            return
        call.frames = Frames(self.conf.max_resp_body_size, response.header("grpc-encoding"))
        call.status = read_status(response.headers())
        for name in ("grpc-encoding", "grpc-accept-encoding"):
            response.remove_header(name)
        if call.method.server_streams and call.status is None:
            response.set_header("Content-Type", _LINES)
            return
        if call.status is not None:
            response.status = http_status(call.status.code)
        # Only its end says how the call went.
        response.set_header("Content-Type", _JSON)
        response.hold_limit = self.conf.max_resp_body_size + 5

    def body_filter(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
        call: _Call | None = request.ctx.get(self.ctx_key)
        if call is None or call.frames is None:
            return None
        held = response.hold_limit > 0
        out = self._whole(call, response, chunk) if held else self._lines(call, response, chunk, last)
        if last:
            response.trailers = []  # what they say was said above
        return out

    def _whole(self, call: _Call, response: Response, body: bytes) -> bytes:
        """The answer to a call of one response message."""
        frames: Any = call.frames
        status = call.status or read_status(response.trailers)
        if status is None:
            return self._failed(response, "the upstream sent no grpc-status")
        if status.code != 0:
            response.status = http_status(status.code)
            for name, value in response.trailers:
                if name.lower().startswith("grpc-") and response.header(name) is None:
                    response.set_header(name, value)
            if self.conf.show_status_in_body:
                return self._error_body(status)
            response.remove_header("Content-Type")
            return b""
        try:
            messages = frames.feed(body)
            frames.end()
            if len(messages) != 1:
                raise FrameError(f"there are {len(messages)} messages, and must be one")
            return self._as_json(call.method, messages[0])
        except FrameError as error:
            return self._failed(response, str(error))

    def _lines(self, call: _Call, response: Response, chunk: bytes, last: bool) -> bytes:
        """Each message as a line, as it comes; an error as the last line."""
        frames: Any = call.frames
        out = []
        try:
            if not call.broken:
                out += [self._as_json(call.method, message) + b"\n" for message in frames.feed(chunk)]
                if last:
                    frames.end()
        except FrameError as error:
            call.broken = True
            out.append(
                self._error_body(GrpcStatus(INTERNAL, f"the upstream's response can't be read: {error}")) + b"\n"
            )
        if last:
            status = read_status(response.trailers) or GrpcStatus(INTERNAL, "the upstream sent no grpc-status")
            if status.code != 0 and not call.broken:
                out.append(self._error_body(status) + b"\n")
        return b"".join(out)

    def _failed(self, response: Response, reason: str) -> bytes:
        """The upstream has sent nonsense."""
        self.host.log.error("failed to read the response of %s/%s: %s", self.conf.service, self.conf.method, reason)
        response.status = 502
        return orjson.dumps({"error_msg": f"the upstream's response can't be read: {reason}"})

    def _as_json(self, method: Method, packed: bytes) -> bytes:
        """Raises FrameError."""
        from google.protobuf.message import DecodeError

        try:
            return orjson.dumps(self.codec.to_data(method.output.FromString(packed)))
        except DecodeError:
            raise FrameError(f"a message is no {method.output.DESCRIPTOR.full_name}") from None

    def _error_body(self, status: GrpcStatus) -> bytes:
        return orjson.dumps({"error": status.as_data(self._detail)})

    def _detail(self, type_url: str, packed: bytes) -> Any:
        """An entry of the status's details: decoded if it is of the type that is configured."""
        from google.protobuf.message import DecodeError

        wanted = self.conf.status_detail_type
        if wanted and self.definition is not None and type_url.rpartition("/")[2] == wanted:
            found: type[Message] | None = self.definition.message(wanted)
            if found is not None:
                try:
                    return self.codec.to_data(found.FromString(packed))
                except DecodeError:
                    self.host.log.error("failed to decode a detail of grpc-status-details-bin as %s", wanted)
        return {"type_url": type_url, "value": self.codec.bytes_text(packed)}


def options_of(names: list[Option]) -> JsonOptions:
    """What pb_option asks for; of several that exclude each other, the last counts."""
    enum_as_value, int64, defaults = False, _INT64["int64_as_number"], _DEFAULTS["auto_default_values"]
    for name in names:
        if name in ("enum_as_name", "enum_as_value"):
            enum_as_value = name == "enum_as_value"
        int64 = _INT64.get(name, int64)
        defaults = _DEFAULTS.get(name, defaults)
    return JsonOptions(enum_as_value, int64, defaults, "bytes_as_base64" in names)


def arguments(request: Request, body: bytes) -> tuple[Any, bool]:
    """What the request gives for the fields, and whether it is all text. Raises _Refusal."""
    if not body:
        return _grouped(request.args()), True
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if request.header("content-encoding") not in (None, "identity"):
        raise _Refusal(415, "a request body with a Content-Encoding is not taken")
    if kind == _JSON or kind.endswith("+json"):
        try:
            return orjson.loads(body), False
        except orjson.JSONDecodeError as error:
            raise _Refusal(400, f"the request body is not JSON: {error}") from None
    if kind not in ("", "application/x-www-form-urlencoded"):
        raise _Refusal(415, f"a request body of the type {kind[:100]!r} is not taken: send JSON or a form")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_ARGUMENTS)
    except ValueError as error:
        raise _Refusal(400, f"the request body is not a form: {error}") from None
    return _grouped(pairs), True


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Names that come more than once have a list."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found
