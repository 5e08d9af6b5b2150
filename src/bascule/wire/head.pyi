class Head:
    """Bytes and parsed fields of one message head; what a plugin removed is not seen, what is only hop-by-hop is."""

    def header(self, name: str) -> str | None:
        """Value of the first field of this name."""

    def header_values(self, name: str) -> list[str]: ...
    def headers(self) -> list[tuple[str, str]]:
        """(name, value) in the order received, names as received."""

    def parse(self, data: bytes, request: bool = True) -> int:
        """Replaces the content by a head at the start of data: its length, 0 when incomplete, or the negated status."""
