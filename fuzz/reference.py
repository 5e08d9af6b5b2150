"""The same parsers once more, slow and obvious: regular expressions and lists, no offsets, written from the RFCs.

Each refusal carries a reason; the fuzzer takes new reasons as a sign of new ground. Statuses and fields must equal
those of the compiled parsers.
"""

import ipaddress
import re
from dataclasses import dataclass, field

TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TEXT = rb"[\t\x20-\x7e\x80-\xff]"
REQUEST_LINE = re.compile(rb"(" + TCHAR + rb"+) (.*) HTTP/([0-9])\.([0-9])", re.DOTALL)
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: (" + TEXT + rb"*))?")
FIELD_LINE = re.compile(rb"(" + TCHAR + rb"+):(.*)", re.DOTALL)
HOST_NAME = re.compile(rb"(?=.{1,255}\Z)[0-9A-Za-z_~-]+(?:\.[0-9A-Za-z_~-]+)*\.?")
METHODS = (b"", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"CONNECT", b"TRACE", b"PURGE")

DROP = 1
FORWARDED = 2
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authorization",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}
REWRITTEN = {
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-real-ip",
    b"forwarded",
}
END_TO_END = {
    b"host",
    b"cookie",
    b"expect",
    b"forwarded",
    b"x-real-ip",
    b"set-cookie",
    b"content-type",
    b"authorization",
    b"cache-control",
    b"content-length",
    b"content-encoding",
}


class Refused(Exception):
    """The message must not be accepted."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Incomplete(Exception):
    """Every line that is there is good, and the end isn't."""


@dataclass
class Message:
    """Fields as (name, value, flags); framing as the gateway understands it."""

    minor: int = 1
    fields: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    head_len: int = 0
    content_length: int = -1
    chunked: bool = False
    close: bool = False
    keep_alive: bool = False
    upgrade: bool = False
    te_trailers: bool = False
    method: bytes = b""
    target: bytes = b""
    path: bytes = b""
    query: bytes | None = None
    host: bytes | None = None
    expect_continue: bool = False
    xff: int = -1
    status: int = 0
    reason: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        return [value for had, value, _ in self.fields if had.lower() == name]

    def options(self, name: bytes) -> list[bytes]:
        """Elements of comma lists, in lower case, of all fields of this name."""
        parts = [part.strip(b" \t").lower() for value in self.values(name) for part in value.split(b",")]
        return [part for part in parts if part]


def need(condition: object, reason: str, status: int = 400) -> None:
    if not condition:
        raise Refused(status, reason)


def first_line(data: bytes, max_line: int, max_head: int, too_long: int) -> tuple[bytes, int]:
    """The first line without CRLF, and where the next one starts."""
    window = data[: min(max_line + 2, max_head)]
    end = window.find(b"\n")
    if end < 0:
        if len(data) < min(max_line + 2, max_head):
            raise Incomplete
        raise Refused(
            too_long if max_line + 2 <= max_head + 1 and min(max_line + 2, max_head) > max_line else 431, "line"
        )
    need(window[:end].endswith(b"\r"), "first line ends without CR")
    return window[: end - 1], end + 1


def field_lines(data: bytes, start: int, max_head: int) -> tuple[list[bytes], int, bool]:
    """Lines that are complete, each with its CRLF; the offset behind the blank line; is it there?"""
    lines: list[bytes] = []
    window = data[:max_head]
    while True:
        end = window.find(b"\n", start)
        if end < 0:
            return lines, start, False
        lines.append(window[start : end + 1])
        start = end + 1
        if lines[-1] == b"\r\n":
            return lines, start, True


def is_authority(text: bytes, need_port: bool = False) -> bool:
    host, colon, port = text.rpartition(b":")
    if text.endswith(b"]") or not colon:
        host, colon = text, b""
    if colon and not (re.fullmatch(rb"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        return False
    if need_port and not colon:
        return False
    if host.startswith(b"[") and host.endswith(b"]"):
        literal = host[1:-1].decode("latin-1")
        try:
            ipaddress.IPv6Address(literal)
        except ValueError:
            return False
        return "%" not in literal
    return HOST_NAME.fullmatch(host) is not None


def read_fields(message: Message, data: bytes, start: int, max_head: int, max_fields: int, request: bool) -> None:
    lines, end, complete = field_lines(data, start, max_head)
    for line in lines:
        need(line.endswith(b"\r\n"), "line ends without CR")
        if line == b"\r\n":
            break
        need(len(message.fields) < max_fields, "too many fields", 431)
        match = FIELD_LINE.fullmatch(line[:-2])
        need(match, "no field line")
        assert match is not None
        name, value = match[1], match[2].strip(b" \t")
        need(re.fullmatch(TEXT + rb"*", value), "control byte in a value")
        lower = name.lower()
        flags = DROP if lower in HOP_BY_HOP else FORWARDED if request and lower in REWRITTEN else 0
        if lower == b"host" and request:
            need(not message.values(b"host"), "several Host")
            need(is_authority(value), "Host is no authority")
        if lower == b"content-length":
            need(not message.values(lower), "several Content-Length")
            need(re.fullmatch(rb"[0-9]{1,18}", value), "Content-Length is no number")
            message.content_length = int(value)
        if lower == b"transfer-encoding":
            need(message.minor == 1, "Transfer-Encoding in HTTP/1.0")
            need(not message.chunked, "several Transfer-Encoding")
            need(value.lower() == b"chunked", "Transfer-Encoding other than chunked")
            message.chunked = True
        if lower == b"expect" and request:
            need(value.lower() == b"100-continue", "unknown expectation", 417)
            message.expect_continue = message.minor == 1
            flags = 0 if message.minor == 1 else DROP
        if lower == b"x-forwarded-for" and request:
            message.xff = len(message.fields)
        message.fields.append((name, value, flags))
    if not complete:
        if len(data) >= max_head:
            raise Refused(431, "head too long")
        raise Incomplete
    message.head_len = end
    need(not (message.chunked and message.content_length >= 0), "both Content-Length and Transfer-Encoding")
    options = message.options(b"connection")
    named = [option for option in options if option not in (b"close", b"keep-alive", b"upgrade")]
    need(len(named) <= 32, "too many connection options", 431)
    drop = {
        name for name in named if name not in END_TO_END and not (name.startswith(b"x-forwarded-") and len(name) > 12)
    }
    message.fields = [
        (name, value, flags | DROP if name.lower() in drop else flags) for name, value, flags in message.fields
    ]
    message.keep_alive = b"keep-alive" in options
    message.close = b"close" in options or (message.minor == 0 and not message.keep_alive)
    message.upgrade = b"upgrade" in options and bool(message.values(b"upgrade")) and message.minor == 1
    message.te_trailers = b"trailers" in message.options(b"te")


def read_target(message: Message) -> None:
    """Sets path, query and, from absolute-form and authority-form, host."""
    target = message.target
    need(re.fullmatch(rb"[\x21\x22\x24-\x7e]+", target), "byte in the target")
    if message.method == b"CONNECT":
        need(is_authority(target, need_port=True), "CONNECT to no authority")
        message.host = target
        return
    rest = target
    if target.startswith(b"*"):
        need(target == b"*" and message.method == b"OPTIONS", "asterisk-form")
    elif not target.startswith(b"/"):
        match = re.fullmatch(rb"(?i:https?)://([^/?]*)(.*)", target)
        need(match, "target of no known form")
        assert match is not None
        need(is_authority(match[1]), "absolute-form with no authority")
        message.host, rest = match[1], match[2]
    message.path, mark, query = rest.partition(b"?")
    message.query = query if mark else None


def parse_request(data: bytes, max_line: int = 8192, max_head: int = 32768, max_fields: int = 100) -> Message:
    """Raises Refused or Incomplete."""
    if not data:
        raise Incomplete
    need(re.match(TCHAR, data), "first byte")
    line, start = first_line(data, max_line, max_head, 414)
    match = REQUEST_LINE.fullmatch(line)
    need(match, "no request line")
    assert match is not None
    need(match[3] == b"1" and match[4] in (b"0", b"1"), "version", 505)
    message = Message(minor=int(match[4]), method=match[1], target=match[2])
    read_target(message)
    read_fields(message, data, start, max_head, max_fields, request=True)
    hosts = message.values(b"host")
    need(hosts or message.minor == 0, "no Host")
    if message.host is None:
        message.host = hosts[0] if hosts else None
    elif hosts:
        need(message.host.lower() == hosts[0].lower(), "Host and target disagree")
    return message


def parse_response(data: bytes, max_line: int = 8192, max_head: int = 32768, max_fields: int = 100) -> Message:
    """Raises Refused (always 502) or Incomplete."""
    if not data:
        raise Incomplete
    try:
        need(data.startswith(b"H"), "first byte")
        line, start = first_line(data, max_line, max_head, 502)
        match = STATUS_LINE.fullmatch(line)
        need(match, "no status line")
        assert match is not None
        message = Message(minor=int(match[1]), status=int(match[2]), reason=match[3] or b"")
        read_fields(message, data, start, max_head, max_fields, request=False)
    except Refused as refused:
        raise Refused(502, refused.reason) from None
    if message.status < 200 or message.status == 204:
        message.close = message.close or message.chunked or message.content_length > 0
        message.chunked, message.content_length = False, -1
        message.fields = [
            (name, value, flags | DROP if name.lower() == b"content-length" else flags)
            for name, value, flags in message.fields
        ]
    return message


TOKEN = TCHAR + rb"+"
QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\' + TEXT + rb')*"'
SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})((?:;" + TOKEN + rb"(?:=(?:" + TOKEN + rb"|" + QUOTED + rb"))?)*)\r\n", re.DOTALL
)
TRAILER_LINE = re.compile(rb"(" + TOKEN + rb"):" + TEXT + rb"*\r\n")
NOT_IN_TRAILERS = (
    HOP_BY_HOP
    | END_TO_END
    | {
        b"trailer",
        b"max-forwards",
        b"content-range",
        b"www-authenticate",
        b"proxy-authenticate",
    }
)


def take_line(data: bytes, start: int) -> bytes:
    end = data.find(b"\n", start)
    if end < 0:
        raise Incomplete
    return data[start : end + 1]


def decode_chunks(data: bytes) -> tuple[bytes, int]:
    """(payload, bytes of the whole coding). Raises Refused or Incomplete."""
    payload = b""
    at = 0
    while True:
        line = take_line(data, at)
        match = SIZE_LINE.fullmatch(line)
        need(match, "size line")
        assert match is not None
        need(len(line) <= 256, "long size line")
        at += len(line)
        size = int(match[1], 16)
        if size == 0:
            break
        payload += data[at : at + size]
        at += size
        if len(data) < at + 2:
            need(b"\r\n".startswith(data[at:]), "no CRLF behind the data")
            raise Incomplete
        need(data[at : at + 2] == b"\r\n", "no CRLF behind the data")
        at += 2
    trailers = at
    while True:
        line = take_line(data, at)
        at += len(line)
        need(at - trailers <= 8192, "long trailers")
        if line == b"\r\n":
            return payload, at
        match = TRAILER_LINE.fullmatch(line)
        need(match, "trailer line")
        assert match is not None
        name = match[1].lower()
        need(name not in NOT_IN_TRAILERS and not re.match(rb"x-forwarded-.", name), "trailer that must not come")


def normalise(path: bytes, keep_encoded_slash: bool = False, servlet: bool = False) -> bytes | None:
    """What wire.target makes of a path, by splitting and joining."""
    if path and not path.startswith(b"/"):
        return None
    if re.search(rb"%(?![0-9A-Fa-f]{2})", path) or b"%00" in path:
        return None
    separator = rb"/" if keep_encoded_slash else rb"/|%2[Ff]"
    kept: list[bytes] = []
    ends_in_slash = True
    for encoded in re.split(separator, path)[1:]:
        segment = re.sub(
            rb"%(..)",
            lambda escape: escape[0] if escape[1].lower() == b"2f" else bytes.fromhex(escape[1].decode()),
            encoded,
        )
        if servlet:
            segment = segment.partition(b";")[0]
        ends_in_slash = segment in (b"", b".", b"..")
        if segment == b"..":
            if not kept:
                return None
            kept.pop()
        elif not ends_in_slash:
            kept.append(segment)
    return b"/" + b"/".join(kept) + (b"/" if kept and ends_in_slash else b"")


PROXY_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP(4|6) ([^ \r\n]+) ([^ \r\n]+) ([0-9]{1,5}) ([0-9]{1,5}))\r\n"
)
PROXY_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY_MAX = 4096


def plain_address(text: str, version: int) -> str:
    """An address as it is usually written, IPv4 inside IPv6 as IPv4."""
    need("%" not in text, "a zone")
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        raise Refused(400, "no address") from None
    need(parsed.version == version, "the other family")
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def parse_proxy(data: bytes) -> tuple[int, str | None, int, str | None, int]:
    """(length, source, its port, destination, its port) of a PROXY header at the start of data."""
    if data[:1] == b"\r":
        return parse_proxy_binary(data)
    need(data[:6] == b"PROXY "[: len(data)], "no signature")
    line = data[:107].partition(b"\n")
    if not line[1]:
        need(len(data) < 107, "line too long")
        raise Incomplete
    match = PROXY_LINE.fullmatch(line[0] + b"\n")
    need(match, "no PROXY line")
    assert match is not None
    if match[1] is None:
        return match.end(), None, 0, None, 0
    ports = [int(port) for port in match.group(4, 5)]
    need(all(b"%d" % port == text for port, text in zip(ports, match.group(4, 5), strict=True)), "leading zeros")
    need(max(ports) < 65536, "no port")
    source, destination = (plain_address(text.decode("latin-1"), int(match[1])) for text in match.group(2, 3))
    return match.end(), source, ports[0], destination, ports[1]


def parse_proxy_binary(data: bytes) -> tuple[int, str | None, int, str | None, int]:
    need(data[:12] == PROXY_SIGNATURE[: len(data)], "no signature")
    if len(data) < 16:
        raise Incomplete
    end = 16 + int.from_bytes(data[14:16], "big")
    need(data[12] in (0x20, 0x21), "neither LOCAL nor PROXY")
    need(end <= PROXY_MAX, "too long")
    if len(data) < end:
        raise Incomplete
    if data[12] == 0x20 or data[13] == 0:
        return end, None, 0, None, 0
    need(data[13] in (0x11, 0x21, 0x31), "not a stream")
    size = {0x11: 4, 0x21: 16, 0x31: 108}[data[13]]
    at = 16 + 2 * size + (4 if size < 108 else 0)
    need(at <= end, "addresses cut")
    found: tuple[int, str | None, int, str | None, int] = (end, None, 0, None, 0)
    if size < 108:
        version = 4 if size == 4 else 6
        ends = [ipaddress.ip_address(data[16 + k * size : 16 + (k + 1) * size]) for k in (0, 1)]
        texts = [plain_address(str(one), version) for one in ends]
        ports = [int.from_bytes(data[k : k + 2], "big") for k in (at - 4, at - 2)]
        found = (end, texts[0], ports[0], texts[1], ports[1])
    while at < end:
        need(at + 3 <= end, "a TLV cut")
        length = int.from_bytes(data[at + 1 : at + 3], "big")
        need(at + 3 + length <= end, "a TLV too long")
        if data[at] == 3:
            need(length == 4, "a checksum of another size")
            zeroed = data[: at + 3] + bytes(4) + data[at + 7 : end]
            need(crc32c(zeroed) == int.from_bytes(data[at + 3 : at + 7], "big"), "another checksum")
        at += 3 + length
    return found


FRAME_CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
CONTROL_MAX = 125


def parse_frames(data: bytes, client: bool, extended: bool) -> list[tuple[int, bool, int, bytes]]:
    """(opcode, fin, reserved bits, payload) of the WebSocket frames that are whole."""
    frames: list[tuple[int, bool, int, bytes]] = []
    message = 0
    at = 0
    while len(data) - at >= 2:
        fin, reserved, opcode = data[at] >= 128, data[at] >> 4 & 7, data[at] & 15
        short = data[at + 1] & 127
        need(data[at + 1] >> 7 == client, "mask")
        need(opcode in (0, 1, 2, 8, 9, 10), "opcode")
        need(not reserved or (extended and opcode < 8), "reserved bits")
        need(opcode < 8 or fin, "control frame in pieces")
        need(opcode < 8 or short <= CONTROL_MAX, "long control frame")
        need(opcode >= 8 or (opcode == 0) == bool(message), "out of order")
        wide = {126: 2, 127: 8}.get(short, 0)
        start = at + 2 + wide + 4 * client
        if len(data) < start:
            break
        size = int.from_bytes(data[at + 2 : at + 2 + wide], "big") if wide else short
        need(not wide or size >= (126 if wide == 2 else 65536), "not the shortest length")
        need(size < 1 << 63, "highest bit")
        if opcode < 8:
            message = 0 if fin else message or opcode
        payload = data[start : start + size]
        if client:
            payload = bytes(byte ^ data[start - 4 + i % 4] for i, byte in enumerate(payload))
        if len(data) < start + size:
            break
        frames.append((opcode, fin, reserved, payload))
        at = start + size
    return frames


def close_fault(payload: bytes) -> int:
    if not payload:
        return 0
    if len(payload) == 1 or int.from_bytes(payload[:2], "big") not in FRAME_CODES:
        return 1002
    return 0 if is_utf8(payload[2:]) else 1007


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
