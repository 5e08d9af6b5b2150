# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Weighted round robin that spreads a heavy node's turns: 5:1:1 gives a a b a c a a, not a a a a a b c.

The smooth algorithm (nginx's): each turn every node gains its weight, the one with most is picked and pays the sum of
all. That repeats after sum/gcd turns, so the turns are computed once. When they would be too many, and while weights
change in small steps, deadlines do nearly the same in O(log n): each node is due again 1/weight after its last turn,
and its first turn is due after half of that, so that shares are off by a few requests at most.
"""

import cython
from cython.cimports.bascule.balance.picker import Picker
from cython.cimports.bascule.balance.tournament import Tournament
from cython.cimports.libc.math import INFINITY
from cython.cimports.libc.stdlib import calloc, free, malloc

# Longest schedule, and most work (turns x nodes), worth computing ahead.
MAX_TURNS = cython.declare(cython.longlong, 4096)
MAX_WORK = cython.declare(cython.longlong, 1 << 18)
MAX_WEIGHT = cython.declare(cython.longlong, 1 << 40)


@cython.final
@cython.cclass
class RoundRobin(Picker):
    """Shares are exact over each period, also while some nodes are passed over. `start`: where in its period it begins,
    [0, 1): workers that all began with the first node would prefer it."""

    def __init__(self, members, start: cython.double = 0.0):
        self.start = start
        self.changed()
        self.cursor = cython.cast(cython.int, start * self.period)

    def __dealloc__(self):
        free(self.turns)

    def pick(self, key, tried):
        place: cython.int
        step: cython.int
        if self.due is not None:
            place = self.due.best_but(self.index_of, tried)
            if place < 0:
                return -1
            self.now = self.due.key[place]
            self.due.set(place, self.now + 1.0 / self.weight[place])
            return self.index_of[place]
        # What is tried takes no turn of its own from the others: a retry is one more turn.
        for step in range(self.period):
            place = self.turns[self.cursor]
            self.cursor += 1
            if self.cursor == self.period:
                self.cursor = 0
            if tried is None or self.index_of[place] not in tried:
                return self.index_of[place]
        return -1

    def weigh(self, index, factor):
        place: cython.int = self.place(index)
        before: cython.double
        whole: cython.double
        if place < 0:
            return 0
        before = self.weight[place]
        whole = self.member(place).weight
        Picker.weigh(self, index, factor)
        if self.weight[place] == before:
            return 0
        self.changed_weights += (self.weight[place] != whole) - (before != whole)
        if self.due is None or self.changed_weights == 0:
            return self.changed()
        if not self.over[place]:
            self.due.set(place, self.now + (self.due.key[place] - self.now) * before / self.weight[place])
        return 0

    def changed(self):
        if not self.take_turns():
            self.take_deadlines()
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def first_due(self, place: cython.int) -> cython.double:
        phase: cython.double = 0.5 + self.start * (place + 1)
        return self.now + (phase - cython.cast(cython.longlong, phase)) / self.weight[place]

    @cython.cfunc
    def take_turns(self) -> cython.bint:
        """One period ahead. False: it is too long."""
        place: cython.int
        turn: cython.int
        best: cython.int
        count: cython.int = 0
        step: cython.longlong = 0
        total: cython.longlong = 0
        weight: cython.longlong
        gained: cython.p_longlong
        turns: cython.p_int
        for place in range(self.count):
            if self.over[place]:
                continue
            weight = cython.cast(cython.longlong, self.weight[place])
            if weight != self.weight[place] or weight > MAX_WEIGHT:
                return False  # a part of one, or the sum may not fit
            count += 1
            total += weight
            step = divisor(step, weight)
        if step:
            total //= step
        if total != count and (total > MAX_TURNS or total * count > MAX_WORK):
            return False
        turns = cython.cast(cython.p_int, malloc((total + 1) * cython.sizeof(cython.int)))
        gained = cython.cast(cython.p_longlong, calloc(self.count + 1, cython.sizeof(cython.longlong)))
        if turns == cython.NULL or gained == cython.NULL:
            free(turns)
            free(gained)
            raise MemoryError
        if total == count:
            turn = 0
            for place in range(self.count):
                if not self.over[place]:
                    turns[turn] = place
                    turn += 1
        else:
            for turn in range(total):
                best = -1
                for place in range(self.count):
                    if not self.over[place]:
                        gained[place] += cython.cast(cython.longlong, self.weight[place]) // step
                        if best < 0 or gained[place] > gained[best]:
                            best = place
                gained[best] -= total
                turns[turn] = best
        free(gained)
        free(self.turns)
        # Goes on about where it was: after each change from the start would prefer the first nodes.
        self.cursor = cython.cast(cython.int, self.cursor * total // self.period) if self.period else 0
        self.turns = turns
        self.period = cython.cast(cython.int, total)
        self.due = None
        return True

    @cython.cfunc
    def take_deadlines(self) -> cython.int:
        place: cython.int
        fresh: cython.bint = self.due is None
        if fresh:
            self.due = Tournament(self.count)
            self.now = 0.0
        free(self.turns)
        self.turns = cython.NULL
        self.period = self.cursor = 0
        for place in range(self.count):
            self.due.turn[place] = place
            if self.over[place]:
                self.due.key[place] = INFINITY
            elif self.due.key[place] == INFINITY:
                self.due.key[place] = self.first_due(place)
        self.due.play_all()
        return 0

    def __repr__(self):
        return f"RoundRobin({self.count} nodes, {self.period} turns)"


@cython.cfunc
@cython.exceptval(check=False)
def divisor(a: cython.longlong, b: cython.longlong) -> cython.longlong:
    """Their greatest common divisor."""
    while b:
        a, b = b, a % b
    return a
