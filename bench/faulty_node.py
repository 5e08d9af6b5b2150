"""python -m bench.faulty_node PORT JOURNAL: an upstream node that fails in the way that its standard input says.

A line names the mode: ok, slow (answers after 3 s), garbage (no HTTP), reset (half a body, then RST), error (500). Each
POST that it carries out is noted in the journal by its X-Id, at once, so that a killed node's notes are kept.
"""

import asyncio
import os
import socket
import struct
import sys

SERVICE_S = 0.02  # what an answer takes
SLOW_S = 3.0
BODY = b"x" * 2048


class Node:
    def __init__(self, journal: str) -> None:
        self.mode = "ok"
        self.journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.split(b"\r\n")
                fields = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[1:])}
                length = int(fields.get(b"content-length", b"0"))
                await reader.readexactly(length)
                if not await self.answer(writer, lines[0].startswith(b"POST "), fields.get(b"x-id", b"")):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def answer(self, writer: asyncio.StreamWriter, post: bool, id: bytes) -> bool:
        """False: the connection is over."""
        mode = self.mode
        await asyncio.sleep(SLOW_S if mode == "slow" else SERVICE_S)
        if mode == "garbage":
            writer.write(b"\x15\x03\x01\x00\x02\x02\x0a nonsense\r\n\r\n")
            return False
        if mode == "error":
            writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            return True
        if post:
            os.write(self.journal, id + b"\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        if mode == "reset":
            writer.write(head + BODY[:1000])
            await writer.drain()
            await asyncio.sleep(0.005)  # what was written is on its way before the reset
            if not writer.is_closing():
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            return False
        writer.write(head + BODY)
        return True


async def main(port: int, journal: str) -> None:
    node = Node(journal)
    server = await asyncio.start_server(node.serve, "127.0.0.1", port, backlog=1024)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ready", flush=True)
    async with server:
        while line := await commands.readline():
            node.mode = line.decode().strip()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
