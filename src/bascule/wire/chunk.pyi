def trailer_fields(section: bytes) -> list[tuple[bytes, bytes]]: ...

class ChunkScanner:
    """The scanner with its state, for tests and fuzzing; the engine calls the C functions."""

    def step(self, data: bytes) -> tuple[int, int, int]:
        """(consumed or -1, offset of the data run, its length); one run at most."""

    def scan(self, data: bytes) -> int:
        """Bytes that belong to the body, or -1."""

    @property
    def done(self) -> bool: ...
