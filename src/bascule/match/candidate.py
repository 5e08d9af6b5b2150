# cython: annotation_typing=True
"""Entries (routes with their conditions) and candidates (one pattern of a route in a tree), and their order."""

from sys import intern

import cython
from cython.cimports.bascule.match.radix import Bucket, bucket_insert, bucket_remove
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import PyObject
from cython.cimports.libc.string import memchr, memcmp

from bascule.match.address import AddressSet
from bascule.match.pattern import decode, parse_host, parse_path

# Names of the methods that have an id in wire.http1 (M_GET = 1, ...), in that order.
METHODS = {
    name: number
    for number, name in enumerate(
        ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "PURGE"), start=1
    )
}


@cython.final
@cython.cclass
class Entry:
    """Built whole before a tree is touched: what is wrong with a RouteMatch is said by a ValueError here."""

    def __init__(self, key, match, value, hosts_in_tree, parameters):
        self.key = key
        self.value = value
        self.match = match
        self.priority = match.priority
        if match.methods is not None:
            self.other_methods = frozenset(name for name in match.methods if name not in METHODS) or None
        self.addresses = AddressSet(match.remote_addrs) if match.remote_addrs else None
        self.test = None if match.vars is None else match.vars.test
        # Interned: routes of one host share one string, which then stays in the processor's cache.
        hosts = {parse_host(pattern): intern(pattern) for pattern in reversed(match.hosts)}
        paths = [(uri, parse_path(uri, parameters).captures) for uri in dict.fromkeys(match.uris)]
        if hosts and hosts_in_tree:
            self.candidates = tuple(
                [Candidate(self, uri, captures, pattern) for pattern in hosts.values() for uri, captures in paths]
            )
        else:
            # As in the tree of hosts: an exact one first, then the longest wildcard.
            ranked = sorted(hosts.items(), key=lambda item: (item[0].prefix, -len(item[0].key)))
            self.hosts = tuple((host.key, host.prefix, pattern) for host, pattern in ranked) or None
            self.candidates = tuple([Candidate(self, uri, captures, None) for uri, captures in paths])

    def set_value(self, value):
        """Another value for the same match."""
        candidate: Candidate
        self.value = value
        for candidate in self.candidates:
            candidate.value = value
        return 0


@cython.final
@cython.cclass
class Candidate:
    """Candidates of one bucket stand in the order of priority (highest first), then of their routes' first adding."""

    def __init__(self, entry: Entry, pattern, captures, host_pattern):
        self.entry = entry
        self.value = entry.value
        self.methods = method_bits(entry.match.methods)
        self.conditional = (
            entry.other_methods is not None
            or entry.hosts is not None
            or entry.addresses is not None
            or entry.test is not None
        )
        self.pattern = pattern
        self.captures = captures
        self.host_pattern = host_pattern


def method_bits(methods):
    """Bit 1 << M_* for each method; bit 0 for those without a number."""
    bits = 0
    for name in METHODS if methods is None else methods:
        bits |= 1 << METHODS.get(name, 0)
    return bits | 1 if methods is None else bits


@cython.cfunc
@cython.exceptval(check=False)
def before(left: Entry, right: Entry) -> cython.bint:
    if left.priority != right.priority:
        return left.priority > right.priority
    return left.order < right.order


@cython.cfunc
def at_index(bucket: cython.pointer(Bucket), at: cython.int) -> Candidate:
    return cython.cast(Candidate, bucket.items[at])


def bucket_add(bucket, candidate):
    """The bucket with a candidate more, behind those of equal rank."""
    low: cython.int = 0
    high: cython.int = 0 if bucket == cython.NULL else bucket.count
    middle: cython.int
    while low < high:
        middle = (low + high) // 2
        if before(candidate.entry, at_index(bucket, middle).entry):
            high = middle
        else:
            low = middle + 1
    return bucket_insert(bucket, low, cython.cast(cython.pointer(PyObject), candidate))


def bucket_discard(bucket, candidate):
    """The bucket without a candidate that is in it; NULL when it was the last one."""
    low: cython.int = 0
    high: cython.int = bucket.count
    middle: cython.int
    while low < high:
        middle = (low + high) // 2
        if before(at_index(bucket, middle).entry, candidate.entry):
            low = middle + 1
        else:
            high = middle
    while low < bucket.count and bucket.items[low] != cython.cast(cython.pointer(PyObject), candidate):
        low += 1
    if low == bucket.count:
        raise KeyError(candidate.pattern)
    return bucket_remove(bucket, low)


def host_fits(hosts, host, n):
    """The first host pattern of a filter that a reversed, lower-case host fits, or None."""
    size: cython.Py_ssize_t
    for item in hosts:
        key, prefix, pattern = cython.cast(tuple, item)
        size = PyBytes_GET_SIZE(key)
        if (n == size or (n > size and prefix)) and memcmp(PyBytes_AS_STRING(key), host, size) == 0:
            return pattern
    return None


def captured(captures, path, n):
    """The values of a pattern's parameters in a path that fits it."""
    values: dict = {}
    at: cython.Py_ssize_t
    wanted: cython.Py_ssize_t
    segment: cython.Py_ssize_t = 0
    start: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t
    found: cython.p_const_char
    for at in range(0, len(captures), 3):
        wanted = captures[at]
        while segment < wanted:
            start = cython.cast(cython.p_const_char, memchr(path + start, b"/", n - start)) - path + 1
            segment += 1
        found = cython.NULL
        if not captures[at + 2]:
            found = cython.cast(cython.p_const_char, memchr(path + start, b"/", n - start))
        end = n if found == cython.NULL else found - path
        values[captures[at + 1]] = decode(path[start:end])
    return values
