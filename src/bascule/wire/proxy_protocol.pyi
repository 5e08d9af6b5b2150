class ProxyHeader:
    """Whom a connection is for, as the proxy before it says; `source` None: it tells no addresses."""

    version: int
    source: str | None
    destination: str | None
    source_port: int
    destination_port: int

    def read(self, data: bytes) -> int:
        """Takes a header at the start of data: its length; 0: more must come; -1: that is none. For tests and fuzzing;
        the engine calls the C function."""

def build_proxy_header(
    version: int, source: str | None, source_port: int, destination: str | None, destination_port: int
) -> bytes:
    """The header of version 1 or 2 for a TCP connection; without IP addresses one that tells none."""

def crc32c(data: bytes) -> int: ...
