"""A request body held for a plugin: in memory at first, on disk past a size."""

from tempfile import SpooledTemporaryFile

SPILL_BYTES = 1 << 20


class ClientGone(Exception):
    """The client closed its connection while a plugin waited for the request body."""


class HeldBody:
    """Bytes are appended as they come; `read()` gives all of them, `pieces()` in runs of 64 KiB for passing on."""

    __slots__ = ("_file", "complete", "size")

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=SPILL_BYTES)  # noqa: SIM115 - closed with the exchange
        self.size = 0
        self.complete = False

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)

    def read(self, limit: int = -1) -> bytes:
        self._file.seek(0)
        data: bytes = self._file.read(limit)
        self._file.seek(0, 2)
        return data

    def piece(self, offset: int, size: int = 65536) -> bytes:
        self._file.seek(offset)
        data: bytes = self._file.read(size)
        self._file.seek(0, 2)
        return data

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        """A plugin may have kept its request longer than the exchange lived."""
        self._file.close()
