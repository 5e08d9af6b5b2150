# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
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


def label_of(node):
    if node.label_len <= NEAR:
        return cython.cast(cython.p_const_char, cython.address(node.label.near[0]))
    return node.label.far


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def firsts_of(node: cython.pointer(cython.const[Node])) -> cython.p_uchar:
    return cython.cast(cython.p_uchar, node.kids + node.kid_capacity)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def block_size(capacity: cython.int) -> cython.size_t:
    """Bytes of a block of kids."""
    return cython.cast(cython.size_t, capacity) * (cython.sizeof(cython.p_void) + 1)


def child_of(node, first):
    firsts: cython.p_uchar
    found: cython.p_uchar
    at: cython.int
    if node.kid_count == 0:
        return cython.NULL
    firsts = firsts_of(node)
    if node.kid_count <= 4:
        for at in range(node.kid_count):
            if firsts[at] == first:
                return node.kids[at]
        return cython.NULL
    found = cython.cast(cython.p_uchar, memchr(firsts, first, node.kid_count))
    return cython.NULL if found == cython.NULL else node.kids[found - firsts]


def descend(node, p, n, used):
    kid: cython.pointer(Node)
    at: cython.Py_ssize_t = 0
    while at < n:
        kid = child_of(node, cython.cast(cython.uchar, p[at]))
        if kid == cython.NULL or kid.label_len > n - at or memcmp(label_of(kid), p + at, kid.label_len) != 0:
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

    def __cinit__(self, owns_payloads=True, owner=None):
        self.owner = owner
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
        label: cython.p_const_char
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
            label = label_of(kid)
            same = 1
            while same < shorter and label[same] == p[same]:
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
        parent: cython.pointer(Node) = node.parent
        firsts: cython.p_uchar = firsts_of(parent)
        place: cython.Py_ssize_t = 0
        upper: cython.pointer(Node) = self.create(label_of(node), at)
        try:
            self.reserve(upper, 1)
            self.relabel(node, label_of(node) + at, node.label_len - at, b"", 0)
        except MemoryError:
            self.release(upper)
            raise
        while parent.kids[place] != node:
            place += 1
        parent.kids[place] = upper
        firsts[place] = cython.cast(cython.uchar, label_of(upper)[0])
        upper.parent = parent
        upper.kids[0] = node
        firsts_of(upper)[0] = cython.cast(cython.uchar, label_of(node)[0])
        upper.kid_count = 1
        node.parent = upper
        return 0

    def reserve(self, node, count):
        """Room for that many kids."""
        capacity: cython.int = max(2, node.kid_capacity)
        kids: cython.pointer(cython.pointer(Node))
        if count <= node.kid_capacity:
            return 0
        while capacity < count:
            capacity *= 2
        kids = cython.cast(cython.pointer(cython.pointer(Node)), malloc(block_size(capacity)))
        if kids == cython.NULL:
            raise MemoryError
        if node.kid_count:
            memcpy(kids, node.kids, node.kid_count * cython.sizeof(cython.p_void))
            memcpy(kids + capacity, firsts_of(node), node.kid_count)
        free(node.kids)
        node.kids = kids
        node.kid_capacity = capacity
        return 0

    def adopt(self, parent, kid):
        """Adds a kid, in the order of first bytes."""
        first: cython.uchar = cython.cast(cython.uchar, label_of(kid)[0])
        firsts: cython.p_uchar
        at: cython.int = 0
        self.reserve(parent, parent.kid_count + 1)
        firsts = firsts_of(parent)
        while at < parent.kid_count and firsts[at] < first:
            at += 1
        memmove(parent.kids + at + 1, parent.kids + at, (parent.kid_count - at) * cython.sizeof(cython.p_void))
        memmove(firsts + at + 1, firsts + at, parent.kid_count - at)
        parent.kids[at] = kid
        firsts[at] = first
        parent.kid_count += 1
        kid.parent = parent
        return 0

    def detach(self, node):
        """Takes a leaf off its parent."""
        parent: cython.pointer(Node) = node.parent
        firsts: cython.p_uchar = firsts_of(parent)
        at: cython.int = 0
        if parent.param == node:
            parent.param = cython.NULL
            return
        while parent.kids[at] != node:
            at += 1
        parent.kid_count -= 1
        memmove(parent.kids + at, parent.kids + at + 1, (parent.kid_count - at) * cython.sizeof(cython.p_void))
        memmove(firsts + at, firsts + at + 1, parent.kid_count - at)
        if parent.kid_count == 0:
            free(parent.kids)
            parent.kids = cython.NULL
            parent.kid_capacity = 0

    def merge(self, node):
        """Lets the only kid take the place of `node`, with both labels."""
        kid: cython.pointer(Node) = node.kids[0]
        parent: cython.pointer(Node) = node.parent
        at: cython.int = 0
        self.relabel(kid, label_of(node), node.label_len, label_of(kid), kid.label_len)
        kid.parent = parent
        while parent.kids[at] != node:
            at += 1
        parent.kids[at] = kid
        self.release(node)
        return 0

    def relabel(self, node, label, n, more, extra):
        """Gives a node the label `label` + `more`, which may be parts of its present one."""
        size: cython.Py_ssize_t = n + extra
        text: cython.p_char
        held: cython.p_char = cython.NULL if node.label_len <= NEAR else node.label.far
        near: cython.char[NEAR]
        if size > 0x7FFFFFFF:
            raise MemoryError
        text = near
        if size > NEAR:
            text = cython.cast(cython.p_char, malloc(size))
            if text == cython.NULL:
                raise MemoryError
        memcpy(text, label, n)
        memcpy(text + n, more, extra)
        if size > NEAR:
            node.label.far = text
        else:
            memcpy(node.label.near, text, size)
        node.label_len = cython.cast(cython.int, size)
        free(held)
        return 0

    def create(self, label, n):
        node: cython.pointer(Node) = cython.cast(cython.pointer(Node), calloc(1, cython.sizeof(Node)))
        if node == cython.NULL:
            raise MemoryError
        self.nodes += 1
        try:
            self.relabel(node, label, n, b"", 0)
        except MemoryError:
            self.release(node)
            raise
        return node

    def release(self, node):
        """Frees one node without its kids and payloads."""
        self.nodes -= 1
        if node.label_len > NEAR:
            free(node.label.far)
        free(node.kids)
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
