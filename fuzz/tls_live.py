"""TLS connections of hostile clients: records of a real client cut, damaged, repeated and mixed with others, in every
state. A script has one move on each line, the first words being its name:

`version 12|13`, `name TEXT`, `alpn TEXT` and `resume` before anything is sent; `go`: the client shakes hands or reads
on, `one`: so with one flight only; `say TOKENS`: it writes; `change OP…`: on its next flight (`flip:AT`, `cut:AT`,
`dup`, `drop`, `split:AT`, `put:AT:HEX`, `swap`); `*COUNT record TYPE TOKENS`: a record of ours between them; `end`.
"""

import contextlib
import dataclasses
import random
import ssl

from bascule.model.engine_settings import EngineSettings
from fuzz.http2_script import _number, _payload
from fuzz.live_engine import LiveEngine, Peer
from tests.servers.certificates import Certificates

MOST_LINES, MOST_ROUNDS, MOST_BYTES = 40, 8, 300_000
HEALTHY_EVERY = 200
SEEDS = tuple(
    text.encode()
    for text in (
        "go\nsay get\ngo",
        "version 12\ngo\nsay get\ngo",
        "version 12\nalpn h2\ngo\nsay h2\ngo",
        "alpn h2\nresume\ngo\nsay h2\ngo\nend",
        "one\nchange flip:60\ngo",
        "change cut:40\none\nchange dup\ngo",
        "change split:5\ngo\nrecord 21 x0100\nsay get\ngo",
        "version 12\ngo\nrecord 22 x01000000\ngo",
        "name other.test\ngo",
        "version 12\nresume\ngo\nsay get\nchange flip:20\ngo\nend",
        "*50 record 23 \ngo",
        "go\nchange drop\nsay get\none\nsay get\ngo",
    )
)
WORDS = tuple(
    text.encode()
    for text in (
        *(f"\nrecord {kind} {data}" for kind in (20, 21, 22, 23, 24, 0) for data in ("", "x01", "x0200", "n16400")),
        *(f"\nchange {op}" for op in ("flip:0", "flip:5", "flip:9", "flip:43", "cut:1", "cut:6", "cut:100", "dup")),
        *(
            f"\nchange {op}"
            for op in ("drop", "swap", "split:1", "split:5", "split:64", "put:0:1403030001", "put:5:00")
        ),
        "\n*1000 record 23 ",
        "\n*1000 record 21 x0100",
        "\n*1000 record 20 x01",
        "\n*50 record 22 ",
        "\nrecord 22 x18000001,x00",
        "\nrecord 22 x00000000",
        "\nrecord 20 x01",
        "\nversion 12",
        "\nversion 13",
        "\nresume",
        "\ngo",
        "\none",
        "\nend",
        "\nsay get",
        "\nsay h2",
        "\nsay n20000",
        "\nname a.test",
        "\nname n300",
        "\nalpn http/1.1",
        "\nalpn x",
        " flip:77 flip:78",
        ":16777216",
    )
)
SAID = {
    "get": b"GET /mock HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5),
}


class Records:
    """Plays inputs as a client."""

    def __init__(self) -> None:
        self.live = LiveEngine(dataclasses.replace(EngineSettings(), tls_tickets=True))
        self.path = self.live.listen("tls", tls=True, http2=True)
        texts = Certificates(self.live.folder, ("a.test",)).server.texts
        self.live.write("ssls", "1", {"snis": ["a.test"], **texts})
        self.live.write("routes", "1", {"uri": "/*", "plugins": {"mocking": {"response_example": "hello"}}})
        self.contexts = {version: _context(version) for version in ("12", "13")}
        self.sessions: dict[str, ssl.SSLSession] = {}
        self.played = 0

    def check(self, data: bytes, rng: random.Random) -> str:
        self.played += 1
        if self.played % HEALTHY_EVERY == 0:
            label = self.live.run(self._play(b"go\nsay get\ngo"))
            assert label.endswith("200"), f"a client that does nothing wrong: {label}"
        return str(self.live.run(self._play(data)))

    async def _play(self, data: bytes) -> str:
        peer = Peer(self.path)
        client = _Client(self, peer)
        try:
            for line in data.decode("latin-1").split("\n")[:MOST_LINES]:
                await client.move(line)
            client.keep_session()
        finally:
            peer.close()
        await self.live.settle()
        return client.label()

    def close(self) -> None:
        self.live.close()


class _Client:
    def __init__(self, owner: Records, peer: Peer) -> None:
        self._owner = owner
        self._peer = peer
        self._taken = 0
        self._version, self._name, self._alpn, self._resume = "13", "a.test", "", False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._changes: list[str] = []
        self._failure = ""
        self._shaken = False
        self._plain = b""

    def _begin(self) -> ssl.SSLObject:
        if self._tls is None:
            context = self._owner.contexts[self._version]
            context.set_alpn_protocols([self._alpn] if 0 < len(self._alpn) < 200 else ["http/1.1"])
            session = self._owner.sessions.get(self._version) if self._resume else None
            try:
                self._tls = context.wrap_bio(
                    self._incoming, self._outgoing, server_hostname=self._name, session=session
                )
            except (ValueError, TypeError):  # a name that the library takes for none
                self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="a.test")
        return self._tls

    async def move(self, line: str) -> None:
        count = 1
        if line.startswith("*"):
            word, _, line = line.partition(" ")
            count = min(_number(word[1:]), 2000)
        what, _, rest = line.partition(" ")
        if what == "version":
            self._version = rest if rest in self._owner.contexts else "13"
        elif what == "name":
            self._name = rest if rest.isascii() and rest.strip("\0 .") else "a.test"
        elif what == "alpn":
            self._alpn = rest if rest.isascii() else ""
        elif what == "resume":
            self._resume = True
        elif what == "change":
            self._changes += rest.split(" ")[:8]
        elif what == "record":
            kind, _, payload = rest.partition(" ")
            data = b"".join(SAID.get(token) or _payload(token) for token in payload.split(","))[:40_000]
            one = bytes([_number(kind) & 255]) + b"\x03\x03" + (len(data) & 0xFFFF).to_bytes(2, "big") + data
            await self._peer.send(one * min(count, 1 + MOST_BYTES // len(one)))
            await self._peer.turns(2)
        elif what == "say":
            tls = self._begin()
            with contextlib.suppress(ssl.SSLError):
                tls.write(SAID.get(rest) or _payload(rest) or b"x")
        elif what in ("go", "one"):
            await self._go(MOST_ROUNDS if what == "go" else 1)
        elif what == "end":
            self._peer.end()
            await self._peer.turns(2)

    async def _go(self, rounds: int) -> None:
        tls = self._begin()
        for _ in range(rounds):
            try:
                if not self._shaken:
                    tls.do_handshake()
                    self._shaken = True
                self._plain += tls.read(1 << 16)
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLError, ValueError) as error:
                self._failure = getattr(error, "reason", None) or type(error).__name__
            data = changed(self._outgoing.read(), self._changes)
            for piece in data:
                await self._peer.send(piece)
                await self._peer.turns(2)
            self._peer.read()
            new = self._peer.received[self._taken :]
            self._taken += len(new)
            if new:
                self._incoming.write(new)
            elif not any(data):
                return

    def keep_session(self) -> None:
        if self._shaken and self._tls is not None and self._tls.session is not None:
            self._owner.sessions[self._version] = self._tls.session

    def label(self) -> str:
        """What came of it, by the kinds of the gateway's records."""
        kinds: list[str] = []
        at, data = 0, self._peer.received
        while at + 5 <= len(data):
            size = int.from_bytes(data[at + 3 : at + 5], "big")
            assert data[at] in (20, 21, 22, 23), f"a record of type {data[at]}"
            assert size <= 16384 + 256, f"a record of {size} bytes"
            kinds.append(f"{data[at]}" + (f":{data[at + 6]}" if data[at] == 21 and size == 2 else ""))
            at += 5 + size
        short = [one for i, one in enumerate(kinds) if i == 0 or one != kinds[i - 1]]
        status = self._plain[9:12].decode("latin-1") if self._plain.startswith(b"HTTP/1.1 ") else bool(self._plain)
        return f"{self._version} {short[:8]} {self._shaken} {self._failure} {self._peer.ended} {status}"


def changed(flight: bytes, changes: list[str]) -> list[bytes]:
    """The flight in pieces. Takes the changes off their list."""
    split = 0
    while changes and flight:
        what, _, rest = changes.pop(0).partition(":")
        where, _, text = rest.partition(":")
        at = _number(where)
        if what == "flip" and at < len(flight):
            flight = flight[:at] + bytes([flight[at] ^ (1 << at % 8)]) + flight[at + 1 :]
        elif what == "cut":
            flight = flight[:at]
        elif what == "dup":
            flight += flight
        elif what == "drop":
            flight = b""
        elif what == "swap":
            size = 5 + int.from_bytes(flight[3:5], "big")
            flight = flight[size:] + flight[:size]
        elif what == "put":
            with contextlib.suppress(ValueError):
                flight = flight[:at] + bytes.fromhex(text) + flight[at:]
        elif what == "split":
            split = at
    return [flight[:split], flight[split:]] if split else [flight]


def _context(version: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, f"TLSv1_{version[1]}")
    return context
