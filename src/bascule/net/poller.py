# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The epoll loop: edge-triggered handles, a timer wheel that costs nothing per request, and asyncio as a guest.

The poller is the selector of a standard asyncio loop (net/loop.py): select() turns this loop until asyncio has
something to do, so a request that needs no coroutine never enters asyncio. Handles are registered once (EPOLLET);
their events carry a generation, since a descriptor closed within a batch of events may be reused within the same
batch.

Timers: a handle stands in at most one of the wheel's slots. Moving a deadline later changes a number only; the handle
is put into its new slot when the old one comes round. Closing unlinks it at once, so a million short connections
leave nothing behind.
"""

import cython
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.cnet import epoll_event, errno, timespec


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def now_us() -> cython.longlong:
    ts: timespec
    cnet.clock_gettime(cnet.CLOCK_MONOTONIC, cython.address(ts))
    return cython.cast(cython.longlong, ts.tv_sec) * 1000000 + ts.tv_nsec // 1000


@cython.cclass
class Handle:
    """A descriptor with its events and one timer."""

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.slot and self.poller is not None:
            self.poller.unlink(self)

    @cython.cfunc
    def on_event(self, events: cython.uint) -> cython.int:
        return 0

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        return 0

    @cython.cfunc
    def on_failure(self) -> cython.int:
        """An event handler raised: leave a consistent state (usually: close)."""
        return 0


@cython.cclass
class Poller:
    def __init__(self):
        self.epoll = cnet.epoll_create1(cnet.EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, "epoll_create1")
        self.handles = [None] * 1024
        self.foreign = []
        self.pending = []
        self.parted = []
        self.now = now_us()
        self.tick = self.now // TICK_US
        self.on_error = None

    def __dealloc__(self):
        if self.epoll >= 0:
            cnet.close(self.epoll)

    def fileno(self):
        return self.epoll

    @cython.cfunc
    def watch(self, h: Handle, events: cython.uint) -> cython.int:
        """Registers h.fd once; events as of epoll_ctl."""
        ev: epoll_event
        handles: list = self.handles
        while h.fd >= len(handles):
            handles.extend([None] * len(handles))
        self.generation += 1
        if self.generation == 0:  # 0 marks asyncio's descriptors
            self.generation = 1
        h.generation = self.generation
        h.poller = self
        ev.events = events
        ev.data.u64 = (cython.cast(cython.ulonglong, h.generation) << 32) | cython.cast(cython.uint, h.fd)
        if cnet.epoll_ctl(self.epoll, cnet.EPOLL_CTL_ADD, h.fd, cython.address(ev)) < 0:
            raise OSError(errno, "epoll_ctl")
        handles[h.fd] = h
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def forget(self, h: Handle) -> cython.int:
        """Closes the descriptor (which takes it out of epoll) and its timer. The handle itself lives to the end of the
        turn: callers up the stack may be its own methods, which hold no reference."""
        self.parted.append(h)
        if h.slot:
            self.unlink(h)
        h.deadline = 0
        if h.fd >= 0:
            self.handles[h.fd] = None
            cnet.close(h.fd)
            h.fd = -1
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def replace(self, old: Handle, h: Handle) -> cython.void:
        if old.slot:
            self.unlink(old)
        old.deadline = 0
        h.fd = old.fd
        h.generation = old.generation
        h.poller = self
        self.handles[h.fd] = h
        old.fd = -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def arm(self, h: Handle, ms: cython.long) -> cython.void:
        """Sets h's one deadline; resolution one tick (50 ms), never early."""
        due: cython.long = self.tick + ms * 1000 // TICK_US + 2
        h.deadline = due
        if h.slot == 0:
            self.place(h, due)
        elif due < h.slot:
            self.unlink(h)
            self.place(h, due)

    @cython.cfunc
    @cython.exceptval(check=False)
    def disarm(self, h: Handle) -> cython.void:
        h.deadline = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def place(self, h: Handle, tick: cython.long) -> cython.void:
        k: cython.long
        first: cython.p_void
        if tick <= self.tick:
            tick = self.tick + 1
        elif tick - self.tick >= WHEEL:
            tick = self.tick + WHEEL - 1
        k = tick % WHEEL
        first = self.wheel[k]
        h.slot = tick
        h.wheel_prev = cython.NULL
        h.wheel_next = first
        if first != cython.NULL:
            cython.cast(Handle, first).wheel_prev = cython.cast(cython.p_void, h)
        self.wheel[k] = cython.cast(cython.p_void, h)
        self.armed += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def unlink(self, h: Handle) -> cython.void:
        if h.wheel_prev != cython.NULL:
            cython.cast(Handle, h.wheel_prev).wheel_next = h.wheel_next
        else:
            self.wheel[h.slot % WHEEL] = h.wheel_next
        if h.wheel_next != cython.NULL:
            cython.cast(Handle, h.wheel_next).wheel_prev = h.wheel_prev
        h.wheel_prev = cython.NULL
        h.wheel_next = cython.NULL
        h.slot = 0
        self.armed -= 1

    @cython.cfunc
    def later(self, h: Handle) -> cython.int:
        """Has on_event(0) called once before the loop sleeps again."""
        self.pending.append(h)
        return 0

    @cython.cfunc
    def turn_wheel(self) -> cython.int:
        h: Handle
        target: cython.long = self.now // TICK_US
        if target - self.tick > WHEEL:  # slept longer than a whole turn
            self.tick = target - WHEEL
        while self.tick < target:
            self.tick += 1
            while self.wheel[self.tick % WHEEL] != cython.NULL:
                h = cython.cast(Handle, self.wheel[self.tick % WHEEL])
                self.unlink(h)
                if h.deadline == 0:
                    continue
                if h.deadline > self.tick:
                    self.place(h, h.deadline)
                    continue
                h.deadline = 0
                try:
                    h.on_timeout()
                except Exception as error:
                    self.failed(h, error)
        return 0

    @cython.cfunc
    def failed(self, h: Handle, error: object) -> cython.int:
        if self.on_error is not None:
            self.on_error(error, h)
        try:
            h.on_failure()
        except Exception as second:
            if self.on_error is not None:
                self.on_error(second, h)
            self.forget(h)
        return 0

    @cython.cfunc
    def run_once(self, timeout_ms: cython.int) -> cython.int:
        """One turn: waits up to timeout_ms (0: not at all), handles events and due timers. The number of events."""
        events: epoll_event[256]
        n: cython.int
        i: cython.int
        fd: cython.int
        generation: cython.uint
        h: Handle
        self.parted.clear()  # no handler is on the stack here
        # Other threads run only while there is nothing to do. Finding that out costs a system call, which is saved
        # while the waits bring few events.
        n = 0
        if not self.dozing or timeout_ms == 0 or len(self.pending):
            n = cnet.epoll_wait(self.epoll, events, 256, 0)
        if n == 0 and timeout_ms != 0 and len(self.pending) == 0:
            with cython.nogil:
                n = cnet.epoll_wait(self.epoll, events, 256, timeout_ms)
            self.dozing = n < BUSY
        self.now = now_us()
        for i in range(n):
            generation = cython.cast(cython.uint, events[i].data.u64 >> 32)
            fd = cython.cast(cython.int, events[i].data.u64 & 0x7FFFFFFF)
            if generation == 0:
                self.foreign.append((fd, events[i].events))
                continue
            entry = self.handles[fd]
            if entry is None:
                continue
            h = cython.cast(Handle, entry)
            if h.generation != generation:
                continue
            try:
                h.on_event(events[i].events)
            except Exception as error:
                self.failed(h, error)
        if self.now // TICK_US != self.tick:
            self.turn_wheel()
        while len(self.pending):
            todo: list = self.pending
            self.pending = []
            for entry in todo:
                h = cython.cast(Handle, entry)
                try:
                    h.on_event(0)
                except Exception as error:
                    self.failed(h, error)
        self.parted.clear()
        return n

    def watch_foreign(self, fd: cython.int, events: cython.uint, operation: cython.int):
        """Level-triggered registration of one of asyncio's descriptors; operation as of epoll_ctl."""
        ev: epoll_event
        ev.events = events
        ev.data.u64 = cython.cast(cython.uint, fd)
        if cnet.epoll_ctl(self.epoll, operation, fd, cython.address(ev)) < 0:
            raise OSError(errno, "epoll_ctl")

    def select(self, timeout: object, ready: object):
        """Turns until asyncio has work: a descriptor of its is ready, `timeout` (s) is over, `ready` isn't empty.

        Returns [(descriptor, epoll events)].
        """
        end: cython.longlong = 0
        bounded: cython.bint = timeout is not None
        wait: cython.longlong
        limit: cython.longlong
        self.foreign = []
        self.now = now_us()  # asyncio's callbacks took time since the last turn
        if bounded:
            wait = 0 if timeout <= 0 else cython.cast(cython.longlong, timeout * 1e6) + 1
            end = self.now + wait
        while True:
            limit = TICK_US // 1000 if self.armed else 1000
            if bounded:
                wait = (end - self.now + 999) // 1000
                if wait < 0 or timeout <= 0:
                    wait = 0
                if wait > limit:
                    wait = limit
            else:
                wait = limit
            self.run_once(cython.cast(cython.int, wait))
            if len(self.foreign) or len(ready):
                break
            if bounded and self.now >= end:
                break
        found: list = self.foreign
        self.foreign = []
        return found
