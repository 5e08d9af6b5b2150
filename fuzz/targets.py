"""What is fuzzed: seeds, dictionary, and a check that compares the compiled code with the reference.

A check returns the outcome's label, which tells the fuzzer whether it saw something new, and raises AssertionError.
"""

import ipaddress
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from bascule.wire import http1
from bascule.wire.chunk import ChunkScanner
from bascule.wire.head import Head
from bascule.wire.proxy_protocol import ProxyHeader, build_proxy_header, crc32c
from bascule.wire.target import is_plain, normalise
from bascule.wire.websocket import FrameReader, build_frame, close_fault, is_utf8, masked
from fuzz import http2_fields, reference

MESSAGE = ("minor", "fields", "head_len", "content_length", "chunked", "close", "keep_alive", "upgrade", "te_trailers")
REQUEST = (*MESSAGE, "method", "target", "path", "query", "host", "expect_continue", "xff")
RESPONSE = (*MESSAGE, "status", "reason")
# Small limits, so that mutations reach them.
LIMITS = ((8192, 32768, 100), (64, 512, 8), (512, 64, 3))


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to fuzz."""

    name: str
    seeds: tuple[bytes, ...]
    dictionary: tuple[bytes, ...]
    check: Callable[[bytes, random.Random], str]


T = TypeVar("T")


def attempt(judge: Callable[[], T]) -> T | reference.Refused | reference.Incomplete:
    """The reference's answer, with its verdicts as values."""
    try:
        return judge()
    except (reference.Refused, reference.Incomplete) as verdict:
        return verdict


def check_spans(data: bytes, found: dict[str, Any]) -> None:
    """Fields lie one behind the other, inside the head, and are what the spans say."""
    at = found["first_line_end"]
    for span, (name, value, _) in zip(found["spans"], found["fields"], strict=True):
        name_off, name_len, value_off, value_len, end = span
        assert name_off == at, "a gap between lines"
        assert name_off + name_len < value_off <= value_off + value_len <= end - 2, "a value outside its line"
        assert data[name_off : name_off + name_len] == name
        assert data[value_off : value_off + value_len] == value
        at = end
    assert at + 2 == found["head_len"] <= len(data), "the head's length"


def compare(data: bytes, rng: random.Random, request: bool) -> str:
    max_line, max_head, max_fields = limits = rng.choice(LIMITS)
    parse = http1.parse_request_bytes if request else http1.parse_response_bytes
    judge = reference.parse_request if request else reference.parse_response
    found = parse(data, max_line, max_head, max_fields)
    wanted = attempt(lambda: judge(data, max_line, max_head, max_fields))
    if isinstance(wanted, reference.Refused):
        assert found == -wanted.status, f"{wanted.status} ({wanted.reason}) by the reference, got {found!r}"
        return f"{wanted.status} {wanted.reason}"
    if isinstance(wanted, reference.Incomplete):
        assert found == 0, f"incomplete, got {found!r}"
        return "incomplete"
    assert isinstance(found, dict), f"accepted by the reference, got {found!r}"
    for key in REQUEST if request else RESPONSE:
        assert found[key] == getattr(wanted, key), f"{key}: {found[key]!r}, reference: {getattr(wanted, key)!r}"
    check_spans(data, found)
    cut = rng.randint(0, wanted.head_len - 1)
    assert parse(data[:cut], *limits) == 0, f"a verdict on the first {cut} bytes of a good head"
    assert parse(data[: wanted.head_len], *limits) == found, "bytes behind the head change it"
    check_forwarded(wanted, request)
    check_head(data, wanted, request)
    # Coarse, so that few inputs count as new: what counts is kept, and large inputs are slow.
    shape = [
        min(len(wanted.fields), 8),
        wanted.chunked,
        wanted.content_length >= 0,
        wanted.close,
        wanted.upgrade,
        wanted.minor,
    ]
    return f"good {shape} {sorted({flags for _, _, flags in wanted.fields})}"


def check_forwarded(message: reference.Message, request: bool) -> None:
    """What would go to the next hop means the same there."""
    lines = [b"%s: %s\r\n" % (name, value) for name, value, flags in message.fields if not flags]
    if message.chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    if request:
        first = b"%s %s HTTP/1.1\r\n" % (message.method, message.target)
        if not message.values(b"host"):
            lines.append(b"Host: %s\r\n" % (message.host or b"next"))
        again = reference.parse_request(first + b"".join(lines) + b"\r\n", 8192 * 2, 65536, 128)
        assert (again.method, again.path, again.query) == (message.method, message.path, message.query)
        assert again.host == message.host or message.host is None
    else:
        first = b"HTTP/1.1 %d %s\r\n" % (message.status, message.reason)
        again = reference.parse_response(first + b"".join(lines) + b"\r\n", 8192 * 2, 65536, 128)
        assert again.status == message.status
    assert (again.chunked, again.content_length) == (message.chunked, message.content_length), (
        "framing changed on the way"
    )


def check_head(data: bytes, message: reference.Message, request: bool) -> None:
    head = Head()
    assert head.parse(data, request) == message.head_len
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value, _ in message.fields]
    assert head.headers() == pairs
    for name, _ in pairs:
        same = [value for had, value in pairs if had.lower() == name.lower()]
        assert head.header_values(name.swapcase()) == same, name
        assert head.header(name) == same[0]


def check_request(data: bytes, rng: random.Random) -> str:
    return compare(data, rng, request=True)


def check_response(data: bytes, rng: random.Random) -> str:
    return compare(data, rng, request=False)


def run_chunks(pieces: list[bytes], step: bool) -> tuple[bytes | None, int, bool]:
    """(payload or None when malformed, bytes consumed, done) of the scanner fed piece by piece."""
    scanner = ChunkScanner()
    payload = b""
    consumed = 0
    for piece in pieces:
        while piece and not scanner.done:
            if step:
                used, off, size = scanner.step(piece)
                assert used < 0 or 0 <= off <= off + size <= used <= len(piece), "a run outside the piece"
            else:
                used, off, size = scanner.scan(piece), 0, 0
            if used < 0:
                return None, consumed, False
            assert used > 0, "no progress"
            payload += piece[off : off + size]
            consumed += used
            piece = piece[used:]
    return payload, consumed, scanner.done


def check_chunk(data: bytes, rng: random.Random) -> str:
    cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.choice((0, 1, 3, 8))))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole = run_chunks([data], step=True)
    assert run_chunks(pieces, step=True)[0::2] == whole[0::2], f"cut at {cuts}, the verdict differs"
    scanned = run_chunks(pieces, step=False)
    assert (scanned[0] is None, scanned[2]) == (whole[0] is None, whole[2]), "scan and step differ"
    payload, consumed, done = whole
    wanted = attempt(lambda: reference.decode_chunks(data))
    if isinstance(wanted, reference.Refused):
        assert payload is None, f"the reference refuses: {wanted.reason}"
        return wanted.reason
    if isinstance(wanted, reference.Incomplete):
        assert not done, "ended where the reference wants more"
        return "incomplete" if payload is not None else "refused early"
    assert done, "the reference accepts"
    assert (payload, consumed) == wanted, f"{payload!r}, {consumed}, reference: {wanted!r}"
    assert scanned[1] == consumed
    return f"good {min(len(wanted[0]), 20)} {b';' in data} {min(data.count(b':'), 4)}"


def check_target(data: bytes, rng: random.Random) -> str:
    path = data[:256] if rng.randrange(8) == 0 else b"/" + data[:255]
    for keep in (False, True):
        for servlet in (False, True):
            got = normalise(path, keep, servlet)
            wanted = reference.normalise(path, keep, servlet)
            assert got == wanted, f"keep={keep} servlet={servlet}: {got!r}, reference: {wanted!r}"
            if got is None:
                continue
            assert got.startswith(b"/"), "not absolute"
            assert len(got) <= len(path) + 1
            segments = got.split(b"/")
            assert b"." not in segments, "a dot segment stayed"
            assert b".." not in segments, "a dot segment stayed"
            assert b"//" not in got
            if b"%" not in got:
                assert normalise(got, keep, servlet) == got, "not idempotent"
    plain = normalise(path)
    if is_plain(path):
        assert plain == path, "plain, yet normalised to something else"
    return f"{None if plain is None else min(plain.count(b'/'), 6)} {is_plain(path)} {min(path.count(b'%'), 6)}"


def check_proxy(data: bytes, rng: random.Random) -> str:
    header = ProxyHeader()
    size = header.read(data)
    wanted = attempt(lambda: reference.parse_proxy(data))
    if isinstance(wanted, reference.Refused):
        assert size == -1, f"the reference refuses ({wanted.reason}), got {size}"
        return wanted.reason
    if isinstance(wanted, reference.Incomplete):
        assert size == 0, f"incomplete, got {size}"
        return f"incomplete {min(len(data), 20)}"
    ends = [end and str(ipaddress.ip_address(end)) for end in (header.source, header.destination)]
    got = (size, ends[0], header.source_port, ends[1], header.destination_port)
    assert got == wanted, f"{got!r}, reference: {wanted!r}"
    cut = rng.randint(0, size - 1)
    assert ProxyHeader().read(data[:cut]) == 0, f"a verdict on the first {cut} bytes of a good header"
    return f"good {header.version} {header.source is None} {size // 20}"


def run_frames(pieces: list[bytes], client: bool, extended: bool) -> tuple[list[tuple[int, bool, int, bytes]], int]:
    """(opcode, fin, reserved bits, payload) of the frames that are whole, and the error, fed piece by piece."""
    reader = FrameReader(client, extended)
    found: list[tuple[int, bool, int, bytes]] = []
    payload = b""
    for piece in pieces:
        while piece:
            used, off, size = reader.step(piece)
            if used < 0:
                return found, reader.error
            assert 0 < used <= len(piece), "no progress"
            assert off + size <= used, "a run outside the piece"
            opcode, fin, reserved, total, left, mask = reader.frame
            run = piece[off : off + size]
            payload += masked(run, mask, total - left - size) if client else run
            if reader.event and left == 0:
                found.append((opcode, fin, reserved, payload))
                payload = b""
            piece = piece[used:]
    return found, 0


def check_websocket(data: bytes, rng: random.Random) -> str:
    client, extended = rng.choice((True, False)), rng.choice((True, False))
    cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.choice((0, 1, 3, 8))))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    frames, error = run_frames([data], client, extended)
    assert run_frames(pieces, client, extended) == (frames, error), f"cut at {cuts}, the verdict differs"
    wanted = attempt(lambda: reference.parse_frames(data, client, extended))
    assert is_utf8(pieces) == reference.is_utf8(data), "text"
    assert close_fault(data[:125]) == reference.close_fault(data[:125]), "a close frame"
    if isinstance(wanted, reference.Refused):
        assert error == 1002, f"the reference refuses: {wanted.reason}"
        return f"{wanted.reason} {client} {len(frames)}"
    assert not isinstance(wanted, reference.Incomplete)
    assert error == 0, "the reference accepts"
    assert frames == wanted, f"{frames!r}, reference: {wanted!r}"
    mask = data[:4] if client and len(data) >= 4 else None
    for opcode, fin, reserved, payload in frames:
        if not reserved and (mask is not None or not client) and opcode != 0:
            again = build_frame(opcode, payload, mask, fin)
            assert run_frames([again], client, extended) == ([(opcode, fin, 0, payload)], 0), (
                "what is built is not read"
            )
    return f"good {client} {sorted({(frame[0], frame[1]) for frame in frames})} {min(len(frames), 4)}"


FRAMES = tuple(
    b"".join(build_frame(opcode, payload, mask, fin) for opcode, payload, fin in frames)
    for mask in (None, b"abcd")
    for frames in (
        ((1, b"hello", True), (2, bytes(130), True)),
        ((1, b"h", False), (9, b"ping", True), (0, b"", False), (0, "\u20ac".encode(), True)),
        ((8, b"\x03\xe8bye", True), (10, b"", True)),
        ((2, b"", True), (2, bytes(700), False)),
    )
)
FRAME_SEEDS = (*FRAMES, b"\x03\xe8bye", b"\x03\xed")
FRAME_WORDS = (
    b"\x89\x7e\x00\x7e",
    b"\x03\xed",
    b"\x81\x00",
    b"\x01\x80",
    b"\x80\x00",
    b"\x88\x02\x03\xe8",
    b"\x89\x00",
    b"\x82\x7e\x00\x7e",
    b"\x82\x7f\0\0\0\0\0\1\0\0",
    b"\xc1",
    b"\xf0\x9f\x98\x80",
    b"\xed\x9f\xbf",
)
PROXY_V2 = build_proxy_header(2, "203.0.113.7", 4711, "192.0.2.1", 443)
PROXY_TLVS = PROXY_V2[:15] + b"\x1a" + PROXY_V2[16:] + b"\x02\x00\x04a.ex\x03\x00\x04\0\0\0\0"
PROXY_SEEDS = (
    b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\nGET /",
    b"PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 1 65535\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN a b 1 2\r\n",
    PROXY_V2 + b"GET /",
    build_proxy_header(2, "2001:db8::1", 1, "::1", 2),
    build_proxy_header(2, None, 0, None, 0),
    PROXY_V2[:13] + b"\x31\x00\xd8" + bytes(216),
    PROXY_TLVS[:-4] + crc32c(PROXY_TLVS).to_bytes(4, "big"),
)
PROXY_WORDS = (
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"127.0.0.1 ",
    b"::1 ",
    b"256",
    b"\x21\x11\x00\x0c",
    b"\x20\x00\x00\x00",
    b"\x03\x00\x04",
    b"\xe0\x00\x00",
    reference.PROXY_SIGNATURE,
)
HOST = b"Host: a.example\r\n"
NAMES = (
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, X-A\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"X-A: 1\r\n",
    b"Keep-Alive: timeout=5\r\n",
    b"TE: trailers, deflate\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: b\r\n",
    b"Host: [::1]:80\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n",
    b"X-Real-IP: 1.2.3.4\r\n",
    b"Forwarded: for=x\r\n",
    b"Proxy-Connection: x\r\n",
    b"Proxy-Authorization: x\r\n",
)
NAMED = tuple(b"%s: x\r\nConnection: %s\r\n" % (name, name) for name in sorted(reference.END_TO_END))
WORDS = (
    b" HTTP/1.0\r\n",
    b" HTTP/1.1\r\n",
    b"HTTP/2.0",
    b"chunked",
    b"identity",
    b"gzip, chunked",
    b"\r\n\r\n",
    b"\n\n",
)
REQUEST_SEEDS = (
    b"GET /a?b=c HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
    b"GET http://A.example:81/x?y HTTP/1.1\r\nHost: a.EXAMPLE:81\r\nX-Forwarded-For: 1\r\nX-Forwarded-For: 2\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]\r\nConnection: x-a, close\r\nX-A: \x80\xff\r\n\r\n",
    b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nTE: trailers\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Connection: " + b"a," * 33 + b"b\r\n\r\n",
)
RESPONSE_SEEDS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nServer: x\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n",
)
CHUNK_SEEDS = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b'A;x=1;y="q\\"z"\r\n0123456789\r\n1;n\r\na\r\n000\r\nX-Sum: 1\r\nServer-Timing: a\r\n\r\nNEXT',
    b"fffffffffffffff\r\nabc",
    b"0\r\nContent-Length: 5\r\n\r\n",
)
CHUNK_BASE = (
    b"\r\n0\r\n\r\n",
    b"0\r\n",
    b"Host: a\r\n",
    b"X-Forwarded-For: b\r\n",
    b";a=b",
    b';a="b"',
    b"1\r\na\r\n",
    b"0" * 15,
)
CHUNK_WORDS = CHUNK_BASE + tuple(b"0\r\n%s: x\r\n\r\n" % name for name in sorted(reference.NOT_IN_TRAILERS))
TARGET_SEEDS = (
    b"a/b/c",
    b"a/../b/./c//d",
    b"%2e%2E/x",
    b"a%2fb%2F..%2f",
    b"a;v=1/..;x/b",
    b".well-known/x.",
    b"%41%00",
    b"...",
)
TARGET_WORDS = (
    b"/../",
    b"/./",
    b"//",
    b"%2e",
    b"%2F",
    b"%00",
    b"%",
    b";x",
    b"/..;/",
    b"%25",
    b"..",
    b"/.",
    b"%3b",
    b"%3F",
)

TARGETS = {
    target.name: target
    for target in (
        Target("request", REQUEST_SEEDS, NAMES + NAMED + WORDS, check_request),
        Target("response", RESPONSE_SEEDS, NAMES + NAMED + WORDS, check_response),
        Target("chunk", CHUNK_SEEDS, CHUNK_WORDS, check_chunk),
        Target("target", TARGET_SEEDS, TARGET_WORDS, check_target),
        Target("proxy", PROXY_SEEDS, PROXY_WORDS, check_proxy),
        Target("websocket", FRAME_SEEDS, FRAME_WORDS, check_websocket),
        Target("http2", http2_fields.SEEDS, http2_fields.WORDS, http2_fields.check_http2),
    )
}
