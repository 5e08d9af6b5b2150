"""Listening sockets. The supervisor opens them, one per worker for TCP (SO_REUSEPORT), and keeps them open over a worker's death:
what the kernel has queued waits for the replacement instead of being reset."""

from __future__ import annotations

import os
import socket
import stat

from bascule.control.boot import Socket
from bascule.model.listen import ListenAddress


class ListenFailed(Exception):
    """An address can't be listened on; the text says why."""


class Listening:
    def __init__(self, addresses: tuple[ListenAddress, ...], workers: int, backlog: int) -> None:
        """Raises ListenFailed."""
        self._by_worker: list[list[socket.socket]] = [[] for _ in range(workers)]
        self._paths: list[str] = []
        self.addresses: list[str] = []
        try:
            for address in addresses:
                if address.path is not None:
                    self._open_unix(address.path, backlog)
                else:
                    self._open_tcp(address, backlog)
        except OSError as error:
            self.close()
            raise ListenFailed(f"cannot listen on {address}: {(error.strerror or str(error)).lower()}") from None

    def _open_tcp(self, address: ListenAddress, backlog: int) -> None:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        if family == socket.AF_INET6 and not socket.has_ipv6:
            return
        port = address.port
        # A socket without SO_REUSEPORT finds out whether somebody else has the port: with it both would quietly share it.
        probe = socket.socket(family)
        try:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, port))
            except OSError:
                if family == socket.AF_INET6 and address.host == "::":
                    return  # a machine without IPv6: the IPv4 wildcard beside it serves
                raise
            port = probe.getsockname()[1]
        finally:
            probe.close()
        for sockets in self._by_worker:
            sock = socket.socket(family)
            sockets.append(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((address.host, port))
            sock.listen(backlog)
            sock.setblocking(False)
        self.addresses.append(str(ListenAddress(host=address.host, port=port)))

    def _open_unix(self, path: str, backlog: int) -> None:
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):
                probe = socket.socket(socket.AF_UNIX)
                try:
                    probe.connect(path)
                except OSError:
                    os.unlink(path)  # left behind by a gateway that was killed
                finally:
                    probe.close()
        except FileNotFoundError:
            pass
        shared = socket.socket(socket.AF_UNIX)
        shared.bind(path)
        shared.listen(backlog)
        shared.setblocking(False)
        self._paths.append(path)
        for i, sockets in enumerate(self._by_worker):
            sockets.append(shared if i == 0 else shared.dup())
        self.addresses.append(f"unix:{path}")

    def of(self, worker: int) -> tuple[Socket, ...]:
        return tuple(
            Socket(s.fileno(), 0 if s.family == socket.AF_UNIX else s.getsockname()[1], s.family == socket.AF_UNIX)
            for s in self._by_worker[worker]
        )

    def fds(self, worker: int) -> tuple[int, ...]:
        return tuple(s.fileno() for s in self._by_worker[worker])

    def close(self) -> None:
        for sockets in self._by_worker:
            for sock in sockets:
                sock.close()
            sockets.clear()
        for path in self._paths:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
        self._paths.clear()
