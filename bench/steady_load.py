"""Clients that send at a steady pace whatever happens, and note what each of them saw."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from bench.faulty_node import BODY

CLIENTS = 24
EVERY_S = 0.06  # each client; 400 requests a second together
PATIENCE_S = 8.0
POST_EACH = 5  # every fifth request


@dataclass
class Seen:
    """`failures` by what the client saw; `seconds` of each request that was answered well; `posts`: ids sent."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    failed_gets: int = 0
    seconds: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Seconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Client:
    def __init__(self, port: int, number: int, seen: Seen) -> None:
        self.port = port
        self.number = number
        self.seen = seen
        self.writer: asyncio.StreamWriter | None = None

    async def run(self, end: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + EVERY_S * self.number / CLIENTS
        count = 0
        while due < end:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + EVERY_S, loop.time())
            count += 1
            post = (count + self.number) % POST_EACH == 0
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    trouble = await self.ask(post, f"{self.number}-{count}")
            except TimeoutError:
                trouble = f"no answer within {PATIENCE_S:.0f} s"
            except (asyncio.IncompleteReadError, ConnectionError):
                trouble = "connection closed or cut"
            self.seen.requests += 1
            if trouble is None:
                self.seen.seconds.append(time.monotonic() - began)
                continue
            self.seen.failures[trouble] += 1
            self.seen.failed_gets += not post
            if not trouble.isdigit():
                self.close()
        self.close()

    async def ask(self, post: bool, id: str) -> str | None:
        """None: all is well; else what was wrong."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = b"y" * 64 if post else b""
        length = f"Content-Length: {len(body)}\r\n" if post else ""
        head = f"{'POST' if post else 'GET'} /x HTTP/1.1\r\nHost: a.test\r\nX-Id: {id}\r\n{length}\r\n"
        self.writer.write(head.encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        fields = dict(line.partition(b": ")[::2] for line in lines[1:])
        if b"content-length" in fields:
            got = await self.reader.readexactly(int(fields[b"content-length"]))
        elif fields.get(b"transfer-encoding") == b"chunked":
            got = b""
            while size := int(await self.reader.readline(), 16):
                got += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        else:
            got = await self.reader.read()
            self.close()
        if fields.get(b"connection") == b"close":
            self.close()
        status = lines[0].split()[1].decode()
        if status != "200":
            return status
        return None if got == BODY else "another body"

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


async def steady_load(port: int, seconds: float) -> Seen:
    seen = Seen()
    end = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(*(Client(port, number, seen).run(end) for number in range(CLIENTS)))
    return seen
