# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""The request head as it goes upstream: what was received, less what belongs to this hop, plus what the gateway adds.

Fields that stay are copied in runs; the client's X-Forwarded-* and X-Real-IP are replaced by what this hop saw.
"""

import cython
from cython.cimports.bascule.engine.endpoint import UpstreamPlan
from cython.cimports.bascule.engine.exchange import Exchange
from cython.cimports.bascule.engine.parties import Core, Downstream
from cython.cimports.bascule.plugin.request import Request
from cython.cimports.bascule.wire.http1 import (
    FIELD_DROP,
    FIELD_FORWARDED,
    FIELD_REMOVED,
    Field,
    Parsed,
    name_is,
)
from cython.cimports.libc.string import memcpy


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_number(o: cython.p_char, value: cython.longlong) -> cython.p_char:
    digits: cython.char[24]
    n: cython.int = 0
    if value == 0:
        o[0] = 48
        return o + 1
    while value > 0:
        digits[n] = cython.cast(cython.char, 48 + value % 10)
        value //= 10
        n += 1
    while n > 0:
        n -= 1
        o[0] = digits[n]
        o += 1
    return o


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def skipped(p: cython.p_const_char, f: cython.pointer(cython.const[Field]), skip: cython.int) -> cython.bint:
    n: cython.int = f.name_len
    if f.flags & (FIELD_DROP | FIELD_FORWARDED | FIELD_REMOVED):
        return True
    if n == 4:
        return (skip & SKIP_HOST) != 0 and name_is(p + f.name_off, b"host", 4)
    if n == 6:
        if skip & SKIP_SERVER:
            return name_is(p + f.name_off, b"server", 6)
        return (skip & SKIP_EXPECT) != 0 and name_is(p + f.name_off, b"expect", 6)
    if n == 14:
        return (skip & SKIP_LENGTH) != 0 and name_is(p + f.name_off, b"content-length", 14)
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def put_fields(
    o: cython.p_char, p: cython.p_const_char, m: cython.pointer(cython.const[Parsed]), skip: cython.int
) -> cython.p_char:
    """Copies the field lines that are forwarded, runs of them at once."""
    i: cython.int
    start: cython.int = m.first_line_end
    n: cython.int
    for i in range(m.nfields):
        if skipped(p, cython.address(m.fields[i]), skip):
            n = m.fields[i].name_off - start
            if n > 0:
                memcpy(o, p + start, n)
                o += n
            start = m.fields[i].end
    n = m.head_len - 2 - start
    if n > 0:
        memcpy(o, p + start, n)
        o += n
    return o


@cython.cfunc
def size_of_added(added: list | None) -> cython.int:
    n: cython.int = 0
    if added is not None:
        for pair in added:
            n += (
                len(cython.cast(bytes, cython.cast(tuple, pair)[0]))
                + len(cython.cast(bytes, cython.cast(tuple, pair)[1]))
                + 4
            )
    return n


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def put_bytes(o: cython.p_char, text: bytes) -> cython.p_char:
    n: cython.Py_ssize_t = len(text)
    memcpy(o, cython.cast(cython.p_char, text), n)
    return o + n


@cython.cfunc
def put_added(o: cython.p_char, added: list | None) -> cython.p_char:
    if added is not None:
        for pair in added:
            o = put_bytes(o, cython.cast(bytes, cython.cast(tuple, pair)[0]))
            o[0] = 58  # ":"
            o[1] = 32
            o = put_bytes(o + 2, cython.cast(bytes, cython.cast(tuple, pair)[1]))
            o[0] = 13
            o[1] = 10
            o += 2
    return o


@cython.cfunc
@cython.exceptval(check=False)
def own_fields(added: list | None) -> cython.int:
    """Which of the fields that the gateway writes (OWN_*) a plugin has set."""
    found: cython.int = 0
    name: bytes
    p: cython.p_const_char
    n: cython.Py_ssize_t
    if added is None:
        return 0
    for pair in added:
        name = cython.cast(bytes, cython.cast(tuple, pair)[0])
        n = len(name)
        p = name
        if (p[0] | 0x20) != 120:  # "x"
            continue
        if n == 15 and name_is(p, b"x-forwarded-for", 15):
            found |= OWN_FOR
        elif n == 9 and name_is(p, b"x-real-ip", 9):
            found |= OWN_REAL_IP
        elif n == 17 and name_is(p, b"x-forwarded-proto", 17):
            found |= OWN_PROTO
        elif n == 16 and name_is(p, b"x-forwarded-host", 16):
            found |= OWN_HOST
        elif n == 16 and name_is(p, b"x-forwarded-port", 16):
            found |= OWN_PORT
    return found


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def forwarded_value(
    p: cython.p_const_char, m: cython.pointer(cython.const[Parsed]), lower: cython.p_const_char, n: cython.int
) -> cython.int:
    """Index of the client's own field of this X-Forwarded-* name, -1: none that says something."""
    i: cython.int
    for i in range(m.nfields):
        if (
            m.fields[i].flags & FIELD_FORWARDED
            and not (m.fields[i].flags & FIELD_REMOVED)
            and m.fields[i].name_len == n
            and m.fields[i].value_len > 0
            and name_is(p + m.fields[i].name_off, lower, n)
        ):
            return i
    return -1


@cython.cfunc
def build_request(core: Core, x: Exchange) -> cython.int:
    p: cython.p_const_char = x.req.data
    m: cython.pointer(Parsed) = cython.address(x.req.m)
    down: Downstream = x.down
    plan: UpstreamPlan = x.upstream
    rq: Request = x.request
    added: list = None
    method: bytes = None
    target: bytes = None
    host: bytes = None
    addr: bytes = None
    body: bytes = None
    o: cython.p_char
    i: cython.int
    skip: cython.int = SKIP_HOST
    room: cython.int = m.head_len * 2 + 1024
    length: cython.longlong = -1
    trusted: cython.bint = True
    named: cython.int = 0
    if rq is not None:
        added = rq.added
        method = rq.method_out
        target = rq.target_out
        host = rq.host_out
        body = rq.body_out
        if rq.client_addr is not None:
            addr = cython.cast(str, rq.client_addr).encode("latin-1")
        named = own_fields(added)
        room += size_of_added(added)
    if core.trusted is not None:
        trusted = cython.cast(bytes, down.host_text[: down.host_len]).decode() in core.trusted
    if host is None:
        if plan.pass_host == 2:
            host = plan.rewrite_host
        elif plan.pass_host == 1:
            host = plan.node_host(x.node)
    if target is not None:
        room += len(target)
    if host is not None:
        room += 2 * len(host)
    core.need_out(room)
    o = core.out
    # request line
    if method is not None:
        o = put_bytes(o, method)
    else:
        memcpy(o, p, m.method_len)
        o += m.method_len
    o[0] = 32
    o += 1
    if target is not None:
        o = put_bytes(o, target)
    else:
        if m.path_len == 0 or (p[m.path_off] != 47 and p[m.path_off] != 42):
            o[0] = 47
            o += 1
        i = m.target_off + m.target_len - m.path_off
        if m.path_len == 0:
            i = m.query_len + 1 if m.query_len >= 0 else 0
            memcpy(o, p + m.query_off - 1, i)
        else:
            memcpy(o, p + m.path_off, i)
        o += i
    memcpy(o, b" HTTP/1.1\r\nHost: ", 17)
    o += 17
    if host is not None:
        o = put_bytes(o, host)
    elif m.host_len > 0:
        memcpy(o, p + m.host_off, m.host_len)
        o += m.host_len
    else:
        o = put_bytes(o, plan.node_host(x.node))
    o[0] = 13
    o[1] = 10
    o += 2
    # fields that stay, and the body's framing
    if body is not None:
        skip |= SKIP_LENGTH | SKIP_EXPECT
        length = len(body)
    elif x.held is not None and not x.recode and x.body_done and m.chunked:
        skip |= SKIP_LENGTH
        length = x.held.size
    if x.continued:
        skip |= SKIP_EXPECT
    o = put_fields(o, p, m, skip)
    if length >= 0:
        memcpy(o, b"Content-Length: ", 16)
        o = put_number(o + 16, length)
        o[0] = 13
        o[1] = 10
        o += 2
    elif m.chunked:
        memcpy(o, b"Transfer-Encoding: chunked\r\n", 28)
        o += 28
    # who asked
    memcpy(o, b"X-Forwarded-For: ", 17)
    o += 17
    if m.xff >= 0 and trusted:
        for i in range(m.xff + 1):
            if (
                m.fields[i].flags & FIELD_FORWARDED
                and not (m.fields[i].flags & FIELD_REMOVED)
                and m.fields[i].name_len == 15
                and m.fields[i].value_len > 0
                and name_is(p + m.fields[i].name_off, b"x-forwarded-for", 15)
            ):
                memcpy(o, p + m.fields[i].value_off, m.fields[i].value_len)
                o += m.fields[i].value_len
                memcpy(o, b", ", 2)
                o += 2
    if named & OWN_FOR:
        # What plugins say is appended to as well, as what the client says.
        others: list = []
        for pair in added:
            if cython.cast(bytes, cython.cast(tuple, pair)[0]).lower() != b"x-forwarded-for":
                others.append(pair)
            elif len(cython.cast(bytes, cython.cast(tuple, pair)[1])) > 0:
                o = put_bytes(o, cython.cast(bytes, cython.cast(tuple, pair)[1]))
                memcpy(o, b", ", 2)
                o += 2
        added = others
    if addr is not None:
        o = put_bytes(o, addr)
    else:
        memcpy(o, down.host_text, down.host_len)
        o += down.host_len
    o[0] = 13
    o[1] = 10
    o += 2
    if not named & OWN_REAL_IP:
        memcpy(o, b"X-Real-IP: ", 11)
        o += 11
        if addr is not None:
            o = put_bytes(o, addr)
        else:
            memcpy(o, down.host_text, down.host_len)
            o += down.host_len
        o[0] = 13
        o[1] = 10
        o += 2
    if not named & OWN_PROTO:
        i = forwarded_value(p, m, b"x-forwarded-proto", 17) if core.trusted is not None and trusted else -1
        if i >= 0:
            memcpy(o, b"X-Forwarded-Proto: ", 19)
            memcpy(o + 19, p + m.fields[i].value_off, m.fields[i].value_len)
            o += 19 + m.fields[i].value_len
            o[0] = 13
            o[1] = 10
            o += 2
        elif down.secure:
            memcpy(o, b"X-Forwarded-Proto: https\r\n", 26)
            o += 26
        else:
            memcpy(o, b"X-Forwarded-Proto: http\r\n", 25)
            o += 25
    if not named & OWN_HOST:
        i = forwarded_value(p, m, b"x-forwarded-host", 16) if core.trusted is not None and trusted else -1
        if i >= 0:
            memcpy(o, b"X-Forwarded-Host: ", 18)
            memcpy(o + 18, p + m.fields[i].value_off, m.fields[i].value_len)
            o += 18 + m.fields[i].value_len
            o[0] = 13
            o[1] = 10
            o += 2
        elif m.host_len > 0 or host is not None:
            memcpy(o, b"X-Forwarded-Host: ", 18)
            o += 18
            if m.host_len > 0:
                memcpy(o, p + m.host_off, m.host_len)
                o += m.host_len
            else:  # HTTP/1.0 without one: the upstream's, as it is sent
                o = put_bytes(o, host)
            o[0] = 13
            o[1] = 10
            o += 2
    if not named & OWN_PORT:
        i = forwarded_value(p, m, b"x-forwarded-port", 16) if core.trusted is not None and trusted else -1
        memcpy(o, b"X-Forwarded-Port: ", 18)
        o += 18
        if i >= 0:
            memcpy(o, p + m.fields[i].value_off, m.fields[i].value_len)
            o += m.fields[i].value_len
        else:
            i = bare_host_len(p + m.host_off, m.host_len) + 1 if m.host_len > 0 else 0
            if i < m.host_len:
                memcpy(o, p + m.host_off + i, m.host_len - i)
                o += m.host_len - i
            else:
                o = put_number(o, down.local_port)
        o[0] = 13
        o[1] = 10
        o += 2
    if core.trusted is not None and trusted:
        for i in range(m.nfields):
            if (
                m.fields[i].flags & FIELD_FORWARDED
                and not (m.fields[i].flags & FIELD_REMOVED)
                and m.fields[i].name_len == 9
                and name_is(p + m.fields[i].name_off, b"forwarded", 9)
            ):
                memcpy(o, p + m.fields[i].name_off, m.fields[i].end - m.fields[i].name_off)
                o += m.fields[i].end - m.fields[i].name_off
    o = put_added(o, added)
    if x.websocket:
        memcpy(o, b"Connection: upgrade\r\nUpgrade: ", 30)
        o += 30
        i = x.req.find_any(b"upgrade", 7, 0)
        if i >= 0:
            memcpy(o, p + m.fields[i].value_off, m.fields[i].value_len)
            o += m.fields[i].value_len
        o[0] = 13
        o[1] = 10
        o += 2
    elif not plan.keep:
        memcpy(o, b"Connection: close\r\n", 19)
        o += 19
    o[0] = 13
    o[1] = 10
    return cython.cast(cython.int, o + 2 - core.out)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bare_host_len(p: cython.p_const_char, n: cython.int) -> cython.int:
    """Length of an authority without its port."""
    i: cython.int = n - 1
    while i > 0 and 48 <= p[i] <= 57:
        i -= 1
    return i if i > 0 and p[i] == 58 and i < n - 1 else n
