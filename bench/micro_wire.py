"""Nanoseconds per parsed head, scanned chunk and normalised path: `python -m bench.micro_wire`."""

import time
from collections.abc import Callable

from bascule.wire.chunk import ChunkScanner
from bascule.wire.http1 import parse_repeatedly
from bascule.wire.target import is_plain, normalise

GET = (
    b"GET /api/svc3/items?id=42 HTTP/1.1\r\nHost: api3.example.com\r\nUser-Agent: wrk/4.2.0 (benchmark)\r\n"
    b"Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nX-Request-Id: 0123456789abcdef\r\n\r\n"
)
BROWSER = (
    b"GET /assets/app/main.js?v=20240131 HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="122", "Not(A:Brand";v="24", "Google Chrome";v="122"\r\nsec-ch-ua-mobile: ?0\r\n'
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0 Safari/537.36\r\n"
    b'sec-ch-ua-platform: "Linux"\r\nAccept: */*\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\n'
    b"Sec-Fetch-Dest: script\r\nReferer: https://www.example.com/\r\nAccept-Encoding: gzip, deflate, br\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Wed, 31 Jan 2024 10:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 13\r\nConnection: keep-alive\r\nETag: W/0123456789\r\n\r\n"
)
CHUNKS = (b"1f4\r\n" + bytes(500) + b"\r\n") * 100 + b"0\r\n\r\n"


def nanoseconds(call: Callable[[], object], per_call: int) -> float:
    """Best of several runs: the figure is a cost, and everything else on the machine only adds to it."""
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter_ns()
        call()
        best = min(best, (time.perf_counter_ns() - start) / per_call)
    return best


def main() -> None:
    rounds, calls = 50_000, 10_000
    for name, head in (("request, 6 fields", GET), ("request, 14 fields", BROWSER), ("response, 6 fields", RESPONSE)):
        took = nanoseconds(lambda head=head: parse_repeatedly(head, rounds), rounds)  # type: ignore[misc]
        print(f"{name:28} {took:7.0f} ns  {len(head)} bytes")
    print(f"{'chunk of 500 bytes':28} {nanoseconds(lambda: ChunkScanner().scan(CHUNKS), 101):7.0f} ns  (with a copy)")
    for path in (b"/api/svc3/items", b"/api//svc3/./x/../%69tems"):
        plain = nanoseconds(lambda path=path: [is_plain(path) for _ in range(calls)], calls)  # type: ignore[misc]
        full = nanoseconds(lambda path=path: [normalise(path) for _ in range(calls)], calls)  # type: ignore[misc]
        print(f"{path.decode():28} {plain:7.0f} ns to look, {full:.0f} ns to normalise (with the Python call)")


if __name__ == "__main__":
    main()
