"""SharedCounters: counters in memory shared by all workers, exact without a lock.

Layout. A head of 256 bytes (40 used), then a power of two of buckets of 256 bytes: a header and 15 slots, 16 bytes
each, every one of them changed only by 128-bit compare-and-swap. A key is hashed (SipHash-2-4, 128 bits, under a secret
of the table): the second half names its bucket, 52 bits of the first are its mark. So a slot holds a whole counter, and
changes in one step:

    high word: mark 52 | count, upper 12
    low word:  end of the window in ms 40 | count, lower 24

A new key meets a live one with its mark in its bucket with probability 15 * 2^-52 at most: once in ten years at a
million new keys a second, and nobody can provoke it without the secret.

Counting is a loop: read the slot; if its window is over, swap in a new one, else add. Whoever wins the swap decides,
so no count is lost or given twice, also when a window rolls over. A slot whose window is over may go to another key.

Giving a slot away is the hard part: two processes must not put one key into two slots. Insertions of a bucket are
therefore serialised by its header, yet nobody waits for anybody:

    high word: mark to put in 52 | number, lower 12
    low word:  end of the victim's window 40 | number, upper 18 | victim 5 | busy 1

1. Read the header: idle, number n. Look through the slots for the key: not there. Choose a victim: a slot that is free
   or over, or, when all 15 are in use, the one that ends first (an eviction, counted).
2. Swap the header from (idle, n) to (busy, n, mark, victim, the victim's end). If that succeeds, nobody inserted since
   step 1, so the key is in no other slot.
3. Finish: if the victim still has that end (a slot never comes back to an earlier window), swap in (mark, end 0, count
   n); otherwise it was filled already or its own key began a new window. Then swap the header to (idle, n + 1).
Whoever needs a busy header does step 3 first, also for a process that died in the middle. A late helper can do no harm:
it reads the victim, then the header once more, and what it swaps from can't come back after the header moved on.
"""

import os
import secrets
import struct

import cython
from cython.cimports.bascule.engine.shared_memory import (
    PyUnicode_AsUTF8AndSize,
    add_word,
    cas16,
    load_word,
    map_shared,
    now_ms,
    read_word,
    unmap_shared,
)
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memcpy

from bascule.net.sealed_memory import sealed_memory

MAGIC = b"bascule1"
HEAD_BYTES = 256  # one bucket's size, so that every bucket begins at a multiple of 256
BUCKET_BYTES = 256
SLOTS = cython.declare(cython.int, 15)
DEFAULT_BYTES = 64 << 20  # memory that no counter has touched costs nothing

LEASE_MS = cython.declare(uint64_t, 3_600_000)  # a counter without a window is forgotten an hour after its last change
LONGEST_MS = cython.declare(uint64_t, 1 << 38)  # eight years: leaves room above any clock in 40 bits
MOST = cython.declare(cython.longlong, (1 << 36) - 1)  # the highest count; it stays there until its window ends
EVICTIONS = cython.declare(cython.int, 4)
FIRST_BUCKET = cython.declare(cython.int, 32)

SIP_0 = cython.declare(uint64_t, 0x736F6D6570736575)
SIP_1 = cython.declare(uint64_t, 0x646F72616E646F6D)
SIP_2 = cython.declare(uint64_t, 0x6C7967656E657261)
SIP_3 = cython.declare(uint64_t, 0x7465646279746573)


def sip_round(v):
    v[0] += v[1]
    v[2] += v[3]
    v[1] = ((v[1] << 13) | (v[1] >> 51)) ^ v[0]
    v[3] = ((v[3] << 16) | (v[3] >> 48)) ^ v[2]
    v[0] = (v[0] << 32) | (v[0] >> 32)
    v[2] += v[1]
    v[0] += v[3]
    v[1] = ((v[1] << 17) | (v[1] >> 47)) ^ v[2]
    v[3] = ((v[3] << 21) | (v[3] >> 43)) ^ v[0]
    v[2] = (v[2] << 32) | (v[2] >> 32)


def sip_begin(v, k0, k1):
    v[0] = k0 ^ SIP_0
    v[1] = k1 ^ SIP_1 ^ 0xEE
    v[2] = k0 ^ SIP_2
    v[3] = k1 ^ SIP_3


def sip_words(v, data, size):
    """The whole words of data; returns how many bytes they are."""
    m = cython.declare(uint64_t)
    i = cython.declare(cython.Py_ssize_t, 0)
    while i + 8 <= size:
        m = read_word(data + i)
        v[3] ^= m
        sip_round(v)
        sip_round(v)
        v[0] ^= m
        i += 8
    return i


def sip_end(v, data, rest, size, first, second):
    """The rest of the data, less than a word; size: of all of it."""
    m = cython.declare(uint64_t, cython.cast(uint64_t, size) << 56)
    i = cython.declare(cython.Py_ssize_t)
    for i in range(rest):
        m |= cython.cast(uint64_t, cython.cast(cython.uchar, data[i])) << (8 * i)
    v[3] ^= m
    sip_round(v)
    sip_round(v)
    v[0] ^= m
    v[2] ^= 0xEE
    sip_round(v)
    sip_round(v)
    sip_round(v)
    sip_round(v)
    first[0] = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    sip_round(v)
    sip_round(v)
    sip_round(v)
    sip_round(v)
    second[0] = v[0] ^ v[1] ^ v[2] ^ v[3]


def siphash(data, size, k0, k1, first, second):
    """SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012, and their reference code's double width)."""
    v = cython.declare(uint64_t[4])
    done = cython.declare(cython.Py_ssize_t)
    sip_begin(v, k0, k1)
    done = sip_words(v, data, size)
    sip_end(v, data + done, size - done, size, first, second)


def keyed_hash(data: bytes, key: bytes) -> bytes:
    """SipHash-2-4-128 of data under a key of 16 bytes, little-endian: for tests against the published vectors."""
    first = cython.declare(uint64_t)
    second = cython.declare(uint64_t)
    k0, k1 = struct.unpack("<QQ", key)
    siphash(data, len(data), k0, k1, cython.address(first), cython.address(second))
    return struct.pack("<QQ", first, second)


def find(bucket, mark):
    """The slot that holds the mark, or NULL."""
    i = cython.declare(cython.int)
    for i in range(1, SLOTS + 1):
        if load_word(bucket + 2 * i + 1) >> 12 == mark:
            return bucket + 2 * i
    return cython.NULL


def finish(bucket, lo, hi):
    """Step 3 for the busy header (lo, hi); see the top of the file."""
    slot = cython.declare(cython.pointer(uint64_t), bucket + 2 * ((lo >> 1) & 31))
    number = cython.declare(uint64_t, (hi & 0xFFF) | (((lo >> 6) & 0x3FFFF) << 12))
    mark = cython.declare(uint64_t, hi >> 12)
    slot_lo = cython.declare(uint64_t)
    slot_hi = cython.declare(uint64_t)
    header_lo = cython.declare(uint64_t)
    header_hi = cython.declare(uint64_t)
    while True:
        slot_hi = load_word(slot + 1)
        slot_lo = load_word(slot)
        header_lo = header_hi = 0
        cas16(bucket, cython.address(header_lo), cython.address(header_hi), 0, 0)
        if header_lo != lo or header_hi != hi:
            return
        if slot_lo >> 24 != lo >> 24 or slot_hi >> 12 == mark:
            break
        if cas16(
            slot, cython.address(slot_lo), cython.address(slot_hi), number & 0xFFFFFF, (mark << 12) | (number >> 24)
        ):
            break
    number = (number + 1) & 0x3FFFFFFF
    cas16(bucket, cython.address(header_lo), cython.address(header_hi), (number >> 12) << 6, number & 0xFFF)


def in_ms(window_s):
    if window_s >= 1.0e8:
        return LONGEST_MS
    return cython.cast(uint64_t, window_s * 1000.0) if window_s >= 0.001 else 1


@cython.cclass
class Window:
    """See SharedCounters.window: the hash of the prefix is computed already, as far as its whole words go."""

    def take(self, key):
        """Counts one more for this key. Returns (count, seconds until its window ends)."""
        v = cython.declare(uint64_t[4])
        text = cython.declare(cython.char[256])
        size = cython.declare(cython.Py_ssize_t)
        data = cython.declare(cython.p_const_char, PyUnicode_AsUTF8AndSize(key, cython.address(size)))
        done = cython.declare(cython.Py_ssize_t)
        mark = cython.declare(uint64_t)
        second = cython.declare(uint64_t)
        end = cython.declare(uint64_t)
        now = cython.declare(uint64_t, now_ms())
        counters = cython.declare(SharedCounters, self.counters)
        bucket = cython.declare(cython.pointer(uint64_t))
        total = cython.declare(cython.longlong)
        if size > 240:
            bucket = counters.place(cython.address(mark), self.prefix + key)
        else:
            memcpy(v, self.v, 32)
            memcpy(text, self.tail, 8)
            memcpy(text + self.held, data, size)
            size += self.held
            done = sip_words(v, text, size)
            size -= done
            sip_end(
                v,
                text + done,
                size,
                self.prefix_size - self.held + done + size,
                cython.address(mark),
                cython.address(second),
            )
            bucket = counters.bucket(cython.address(mark), second)
        total = counters.change(bucket, mark, 1, now, self.length, False, cython.address(end))
        return total, (end - now) / 1000.0 if end > now else 0.0


@cython.cclass
class SharedCounters:
    """Counters by name in shared memory, for many processes at once: each has its own instance over the descriptor."""

    def __cinit__(self, fd, owns_fd=False):
        self.table = cython.NULL
        self.fd = fd
        self.owns_fd = owns_fd
        size = os.fstat(fd).st_size
        head = os.pread(fd, 32, 0)
        if len(head) < 32 or head[:8] != MAGIC:
            raise ValueError("not a table of shared counters")
        buckets, self.k0, self.k1 = struct.unpack("=QQQ", head[8:])
        if size != HEAD_BYTES + buckets * BUCKET_BYTES or buckets & (buckets - 1):
            raise ValueError("a table of shared counters of the wrong size")
        self.size = size
        self.mask = buckets - 1
        self.table = cython.cast(cython.pointer(uint64_t), map_shared(fd, self.size))
        if self.table == cython.NULL:
            raise MemoryError("the shared counters can't be mapped")

    def __dealloc__(self):
        if self.table != cython.NULL:
            unmap_shared(self.table, self.size)
        if self.owns_fd:
            os.close(self.fd)

    @classmethod
    def create(cls, size_bytes=DEFAULT_BYTES):
        """A new table of about that size (rounded down to a power of two, at least one bucket). It owns its
        descriptor .fd, which child processes inherit when told to (pass_fds) and hand to attach()."""
        buckets = 1
        while buckets * 2 * BUCKET_BYTES <= size_bytes:
            buckets *= 2
        head = MAGIC + struct.pack("=Q", buckets) + secrets.token_bytes(16)
        return cls(sealed_memory("bascule-counters", HEAD_BYTES + buckets * BUCKET_BYTES, head), True)

    @classmethod
    def attach(cls, fd):
        """The table behind an inherited descriptor; it may be closed afterwards. ValueError if it is something else."""
        return cls(fd)

    @property
    def size_bytes(self):
        return self.size

    @property
    def capacity(self):
        """The number of slots. A bucket can be full earlier: two in a million at a quarter of the capacity."""
        return (self.mask + 1) * SLOTS

    @property
    def evictions(self):
        """How many counters were given up before their window ended, because their bucket was full."""
        return load_word(self.table + EVICTIONS)

    def __repr__(self):
        return f"<SharedCounters {self.live()} of {self.capacity} live, {self.evictions} evictions>"

    def live(self):
        """The number of counters in use; walks through the whole table."""
        n = cython.declare(cython.longlong, 0)
        i = cython.declare(cython.Py_ssize_t)
        words = cython.declare(cython.Py_ssize_t, (self.size - 256) // 8)
        now = cython.declare(uint64_t, now_ms())
        bucket = cython.declare(cython.pointer(uint64_t), self.table + FIRST_BUCKET)
        for i in range(0, words, 2):
            if i & 31 and load_word(bucket + i) >> 24 > now:
                n += 1
        return n

    def place(self, mark, key):
        size = cython.declare(cython.Py_ssize_t)
        second = cython.declare(uint64_t)
        data = cython.declare(cython.p_const_char, PyUnicode_AsUTF8AndSize(key, cython.address(size)))
        siphash(data, size, self.k0, self.k1, mark, cython.address(second))
        return self.bucket(mark, second)

    def bucket(self, mark, second):
        """Where a hash belongs; `mark` becomes the slot's."""
        mark[0] = (mark[0] >> 12) or 1  # 0 marks a slot that was never used
        return self.table + FIRST_BUCKET + (second & self.mask) * 32

    def slot(self, bucket, mark, now):
        """The slot that holds the mark, put in if need be. Another process may give it away at any time."""
        found = cython.declare(cython.pointer(uint64_t), find(bucket, mark))
        lo = cython.declare(uint64_t)
        hi = cython.declare(uint64_t)
        new_lo = cython.declare(uint64_t)
        new_hi = cython.declare(uint64_t)
        end = cython.declare(uint64_t)
        first = cython.declare(uint64_t)
        i = cython.declare(cython.int)
        victim = cython.declare(cython.int)
        while found == cython.NULL:
            lo = hi = 0
            cas16(bucket, cython.address(lo), cython.address(hi), 0, 0)
            if lo & 1:
                finish(bucket, lo, hi)
                found = find(bucket, mark)
                continue
            found = find(bucket, mark)
            if found != cython.NULL:
                break
            victim = 1
            first = load_word(bucket + 2) >> 24
            for i in range(2, SLOTS + 1):
                if first <= now:
                    break
                end = load_word(bucket + 2 * i) >> 24
                if end < first:
                    victim = i
                    first = end
            new_hi = (mark << 12) | (hi & 0xFFF)
            new_lo = (first << 24) | (lo & 0xFFFFC0) | (cython.cast(uint64_t, victim) << 1) | 1
            if cas16(bucket, cython.address(lo), cython.address(hi), new_lo, new_hi):
                if first > now:
                    add_word(self.table + EVICTIONS, 1)
                finish(bucket, new_lo, new_hi)
            found = find(bucket, mark)
        return found

    def change(self, bucket, mark, amount, now, length, lease, end):
        """Add amount, in a new window of that length if the last one is over; with lease the end moves on at every
        change and a count of zero frees the slot. Returns the count, within 0 and MOST, and the window's end in end."""
        slot = cython.declare(cython.pointer(uint64_t))
        lo = cython.declare(uint64_t)
        hi = cython.declare(uint64_t)
        total = cython.declare(cython.longlong)
        while True:
            slot = self.slot(bucket, mark, now)
            hi = load_word(slot + 1)
            lo = load_word(slot)
            while hi >> 12 == mark:
                if lo >> 24 <= now:
                    total = amount
                    end[0] = now + length
                else:
                    total = cython.cast(cython.longlong, ((hi & 0xFFF) << 24) | (lo & 0xFFFFFF)) + amount
                    end[0] = now + length if lease else lo >> 24
                total = 0 if total < 0 else MOST if total > MOST else total
                if lease and total == 0:
                    end[0] = now
                if cas16(
                    slot,
                    cython.address(lo),
                    cython.address(hi),
                    (end[0] << 24) | (cython.cast(uint64_t, total) & 0xFFFFFF),
                    (mark << 12) | (cython.cast(uint64_t, total) >> 24),
                ):
                    return total

    def incr(self, key, amount, window_s):
        """Add amount to the key's count; a window of that many seconds starts when there is none under way.
        Returns (count after adding, seconds until the window ends). amount may be negative (to give back) or 0."""
        mark = cython.declare(uint64_t)
        end = cython.declare(uint64_t)
        now = cython.declare(uint64_t, now_ms())
        bucket = cython.declare(cython.pointer(uint64_t), self.place(cython.address(mark), key))
        total = cython.declare(cython.longlong)
        total = self.change(bucket, mark, amount, now, in_ms(window_s), False, cython.address(end))
        return total, (end - now) / 1000.0 if end > now else 0.0

    def window(self, prefix, window_s):
        """For many keys with one prefix: `.take(key)` is incr(prefix + key, 1, window_s), and costs less."""
        window = cython.declare(Window, Window.__new__(Window))
        size = cython.declare(cython.Py_ssize_t)
        data = cython.declare(cython.p_const_char, PyUnicode_AsUTF8AndSize(prefix, cython.address(size)))
        done = cython.declare(cython.Py_ssize_t)
        window.counters = self
        window.prefix = prefix
        window.prefix_size = size
        window.length = in_ms(window_s)
        sip_begin(window.v, self.k0, self.k1)
        done = sip_words(window.v, data, size)
        window.held = cython.cast(cython.int, size - done)
        memcpy(window.tail, data + done, window.held)
        return window

    def add(self, key, delta):
        """Add to a count without a window, such as of requests under way; it is never less than 0. Returns the new
        count. One left alone for an hour is forgotten, so what a killed process did not give back does not stay."""
        mark = cython.declare(uint64_t)
        end = cython.declare(uint64_t)
        bucket = cython.declare(cython.pointer(uint64_t), self.place(cython.address(mark), key))
        return self.change(bucket, mark, delta, now_ms(), LEASE_MS, True, cython.address(end))

    def get(self, key):
        """The key's count now; 0 when there is none. Changes nothing."""
        mark = cython.declare(uint64_t)
        hi = cython.declare(uint64_t)
        lo = cython.declare(uint64_t)
        bucket = cython.declare(cython.pointer(uint64_t), self.place(cython.address(mark), key))
        slot = cython.declare(cython.pointer(uint64_t), find(bucket, mark))
        if slot == cython.NULL:
            return 0
        hi = load_word(slot + 1)
        lo = load_word(slot)
        if hi >> 12 != mark or lo >> 24 <= now_ms():
            return 0
        return cython.cast(cython.longlong, ((hi & 0xFFF) << 24) | (lo & 0xFFFFFF))
