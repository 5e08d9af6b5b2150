class Frame:
    """A frame of a WebSocket, or a whole message of one, as the ws_* hooks get it."""

    opcode: int
    fin: bool
    from_client: bool
    size: int
    payload: bytes | None
    def __init__(self, opcode: int, payload: bytes = b"", fin: bool = True, from_client: bool = True) -> None: ...
    @property
    def is_control(self) -> bool: ...
    @property
    def text(self) -> str | None: ...

class Close:
    """What a frame hook returns to close the WebSocket, for both sides, with this code (RFC 6455, section 7.4)."""

    code: int
    reason: str
    def __init__(self, code: int, reason: str = "") -> None: ...

class Drop:
    """DROP: what a frame hook returns for a frame that is not to be passed on."""

DROP: Drop
