# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""What every balancer can do, and the little of it that they share."""

import cython
from cython.cimports.bascule.balance.member import Member, Watcher
from cython.cimports.libc.stdlib import calloc, free

MULTIPLIER = cython.declare(cython.ulonglong, 2685821657736338717)
DRAWS = cython.declare(cython.int, 16)  # before a pair looks for one that isn't left out


@cython.cclass
class Picker(Watcher):
    """Over members (nodes with a weight). Nodes are named by their index in the upstream."""

    def __cinit__(self, members, *args, **options):
        member: Member
        place: cython.int
        self.members = list(members)
        self.count = self.usable = len(self.members)
        self.top = 1 + max([m.index for m in self.members], default=-1)
        self.index_of = cython.cast(cython.p_int, calloc(self.count + 1, cython.sizeof(cython.int)))
        self.place_of = cython.cast(cython.p_int, calloc(self.top + 1, cython.sizeof(cython.int)))
        self.over = cython.cast(cython.pointer(cython.bint), calloc(self.count + 1, cython.sizeof(cython.bint)))
        self.weight = cython.cast(cython.p_double, calloc(self.count + 1, cython.sizeof(cython.double)))
        if (
            self.index_of == cython.NULL
            or self.place_of == cython.NULL
            or self.over == cython.NULL
            or self.weight == cython.NULL
        ):
            raise MemoryError
        for place in range(self.top):
            self.place_of[place] = -1
        for place in range(self.count):
            member = cython.cast(Member, self.members[place])
            self.index_of[place] = member.index
            self.place_of[member.index] = place
            self.weight[place] = member.weight

    def __dealloc__(self):
        free(self.index_of)
        free(self.place_of)
        free(self.over)
        free(self.weight)

    @cython.cfunc
    @cython.exceptval(check=False)
    def place(self, index: cython.int) -> cython.int:
        return self.place_of[index] if 0 <= index < self.top else -1

    @cython.cfunc
    def member(self, place: cython.int) -> Member:
        return cython.cast(Member, self.members[place])

    def pick(self, key, tried):
        """Index of the node to use, -1 when none is left. `key` is what chash hashes; `tried`: a set of indexes that
        are left out this time, or None."""
        raise NotImplementedError

    def on_start(self, index):
        """A request goes to the node that was picked. Each call is answered by one on_finish()."""
        return 0

    def on_finish(self, index, seconds, ok):
        """It ended; `seconds` until the response head came or the failure, `ok`: there was a response."""
        return 0

    def pass_over(self, nodes):
        """These nodes, a set of indexes, are not picked from now on, and no others but them."""
        place: cython.int
        same: cython.bint = True
        out: cython.bint
        self.usable = 0
        for place in range(self.count):
            out = len(nodes) > 0 and self.index_of[place] in nodes
            if out != self.over[place]:
                self.over[place] = out
                same = False
            self.usable += not out
        return 0 if same else self.changed()

    def weigh(self, index, factor):
        """From now on the node counts for its weight times `factor`, where weights matter and may change."""
        place: cython.int = self.place(index)
        if place >= 0:
            self.weight[place] = self.member(place).weight * factor
        return 0

    def changed(self):
        return 0


@cython.final
@cython.cclass
class Draw:
    """Random numbers, the same ones for the same seed (xorshift64*, Vigna 2016)."""

    def __init__(self, seed: int):
        self.state = (seed & 0xFFFFFFFFFFFFFFFF) or 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def next(self) -> cython.double:
        self.state ^= self.state >> 12
        self.state ^= self.state << 25
        self.state ^= self.state >> 27
        return ((self.state * MULTIPLIER) >> 11) * (1.0 / 9007199254740992.0)

    @cython.cfunc
    @cython.exceptval(check=False)
    def below(self, n: cython.int) -> cython.int:
        return cython.cast(cython.int, self.next() * n)


@cython.cclass
class RandomPair(Picker):
    """The better one of two members picked at random: those that derive from it say how they are drawn, and which of
    two is better."""

    def __init__(self, members, random):
        self.counts = True
        self.draw = Draw(random.getrandbits(64))
        self.eligible = cython.cast(cython.p_int, calloc(self.count + 1, cython.sizeof(cython.int)))
        if self.eligible == cython.NULL:
            raise MemoryError
        self.changed()

    def __dealloc__(self):
        free(self.eligible)

    @cython.cfunc
    def drawn(self) -> cython.int:
        """A random one of the eligible places, of which there is at least one."""
        return self.eligible[self.draw.below(self.usable)]

    @cython.cfunc
    def is_worse(self, one: cython.int, other: cython.int) -> cython.bint:
        raise NotImplementedError

    def pick(self, key, tried):
        one: cython.int = self.some(tried, -1)
        other: cython.int
        if one < 0:
            return -1
        other = self.some(tried, one)
        return self.index_of[other if other >= 0 and self.is_worse(one, other) else one]

    @cython.cfunc
    def some(self, tried: object, but: cython.int) -> cython.int:
        """A place at random that is neither in `tried` nor `but`; -1: there is none."""
        i: cython.int
        place: cython.int
        if self.usable == 0 or (self.usable == 1 and but >= 0):
            return -1
        for i in range(DRAWS):
            place = self.drawn()
            if place != but and (tried is None or self.index_of[place] not in tried):
                return place
        for i in range(self.usable):
            place = self.eligible[i]
            if place != but and (tried is None or self.index_of[place] not in tried):
                return place
        return -1

    def changed(self):
        place: cython.int
        at: cython.int = 0
        for place in range(self.count):
            if not self.over[place]:
                self.eligible[at] = place
                at += 1
        return 0
