# cython: annotation_typing=True
"""A response as plugins see it: an answer made here, or a view of an upstream's head."""

import cython
import orjson
from cython.cimports.bascule.plugin.fields import (
    all_fields,
    field_name,
    field_value,
    field_values,
    find_field,
    forwarded_fields,
    without_field,
)
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.wire.head import Head


@cython.cclass
class AddHeaders:
    """A header_filter that adds the same headers to each response; a plugin's constructor sets it:
    `self.header_filter = AddHeaders(pairs)`. The gateway does that by itself, without a call into Python."""

    def __init__(self, pairs):
        self.pairs = [(field_name(name), field_value(name, value)) for name, value in pairs]

    def __call__(self, request, response):
        self.add_to(response)

    def add_to(self, response):
        for pair in self.pairs:
            response.append(pair)

    def __repr__(self):
        return f"AddHeaders({self.pairs!r})"


class Response:
    """Status, headers and body.

    A dict or list becomes JSON with `Content-Type: application/json`, a str becomes UTF-8 with `text/plain`, unless
    `headers` names a type. Framing (Content-Length, Transfer-Encoding) is the gateway's. Of an upstream's response
    the body streams by (`body` is None), see `Plugin.body_filter`."""

    def __init__(self, status=200, body=b"", headers=None):
        if not 100 <= status <= 599:
            raise ValueError(f"status {status} is not within 100-599")
        self.status = status
        self.source = "plugin"
        if headers is not None:
            for name, value in headers.items() if hasattr(headers, "items") else headers:
                self.add_header(name, value)
        if isinstance(body, bytes):
            self.body = body
        elif isinstance(body, str):
            self.body = body.encode("utf-8", "replace")
            if self.find("content-type") is None:
                self.add_header("Content-Type", "text/plain; charset=utf-8")
        elif isinstance(body, (dict, list)):
            self.body = orjson.dumps(body)
            if self.find("content-type") is None:
                self.add_header("Content-Type", "application/json")
        elif body is None:
            self.body = b""
        else:
            raise TypeError(f"a response body is bytes, str, dict, list or None, not {type(body).__name__}")

    @staticmethod
    def from_bytes(head):
        """The view of an upstream's response with these bytes as its head; for tests."""
        self: Response = Response.__new__(Response)
        self.head = Head()
        if self.head.parse(head, False) <= 0:
            raise ValueError("not a whole response head")
        self.status = self.head.m.status
        self.source = "upstream"
        return self

    def find(self, name):
        return find_field(self.head, self.added, name)

    def header(self, name):
        """The value of the first field of this name (in any case), or None."""
        return find_field(self.head, self.added, name)

    def header_values(self, name):
        """Values of all fields of this name, in order."""
        return field_values(self.head, self.added, name)

    def headers(self):
        """All fields as (name, value)."""
        return all_fields(self.head, self.added)

    def set_header(self, name, value):
        """Replaces every field of this name. ValueError for a name or value that can't stand in a head."""
        self.place(name, (field_name(name), field_value(name, value)))

    def set_headers(self, pairs):
        """set_header for several (name, value) at once, which costs less than one by one."""
        for name, value in pairs:
            self.place(name, (field_name(name), field_value(name, value)))

    def add_header(self, name, value):
        """Appends a field, whatever is there already. ValueError as for set_header."""
        self.append((field_name(name), field_value(name, value)))

    def add_headers(self, pairs):
        """add_header for several (name, value) at once."""
        for name, value in pairs:
            self.append((field_name(name), field_value(name, value)))

    def take_headers(self, request):
        """What plugins have set ahead by request.set_response_headers; the gateway does so before any header_filter."""
        rq: Request = request
        if rq.ahead is None:
            return
        if not self.measured:
            self.measure()
        if self.added is None and not self.lengths & rq.ahead_lengths:
            self.added = rq.ahead.copy()
            self.lengths |= rq.ahead_lengths
            return
        for pair in rq.ahead:
            self.place(cython.cast(bytes, pair[0]).decode(), pair)

    def append(self, pair):
        if self.added is None:
            self.added = []
        self.added.append(pair)
        self.lengths |= cython.cast(cython.ulonglong, 1) << (len(cython.cast(bytes, pair[0])) & 63)

    def place(self, name, pair):
        """Sets a field. Nearly always there is none of its name, which the lengths of names tell."""
        if not self.measured:
            self.measure()
        if self.lengths >> (len(cython.cast(bytes, pair[0])) & 63) & 1:
            self.added = without_field(self.head, self.added, name)
        self.append(pair)

    def measure(self):
        i: cython.int
        self.measured = True
        if self.head is not None:
            for i in range(self.head.m.nfields):
                self.lengths |= cython.cast(cython.ulonglong, 1) << (self.head.m.fields[i].name_len & 63)
        if self.added is not None:
            for pair in self.added:
                self.lengths |= cython.cast(cython.ulonglong, 1) << (len(cython.cast(bytes, pair[0])) & 63)

    def remove_header(self, name):
        """Removes every field of this name, if there is one."""
        self.added = without_field(self.head, self.added, name)

    def detach(self):
        """Of an upstream's: an answer made here from now on, with the same fields."""
        if self.head is not None:
            self.added = forwarded_fields(self.head) + (self.added or [])
            self.head = None

    def __repr__(self):
        body = "streams" if self.body is None else f"{len(self.body)} bytes"
        return f"<response {self.status} {self.source} {body}>"
