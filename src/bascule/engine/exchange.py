# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The exchange: one request and its response, from the parsed head to the log, whatever protocols carry it.

Here is its state, and what plugins and logs see of it. Its life is in the files of what is done with it, in this order:
arrival (canonical path, route) -> phases (rewrite, access) -> node_choice (pick, before_proxy) -> tries -> outcome,
request_body, upstream_response or upgrade -> ending. The client's side (Downstream) and the upstream's side (Upstream)
call in; errors of either end there and become an answer, a retry, or a cut connection. Exchanges are used again: one in
flight costs no allocation when no plugin looks at it.
"""

import cython
from cython.cimports.bascule.engine.arrival import asked_host
from cython.cimports.bascule.engine.endpoint import Endpoint
from cython.cimports.bascule.engine.node_choice import resolved
from cython.cimports.bascule.engine.parties import Core, Downstream
from cython.cimports.bascule.engine.request_body import hold_body
from cython.cimports.bascule.net.address import format_host
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.wire.head import Head
from cython.cimports.libc.stdlib import free

from bascule.wire.proxy_protocol import build_proxy_header

SOURCES = ("gateway", "plugin", "upstream")


@cython.cclass
class Exchange:
    def __cinit__(self):
        self.req = Head()
        self.resp = Head()
        self.held_want = -1

    def __dealloc__(self):
        free(self.path_buf)
        free(self.replay)

    def __repr__(self):
        return f"<exchange state={self.state} status={self.status} route={self.route!r} via {self.endpoint!r}>"

    @cython.cfunc
    @cython.exceptval(check=False)
    def reset(self) -> cython.void:
        """Back to what a new one is; buffers stay."""
        self.down = None
        self.up = None
        self.resp_kept = False
        self.route = None
        self.plan = None
        self.chain = None
        self.request = None
        self.response = None
        self.trace = None
        self.pattern = None
        self.host_pattern = None
        self.params = None
        self.state = X_NEW
        self.status = 0
        self.source = 0
        self.shadow = False
        self.websocket = False
        self.ws_key = None
        self.relay = None
        self.asked_body = False
        self.body_done = False
        self.body_sent = False
        self.continued = False
        self.recode = False
        if self.held is not None:
            self.held.close()
            self.held = None
        self.held_offset = 0
        self.held_want = -1
        self.held_waiter = None
        if self.replay != cython.NULL:
            free(self.replay)
            self.replay = cython.NULL
            self.replay_cap = 0
        self.replay_len = 0
        self.replay_lost = False
        self.body_bytes = 0
        self.holds_body = False
        self.request_trailers = None
        self.upstream = None
        self.endpoint = None
        self.key = None
        self.tried = None
        self.tries = None
        self.cookie = None
        self.no_pool = False
        self.pause = None
        self.rivals = None
        self.hedges = 0
        self.body_mode = BODY_NONE
        self.response_done = False
        self.ahead = 0
        self.trailers = None
        self.upstream_status = 0
        self.filtering = False
        self.gathered = None
        self.task = None
        self.steps = None
        self.merged = None
        self.passed = None
        self.failure = None
        self.t_connect = 0
        self.t_sent = 0
        self.t_head = 0
        self.head_bytes = 0

    @cython.ccall
    def ensure(self) -> Request:
        """The request as plugins see it; made at the first call."""
        rq: Request = self.request
        if rq is None:
            rq = Request.__new__(Request)
            rq.head = self.req
            rq.exchange = self
            self.request = rq
            rq.consumers = self.core.consumer_keys
            if self.down is not None:
                rq.peer = self.down.host_str
        if rq.route is None:
            rq.route = self.route
            rq.params = self.params
        return rq

    def var(self, name: str):
        """For the router's conditions."""
        return self.ensure().var(name)

    # ---- what plugins and logs ask (plugin/exchange.py)

    def read_body(self, n: int):
        """Holds at least n bytes, or all; at once where it can."""
        waiter = hold_body(self, n)
        return self.held.read() if waiter is None else self._held(waiter)

    def hold_body(self, n: int):
        """The same without a look at it: None when so much is held, else the Future that waits for it."""
        return hold_body(self, n)

    async def _held(self, waiter):
        await waiter
        return self.held.read()

    def limit_body(self, n: int):
        """For this request instead of the limit for all."""
        self.body_limit = n
        return n == 0 or (self.req.m.content_length <= n and self.body_bytes <= n)

    def hold_whole_body(self):
        self.holds_body = True

    def buffer_response(self, n: int):
        if n > self.ahead or n == 0:
            self.ahead = n

    def held_body(self):
        if self.held is None:
            self.asked_body = True
            return None
        return self.held.read()

    def find_consumer(self, plugin: str, key: str):
        return self.core.tables.find_consumer(plugin, key)

    def find_consumer_by_name(self, name: str):
        return self.core.tables.find_consumer_by_name(name)

    @property
    def remote_addr(self):
        down: Downstream = self.down
        if down is None:
            return ""
        if down.host_str is None:
            down.host_str = "unix:" if down.is_unix else down.host_text[: down.host_len].decode("ascii")
        return down.host_str

    @property
    def remote_port(self):
        return 0 if self.down is None else self.down.peer_port

    @property
    def server_addr(self):
        return "" if self.down is None else self.down.server_address()

    @property
    def server_port(self):
        return 0 if self.down is None else self.down.local_port

    @property
    def proxied(self):
        """The PROXY header (wire/proxy_protocol.py) that the connection began with, or None."""
        return None if self.down is None else self.down.proxied

    @property
    def tls(self):
        """The client's TLS connection (net/tls.py), or None."""
        if self.down is None:
            return None
        return self.down.tls if self.down.quic is None else self.down.quic

    @property
    def scheme(self):
        return "https" if self.down is not None and self.down.secure else "http"

    def host(self) -> str:
        """The host that the request is for, without port, lower-case."""
        return asked_host(self)

    def proxy_header(self, version: int) -> bytes:
        """The PROXY header that tells an upstream who the client is and where it came to."""
        client = self if self.request is None else self.request
        return build_proxy_header(version, client.remote_addr, client.remote_port, self.server_addr, self.server_port)

    def address_text(self) -> str:
        """The node's address as used, "ip:port"."""
        text: cython.char[64]
        n: cython.int
        e: Endpoint = self.endpoint
        if e is None:
            return ""
        if e.host.startswith("unix:"):
            return e.host
        if e.count == 0:
            return f"{e.host}:{e.port}"
        n = e.next - 1
        if self.up is not None:
            n = self.up.address_index
        if n < 0 or n >= e.count:
            n = 0
        n = format_host(cython.address(e.addresses[n]), text)
        host = text[:n].decode("ascii")
        return f"[{host}]:{e.port}" if ":" in host else f"{host}:{e.port}"

    def variable(self, name: str):
        """The gateway's own variables; None: unknown, or nothing to say yet."""
        from bascule.engine.exchange_variables import VARIABLES

        read = VARIABLES.get(name)
        return None if read is None else read(self)

    def record(self) -> tuple:
        """plugin/exchange.py's Record."""
        e: Endpoint = self.endpoint
        now: cython.longlong = self.t_end if self.state == X_DONE else self.core.poller.now
        sent: cython.longlong = self.sent_before
        if self.down is not None:
            sent = self.down.total_sent() - self.sent_before
        node = None
        if e is not None:
            node = e.host if e.literal else self.address_text().rpartition(":")[0].strip("[]")
        return (
            self.status,
            source_name(self.source),
            node,
            self.pattern,
            self.host_pattern,
            now - self.t_start,
            (now - self.t_sent) if self.t_sent else None,
            self.req.m.head_len + self.body_bytes,
            sent,
        )

    def facts(self) -> dict:
        """Numbers of this exchange for exchange_variables.py and the tests; times in us."""
        now: cython.longlong = self.t_end if self.state == X_DONE else self.core.poller.now
        down: Downstream = self.down
        sent: cython.longlong = 0
        if down is not None:
            sent = down.total_sent() - self.sent_before
        else:
            sent = self.sent_before  # finish() leaves the total here
        return {
            "status": self.status,
            "source": source_name(self.source),
            "upstream_status": self.upstream_status,
            "sent": sent,
            "head_bytes": self.head_bytes,
            "request_length": self.req.m.head_len + self.body_bytes,
            "request_us": now - self.t_start,
            "connect_us": (self.t_sent - self.t_connect) if self.t_sent else None,
            "header_us": (self.t_head - self.t_sent) if self.t_head else None,
            "response_us": (now - self.t_sent) if self.t_sent else None,
            "endpoint": self.endpoint,
            "tries": self.tries,
            "pattern": self.pattern,
            "host_pattern": self.host_pattern,
            "failure": self.failure,
            "connection_requests": 0 if down is None else down.served,
        }

    @property
    def upstream_config(self):
        return None if self.upstream is None else self.upstream.upstream

    @property
    def node_index(self):
        return self.node

    @property
    def finished(self):
        return self.state == X_DONE

    # ---- what the resolver tells (net/dns.py)

    def resolution_done(self):
        """The endpoint's name was looked up, or could not be."""
        resolved(self)


@cython.cfunc
def source_name(source: cython.int) -> str:
    return cython.cast(str, SOURCES[source])


@cython.cfunc
def fresh(core: Core) -> Exchange:
    """A spare one, or a new one."""
    x: Exchange
    if len(core.spare):
        return cython.cast(Exchange, core.spare.pop())
    x = Exchange()
    x.core = core
    return x
