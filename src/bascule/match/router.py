# cython: annotation_typing=True
# ruff: noqa: F821  (types stand in the .pxd)
"""The router: which route serves a request, found in compressed radix trees that change one route at a time.

Order (the resource model's section on routing). An exact path beats a prefix, a longer prefix beats a shorter one, and
for the same pattern the higher priority comes first, then the route that was added first. The first candidate whose
conditions all hold is the match; one that fails hands over to the next, down to the shortest prefix.

Modes:
    radixtree_host_uri              the host's tree first (exact host, then the wildcard hosts, longest suffix first),
                                    then the routes without hosts; each step falls through to the next
    radixtree_uri                   one tree of paths; hosts are a condition like others
    radixtree_uri_with_parameter    the same with `:name` and `*name`; per segment a literal beats a parameter, and a
                                    parameter beats a wildcard, with backtracking

Hosts stand reversed in a tree of their own, so that a wildcard host is a prefix like any other.
"""

import cython
from cython.cimports.bascule.match.candidate import Candidate, Entry, bucket_add, bucket_discard, captured, host_fits
from cython.cimports.bascule.match.radix import Bucket, Node, Radix, child_of, descend, label_of
from cython.cimports.libc.string import memchr, memcmp

from bascule.match.candidate import METHODS
from bascule.match.pattern import encode, parse_host, parse_path
from bascule.match.trace import WithMethod, explanation
from bascule.match.variables import FixedVariables

MODES = ("radixtree_host_uri", "radixtree_uri", "radixtree_uri_with_parameter")
# A host that is longer than any name can be (RFC 1035: 255 bytes) is taken as absent.
HOST_MAX = cython.declare(cython.int, 256)
LOWER = cython.declare(cython.uchar[256])
_byte = cython.declare(cython.int)
for _byte in range(256):
    LOWER[_byte] = _byte + 32 if 65 <= _byte <= 90 else _byte


@cython.final
@cython.cclass
class Router:
    """Routes by key. Not for several threads at once; a change while a condition runs is a RuntimeError."""

    def __init__(self, mode="radixtree_host_uri", *, delete_uri_tail_slash=False):
        if mode not in MODES:
            raise ValueError(f"router mode {mode!r} is none of {', '.join(MODES)}")
        self.mode = mode
        self.hosts_in_tree = mode == "radixtree_host_uri"
        self.parameters = mode == "radixtree_uri_with_parameter"
        self.delete_uri_tail_slash = delete_uri_tail_slash
        self.entries = {}
        self.hosts = {}
        self.host_tree = Radix(False)
        self.any_host = Radix()

    @classmethod
    def __class_getitem__(cls, item):
        return cls  # Router[Value] is for type checkers

    # Changes

    def add(self, key, match, value):
        """A new route. ValueError: the key is there already, or a pattern of the match is malformed."""
        if key in self.entries:
            raise ValueError(f"route {key!r} is there already")
        self.check_idle()
        entry: Entry = Entry(key, match, value, self.hosts_in_tree, self.parameters)
        entry.order = self.added
        self.added += 1
        self.entries[key] = entry
        for candidate in entry.candidates:
            self.insert(candidate)

    def replace(self, key, match, value):
        """Another match or value for a route, which keeps its place among equals. KeyError: there is no such route."""
        old: Entry = self.entries[key]
        if old.match == match:
            old.set_value(value)
            return
        self.check_idle()
        entry: Entry = Entry(key, match, value, self.hosts_in_tree, self.parameters)
        entry.order = old.order
        for candidate in old.candidates:
            self.withdraw(candidate)
        old.candidates = ()
        self.entries[key] = entry
        for candidate in entry.candidates:
            self.insert(candidate)

    def remove(self, key):
        """Takes a route away with the nodes that only it needed. KeyError: there is no such route."""
        entry: Entry = self.entries[key]
        self.check_idle()
        for candidate in entry.candidates:
            self.withdraw(candidate)
        # Entry and candidates refer to each other; cut, they go at once and not with the next garbage collection.
        entry.candidates = ()
        del self.entries[key]

    def __len__(self):
        return len(self.entries)

    def __contains__(self, key):
        return key in self.entries

    def __repr__(self):
        return f"Router({self.mode}, {len(self.entries)} routes, {len(self.hosts)} hosts, {self.nodes()} nodes)"

    def nodes(self):
        """Nodes of all trees: what the routes cost, and what must be as few after a removal as before the adding."""
        return self.any_host.nodes + self.host_tree.nodes + sum(tree.nodes for tree in self.hosts.values())

    def check_idle(self):
        if self.searching:
            raise RuntimeError("the router can't change while a condition of a route is evaluated")
        return 0

    def tree_of(self, candidate):
        """The tree of paths where a candidate belongs, created when its host is new."""
        node: cython.pointer(Node)
        if candidate.host_pattern is None:
            return self.any_host
        host = parse_host(candidate.host_pattern)
        tree: Radix = self.hosts.get(host)
        if tree is None:
            tree = Radix(True, host)
            self.hosts[host] = tree
            node = self.host_tree.make((host.key,))
            if host.prefix:
                node.prefix = cython.cast(cython.p_void, tree)
            else:
                node.exact = cython.cast(cython.p_void, tree)
        return tree

    def insert(self, candidate):
        pattern = parse_path(candidate.pattern, self.parameters)
        candidate.tree = self.tree_of(candidate)
        node: cython.pointer(Node) = candidate.tree.make(pattern.parts)
        if pattern.prefix:
            node.prefix = bucket_add(cython.cast(cython.pointer(Bucket), node.prefix), candidate)
        else:
            node.exact = bucket_add(cython.cast(cython.pointer(Bucket), node.exact), candidate)
        candidate.tree.patterns += 1
        return 0

    def withdraw(self, candidate):
        tree: Radix = candidate.tree
        pattern = parse_path(candidate.pattern, self.parameters)
        node: cython.pointer(Node) = tree.seek(pattern.parts)
        if node == cython.NULL:
            raise KeyError(candidate.pattern)
        if pattern.prefix:
            node.prefix = bucket_discard(cython.cast(cython.pointer(Bucket), node.prefix), candidate)
        else:
            node.exact = bucket_discard(cython.cast(cython.pointer(Bucket), node.exact), candidate)
        tree.prune(node)
        tree.patterns -= 1
        if tree.patterns == 0 and tree.owner is not None:
            node = self.host_tree.seek((tree.owner.key,))
            if tree.owner.prefix:
                node.prefix = cython.NULL
            else:
                node.exact = cython.NULL
            self.host_tree.prune(node)
            del self.hosts[tree.owner]
        return 0

    # Search

    def match(self, method, host, path, vars=None):
        """The value of the route that serves a request, or None: `find` for Python (host may be None)."""
        host_bytes: bytes = encode(host or "")
        path_bytes: bytes = encode(path)
        variables = FixedVariables() if vars is None else vars
        if method not in METHODS:
            variables = WithMethod(variables, method)
        return self.find(host_bytes, len(host_bytes), path_bytes, len(path_bytes), METHODS.get(method, 0), variables)

    def explain(self, method, host, path, vars=None):
        """[(value, reason)] of every route whose path fits, in the order they are tried.

        The reason is None for the match and a sentence for the others: which condition fails, that another route came
        first, or (these stand last) that the route is one of another host.
        """
        variables = FixedVariables() if vars is None else vars
        elsewhere: list = []
        tried: list = []
        self.trace = tried
        try:
            self.match(method, host, path, variables)
            if self.hosts_in_tree:
                self.trace = elsewhere
                self.search_other_hosts(encode(path))
        finally:
            self.trace = None
        return explanation(tried, elsewhere, method, host or "", variables)

    def search_other_hosts(self, path):
        """Lets the trace collect what fits a path in any host's tree."""
        probe: Probe
        probe.host = cython.NULL
        probe.host_len = 0
        probe.path = path
        probe.path_len = self.path_end(path, len(path))
        probe.method = 0
        for tree in self.hosts.values():
            self.search_paths(tree, cython.address(probe), None)
        return 0

    def path_end(self, path, n):
        """The length that counts for matching."""
        return n - 1 if self.delete_uri_tail_slash and n > 1 and path[n - 1] == b"/" else n

    def find(self, host, host_len, path, path_len, method, vars):
        reversed_host: cython.char[256]
        probe: Probe
        at: cython.Py_ssize_t
        found: Candidate
        if host_len > 1 and host[host_len - 1] == b".":
            host_len -= 1  # the root of DNS may be spelt out
        if host_len > HOST_MAX or host_len < 0:
            host_len = 0
        for at in range(host_len):
            reversed_host[host_len - 1 - at] = LOWER[cython.cast(cython.uchar, host[at])]
        probe.host = reversed_host
        probe.host_len = host_len
        probe.path = path
        probe.path_len = self.path_end(path, path_len)
        probe.method = cython.cast(cython.uint, 1) << method
        self.params = None
        self.host_pattern = None
        found = self.search(cython.address(probe), vars)
        if found is None:
            self.pattern = None
            return None
        self.pattern = found.pattern
        if found.host_pattern is not None:
            self.host_pattern = found.host_pattern
        if found.captures is not None:
            self.params = captured(found.captures, path, probe.path_len)
        return found.value

    def search(self, probe, vars):
        """Host by host, most specific first."""
        node: cython.pointer(Node)
        used: cython.Py_ssize_t = 0
        found: Candidate
        if not self.hosts_in_tree:
            return self.search_paths(self.any_host, probe, vars)
        node = descend(self.host_tree.root, probe.host, probe.host_len, cython.address(used))
        if used == probe.host_len and node.exact != cython.NULL:
            found = self.search_paths(cython.cast(Radix, node.exact), probe, vars)
            if found is not None:
                return found
        while node != cython.NULL:
            if node.prefix != cython.NULL:
                found = self.search_paths(cython.cast(Radix, node.prefix), probe, vars)
                if found is not None:
                    return found
            node = node.parent
        return self.search_paths(self.any_host, probe, vars)

    def search_paths(self, tree, probe, vars):
        """Down as far as the path goes, then back up over the prefixes."""
        node: cython.pointer(Node)
        used: cython.Py_ssize_t = 0
        found: Candidate
        if self.parameters:
            return self.search_branches(tree.root, 0, probe, vars)
        node = descend(tree.root, probe.path, probe.path_len, cython.address(used))
        if used == probe.path_len and node.exact != cython.NULL:
            found = self.choose(cython.cast(cython.pointer(Bucket), node.exact), probe, vars)
            if found is not None:
                return found
        while node != cython.NULL:
            if node.prefix != cython.NULL:
                found = self.choose(cython.cast(cython.pointer(Bucket), node.prefix), probe, vars)
                if found is not None:
                    return found
            node = node.parent
        return None

    def search_branches(self, node, at, probe, vars):
        """The same with parameters: literal, then `:segment`, then `*`.

        Visits a node once at most, since what leads to it fixes where in the path it stands.
        """
        kid: cython.pointer(Node)
        slash: cython.p_const_char
        end: cython.Py_ssize_t
        left: cython.Py_ssize_t = probe.path_len - at
        found: Candidate
        if left == 0:
            if node.exact != cython.NULL:
                found = self.choose(cython.cast(cython.pointer(Bucket), node.exact), probe, vars)
                if found is not None:
                    return found
        else:
            kid = child_of(node, cython.cast(cython.uchar, probe.path[at]))
            if (
                kid != cython.NULL
                and kid.label_len <= left
                and memcmp(label_of(kid), probe.path + at, kid.label_len) == 0
            ):
                found = self.search_branches(kid, at + kid.label_len, probe, vars)
                if found is not None:
                    return found
            if node.param != cython.NULL:
                slash = cython.cast(cython.p_const_char, memchr(probe.path + at, b"/", left))
                end = probe.path_len if slash == cython.NULL else slash - probe.path
                if end > at:
                    found = self.search_branches(node.param, end, probe, vars)
                    if found is not None:
                        return found
        if node.prefix != cython.NULL:
            return self.choose(cython.cast(cython.pointer(Bucket), node.prefix), probe, vars)
        return None

    def choose(self, bucket, probe, vars):
        """The first candidate of a bucket whose conditions hold, cheap conditions first."""
        at: cython.int
        candidate: Candidate
        if self.trace is not None:
            for at in range(bucket.count):
                self.trace.append(cython.cast(Candidate, bucket.items[at]))
            return None
        for at in range(bucket.count):
            candidate = cython.cast(Candidate, bucket.items[at])
            if candidate.methods & probe.method and (
                not candidate.conditional or self.conditions_hold(candidate.entry, probe, vars)
            ):
                return candidate
        return None

    def conditions_hold(self, entry, probe, vars):
        """All conditions of a route but the methods that have numbers, cheap ones first."""
        if entry.hosts is not None:
            self.host_pattern = host_fits(entry.hosts, probe.host, probe.host_len)
            if self.host_pattern is None:
                return False
        if self.variables_fit(entry, probe, vars):
            return True
        self.host_pattern = None
        return False

    def variables_fit(self, entry, probe, vars):
        """The conditions that need variables, and so run code that isn't ours."""
        self.searching += 1
        try:
            if (
                probe.method == 1
                and entry.other_methods is not None
                and vars.var("request_method") not in entry.other_methods
            ):
                return False
            if entry.addresses is not None and vars.var("remote_addr") not in entry.addresses:
                return False
            return entry.test is None or bool(entry.test(vars))
        finally:
            self.searching -= 1
