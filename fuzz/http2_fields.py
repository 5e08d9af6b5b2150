"""Fields of HTTP/2 requests to heads of HTTP/1.1, slowly and by the letter, and the check against the compiled code."""

import random
import re

from bascule.wire.http1 import parse_request_bytes
from bascule.wire.http2_request import RequestFields

SEPARATOR, LINE = b"\x1f", b"\x1e"
PSEUDO = re.compile(rb"[\x21-\x7e]+")
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
OF_THE_CONNECTION = {
    b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings"
}  # fmt: skip
TELLS_LENGTH = {b"POST", b"PUT", b"PATCH"}
MALFORMED, BOMB = -1, -2
LIMITS = ((16384, 65536), (24, 2048), (200, 300))
GET = b":method\x1fGET\x1e:scheme\x1fhttp\x1e:path\x1f/a?b\x1e:authority\x1fa.example"
SEEDS = (
    GET,
    GET + b"\x1eaccept\x1f*/*\x1ecookie\x1fa=1\x1ex-a\x1f1\x1ecookie\x1fb=2",
    GET.replace(b"GET", b"POST") + b"\x1econtent-length\x1f5",
    GET + b"\x1ehost\x1fA.EXAMPLE\x1ete\x1ftrailers",
    b":method\x1fCONNECT\x1e:authority\x1fa:443",
    b":method\x1fOPTIONS\x1e:path\x1f*\x1e:scheme\x1fhttps\x1ehost\x1fb",
    GET + b"\x1ex\x1f" + b"y" * 300,
    GET.replace(b"GET", b"CONNECT") + b"\x1e:protocol\x1fwebsocket\x1esec-websocket-version\x1f13",
)
WORDS = (
    *(b"\x1e%s\x1fx" % name for name in sorted(OF_THE_CONNECTION)),
    b"\x1e:path\x1f/b",
    b"\x1e:status\x1f200",
    b"\x1e:protocol\x1fwebsocket",
    b"\r\n",
    b"\r\nX: 1",
    b"\0",
    b" ",
    b"HTTP/1.1",
    b"\x1ehost\x1fb",
    b"\x1esec-websocket-key\x1fx",
    b"\x1ecookie\x1fc",
    b"\x1econtent-length\x1f0",
    b"\x1ete\x1fgzip",
    b"\x1eX\x1f1",
    b"PUT",
    b"CONNECT",
    b"*",
)


def assemble(
    fields: list[tuple[bytes, bytes]], has_body: bool, max_line: int, max_head: int, extended: bool
) -> bytes | int:
    """The head; or MALFORMED, BOMB, a negated status. What is found first counts."""
    known: dict[bytes, bytes] = {}
    lines: list[bytes] | None = None
    cookies: list[bytes] = []
    listed = verdict = 0
    pseudo = {b":method", b":path", b":authority", b":scheme"} | ({b":protocol"} if extended else set())

    def begin() -> list[bytes] | int:
        host = [b"host: " + known[b":authority"]] if b":authority" in known else []
        if b":protocol" in known:
            if known.get(b":method") != b"CONNECT" or not {b":authority", b":path", b":scheme"} <= known.keys():
                return 400
            if known[b":protocol"].lower() != b"websocket":
                return 501
            return [b"GET " + known[b":path"] + b" HTTP/1.1", *host]
        target = known.get(b":authority" if known.get(b":method") == b"CONNECT" else b":path")
        if b":method" not in known or target is None:
            return 400
        return [known[b":method"] + b" " + target + b" HTTP/1.1", *host]

    for name, value in fields:
        listed += len(name) + len(value) + 32
        if listed > 16 * max_head:
            return BOMB
        if listed > max_head and not verdict:
            verdict = 431
        if verdict:
            continue
        if name.startswith(b":"):
            if name not in pseudo or name in known or lines is not None:
                return MALFORMED
            if not PSEUDO.fullmatch(value) or (name == b":path" and not value.startswith(b"/") and value != b"*"):
                return MALFORMED
            if name == b":path" and len(value) > max_line:
                verdict = 414
            else:
                known[name] = value
            continue
        if not NAME.fullmatch(name) or not VALUE.fullmatch(value) or name in OF_THE_CONNECTION:
            return MALFORMED
        if lines is None:
            first = begin()
            if isinstance(first, int):
                verdict = first
                continue
            lines = first
        if name == b"te" and value != b"trailers":
            return MALFORMED
        if name == b"host" and b":authority" in known:
            if value.lower() != known[b":authority"].lower():
                verdict = 400
        elif name == b"cookie":
            if value or cookies:  # empty ones in front say nothing
                cookies.append(value)
        elif name == b"sec-websocket-key" and b":protocol" in known:
            continue
        else:
            if name == b"content-length" and b":protocol" in known:
                verdict = 400
            lines.append(name + b": " + value)
    if verdict:
        return -verdict
    if lines is None:
        first = begin()
        if isinstance(first, int):
            return -first
        lines = first
    if joined := b"; ".join(cookies):
        lines.append(b"cookie: " + joined)
    if b":protocol" in known:
        lines += [b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="]
    elif not any(name == b"content-length" for name, _ in fields):
        if has_body:
            lines.append(b"transfer-encoding: chunked")
        elif known[b":method"] in TELLS_LENGTH:
            lines.append(b"content-length: 0")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def check_http2(data: bytes, rng: random.Random) -> str:
    """`data`: lines of a name, SEPARATOR, a value."""
    pairs = [(name, value) for name, _, value in (line.partition(SEPARATOR) for line in data.split(LINE))]
    has_body = rng.choice((True, False))
    max_line, max_head = rng.choice(LIMITS)
    extended = rng.choice((True, False))
    found = RequestFields().assemble(pairs, has_body, max_line, max_head, extended)
    wanted = assemble(pairs, has_body, max_line, max_head, extended)
    assert found == wanted, f"{found!r}, reference: {wanted!r}"
    if isinstance(found, int):
        return f"refused {found} {min(len(pairs), 8)}"
    parsed = parse_request_bytes(found, 65536, 65536, 128)
    assert parsed != 0, "a head that isn't whole"
    if isinstance(parsed, int):
        return f"judged {parsed} {min(len(pairs), 6)}"
    assert parsed["head_len"] == len(found), "something behind the head"
    shape = [parsed["chunked"], parsed["content_length"] >= 0, parsed["method_id"], min(len(parsed["fields"]), 6)]
    return f"good {shape}"
