# cython: annotation_typing=True
"""A compressed radix tree over bytes, with `:segment` branches, that changes in place.

Nodes are plain C memory: a hundred thousand routes make a quarter of a million of them, which Python's collector need
not know. A node holds two payloads, for the pattern that ends there and for the one that ends there with `*`. Payloads
are borrowed: whoever owns the tree keeps what they point to alive.

Two things stay true after every change, so that a tree looks the same whatever edits led to it: a node without payload
and without branches does not exist, and neither does one with a single kid, no payload and no `:segment` branch (it
is merged with that kid). The root and the nodes behind `:segment` are exempt from the second: their labels are empty.
"""

import cython
from cython.cimports.bascule.match.radix import Bucket, Node
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.libc.stdlib import calloc, free, malloc, realloc
from cython.cimports.libc.string import memchr, memcmp, memcpy, memmove


def child_of(node, first):
    found: cython.p_uchar
    if node.kid_count == 0:
        return cython.NULL
    if node.kid_count == 1:
        return node.kids[0] if node.firsts[0] == first else cython.NULL
    found = cython.cast(cython.p_uchar, memchr(node.firsts, first, node.kid_count))
    if found == cython.NULL:
        return cython.NULL
    return node.kids[found - node.firsts]


def descend(node, p, n, used):
    kid: cython.pointer(Node)
    at: cython.Py_ssize_t = 0
    while at < n:
        kid = child_of(node, cython.cast(cython.uchar, p[at]))
        if kid == cython.NULL or kid.label_len > n - at or memcmp(kid.label, p + at, kid.label_len) != 0:
            break
        at += kid.label_len
        node = kid
    used[0] = at
    return node


def bucket_insert(bucket, at, item):
    """Puts `item` at a position; returns the bucket, which may have moved (NULL makes a new one)."""
    grown: cython.pointer(Bucket)
    size: cython.size_t
    capacity: cython.int = 0 if bucket == cython.NULL else bucket.capacity
    count: cython.int = 0 if bucket == cython.NULL else bucket.count
    if count == capacity:
        capacity = 1 if capacity == 0 else capacity * 2
        size = cython.sizeof(Bucket) + (capacity - 1) * cython.sizeof(cython.p_void)
        grown = cython.cast(cython.pointer(Bucket), realloc(bucket, size))
        if grown == cython.NULL:
            raise MemoryError
        bucket = grown
        bucket.capacity = capacity
        bucket.count = count
    memmove(bucket.items + at + 1, bucket.items + at, (count - at) * cython.sizeof(cython.p_void))
    bucket.items[at] = item
    bucket.count = count + 1
    return bucket


def bucket_remove(bucket, at):
    """Takes one item out; returns the bucket, or NULL (and frees it) when it was the last."""
    bucket.count -= 1
    if bucket.count == 0:
        free(bucket)
        return cython.NULL
    memmove(bucket.items + at, bucket.items + at + 1, (bucket.count - at) * cython.sizeof(cython.p_void))
    return bucket


@cython.final
@cython.cclass
class Radix:
    """The tree; `make`, `seek` and `prune` are its whole interface, walking is up to the router."""

    def __cinit__(self, owns_payloads=True):
        self.owns_payloads = owns_payloads
        self.nodes = -1
        self.patterns = 0
        self.root = self.create(b"", 0)

    def __dealloc__(self):
        if self.root != cython.NULL:
            self.release_all(self.root)

    def make(self, parts):
        """The node where a pattern ends, created as needed; parts are literal runs (bytes) and None for a segment."""
        node: cython.pointer(Node) = self.root
        branch: cython.pointer(Node)
        for part in parts:
            if part is None:
                if node.param == cython.NULL:
                    branch = self.create(b"", 0)
                    branch.parent = node
                    node.param = branch
                node = node.param
            else:
                node = self.extend(node, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
        return node

    def seek(self, parts):
        """The node where a pattern ends, NULL when there is none."""
        node: cython.pointer(Node) = self.root
        used: cython.Py_ssize_t = 0
        for part in parts:
            if part is None:
                node = node.param
                if node == cython.NULL:
                    return cython.NULL
            else:
                node = descend(node, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part), cython.address(used))
                if used != PyBytes_GET_SIZE(part):
                    return cython.NULL
        return node

    def prune(self, node):
        """Restores the shape of the tree from a node upward, after a payload was taken away."""
        parent: cython.pointer(Node)
        while node != self.root:
            if node.exact != cython.NULL or node.prefix != cython.NULL or node.param != cython.NULL:
                return 0
            if node.kid_count > 1:
                return 0
            parent = node.parent
            if node.kid_count == 1:
                if parent.param != node:
                    self.merge(node)
                return 0
            self.detach(node)
            self.release(node)
            node = parent
        return 0

    def extend(self, node, p, n):
        """The node that a literal run leads to from `node`; splits a label that the run leaves midway."""
        kid: cython.pointer(Node)
        same: cython.int
        shorter: cython.int
        while n > 0:
            kid = child_of(node, cython.cast(cython.uchar, p[0]))
            if kid == cython.NULL:
                kid = self.create(p, n)
                try:
                    self.adopt(node, kid)
                except MemoryError:
                    self.release(kid)
                    raise
                return kid
            shorter = cython.cast(cython.int, min(n, kid.label_len))
            same = 1
            while same < shorter and kid.label[same] == p[same]:
                same += 1
            if same < kid.label_len:
                self.split(kid, same)
                kid = kid.parent
            node = kid
            p += same
            n -= same
        return node

    def split(self, node, at):
        """Puts a new node above `node` that takes the first `at` bytes of its label."""
        upper: cython.pointer(Node) = self.create(node.label, at)
        parent: cython.pointer(Node) = node.parent
        upper.kids = cython.cast(cython.pointer(cython.pointer(Node)), malloc(cython.sizeof(cython.p_void)))
        upper.firsts = cython.cast(cython.p_uchar, malloc(1))
        if upper.kids == cython.NULL or upper.firsts == cython.NULL:
            self.release(upper)
            raise MemoryError
        place: cython.p_uchar = cython.cast(
            cython.p_uchar, memchr(parent.firsts, cython.cast(cython.uchar, node.label[0]), parent.kid_count)
        )
        parent.kids[place - parent.firsts] = upper
        upper.parent = parent
        node.label_len -= at
        memmove(node.label, node.label + at, node.label_len)
        node.parent = upper
        upper.kids[0] = node
        upper.firsts[0] = cython.cast(cython.uchar, node.label[0])
        upper.kid_count = upper.kid_capacity = 1
        return 0

    def adopt(self, parent, kid):
        """Adds a kid, in the order of first bytes."""
        first: cython.uchar = cython.cast(cython.uchar, kid.label[0])
        capacity: cython.int
        kids: cython.pointer(cython.pointer(Node))
        firsts: cython.p_uchar
        at: cython.int = 0
        if parent.kid_count == parent.kid_capacity:
            capacity = 1 if parent.kid_capacity == 0 else parent.kid_capacity * 2
            kids = cython.cast(
                cython.pointer(cython.pointer(Node)), realloc(parent.kids, capacity * cython.sizeof(cython.p_void))
            )
            if kids == cython.NULL:
                raise MemoryError
            parent.kids = kids
            firsts = cython.cast(cython.p_uchar, realloc(parent.firsts, capacity))
            if firsts == cython.NULL:
                raise MemoryError
            parent.firsts = firsts
            parent.kid_capacity = capacity
        while at < parent.kid_count and parent.firsts[at] < first:
            at += 1
        memmove(parent.kids + at + 1, parent.kids + at, (parent.kid_count - at) * cython.sizeof(cython.p_void))
        memmove(parent.firsts + at + 1, parent.firsts + at, parent.kid_count - at)
        parent.kids[at] = kid
        parent.firsts[at] = first
        parent.kid_count += 1
        kid.parent = parent
        return 0

    def detach(self, node):
        """Takes a leaf off its parent."""
        parent: cython.pointer(Node) = node.parent
        at: cython.int = 0
        if parent.param == node:
            parent.param = cython.NULL
            return
        while parent.kids[at] != node:
            at += 1
        parent.kid_count -= 1
        memmove(parent.kids + at, parent.kids + at + 1, (parent.kid_count - at) * cython.sizeof(cython.p_void))
        memmove(parent.firsts + at, parent.firsts + at + 1, parent.kid_count - at)

    def merge(self, node):
        """Lets the only kid take the place of `node`, with both labels."""
        kid: cython.pointer(Node) = node.kids[0]
        parent: cython.pointer(Node) = node.parent
        at: cython.int = 0
        label: cython.p_char = cython.cast(cython.p_char, malloc(node.label_len + kid.label_len))
        if label == cython.NULL:
            raise MemoryError
        memcpy(label, node.label, node.label_len)
        memcpy(label + node.label_len, kid.label, kid.label_len)
        free(kid.label)
        kid.label = label
        kid.label_len += node.label_len
        kid.parent = parent
        while parent.kids[at] != node:
            at += 1
        parent.kids[at] = kid
        self.release(node)
        return 0

    def create(self, label, n):
        node: cython.pointer(Node)
        if n > 0x7FFFFFFF:
            raise MemoryError
        node = cython.cast(cython.pointer(Node), calloc(1, cython.sizeof(Node)))
        if node == cython.NULL:
            raise MemoryError
        node.label_len = cython.cast(cython.int, n)
        if n > 0:
            node.label = cython.cast(cython.p_char, malloc(n))
            if node.label == cython.NULL:
                free(node)
                raise MemoryError
            memcpy(node.label, label, n)
        self.nodes += 1
        return node

    def release(self, node):
        """Frees one node without its kids and payloads."""
        self.nodes -= 1
        free(node.label)
        free(node.kids)
        free(node.firsts)
        free(node)

    def release_all(self, node):
        at: cython.int
        for at in range(node.kid_count):
            self.release_all(node.kids[at])
        if node.param != cython.NULL:
            self.release_all(node.param)
        if self.owns_payloads:
            free(node.exact)
            free(node.prefix)
        self.release(node)

    def __repr__(self):
        return f"Radix({self.patterns} patterns, {self.nodes} nodes)"
