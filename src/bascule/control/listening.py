"""Listening sockets. The supervisor opens them, one per worker for TCP and UDP (SO_REUSEPORT), and keeps them when a
worker dies: what the kernel has queued waits for the replacement instead of being reset."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any, NamedTuple

from bascule.control.boot import Socket
from bascule.model.listen import ListenAddress
from bascule.net.syn_filter import let_in, turn_away


class ListenFailed(Exception):
    """An address can't be listened on; the text says why."""


class _Retired(NamedTuple):
    """A socket that is no longer asked for; `worker`: whose own it is, None: all workers'."""

    address: ListenAddress
    worker: int | None
    sock: socket.socket


class Listening:
    """The sockets of each address: as many as workers, but a Unix socket is one that all share."""

    def __init__(self) -> None:
        self._sockets: dict[ListenAddress, list[socket.socket]] = {}
        self._retired: list[_Retired] = []
        self._used: tuple[ListenAddress, ...] = ()
        self._chosen: dict[ListenAddress, ListenAddress] = {}  # what port 0 became
        self._shared = False  # those who had the sockets before may still accept from them

    def open(
        self, addresses: tuple[ListenAddress, ...], workers: int, backlog: int, *, beside_orphans: bool = False
    ) -> None:
        """Listens on `addresses`, with what is open already; what is no longer asked for stays until `close_retired`,
        and is taken back when it is asked for again before.
        `beside_orphans`: workers of a killed gateway may still have the addresses. Raises ListenFailed, and has then
        changed nothing."""
        if any(address.udp for address in addresses) and find_spec("aioquic") is None:
            raise ListenFailed(
                "cannot serve HTTP/3 (apisix.ssl.listen.enable_http3): it needs aioquic: pip install 'bascule[http3]'"
            )
        opened: list[tuple[ListenAddress, socket.socket]] = []
        used: list[ListenAddress] = []
        held = {_place(address): address for address in self._sockets}
        for wanted in addresses:
            address = self._chosen.get(wanted, wanted)
            have = len(self._sockets[held[_place(address)]]) if _place(address) in held else 0
            if _place(address) in map(_place, used):
                have = 0  # the kernel says what is wrong with it
            try:
                while have < (1 if address.path else workers):
                    if address.path:
                        sock = _open_unix(address.path, backlog, beside_orphans)
                    else:
                        ours = {one.worker: one.sock for one in self._retired if _place(one.address) == _place(address)}
                        alone = have == 0 and not beside_orphans and not ours
                        sock = ours.get(have) or _open_ip(address, alone, backlog)
                    if address.port == 0 and not address.path:
                        address = address.model_copy(update={"port": sock.getsockname()[1]})
                        self._chosen[wanted] = address
                    opened.append((address, sock))
                    have += 1
            except OSError as error:
                if address.host == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    continue  # a machine without IPv6: the IPv4 wildcard beside it serves
                retired = {id(one.sock) for one in self._retired}
                for taken, sock in opened:
                    if id(sock) not in retired:
                        sock.close()
                    if taken.path:
                        os.unlink(taken.path)
                reason = (error.strerror or str(error)).lower()
                raise ListenFailed(f"cannot listen on {address}: {reason}") from None
            used.append(address)
        for address in used:
            if (before := held.get(_place(address), address)) != address:  # the same place, used in another way
                self._sockets[address] = self._sockets.pop(before)
        for address, sock in opened:
            self._sockets.setdefault(address, []).append(sock)
        back = {id(sock) for _, sock in opened}
        self._retired = [one for one in self._retired if id(one.sock) not in back]
        self._used = tuple(used)
        for address in [address for address in self._sockets if address not in self._used]:
            sockets = self._sockets.pop(address)
            self._retired += [
                _Retired(address, None if address.path else worker, sock) for worker, sock in enumerate(sockets)
            ]
            if address.path and not self._shared:
                _unlink(address.path)
        for address, sockets in self._sockets.items():
            if not address.path:
                self._retired += [_Retired(address, worker, sock) for worker, sock in enumerate(sockets)][workers:]
                del sockets[workers:]

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(str(address) for address in self._used)

    def offered(self) -> list[tuple[dict[str, Any], int]]:
        """What a newer gateway is given: (address as asked for, address, JSON), descriptor."""
        asked = {address: wanted for wanted, address in self._chosen.items()}
        return [
            ({"wanted": asked.get(address, address).model_dump(), "address": address.model_dump()}, sock.fileno())
            for address, sockets in self._sockets.items()
            for sock in sockets
        ]

    def adopt(self, offered: Iterable[tuple[dict[str, Any], int]]) -> None:
        """Takes over what an older gateway offered, or what was kept of one that was killed; `open` then uses what
        fits. Until `settle` all of it is the others' as well. A socket that comes twice is taken once."""
        known = {_identity(sock) for sockets in self._sockets.values() for sock in sockets}
        for what, fd in offered:
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            if _identity(sock) in known:
                sock.close()
                continue
            known.add(_identity(sock))
            address, wanted = (ListenAddress.model_validate(what[name]) for name in ("address", "wanted"))
            self._sockets.setdefault(address, []).append(sock)
            if address != wanted:
                self._chosen[wanted] = address
            self._shared = True

    def settle(self) -> None:
        """Those from whom sockets were adopted have gone: they are this gateway's own now."""
        self.close_retired()
        if self._shared:
            for sockets in self._sockets.values():
                for sock in sockets:
                    let_in(sock.fileno())  # whoever stops turns connections away from what nobody uses any more
        self._shared = False

    def identities(self) -> list[int]:
        """Of the sockets, the same in every process that has them."""
        return [_identity(sock) for sockets in self._sockets.values() for sock in sockets]

    def leave(self) -> None:
        """Closes what others have, too, and go on using; paths of Unix sockets stay, they are their own."""
        if self._shared:
            for one in self._retired:
                one.sock.close()
            self._retired.clear()
        self.close_retired()
        for sockets in self._sockets.values():
            for sock in sockets:
                sock.close()
        self._sockets.clear()

    def of(self, worker: int) -> tuple[Socket, ...]:
        return tuple(
            Socket(
                sockets[0 if address.path else worker].fileno(),
                address.port,
                address.path is not None,
                proxy_protocol=address.proxy_protocol,
                tls=address.tls,
                http2=address.http2,
                http3=address.http3,
                udp=address.udp,
            )
            for address, sockets in self._sockets.items()
        )

    def fds(self, worker: int) -> tuple[int, ...]:
        return tuple(one.fd for one in self.of(worker))

    def retire(self, worker: int) -> None:
        """Lets go of what is no longer asked for and was this worker's own: it is about to drain, and takes what is
        queued there."""
        self._let_go([one for one in self._retired if one.worker == worker])
        self._retired = [one for one in self._retired if one.worker != worker]

    def close_retired(self) -> None:
        """Once no worker that is to go on uses them."""
        if self._shared:
            paths = {one.address.path for one in self._retired} - {address.path for address in self._sockets}
            for path in filter(None, paths):
                _unlink(path)
        self._let_go(self._retired)
        self._retired.clear()

    @staticmethod
    def _let_go(retired: Iterable[_Retired]) -> None:
        for one in retired:
            turn_away(one.sock.fileno())
            one.sock.close()

    def close(self) -> None:
        """Workers that have these sockets too take what is queued, and nothing new joins the queue. What was adopted
        and isn't this gateway's own yet is left."""
        for address, sockets in self._sockets.items():
            if self._shared:
                break
            if address.path:
                _unlink(address.path)
            for sock in sockets:
                turn_away(sock.fileno())
        self.leave()


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _place(address: ListenAddress) -> tuple[str, int, str | None, bool]:
    """What can be listened on once only."""
    return address.host, address.port, address.path, address.udp


def _identity(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def _open_ip(address: ListenAddress, alone: bool, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if address.udp else socket.SOCK_STREAM
    if alone and address.port:
        # One without SO_REUSEPORT finds out whether somebody else has the port: with it both would quietly share it.
        with socket.socket(family, kind) as probe:
            _set_options(probe, family)
            probe.bind((address.host, address.port))
    sock = socket.socket(family, kind)
    try:
        _set_options(sock, family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address.host, address.port))
        if not address.udp:
            sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _set_options(sock: socket.socket, family: int) -> None:
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if sock.type == socket.SOCK_STREAM:  # for UDP it would let two have the same port
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _open_unix(path: str, backlog: int, beside_orphans: bool) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            if beside_orphans:
                os.unlink(path)  # they keep theirs, without a name
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)  # left behind by a gateway that was killed
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
