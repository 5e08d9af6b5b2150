# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""WebSockets whose frames somebody looks at: hooks of plugins, limits, pings. All others are tunnels of bytes.

Where only heads matter, a run of frames goes on in one piece, as it came, without a copy; where a hook wants payloads,
a frame or message is held until it is whole. Either way a frame of the gateway's own (ping, close) goes between two
others. At the end both sides get a close frame and a moment to answer it.
"""

import os

import cython
from cython.cimports.bascule.engine.phases import hook_failed, lets_pass
from cython.cimports.bascule.engine.plan import Step
from cython.cimports.bascule.wire.websocket import (
    WS_CLOSE,
    WS_CONTINUATION,
    WS_HEAD,
    WS_MORE,
    WS_PING,
    WS_PONG,
    WS_TEXT,
    utf8_step,
    ws_close_fault,
    ws_head,
    ws_mask,
    ws_reset,
    ws_step,
)
from cython.cimports.libc.stdlib import free, realloc
from cython.cimports.libc.string import memcmp, memcpy

from bascule.plugin.frame import DROP, Close

GOODBYE_MS = cython.declare(cython.long, 2000)  # for the close frames' answers
KEPT_BYTES = cython.declare(cython.Py_ssize_t, 4096)  # of an idle buffer
NO_LIMIT = cython.declare(cython.Py_ssize_t, 1 << 62)


@cython.cclass
class Way:
    def __init__(self, from_client, steps, extended):
        step: Step
        ws_reset(cython.address(self.f), from_client, extended)
        self.from_client = from_client
        self.looks, self.frames, self.messages = [], [], []
        self.pieces = []
        self.limit = NO_LIMIT
        for entry in steps:
            step = cython.cast(Step, entry)
            (self.looks, self.frames, self.messages)[step.payload].append(step)
            if step.payload and step.max_bytes < self.limit:
                self.limit = step.max_bytes
        self.holds = bool(self.frames or self.messages)

    def __dealloc__(self):
        free(self.held)

    @cython.cfunc
    def reserve(self, n: cython.Py_ssize_t) -> cython.int:
        """Room for n bytes."""
        grown: cython.p_char
        if n > self.held_cap:
            grown = cython.cast(cython.p_char, realloc(self.held, n))
            if grown == cython.NULL:
                raise MemoryError
            self.held = grown
            self.held_cap = n
        return 0

    @cython.cfunc
    def hold(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        room: cython.Py_ssize_t
        if self.held_len + n > self.held_cap:
            # Not at once what the head announces: that is only a claim.
            room = 2 * (self.held_len + n)
            self.reserve(room if room < self.f.size else cython.cast(cython.Py_ssize_t, self.f.size))
        memcpy(self.held + self.held_len, p, n)
        self.held_len += n
        return 0


@cython.cclass
class WebsocketRelay(Relay):
    def __init__(self, exchange, client_steps, upstream_steps, extended):
        """`extended`: extensions may have been agreed on, since nobody looks at payloads."""
        token: bytes = os.urandom(8)
        self.x = exchange
        self.poller = self.x.core.poller
        self.client = Way(True, client_steps, extended)
        self.upstream = Way(False, upstream_steps, extended)
        memcpy(self.token, cython.cast(cython.p_char, token), 8)
        if self.x.plan.ws_lifetime_ms:
            self.ends_at = self.poller.now + self.x.plan.ws_lifetime_ms * 1000
        if self.x.plan.ws_ping_ms:
            self.ping_us = self.x.plan.ws_ping_ms * 1000
            self.ping_at = self.poller.now + self.ping_us
        self.tick()

    def __repr__(self):
        return f"<websocket closing={bool(self.closing)} of {self.x!r}>"

    # ---- bytes

    @cython.cfunc
    def from_client(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        return self.last_bytes(self.client, p, n) if self.closing else self.feed(self.client, p, n)

    @cython.cfunc
    def from_upstream(self, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        return self.last_bytes(self.upstream, p, n) if self.closing else self.feed(self.upstream, p, n)

    @cython.cfunc
    def feed(self, w: Way, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        """Passes on what may pass. -1: the WebSocket is over, or the other side broken."""
        f: cython.pointer(Frames) = cython.address(w.f)
        to: Stream = self.x.up if w.from_client else self.x.down
        i: cython.Py_ssize_t = 0
        run: cython.Py_ssize_t = -1  # where a run of bytes begins that go on as they are
        r: cython.Py_ssize_t
        off: cython.Py_ssize_t = 0
        k: cython.Py_ssize_t = 0
        fate: cython.int
        w.heard = True
        while i < n and not w.closed:
            r = ws_step(f, p + i, n - i, cython.address(off), cython.address(k))
            if r < 0 or f.event == WS_MORE:
                if run >= 0 and i > run and to.send(p + run, i - run) < 0:
                    return -1
                return self.violated(w, f.error) if r < 0 else 0
            if f.event == WS_HEAD:
                fate = self.judge(w)
                if fate == F_PASS:
                    w.fate = fate
                    if f.have != r:  # its head began in an earlier piece
                        if to.send(cython.cast(cython.p_const_char, cython.address(f.head[0])), f.have) < 0:
                            return -1
                        run = i + r
                    elif run < 0:
                        run = i
                else:
                    if run >= 0 and i > run and to.send(p + run, i - run) < 0:
                        return -1
                    run = -1
                    w.fate = F_DROP if fate < 0 else fate
                    if fate < 0:
                        return self.close_both(self.verdict)
            elif w.fate == F_HOLD:
                w.hold(p + i, k)
            elif w.fate == F_PASS and run < 0:
                run = i
            i += r
            if f.left == 0 and w.fate != F_PASS:
                if w.fate == F_HOLD:
                    if self.whole(w) < 0:
                        return -1
                elif w.emptied and self.pass_on(w, f.opcode, f.fin, w.held, 0) < 0:
                    return -1
                if self.closing or self.x is None:
                    return 0 if self.x is not None else -1
        if run >= 0 and i > run and to.send(p + run, i - run) < 0:
            return -1
        return 0

    @cython.cfunc
    def judge(self, w: Way) -> cython.int:
        """What is to become of the frame whose head is there; -1: `verdict` closes the WebSocket."""
        f: cython.pointer(Frames) = cython.address(w.f)
        frame: Frame
        w.emptied = False
        w.held_len = 0
        if w.unwanted and f.opcode == WS_CONTINUATION:
            w.unwanted = not f.fin
            return F_DROP
        if w.looks:
            frame = Frame.__new__(Frame)
            frame.opcode = f.opcode
            frame.fin = f.fin
            frame.size = f.size
            frame.from_client = w.from_client
            result = self.ask(w.looks, frame)
            if result is DROP:
                if f.opcode == WS_CONTINUATION:
                    w.emptied = True  # the message that it belongs to has to end all the same
                elif f.opcode < WS_CLOSE:
                    w.unwanted = not f.fin
                return F_DROP
            if result is not None:
                self.verdict = result
                return -1
        if f.opcode >= WS_CLOSE:
            return F_HOLD
        if not w.holds:
            return F_PASS
        if f.opcode != WS_CONTINUATION:
            w.kind = f.opcode
            w.utf8 = 0
            w.message_len = 0
        if f.size > w.limit - w.message_len:
            self.verdict = Close(1009, "message too big")
            return -1
        w.message_len += cython.cast(cython.Py_ssize_t, f.size)
        return F_HOLD

    @cython.cfunc
    def whole(self, w: Way) -> cython.int:
        """The frame that was held is whole."""
        f: cython.pointer(Frames) = cython.address(w.f)
        n: cython.Py_ssize_t = w.held_len
        p: cython.p_char = w.held
        fin: cython.bint = f.fin
        payload: bytes = None
        if f.masked:
            ws_mask(p, n, f.mask, 0)
        if f.opcode >= WS_CLOSE:
            return self.control(w, p, n)
        if w.kind == WS_TEXT and (utf8_step(cython.address(w.utf8), p, n) < 0 or (fin and w.utf8 != 0)):
            return self.violated(w, 1007)
        if w.frames:
            result = self.ask(w.frames, made(f.opcode, fin, w.from_client, p[:n]))
            if result is DROP:
                if f.opcode != WS_CONTINUATION:
                    w.unwanted = not fin
                    return 0
                n = 0
            elif isinstance(result, bytes):
                payload = result
            elif result is not None:
                return self.close_both(result)
        if not w.messages:
            if payload is not None:
                return self.put(w, f.opcode, fin, payload)
            return self.pass_on(w, f.opcode, fin, p, n)
        if payload is None:
            payload = p[:n]
        if not fin or w.pieces:
            w.pieces.append(payload)
            if not fin:
                return 0
            payload = b"".join(w.pieces)
            w.pieces = []
        result = self.ask(w.messages, made(w.kind, True, w.from_client, payload))
        if result is DROP:
            return 0
        if isinstance(result, bytes):
            payload = result
        elif result is not None:
            return self.close_both(result)
        return self.put(w, w.kind, True, payload)

    @cython.cfunc
    def control(self, w: Way, p: cython.p_char, n: cython.Py_ssize_t) -> cython.int:
        opcode: cython.int = w.f.opcode
        fault: cython.int
        if opcode == WS_PONG and w.pinged and n == 8 and memcmp(p, self.token, 8) == 0:
            w.pinged = False
            return 0
        if opcode == WS_CLOSE:
            fault = ws_close_fault(p, n)
            if fault:
                return self.violated(w, fault)
            w.closed = True
        if w.holds:
            result = self.ask(w.frames + w.messages, made(opcode, True, w.from_client, p[:n]))
            if result is DROP:
                w.closed = False
                return 0
            if isinstance(result, bytes):
                if len(result) > 125:
                    return self.close_both(Close(1011, "internal error"))
                return self.put(w, opcode, True, result)
            if result is not None:
                return self.close_both(result)
        return self.pass_on(w, opcode, True, p, n)

    @cython.cfunc
    def pass_on(
        self, w: Way, opcode: cython.int, fin: cython.bint, p: cython.p_char, n: cython.Py_ssize_t
    ) -> cython.int:
        """Sends a frame on with a head of ours; where it goes upstream, the payload is masked in place."""
        head: cython.char[14]
        k: cython.int
        r: cython.int
        if w.from_client:
            ws_mask(p, n, w.f.mask, 0)
            k = ws_head(head, opcode, fin, n, w.f.mask)
            r = self.x.up.send2(head, k, p, n)
        else:
            k = ws_head(head, opcode, fin, n, cython.NULL)
            r = self.x.down.send2(head, k, p, n)
        if w.held_cap > KEPT_BYTES:
            free(w.held)
            w.held = cython.NULL
            w.held_cap = 0
        return r

    @cython.cfunc
    def put(self, w: Way, opcode: cython.int, fin: cython.bint, payload: bytes) -> cython.int:
        """The same with bytes that others may hold."""
        n: cython.Py_ssize_t = len(payload)
        if not w.from_client:
            return self.pass_on(w, opcode, fin, payload, n)
        w.reserve(n if n else 1)  # memcpy takes no NULL, not even for nothing
        memcpy(w.held, cython.cast(cython.p_const_char, payload), n)
        return self.pass_on(w, opcode, fin, w.held, n)

    # ---- hooks

    @cython.cfunc
    def ask(self, steps: list, frame: Frame):
        """What the hooks make of it: None (as it is), DROP, a Close, or bytes in place of its payload."""
        step: Step
        changed: bytes = None
        for entry in steps:
            step = cython.cast(Step, entry)
            try:
                if step.filter is not None and not lets_pass(self.x, step):
                    continue
                result = step.call(self.x.request, frame)
                if result is None:
                    continue
                if result is DROP or isinstance(result, Close):
                    return result
                if isinstance(result, str):
                    result = result.encode()
                if not isinstance(result, bytes) or step.payload == 0:
                    raise TypeError(f"a hook that gets {frame!r} must not return {type(result).__name__}")
            except Exception as error:
                hook_failed(self.x, step.plugin, error)
                return Close(1011, "internal error")
            changed = result
            frame = made(frame.opcode, frame.fin, frame.from_client, changed)
        return changed

    # ---- the end

    @cython.cfunc
    def violated(self, w: Way, code: cython.int) -> cython.int:
        """The side broke the protocol: it is told how, the other that this one goes."""
        if w.from_client:
            return self.close_apart(code, 1001, "the client broke the WebSocket protocol")
        return self.close_apart(1014, code, "the upstream broke the WebSocket protocol")

    @cython.cfunc
    def close_both(self, close: object) -> cython.int:
        return self.close_apart(close.code, close.code, close.reason)

    @cython.cfunc
    def end(self, code: cython.int, reason: str) -> cython.int:
        return self.close_apart(code, code, reason)

    @cython.cfunc
    def close_apart(self, client_code: cython.int, upstream_code: cython.int, reason: str) -> cython.int:
        """Close frames to both, as far as one fits in now; then they have a moment to answer. -1: it is over."""
        told: cython.bint
        x: Exchange = self.x
        if self.closing or x is None:
            return 0
        self.closing = True
        x.failure = reason
        text: bytes = reason.encode()
        told = self.tell(self.upstream, WS_CLOSE, code_bytes(client_code) + text)
        told = self.tell(self.client, WS_CLOSE, code_bytes(upstream_code) + text) or told
        if not told:
            x.down.abort()
            return -1
        self.poller.arm(self, GOODBYE_MS)
        self.poller.later(x.down)  # what comes now is read, only to find the answers
        self.poller.later(x.up)
        return 0

    @cython.cfunc
    def tell(self, w: Way, opcode: cython.int, payload: bytes) -> cython.bint:
        """Puts a frame of the gateway's into this direction. False: it doesn't fit in, or the receiver is gone."""
        out: cython.char[140]
        mask: bytes
        to: Stream = self.x.up if w.from_client else self.x.down
        n: cython.int = cython.cast(cython.int, len(payload))
        k: cython.int
        if w.closed or (w.fate == F_PASS and w.f.in_payload):
            return False
        if w.from_client:
            mask = os.urandom(4)
            k = ws_head(out, opcode, True, n, cython.cast(cython.p_uchar, cython.cast(cython.p_char, mask)))
            memcpy(out + k, cython.cast(cython.p_char, payload), n)
            ws_mask(out + k, n, cython.cast(cython.p_uchar, cython.cast(cython.p_char, mask)), 0)
        else:
            k = ws_head(out, opcode, True, n, cython.NULL)
            memcpy(out + k, cython.cast(cython.p_char, payload), n)
        if to.send(out, k + n) < 0:
            return False
        if not w.from_client and to.wlen:
            self.poller.arm(to, self.x.core.send_ms)
        return True

    @cython.cfunc
    def last_bytes(self, w: Way, p: cython.p_const_char, n: cython.Py_ssize_t) -> cython.int:
        """Reads on for the close frame that answers ours. -1: it is over."""
        f: cython.pointer(Frames) = cython.address(w.f)
        if f.error:  # it broke the protocol: nothing that it says can be understood any more
            w.closed = True
        i: cython.Py_ssize_t = 0
        r: cython.Py_ssize_t
        off: cython.Py_ssize_t = 0
        k: cython.Py_ssize_t = 0
        while i < n and not w.closed:
            r = ws_step(f, p + i, n - i, cython.address(off), cython.address(k))
            if r < 0:
                return -1
            i += r
            if f.event != WS_MORE and f.left == 0 and f.opcode == WS_CLOSE:
                w.closed = True
        if self.client.closed and (self.upstream.closed or self.x.up.over):
            return -1
        return 0

    @cython.cfunc
    def stop(self) -> cython.int:
        """The exchange is over."""
        self.poller.forget(self)
        self.x = None
        return 0

    # ---- time

    @cython.cfunc
    def tick(self) -> cython.int:
        """Arms the timer for what is due next."""
        due: cython.longlong = self.ends_at
        if self.ping_at and (due == 0 or self.ping_at < due):
            due = self.ping_at
        if due:
            self.poller.arm(self, cython.cast(cython.long, (due - self.poller.now) // 1000 + 1))
        return 0

    @cython.cfunc
    def on_timeout(self) -> cython.int:
        now: cython.longlong = self.poller.now
        if self.x is None:
            return 0
        if self.closing:
            return self.x.down.abort()
        if self.ends_at and now >= self.ends_at:
            return self.end(1008, "the WebSocket's time is over")
        if self.ping_at and now >= self.ping_at:
            self.ping_at = now + self.ping_us
            self.ping_silent(self.client, self.upstream)
            self.ping_silent(self.upstream, self.client)
        return self.tick()

    def ping_silent(self, side: Way, towards: Way):
        """A ping to a side of which nothing was heard; `towards`: the direction that leads to it."""
        silent = not side.heard
        side.heard = False
        if silent and not side.closed and self.tell(towards, WS_PING, self.token[:8]):
            side.pinged = True

    @cython.cfunc
    def on_failure(self) -> cython.int:
        if self.x is not None:
            self.x.down.abort()
        return 0


def code_bytes(code: int) -> bytes:
    return code.to_bytes(2, "big")


@cython.cfunc
def made(opcode: cython.int, fin: cython.bint, from_client: cython.bint, payload: bytes) -> Frame:
    frame: Frame = Frame.__new__(Frame)
    frame.opcode = opcode
    frame.fin = fin
    frame.from_client = from_client
    frame.payload = payload
    frame.size = len(payload)
    return frame
