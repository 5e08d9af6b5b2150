"""Mutations of byte strings, aware of lines; deterministic for a given random generator."""

import random
from collections.abc import Callable, Sequence

INTERESTING = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b"=",
    b'"',
    b"\\",
    b",",
    b"%",
    b"/",
    b".",
    b"?",
    b"#",
]
INTERESTING += [
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x0b",
    b"\x0c",
    b"\x85",
    b"[",
    b"]",
    b"@",
    b"*",
    b"-",
    b"+",
    b"0",
    b"1",
    b"9",
]


class Mutator:
    """mutate(data) -> other bytes, by one to four random steps; splices with other members of the corpus."""

    def __init__(self, rng: random.Random, dictionary: Sequence[bytes]) -> None:
        self.rng = rng
        self.words = [*dictionary, *INTERESTING]
        self.steps: list[Callable[[bytes, Sequence[bytes]], bytes]] = [
            self.flip,
            self.insert,
            self.insert,
            self.replace,
            self.delete,
            self.double,
            self.move_line,
            self.double_line,
            self.insert_line,
            self.change_case,
            self.splice,
            self.number,
        ]

    def mutate(self, data: bytes, corpus: Sequence[bytes]) -> bytes:
        for _ in range(self.rng.randint(1, 4)):
            data = self.rng.choice(self.steps)(data, corpus)
        return data

    def at(self, data: bytes) -> int:
        return self.rng.randint(0, len(data))

    def span(self, data: bytes) -> tuple[int, int]:
        start = self.at(data)
        return start, min(len(data), start + self.rng.choice((1, 1, 2, 4, 16)))

    def flip(self, data: bytes, _: Sequence[bytes]) -> bytes:
        if not data:
            return data
        at = self.rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self.rng.randrange(8))]) + data[at + 1 :]

    def insert(self, data: bytes, _: Sequence[bytes]) -> bytes:
        at = self.at(data)
        return data[:at] + self.rng.choice(self.words) + data[at:]

    def replace(self, data: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self.span(data)
        return data[:start] + self.rng.choice(self.words) + data[end:]

    def delete(self, data: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self.span(data)
        return data[:start] + data[end:]

    def double(self, data: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self.span(data)
        return data[:end] + data[start:end] * self.rng.choice((1, 1, 2, 40)) + data[end:]

    def move_line(self, data: bytes, _: Sequence[bytes]) -> bytes:
        lines = data.splitlines(keepends=True)
        self.rng.shuffle(lines)
        return b"".join(lines)

    def double_line(self, data: bytes, _: Sequence[bytes]) -> bytes:
        lines = data.splitlines(keepends=True)
        if not lines:
            return data
        line = self.rng.choice(lines)
        lines.insert(self.rng.randint(0, len(lines)), line)
        return b"".join(lines)

    def insert_line(self, data: bytes, _: Sequence[bytes]) -> bytes:
        lines = data.splitlines(keepends=True)
        lines.insert(self.rng.randint(0, len(lines)), self.rng.choice(self.words))
        return b"".join(lines)

    def change_case(self, data: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self.span(data)
        return data[:start] + data[start:end].swapcase() + data[end:]

    def splice(self, data: bytes, corpus: Sequence[bytes]) -> bytes:
        other = self.rng.choice(corpus)
        return data[: self.at(data)] + other[self.at(other) :]

    def number(self, data: bytes, _: Sequence[bytes]) -> bytes:
        start, end = self.span(data)
        digits = self.rng.choice(
            (b"0", b"1", b"00", b"10", b"ff", b"65536", b"18446744073709551616", b"-1", b"+1", b"0x1")
        )
        return data[:start] + digits + data[end:]
