# cython: annotation_typing=True
"""Entries (routes with their conditions) and candidates (one pattern of a route in a tree), and their order."""

import cython
from cython.cimports.bascule.match.radix import Bucket, bucket_insert, bucket_remove
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import PyObject
from cython.cimports.libc.string import memcmp

from bascule.match.address import AddressSet
from bascule.match.pattern import parse_host, parse_path

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
        self.methods = 0xFFFFFFFF
        if match.methods is not None:
            self.methods = 0
            for name in match.methods:
                self.methods |= 1 << METHODS.get(name, 0)
            self.other_methods = frozenset(name for name in match.methods if name not in METHODS)
        self.addresses = AddressSet(match.remote_addrs) if match.remote_addrs else None
        self.test = None if match.vars is None else match.vars.test
        hosts = {parse_host(pattern): pattern for pattern in reversed(match.hosts)}
        paths = [(uri, parse_path(uri, parameters)) for uri in dict.fromkeys(match.uris)]
        if hosts and hosts_in_tree:
            self.candidates = [
                Candidate(self, uri, path, host, pattern) for host, pattern in hosts.items() for uri, path in paths
            ]
        else:
            # As in the tree of hosts: an exact one first, then the longest wildcard.
            ranked = sorted(hosts.items(), key=lambda item: (item[0].prefix, -len(item[0].key)))
            self.hosts = tuple((host.key, host.prefix, pattern) for host, pattern in ranked) or None
            self.candidates = [Candidate(self, uri, path, None, None) for uri, path in paths]


@cython.final
@cython.cclass
class Candidate:
    """Candidates of one bucket stand in the order of priority (highest first), then of their routes' first adding."""

    def __init__(self, entry, pattern, path, host, host_pattern):
        self.entry = entry
        self.pattern = pattern
        self.parts = path.parts
        self.prefix = path.prefix
        self.captures = path.captures
        self.host = host
        self.host_pattern = host_pattern


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
