# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The node with the fewest requests under way for its weight: lowest (active + 1) / weight."""

import cython
from cython.cimports.bascule.balance.member import Load
from cython.cimports.bascule.balance.picker import Picker
from cython.cimports.bascule.balance.tournament import Tournament
from cython.cimports.libc.math import INFINITY


@cython.final
@cython.cclass
class LeastConn(Picker):
    """Counts this worker's requests. Among equals the turn goes round.

    Loads are shared with the balancers of other versions, so that a request which began under an older one counts here.
    The newest balancer hears of each change; an older one, which few requests still use, looks at all of them."""

    def __init__(self, members):
        place: cython.int
        load: Load
        self.counts = True
        self.tree = Tournament(self.count)
        for place in range(self.count):
            load = self.member(place).load
            if isinstance(load.watcher, LeastConn):
                cython.cast(LeastConn, load.watcher).superseded = True
            load.watcher = self
            load.place = place
        self.superseded = False
        self.changed()

    def pick(self, key, tried):
        place: cython.int
        if self.superseded:
            self.changed()
        place = self.tree.best_but(self.index_of, tried)
        if place < 0:
            return -1
        self.turn += 1
        self.tree.put(place, self.tree.key[place], self.turn)
        return self.index_of[place]

    def on_start(self, index):
        place: cython.int = self.place(index)
        if place >= 0:
            self.member(place).load.began()
            if self.member(place).load.place != place:
                self.load_changed(place)  # the same node is listed twice
        return 0

    def on_finish(self, index, seconds, ok):
        place: cython.int = self.place(index)
        if place >= 0:
            self.member(place).load.ended()
            if self.member(place).load.place != place:
                self.load_changed(place)
        return 0

    def weigh(self, index, factor):
        Picker.weigh(self, index, factor)
        if self.place(index) >= 0:
            self.load_changed(self.place(index))
        return 0

    @cython.cfunc
    def key_of(self, place: cython.int) -> cython.double:
        if self.over[place]:
            return INFINITY
        return (self.member(place).load.mine() + 1) / self.weight[place]

    def changed(self):
        place: cython.int
        for place in range(self.count):
            self.tree.key[place] = self.key_of(place)
        self.tree.play_all()
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def load_changed(self, place: cython.int) -> cython.int:
        if not self.over[place]:
            self.tree.set(place, self.key_of(place))
        return 0

    def __repr__(self):
        return f"LeastConn({', '.join([f'{member.name}={member.load.active}' for member in self.members])})"
