# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""What the workers of a gateway measure about nodes together, in shared memory: requests under way, response times.

A table with a row for each node and a column for each process. A process writes only the cells of its own column, so
nothing is locked, and counting is one addition; the requests under way at a node are the sum of its row. When a process
is killed, its column holds what nobody will take back. That is why each process keeps a file lock on its column, which
the kernel lets go whatever ends the process: who gets the lock of another's column knows that its owner is gone, and
clears it. The supervisor looks after each end of a worker, and each process that begins takes a free column and clears
it.

A row belongs to a node (a mark, the hash of its name) while a process holds it: a bit in the process's cell says so. A
row that nobody holds may become another node's: it is marked busy, looked at again, and then taken; who holds a row
looks at its mark once more. With a full barrier between the writing and the looking, at least one of two that meet sees
the other and gives way. Two processes that put the same node into different rows see that as well, in the same way:
each looks for the other after it has put its own. The mark of a busy row says which column's process is at it: when
that is gone, the row is freed with the column.
"""

import fcntl
import os
import secrets
from hashlib import blake2b

import cython
from cython.cimports.bascule.balance.member import HELD, Load
from cython.cimports.bascule.engine.shared_memory import (
    cas_word,
    full_barrier,
    load_word,
    map_shared,
    unmap_shared,
)
from cython.cimports.libc.stdint import int32_t, uint64_t

from bascule.net.sealed_memory import sealed_memory

MAGIC = b"bascload"
HEAD_BYTES = cython.declare(cython.int, 4096)
ROWS = 16384
COLUMNS = 64
BUSY = cython.declare(uint64_t, 1)  # and the column; above the last of these, marks of nodes begin
WINDOW = cython.declare(cython.int, 64)  # rows where a node may be
ATTEMPTS = cython.declare(cython.int, 100)


@cython.cclass
class LoadTable:
    """Each process has its own instance over the descriptor, which stays open: closing it would let the lock go."""

    def __cinit__(self, fd, owns_fd=False):
        self.column = -1
        self.fd = fd
        self.owns_fd = owns_fd
        head = os.pread(fd, 24, 0)
        if len(head) < 24 or head[:8] != MAGIC:
            raise ValueError("not a table of loads")
        self.rows = int.from_bytes(head[8:16], "little")
        self.columns = int.from_bytes(head[16:24], "little")
        self.size = size_of(self.rows, self.columns)
        if os.fstat(fd).st_size != self.size:
            raise ValueError("a table of loads of the wrong size")
        self.memory = cython.cast(cython.p_char, map_shared(fd, self.size))
        if self.memory == cython.NULL:
            raise MemoryError("the table of loads can't be mapped")
        self.width = cython.cast(cython.pointer(int32_t), self.memory + 64)
        self.marks = cython.cast(cython.pointer(uint64_t), self.memory + HEAD_BYTES)
        self.responses = self.marks + self.rows
        self.cells = cython.cast(cython.pointer(int32_t), self.responses + self.rows)

    def __dealloc__(self):
        if self.memory != cython.NULL:
            unmap_shared(self.memory, self.size)
        if self.owns_fd:
            os.close(self.fd)

    @classmethod
    def create(cls, rows=ROWS, columns=COLUMNS):
        """A new table. It owns its descriptor .fd, which child processes inherit and hand to attach()."""
        head = MAGIC + rows.to_bytes(8, "little") + columns.to_bytes(8, "little")
        head = head.ljust(128, b"\0") + secrets.token_bytes(16)  # for in_flight.py
        return cls(sealed_memory("bascule-loads", size_of(rows, columns), head), True)

    @classmethod
    def attach(cls, fd):
        """The table behind an inherited descriptor, with a column for this process if one is free. ValueError if it
        is something else."""
        table = cls(fd)
        table.take_column()
        return table

    def take_column(self):
        i: cython.int
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, self.columns)  # one at a time
        try:
            for i in range(self.columns):
                if self.lock(i):
                    self.clear(i)
                    if i >= self.width[0]:
                        self.width[0] = i + 1
                    self.column = i
                    break
            self.clear_left()
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, self.columns)

    def sweep(self):
        """Clears what processes that are gone left. Returns how many there were; 0 also when another process is at it
        just now, for which nobody waits: it might be stopped."""
        if not self.lock(self.columns):
            return 0
        try:
            return self.clear_left()
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, self.columns)

    def clear_left(self):
        i: cython.int
        found: cython.int = 0
        for i in range(self.width[0]):
            if i != self.column and self.lock(i):
                found += self.clear(i) > 0
                fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, i)
        return found

    def lock(self, column):
        """Whether this process now has the lock of a column, which nobody else had."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, column)
        except (BlockingIOError, PermissionError):
            return False
        return True

    @cython.cfunc
    @cython.exceptval(check=False)
    def clear(self, column: cython.int) -> cython.int:
        row: cython.int
        found: cython.int = 0
        cell: cython.pointer(int32_t)
        for row in range(self.rows):
            if load_word(self.marks + row):
                cell = self.cells + cython.cast(cython.Py_ssize_t, row) * self.columns + column
                found += cell[0] != 0
                cell[0] = 0
                found += cas_word(self.marks + row, BUSY + column, 0)
        return found

    def share(self, upstream: str, node: str, load: Load) -> bool:
        """Measures a node of an upstream in this table from now on. False: no room, it is measured by itself."""
        name: bytes = f"{upstream}\0{node}".encode("utf-8", "surrogatepass")
        digest: bytes = blake2b(name, digest_size=8).digest()
        return load.table is not None or self.put(int.from_bytes(digest, "little"), load)

    @cython.cfunc
    def put(self, mark: uint64_t, load: Load) -> cython.bint:
        """Measures a load in the row of a mark, if there is room."""
        row: cython.int
        if self.column < 0:
            return False
        row = self.claim(max(cython.cast(uint64_t, self.columns + 1), mark))
        if row < 0:
            return False
        load.share(
            self,
            cython.cast(cython.size_t, self.cells + cython.cast(cython.Py_ssize_t, row) * self.columns),
            self.column,
            cython.cast(cython.size_t, self.width),
            cython.cast(cython.size_t, self.responses + row),
        )
        return True

    @cython.cfunc
    def claim(self, mark: uint64_t) -> cython.int:
        """The row of a mark, held by this process; -1: there is no room."""
        first: cython.int = cython.cast(cython.int, (mark >> 20) % self.rows)
        attempt: cython.int
        i: cython.int
        row: cython.int
        seen: uint64_t
        cell: cython.pointer(int32_t)
        for attempt in range(ATTEMPTS):
            for i in range(WINDOW):
                row = (first + i) % self.rows
                if load_word(self.marks + row) == mark:
                    break
            else:
                for i in range(WINDOW):
                    row = (first + i) % self.rows
                    seen = load_word(self.marks + row)
                    if (
                        not self.is_busy(seen)
                        and not self.held(row, -1)
                        and cas_word(self.marks + row, seen, BUSY + self.column)
                    ):
                        full_barrier()
                        if not self.held(row, -1):
                            break
                        self.marks[row] = seen
                else:
                    return -1
                self.responses[row] = 0
                full_barrier()
                self.marks[row] = mark
            cell = self.cells + cython.cast(cython.Py_ssize_t, row) * self.columns + self.column
            cell[0] = HELD
            full_barrier()
            if load_word(self.marks + row) == mark:
                if not self.twice(mark, row):
                    return row
                cell[0] = 0
                full_barrier()
                if not self.held(row, -1):
                    cas_word(self.marks + row, mark, 0)
            else:
                cell[0] = 0
        return -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def is_busy(self, mark: uint64_t) -> cython.bint:
        return BUSY <= mark < BUSY + self.columns

    @cython.cfunc
    @cython.exceptval(check=False)
    def held(self, row: cython.int, but: cython.int) -> cython.bint:
        """Whether a process holds the row, other than that of the column `but`."""
        i: cython.int
        for i in range(self.width[0]):
            if i != but and self.cells[cython.cast(cython.Py_ssize_t, row) * self.columns + i] != 0:
                return True
        return False

    @cython.cfunc
    @cython.exceptval(check=False)
    def twice(self, mark: uint64_t, row: cython.int) -> cython.bint:
        """Whether the mark has another row as well, that somebody holds, while nobody else holds this one."""
        first: cython.int = cython.cast(cython.int, (mark >> 20) % self.rows)
        i: cython.int
        other: cython.int
        if self.held(row, self.column):
            return False
        for i in range(WINDOW):
            other = (first + i) % self.rows
            if other != row and load_word(self.marks + other) == mark and self.held(other, -1):
                return True
        return False

    def __repr__(self):
        row: cython.int
        used: cython.int = 0
        for row in range(self.rows):
            used += load_word(self.marks + row) > cython.cast(uint64_t, self.columns) and self.held(row, -1)
        return f"<LoadTable {used} nodes, column {self.column} of {self.width[0]}>"


def size_of(rows, columns):
    """Bytes of a table."""
    return HEAD_BYTES + rows * (16 + 4 * columns)
