class FrameReader:
    """The parser with its state, for tests and fuzzing; the engine calls the C functions."""

    def __init__(self, masked: bool = False, extended: bool = False) -> None: ...
    def step(self, data: bytes) -> tuple[int, int, int]:
        """(consumed or -1, offset of the run of payload, its length): one head, or one run of payload."""

    @property
    def event(self) -> int:
        """Of the last step: 0 the head isn't whole, 1 it is, 2 payload."""

    @property
    def error(self) -> int:
        """The close code when it is malformed."""

    @property
    def frame(self) -> tuple[int, bool, int, int, int, bytes]:
        """(opcode, fin, reserved bits, size, bytes left of it, mask) of the present frame."""

def masked(data: bytes, mask: bytes, offset: int = 0) -> bytes:
    """`data` masked, or unmasked, as at this offset of the payload."""

def build_frame(opcode: int, data: bytes, mask: bytes | None = None, fin: bool = True) -> bytes: ...
def is_utf8(pieces: list[bytes]) -> bool:
    """Whether the pieces make a whole text."""

def close_fault(payload: bytes) -> int:
    """What is wrong with a close frame's payload, as a close code; 0: nothing."""
