"""HTTP/2 frames as lines of text, so that mutations of lines and words are mutations of frames and their fields.

A line is `KIND FLAGS STREAM PAYLOAD`; the payload is a list of tokens with commas between: names of header blocks,
`xHH…` bytes, `nCOUNT` zeros, `uNUMBER` four bytes, `iID=NUMBER` a setting, anything else as it stands. `*COUNT LINE`
repeats, `>SIZE LINE` lies about the length. Other lines: `wait`, `end` (of the connection), `raw TOKENS`.
"""

import re
from dataclasses import dataclass

KINDS = ["DATA", "HEADERS", "PRIORITY", "RST", "SETTINGS", "PUSH", "PING", "GOAWAY", "WINDOW", "CONTINUATION"]
MOST_LINES, MOST_BYTES, MOST_ZEROS, MOST_REPEATS = 60, 400_000, 70_000, 3000
NUMBER = re.compile(r"\d{1,10}")


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing (RFC 7541 6.2.2)."""
    return b"\0" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)])
    rest, out = len(text) - 127, b"\x7f"
    while rest >= 128:
        out += bytes([rest % 128 | 128])
        rest //= 128
    return out + bytes([rest])


def _request(method: bytes, path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    pseudo = ((b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"a"))
    return b"".join(literal(*pair) for pair in (*pseudo, *more))


WEBSOCKET = ((b":protocol", b"websocket"),)
BLOCKS = {
    "get": _request(b"GET", b"/len"),
    "chunked": _request(b"GET", b"/chunked"),
    "large": _request(b"GET", b"/large"),
    "hang": _request(b"GET", b"/hang"),
    "cut": _request(b"GET", b"/cut"),
    "mock": _request(b"GET", b"/mock"),
    "missing": _request(b"GET", b"/missing"),
    "head": _request(b"HEAD", b"/len"),
    "post": _request(b"POST", b"/take"),
    "early": _request(b"POST", b"/early"),
    "held": _request(b"POST", b"/held"),
    "sized": _request(b"POST", b"/take", (b"content-length", b"5")),
    "expect": _request(b"POST", b"/held", (b"expect", b"100-continue")),
    "connect": literal(b":method", b"CONNECT") + literal(b":authority", b"a:1"),
    "socket": _request(b"CONNECT", b"/socket", *WEBSOCKET, (b"sec-websocket-version", b"13")),
    "looked": _request(b"CONNECT", b"/looked", *WEBSOCKET, (b"sec-websocket-version", b"13")),
    "nosocket": _request(b"CONNECT", b"/len", *WEBSOCKET),
    "nopath": literal(b":method", b"GET") + literal(b":scheme", b"http"),
    "twice": _request(b"GET", b"/len") + literal(b":path", b"/b"),
    "upper": _request(b"GET", b"/len", (b"X-A", b"1")),
    "lines": _request(b"GET", b"/len", (b"x", b"a\r\nb: c")),
    "hop": _request(b"GET", b"/len", (b"connection", b"close")),
    "fields": _request(b"GET", b"/len", *((b"x-%d" % i, b"1") for i in range(99))),
    "bomb": _request(b"GET", b"/len", *((b"x", b"y" * 4000) for i in range(3))),
    "indexed": b"\x82\x87\x84\x40\x01a\x01b\xbe\xbe\xbe",
    "trailers": literal(b"x-sum", b"1"),
    "forbidden": literal(b"content-length", b"1"),
    "200": literal(b":status", b"200"),
    "204": literal(b":status", b"204"),
    "304": literal(b":status", b"304"),
    "103": literal(b":status", b"103") + literal(b"link", b"</a>"),
    "100": literal(b":status", b"100"),
    "101": literal(b":status", b"101"),
    "500": literal(b":status", b"500"),
    "999": literal(b":status", b"999"),
    "nostatus": literal(b"x", b"1"),
    "five": literal(b":status", b"200") + literal(b"content-length", b"5"),
    "grpc": literal(b"grpc-status", b"0"),
}
FRAME_OF_SOCKET = b"\x81\x85\0\0\0\0hello"


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes to send, then `wait` or `end`."""

    data: bytes
    then: str = ""


def frame(kind: int, flags: int, stream: int, payload: bytes, size: int | None = None) -> bytes:
    length = len(payload) if size is None else size
    return (length & 0xFFFFFF).to_bytes(3, "big") + bytes([kind & 255, flags & 255]) + _four(stream) + payload


def _four(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "big")


def _number(text: str) -> int:
    found = NUMBER.match(text)
    return int(found[0]) if found else 0


def _token(text: str) -> bytes:
    if text in BLOCKS:
        return BLOCKS[text]
    kind, rest = text[:1], text[1:]
    if kind == "x" and len(rest) % 2 == 0:
        try:
            return bytes.fromhex(rest)
        except ValueError:
            return text.encode("latin-1")
    if kind == "n":
        return bytes(min(_number(rest), MOST_ZEROS))
    if kind == "u":
        return _four(_number(rest))
    if kind == "i":
        id, _, value = rest.partition("=")
        return (_number(id) & 0xFFFF).to_bytes(2, "big") + _four(_number(value))
    if text == "ws":
        return FRAME_OF_SOCKET
    return text.encode("latin-1")


def _payload(text: str) -> bytes:
    return b"".join(_token(token) for token in text.split(",")) if text else b""


def _line(text: str) -> bytes:
    count, size = 1, None
    while text[:1] in ("*", ">") and " " in text:
        word, _, text = text.partition(" ")
        if word[0] == "*":
            count = min(_number(word[1:]), MOST_REPEATS)
        else:
            size = _number(word[1:])
    word, _, rest = text.partition(" ")
    if word == "raw":
        return _payload(rest) * count
    kind = KINDS.index(word) if word in KINDS else _number(word)
    flags, _, rest = rest.partition(" ")
    stream, _, rest = rest.partition(" ")
    one = frame(kind, _number(flags), _number(stream), _payload(rest), size)
    return one * min(count, 1 + MOST_BYTES // len(one))


def steps(script: bytes) -> list[Step]:
    """What to send, in pieces."""
    found: list[Step] = []
    data = b""
    for line in script.decode("latin-1").split("\n")[:MOST_LINES]:
        if line in ("wait", "end"):
            found.append(Step(data, line))
            data = b""
        elif len(data) < MOST_BYTES:
            data += _line(line)
    return [*found, Step(data)]


def frames_of(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(kind, flags, stream, payload) of each whole frame."""
    found = []
    at = 0
    while at + 9 <= len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        if at + 9 + size > len(data):
            break
        stream = int.from_bytes(data[at + 5 : at + 9], "big")
        found.append((data[at + 3], data[at + 4], stream, data[at + 9 : at + 9 + size]))
        at += 9 + size
    return found


WORDS = tuple(
    text.encode()
    for text in (
        *(f"\nHEADERS {flags} {stream} {name}" for name in BLOCKS for flags, stream in ((5, 1), (4, 3))),
        "\nDATA 0 1 n5",
        "\nDATA 1 1 hello",
        "\nDATA 1 1 ",
        "\nDATA 9 1 x04,hello,n4",
        "\nDATA 0 1 ws",
        "\n*20 DATA 0 1 n16384",
        "\n*2000 DATA 0 1 ",
        "\nRST 0 1 u8",
        "\nRST 0 3 u7",
        "\nSETTINGS 0 0 i4=0",
        "\nSETTINGS 0 0 i4=2147483648",
        "\nSETTINGS 0 0 i5=1",
        "\nSETTINGS 0 0 i1=0",
        "\nSETTINGS 0 0 i3=0",
        "\nSETTINGS 1 0 ",
        "\n*2000 SETTINGS 0 0 ",
        "\nPING 0 0 n8",
        "\nPING 1 0 n8",
        "\n*2000 PING 0 0 n8",
        "\nGOAWAY 0 0 u1,u0",
        "\nGOAWAY 0 0 u0,u2",
        "\nWINDOW 0 0 u65535",
        "\nWINDOW 0 1 u1",
        "\nWINDOW 0 1 u0",
        "\nWINDOW 0 1 u2147483647",
        "\nPRIORITY 0 1 u0,x10",
        "\nPRIORITY 0 1 u1,x10",
        "\nPUSH 4 1 u2,get",
        "\nCONTINUATION 4 1 trailers",
        "\n*20 CONTINUATION 0 1 n100",
        "\n>20000 DATA 0 1 n5",
        "\n>5 HEADERS 5 1 get",
        "\n>0 SETTINGS 0 0 i4=0",
        "\nwait",
        "\nend",
        "\nraw x00",
        "\n77 255 1 n3",
        ",bomb",
        ",n65000",
        ",xff7f",
        ",x3fe11f",
        ",trailers",
        "2147483648",
    )
)
