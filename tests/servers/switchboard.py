"""One upstream for a whole file of tests: each test's own script, chosen by the path of the request."""

from collections.abc import Callable

from tests.servers.raw import Message, RawConnection, RawUpstream

Handler = Callable[[RawConnection, Message], None]


class Switchboard:
    """`on(path)` decorates what happens after the head of a request for that path has been read.

    A handler that returns lets the connection go on to its next request; `hits` counts heads by path.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.hits: dict[str, int] = {}
        self.upstream = RawUpstream(self._play)
        self.address = self.upstream.address

    def on(self, path: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            self.handlers[path] = handler
            return handler

        return register

    def _play(self, connection: RawConnection) -> None:
        while True:
            head = connection.read_head()
            path = head.target.partition("?")[0]
            self.hits[path] = self.hits.get(path, 0) + 1
            self.handlers[path](connection, head)
            connection.received = b""  # a connection may serve a whole file of tests

    def stop(self) -> None:
        self.upstream.stop()


def body_of(connection: RawConnection, head: Message) -> Message:
    """Reads the body of the request whose head was read, into `head`."""
    if "chunked" in (head.header("transfer-encoding") or "").lower():
        connection._read_chunked(head)
    else:
        head.body = connection.read_exactly(int(head.header("content-length") or 0))
    return head
