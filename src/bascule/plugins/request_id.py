"""request-id: every request carries an id that the upstream, the client and the logs agree on."""

import string
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from bascule.plugin.host import Host
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response

_URL_SAFE = "_-" + string.digits + string.ascii_letters
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KSUID_EPOCH_S = 1_400_000_000
# APISIX's default has a second "G" where "J" belongs; kept, for ids are compared with those it made.
_RANGE_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIGKLMNOPQRSTUVWXYZ0123456789"


class RangeId(Config):
    char_set: str = Field(_RANGE_CHARS, min_length=6)
    length: int = Field(16, ge=6)


class RequestIdConfig(Config):
    header_name: str = "X-Request-Id"
    include_in_response: bool = True
    algorithm: Literal["uuid", "nanoid", "range_id", "ksuid", "uuidv7"] = "uuid"
    range_id: RangeId = RangeId()


class RequestId(Plugin):
    name = "request-id"
    priority = 12015

    Config = RequestIdConfig

    conf: RequestIdConfig

    def __init__(self, conf: RequestIdConfig, host: Host) -> None:
        super().__init__(conf, host)
        makers: dict[str, Callable[[], str]] = {
            "uuid": self.uuid4,
            "nanoid": self.nanoid,
            "range_id": self.range_id,
            "ksuid": self.ksuid,
            "uuidv7": self.uuid7,
        }
        self.make = makers[conf.algorithm]
        self.header = conf.header_name
        # Another instance (a global rule's) may use another header: each remembers its own id.
        self.ctx_key = f"request-id {conf.header_name.lower()}"
        self.bits = host.random.getrandbits

    def hooks(self) -> tuple[str, ...]:
        return ("rewrite", "header_filter") if self.conf.include_in_response else ("rewrite",)

    def rewrite(self, request: Request) -> None:
        value = request.header(self.header)
        if not value:
            value = self.make()
            request.set_header(self.header, value)
        request.ctx[self.ctx_key] = value
        request.set_var("apisix_request_id", value)

    def header_filter(self, request: Request, response: Response) -> None:
        value = request.ctx.get(self.ctx_key)
        if value is not None and response.header(self.header) is None:
            response.set_header(self.header, value)

    def uuid4(self) -> str:
        """RFC 9562 §5.4."""
        return _uuid_text(self.bits(128), version=4)

    def uuid7(self) -> str:
        """RFC 9562 §5.7: sorts by time of creation."""
        return _uuid_text(int(self.host.now() * 1000) << 80 | self.bits(80), version=7)

    def nanoid(self) -> str:
        """21 URL-safe characters: 126 random bits."""
        bits = self.bits(126)
        return "".join([_URL_SAFE[bits >> shift & 63] for shift in range(0, 126, 6)])

    def ksuid(self) -> str:
        """Seconds since 2014-05-13 and 128 random bits, in 27 base62 digits: sorts by time of creation."""
        number = (int(self.host.now()) - _KSUID_EPOCH_S) << 128 | self.bits(128)
        digits = []
        for _ in range(27):
            number, digit = divmod(number, 62)
            digits.append(_BASE62[digit])
        return "".join(reversed(digits))

    def range_id(self) -> str:
        wanted = self.conf.range_id
        return "".join(self.host.random.choices(wanted.char_set, k=wanted.length))


def _uuid_text(number: int, version: int) -> str:
    """128 bits as a UUID with RFC 9562's version and variant fields set."""
    number = number & ~(0xF << 76) & ~(0x3 << 62) | version << 76 | 0x2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
