class Radix:
    """Compiled; its interface is the .pxd's. Python sees the sizes."""

    @property
    def nodes(self) -> int: ...
    patterns: int
