# cython: annotation_typing=True
# ruff: noqa: F821  (types and constants stand in the .pxd)
"""Socket addresses: IPv4, IPv6 and Unix sockets, without asking a resolver."""

import cython
from cython.cimports.bascule.net import cnet
from cython.cimports.bascule.net.cnet import sockaddr_in, sockaddr_in6, sockaddr_un
from cython.cimports.libc.string import memcpy, memset, strlen


@cython.cfunc
def parse_address(host: str, port: cython.int, out: cython.pointer(Address)) -> cython.bint:
    v4: cython.pointer(sockaddr_in) = cython.cast(cython.pointer(sockaddr_in), cython.address(out.storage))
    v6: cython.pointer(sockaddr_in6) = cython.cast(cython.pointer(sockaddr_in6), cython.address(out.storage))
    un: cython.pointer(sockaddr_un) = cython.cast(cython.pointer(sockaddr_un), cython.address(out.storage))
    text: bytes
    memset(out, 0, cython.sizeof(Address))
    if host.startswith("unix:"):
        text = host[5:].encode()
        if len(text) >= 108:
            raise ValueError(f"the path of a Unix socket is longer than 107 bytes: {host}")
        un.sun_family = cnet.AF_UNIX
        memcpy(un.sun_path, cython.cast(cython.p_char, text), len(text))
        out.size = cython.sizeof(sockaddr_un)
        return True
    if host.startswith("["):
        host = host[1 : len(host) - 1]
    text = host.encode("idna") if not host.isascii() else host.encode()
    if cnet.inet_pton(cnet.AF_INET, cython.cast(cython.p_char, text), cython.address(v4.sin_addr)) == 1:
        v4.sin_family = cnet.AF_INET
        v4.sin_port = cnet.htons(cython.cast(cython.ushort, port))
        out.size = cython.sizeof(sockaddr_in)
        return True
    if cnet.inet_pton(cnet.AF_INET6, cython.cast(cython.p_char, text), cython.address(v6.sin6_addr)) == 1:
        v6.sin6_family = cnet.AF_INET6
        v6.sin6_port = cnet.htons(cython.cast(cython.ushort, port))
        out.size = cython.sizeof(sockaddr_in6)
        return True
    return False


@cython.cfunc
@cython.exceptval(check=False)
def format_host(a: cython.pointer(cython.const[Address]), out: cython.p_char) -> cython.int:
    v6: cython.pointer(cython.const[sockaddr_in6])
    out[0] = 0
    if a.storage.ss_family == cnet.AF_INET:
        cnet.inet_ntop(
            cnet.AF_INET,
            cython.address(cython.cast(cython.pointer(sockaddr_in), cython.address(a.storage)).sin_addr),
            out,
            64,
        )
    elif a.storage.ss_family == cnet.AF_INET6:
        v6 = cython.cast(cython.pointer(sockaddr_in6), cython.address(a.storage))
        if _is_mapped(cython.address(v6.sin6_addr.s6_addr[0])):  # ::ffff:a.b.c.d is written as IPv4
            cnet.inet_ntop(cnet.AF_INET, cython.address(v6.sin6_addr.s6_addr[12]), out, 64)
        else:
            cnet.inet_ntop(cnet.AF_INET6, cython.address(v6.sin6_addr), out, 64)
    return cython.cast(cython.int, strlen(out))


@cython.cfunc
@cython.exceptval(check=False)
def _is_mapped(b: cython.pointer(cython.const[cython.uchar])) -> cython.bint:
    i: cython.int
    for i in range(10):
        if b[i]:
            return False
    return b[10] == 0xFF and b[11] == 0xFF


@cython.cfunc
@cython.exceptval(check=False)
def port_of(a: cython.pointer(cython.const[Address])) -> cython.int:
    if a.storage.ss_family == cnet.AF_INET:
        return cnet.ntohs(cython.cast(cython.pointer(sockaddr_in), cython.address(a.storage)).sin_port)
    if a.storage.ss_family == cnet.AF_INET6:
        return cnet.ntohs(cython.cast(cython.pointer(sockaddr_in6), cython.address(a.storage)).sin6_port)
    return 0


@cython.cfunc
def local_host(fd: cython.int) -> str:
    """The host of a socket's own address, "" without one."""
    a: Address
    text: cython.char[64]
    n: cython.int
    a.size = cython.sizeof(a.storage)
    if fd < 0 or cnet.getsockname(
        fd, cython.cast(cython.pointer(cnet.sockaddr), cython.address(a.storage)), cython.address(a.size)
    ):
        return ""
    n = format_host(cython.address(a), text)
    return text[:n].decode("ascii")


def roundtrip(host: str, port: int) -> tuple[str, int] | None:
    """(text, port) of a literal address after parsing, None for a name; for tests."""
    a: Address
    out: cython.char[64]
    if not parse_address(host, port, cython.address(a)):
        return None
    n: cython.int = format_host(cython.address(a), out)
    return cython.cast(bytes, out[:n]).decode(), port_of(cython.address(a))
