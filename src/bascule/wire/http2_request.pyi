class RequestFields:
    """One connection's: header blocks don't interleave."""

    def assemble(
        self,
        fields: list[tuple[bytes, bytes]],
        has_body: bool = False,
        max_line: int = 16384,
        max_head: int = 65536,
        extended: bool = False,
    ) -> bytes | int:
        """For tests and fuzzing: the head, or a negated status, or -1: malformed, -2: a bomb.

        `extended`: RFC 8441 is served."""
