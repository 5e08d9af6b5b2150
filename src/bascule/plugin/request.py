# cython: annotation_typing=True
"""A request as plugins see it: read lazily from the received bytes, and what goes upstream instead of them."""

import cython
from cython.cimports.bascule.plugin.fields import (
    all_fields,
    begins_x_c,
    field_name,
    field_value,
    field_values,
    find_field,
    without_field,
)
from cython.cimports.bascule.wire.head import Head
from cython.cimports.bascule.wire.target import normalise_path, path_is_plain
from cython.cimports.cpython.dict import PyDict_GetItemWithError
from cython.cimports.cpython.object import PyObject
from cython.cimports.libc.stdlib import free, malloc

from bascule.plugin.exchange import BodyTooLarge, MemoryExchange
from bascule.plugin.posted import parse_posted
from bascule.plugin.quoting import check_host, decode, decode_query, encode_target
from bascule.plugin.upstream import UpstreamHandle
from bascule.plugin.variables import getter, is_derived

_CONSUMER_HEADERS = ("X-Consumer-Username", "X-Credential-Identifier", "X-Consumer-Custom-ID")


def consumer_fields(binding) -> list:
    """What the upstream is told of a consumer, ready to send."""
    values = (binding.consumer_name, binding.credential_id, binding.custom_id)
    return [
        (field_name(name), field_value(name, value))
        for name, value in zip(_CONSUMER_HEADERS, values, strict=True)
        if value is not None
    ]


class Request:
    """Everything is str unless said. Headers are latin-1; the path and arguments are percent-decoded UTF-8 (latin-1
    where they aren't UTF-8). A setter changes what goes upstream, and later reads of the same thing see it; the
    received request line (path, query, raw_target) stays as it was."""

    # --- request line

    @property
    def method(self):
        """As it goes upstream. Settable."""
        if self.method_out is not None:
            return self.method_out.decode("ascii")
        return self.slice_(0, self.head.m.method_len)

    @method.setter
    def method(self, value):
        self.method_out = field_name(value).upper()

    @property
    def received_method(self):
        return self.slice_(0, self.head.m.method_len)

    @property
    def raw_target(self):
        """The request target as received."""
        return self.slice_(self.head.m.target_off, self.head.m.target_len)

    @property
    def request_line(self):
        return self.slice_(0, self.head.m.first_line_end).rstrip("\r\n")

    @property
    def path(self):
        """Normalised: percent-decoded, slashes merged, dot segments resolved. What $uri is."""
        if self.path_ is None:
            self.path_ = self.normal_path_()
        return self.path_

    def normal_path_(self):
        n: cython.int = self.head.m.path_len
        done: cython.int
        out: cython.p_char = cython.NULL
        p: cython.p_const_char = self.head.data + self.head.m.path_off
        if n <= 0:
            return "/"
        if path_is_plain(p, n):
            return decode(p[:n])
        out = cython.cast(cython.p_char, malloc(n + 1))
        if out == cython.NULL:
            raise MemoryError
        try:
            done = normalise_path(p, n, out, 0)
            return decode(p[:n] if done < 0 else out[:done])
        finally:
            free(out)

    @property
    def query(self):
        """As received, without "?"; "" when there is none."""
        if self.head.m.query_len <= 0:
            return ""
        return self.slice_(self.head.m.query_off, self.head.m.query_len)

    @property
    def request_uri(self):
        """Normalised path and the query as received."""
        if self.head.m.query_len < 0:
            return self.path
        return f"{self.path}?{self.query}"

    @property
    def host(self):
        """Lower case, without port; "" when the client sent none (HTTP/1.0)."""
        text: str = self.authority
        if text.startswith("["):
            return text[: text.find("]") + 1].lower()
        return text.partition(":")[0].lower()

    @property
    def authority(self):
        """Host with port as received."""
        if self.head.m.host_len <= 0:
            return ""
        return self.slice_(self.head.m.host_off, self.head.m.host_len)

    @property
    def scheme(self):
        return self.exchange.scheme

    @property
    def http_version(self):
        return f"{self.head.m.minor}.0" if self.head.m.minor > 1 else f"1.{self.head.m.minor}"

    # --- addresses

    @property
    def remote_addr(self):
        """The client's, or what set_client said."""
        if self.client_addr is not None:
            return self.client_addr
        return self.exchange.remote_addr if self.peer is None else self.peer

    @property
    def remote_port(self):
        return self.client_port or self.exchange.remote_port

    @property
    def server_addr(self):
        return self.exchange.server_addr

    @property
    def server_port(self):
        return self.exchange.server_port

    def set_client(self, addr, port=0):
        """Who the client is, behind a trusted proxy. Port 0: unknown, the connection's stays."""
        if not isinstance(addr, str):
            raise TypeError(f"an address is a str, not {type(addr).__name__}")
        self.client_addr = addr
        self.client_port = port

    # --- headers

    def header_(self, name):
        if self.host_out is not None and name.lower() == "host":
            return self.host_out.decode("latin-1")
        return find_field(self.head, self.added, name)

    def header(self, name):
        """The value of the first field of this name (in any case), or None."""
        return self.header_(name)

    def header_values(self, name):
        """Values of all fields of this name, in order."""
        if self.host_out is not None and name.lower() == "host":
            return [self.host_out.decode("latin-1")]
        return field_values(self.head, self.added, name)

    def headers(self):
        """All fields as (name, value), names as spelt."""
        pairs = all_fields(self.head, self.added)
        if self.host_out is not None:
            host = self.host_out.decode("latin-1")
            pairs = [(name, host if name.lower() == "host" else value) for name, value in pairs]
        return pairs

    def set_header(self, name, value):
        """Replaces every field of this name. ValueError for a name or value that can't stand in a head, and for
        hop-by-hop and framing fields. "Host" sets upstream_host."""
        pair = (field_name(name), field_value(name, value))
        if len(name) == 4 and name.lower() == "host":
            self.set_upstream_host(pair[1].decode("latin-1"))
            return
        self.added = without_field(self.head, self.added, name)
        self.added.append(pair)

    def add_header(self, name, value):
        """Appends a field, whatever is there already. ValueError as for set_header; there is but one Host."""
        pair = (field_name(name), field_value(name, value))
        if len(name) == 4 and name.lower() == "host":
            raise ValueError("a request has one Host header: use set_header or set_upstream_host")
        if self.added is None:
            self.added = []
        self.added.append(pair)

    def remove_header(self, name):
        """Removes every field of this name, if there is one. Host can't be removed."""
        if name.lower() != "host":
            self.added = without_field(self.head, self.added, name)

    def cookie(self, name):
        """The value of the first cookie of this name, as received; or None."""
        for line in field_values(self.head, self.added, "cookie"):
            for pair in line.split(";"):
                key, equals, value = pair.partition("=")
                if equals and key.strip() == name:
                    return value.strip()
        return None

    # --- arguments and variables

    def arg(self, name):
        """The first value of this name in the query, decoded; "" for a name without a value, None when absent."""
        if self.head.m.query_len <= 0:
            return None
        for key, value in self.args():
            if key == name:
                return value
        return None

    def args(self):
        """All (name, value) of the query, decoded, in order."""
        if self.args_ is None:
            self.args_ = decode_query(self.query)
        return self.args_

    def var(self, name):
        """Any variable: str, int, float, bool, list, or None when it is unknown or has no value."""
        return getter(name)(self)

    def own_var(self, name):
        """What set_var gave it, else the gateway's; without the variables derived from the request."""
        if self.variables is not None and name in self.variables:
            return self.variables[name]
        return self.exchange.variable(name)

    @property
    def variables_set(self):
        """The variables that plugins have set so far, by name; None: none."""
        return self.variables

    def set_var(self, name, value):
        """ValueError for a variable that is derived from the request: change the request instead."""
        if is_derived(name):
            raise ValueError(f"variable {name!r} is derived from the request and can't be set")
        if self.variables is None:
            self.variables = {}
        self.variables[name] = value

    def posted(self):
        """The held body as data: JSON, form or multipart by Content-Type; None when not held, or none of these."""
        body = self.held_body
        if body is None:
            return None
        if self.posted_ is None or (self.posted_[0] is not body and self.posted_[0] != body):
            self.posted_ = (body, parse_posted(self.header_("content-type") or "", body))
        return self.posted_[1]

    # --- what goes upstream

    @property
    def upstream_target(self):
        """Path with query as it goes upstream."""
        if self.target_out is not None:
            return self.target_out.decode("ascii")
        if self.head.m.path_len > 0 or self.head.m.query_len >= 0:
            path = self.slice_(self.head.m.path_off, self.head.m.path_len) or "/"
            return path if self.head.m.query_len < 0 else f"{path}?{self.query}"
        return "*" if self.raw_target == "*" else "/"

    def set_upstream_target(self, target):
        """Path with query. Percent-escapes stay; what can't stand in a target (blanks, non-ASCII) is escaped."""
        self.target_out = encode_target(target)

    @property
    def upstream_host(self):
        """The Host that a plugin set, else the client's (which pass_host may still replace)."""
        return self.authority if self.host_out is None else self.host_out.decode("latin-1")

    def set_upstream_host(self, host):
        """Beats the upstream's pass_host. ValueError unless it can be an authority."""
        self.host_out = check_host(host)

    def use_upstream(self, handle):
        """The upstream for this request, of `host.upstream`; None: the route's own. The last word of the phases
        rewrite and access counts; RuntimeError when a node was chosen already (before_proxy)."""
        if handle is not None and type(handle) is not UpstreamHandle:
            raise TypeError(f"use_upstream takes what host.upstream gave, not {type(handle).__name__}")
        if getattr(self.exchange, "upstream_config", None) is not None:
            raise RuntimeError("the upstream is chosen already: use_upstream belongs into rewrite or access")
        self.chosen = handle

    @property
    def chosen_upstream(self):
        """What use_upstream gave, or None."""
        return self.chosen

    # --- body

    @property
    def content_length(self):
        """As declared; None for chunked or none."""
        return None if self.head.m.content_length < 0 else self.head.m.content_length

    async def body(self, limit):
        """The whole body, held (it still goes upstream). Raises BodyTooLarge past `limit` bytes."""
        if self.body_out is None and self.head.m.content_length > limit:
            raise BodyTooLarge(limit)
        data = await self.peek_body(limit + 1)
        if len(data) > limit:
            raise BodyTooLarge(limit)
        return data

    async def peek_body(self, n):
        """The first n bytes, or all when there are fewer; the rest streams on."""
        if self.body_out is not None:
            return self.body_out[:n]
        data = self.exchange.read_body(n)
        if not isinstance(data, bytes):
            data = await data
        return data[:n]

    @property
    def held_body(self):
        """What has been held of the body so far, or what set_body gave; None: nothing was asked for."""
        return self.exchange.held_body() if self.body_out is None else self.body_out

    def set_body(self, body):
        """Replaces the body upstream, and its length."""
        if not isinstance(body, bytes):
            raise TypeError(f"a request body is bytes, not {type(body).__name__}")
        self.body_out = body

    @property
    def replaced_body(self):
        """What set_body gave, or None."""
        return self.body_out

    def limit_body(self, limit):
        """So many bytes of body are taken at most (0: any number), whatever config.yaml says. Raises BodyTooLarge when
        more were announced or have come; a body that turns out larger later is answered 413 by the gateway."""
        if not self.exchange.limit_body(limit):
            raise BodyTooLarge(limit)

    def hold_whole_body(self):
        """The upstream is asked when all of the body is here, in memory or on disk, and not before."""
        self.exchange.hold_whole_body()

    # --- the response

    def set_response_headers(self, pairs):
        """Response.set_headers for the response to come, whoever makes it, before any header_filter sees it: what is
        known in rewrite, access or before_proxy already needs no header_filter."""
        bit: cython.ulonglong
        if self.ahead is None:
            self.ahead = []
        for name, value in pairs:
            pair = (field_name(name), field_value(name, value))
            bit = cython.cast(cython.ulonglong, 1) << (len(cython.cast(bytes, pair[0])) & 63)
            if self.ahead_lengths & bit:
                self.ahead = without_field(None, self.ahead, name)
            self.ahead.append(pair)
            self.ahead_lengths |= bit

    def buffer_response(self, size):
        """So many bytes of the response may wait for a slow client before the upstream is held up; 0: none."""
        self.exchange.buffer_response(size)

    # --- consumer

    def find_consumer(self, plugin_name, key):
        """The consumer whose conf of this plugin has this key (`Plugin.consumer_key`), or None."""
        if self.consumers is None:
            return self.exchange.find_consumer(plugin_name, key)
        bindings: cython.pointer(PyObject) = PyDict_GetItemWithError(self.consumers, plugin_name)
        if bindings == cython.NULL:
            return None
        found: cython.pointer(PyObject) = PyDict_GetItemWithError(cython.cast(dict, bindings), key)
        return None if found == cython.NULL else cython.cast(object, found)

    def find_consumer_by_name(self, name):
        return self.exchange.find_consumer_by_name(name)

    def attach_consumer(self, binding):
        """Who is calling, from now on; the upstream is told by X-Consumer-Username, X-Credential-Identifier and
        X-Consumer-Custom-ID, and what the client itself sent under these names is removed."""
        fields: list = getattr(binding, "told", None)
        self.consumer = binding
        if self.added is not None or begins_x_c(self.head):
            for name in _CONSUMER_HEADERS:
                self.added = without_field(self.head, self.added, name)
        if fields is None:
            fields = consumer_fields(binding)
            object.__setattr__(binding, "told", fields)  # it is frozen for everybody else
        self.added = fields.copy() if self.added is None else self.added + fields

    # --- the rest

    @property
    def ctx(self):
        """A scratch dict of this request, shared by all plugins: key it by your plugin's name."""
        if self.ctx_ is None:
            self.ctx_ = {}
        return self.ctx_

    @property
    def received_forwarded_for(self):
        """X-Forwarded-For as the client sent it, or None."""
        return None if self.head.m.xff < 0 else self.head.value(self.head.m.xff)

    def slice_(self, off, n):
        return self.head.data[off : off + n].decode("latin-1")

    @staticmethod
    def from_bytes(
        head, *, body=b"", remote_addr="127.0.0.1", remote_port=34567, scheme="http", consumers=None, variables=None
    ):
        """A request with these bytes as its head, without a connection; ValueError when they aren't a whole head."""
        self: Request = Request.__new__(Request)
        self.head = Head()
        if self.head.parse(head, True) <= 0:
            raise ValueError(f"not a whole request head: {head!r}")
        self.exchange = MemoryExchange(body, remote_addr, remote_port, scheme=scheme)
        self.exchange.consumers = consumers or {}
        self.exchange.variables = dict(variables or {})
        return self

    def __repr__(self):
        consumer = "" if self.consumer is None else f" consumer {self.consumer.consumer_name}"
        return f"<request {self.method} {self.authority}{self.upstream_target}{consumer}>"
