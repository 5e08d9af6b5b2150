"""A WebSocket server to stand behind the gateway."""

import asyncio
import threading

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

MIB = 1 << 20


class WebSocketServer:
    """Echoes, in a thread of its own. A path may end in /close/CODE, or say how the handshake is refused."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.heads: list[Request] = []
        self.server: Server
        started = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), name="websocket-server", daemon=True)
        self.thread.start()
        assert started.wait(10)
        self.address = f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def _run(self, started: threading.Event) -> None:
        async def start() -> None:
            self.server = await serve(
                self._echo, "127.0.0.1", 0, process_request=self._judge, max_size=64 * MIB, ping_interval=None
            )
            started.set()

        self.loop.run_until_complete(start())
        self.loop.run_forever()

    def _judge(self, connection: ServerConnection, request: Request) -> Response | None:
        self.heads.append(request)
        _, _, status = request.path.rpartition("/refuse/")
        return connection.respond(int(status), "refused\n") if status.isdigit() else None

    async def _echo(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        _, _, code = connection.request.path.rpartition("/close/")
        if code.isdigit():
            await connection.close(int(code), "as asked")
            return
        if connection.request.path.endswith("/greet"):
            await connection.send("hello")  # may come in one packet with the handshake's answer
        async for message in connection:
            await connection.send(message)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def _stop(self) -> None:
        self.server.close()
        await self.server.wait_closed()
