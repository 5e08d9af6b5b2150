from typing import Any

def parse_request_bytes(
    data: bytes, max_line: int = 8192, max_head: int = 32768, max_fields: int = 100
) -> dict[str, Any] | int:
    """Fields of a complete request head as a dict of bytes and numbers, 0 when incomplete, or the negated status."""

def parse_response_bytes(
    data: bytes, max_line: int = 8192, max_head: int = 32768, max_fields: int = 100
) -> dict[str, Any] | int:
    """The same for a response head; every refusal is -502."""

def parse_repeatedly(data: bytes, rounds: int) -> int:
    """Sum of the verdicts of parsing one head again and again: what bench/micro_wire.py times."""
