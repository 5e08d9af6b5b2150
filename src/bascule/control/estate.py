"""What a gateway leaves to the next: listening sockets, shared counters, standard output, what is said of them."""

from __future__ import annotations

import logging
import os
import socket

from bascule.control.handover import Offer
from bascule.control.health.kept_states import KeptStates
from bascule.control.http_service import HttpService
from bascule.control.listening import Listening
from bascule.engine.in_flight import InFlight
from bascule.engine.load_table import LoadTable
from bascule.engine.shared_counters import SharedCounters

log = logging.getLogger("bascule.supervisor")


class Estate:
    """`services`: HTTP servers of this process, by name; `notify`: address of the service manager, or None."""

    def __init__(self, version: str, counters: SharedCounters, notify: str | None) -> None:
        self.listening = Listening()
        self.services: dict[str, HttpService] = {}
        self.counters = counters
        self.loads = LoadTable.create()  # of this gateway's own workers
        self.health = KeptStates()
        self.in_flight = InFlight.create(rows=65536)
        self.notify = notify
        self._version = version

    def holdings(self) -> Offer:
        """What the keeper holds: whatever a gateway that follows this one can use."""
        sockets = self.listening.offered()
        for service in self.services.values():
            if service.fd is not None:
                what = {"service": service.name, "ip": service.ip, "port": service.port}
                sockets.append((what, service.fd))
        sockets += [({"shared": "counters"}, self.counters.fd), ({"health": 1}, self.health.fd)]
        sockets.append(({"table": "in flight"}, self.in_flight.fd))
        return Offer({"version": self._version, "pid": os.getpid()}, sockets)

    def offer(self, workers: str | None) -> Offer:
        """What a newer gateway gets; `workers`: what this one was told."""
        self.health.save()
        offer = self.holdings()
        offer.sockets += [({"output": 1}, 1), ({"output": 2}, 2)]
        offer.facts |= {"workers": workers, "notify": self.notify, "listening": self.listening.identities()}
        return offer

    def adopt(self, offer: Offer) -> None:
        """Uses what an older gateway had."""
        self.listening.adopt((what, fd) for what, fd in offer.sockets if "address" in what)
        for what, fd in offer.sockets:
            if "service" in what:
                sock = socket.socket(fileno=fd)
                service = self.services.get(what["service"])
                if service is None:
                    sock.close()
                else:
                    service.adopt(sock, (what["ip"], what["port"]))
            elif "shared" in what:
                self._adopt_counters(fd)
            elif "health" in what:
                self.health.inherit(fd)
            elif "table" in what:
                self._adopt_in_flight(fd)
            elif "output" in what:
                os.dup2(fd, what["output"])
                os.close(fd)
        self.notify = offer.facts.get("notify") or self.notify

    def _adopt_counters(self, fd: int) -> None:
        try:
            counters = SharedCounters.attach(fd)
        except (OSError, ValueError) as error:
            log.warning("rate limits start anew: the older gateway counts in another way (%s)", error)
            os.close(fd)
            return
        if counters.size_bytes == self.counters.size_bytes:
            self.counters = counters
        else:
            log.warning("rate limits start anew: bascule.shared_counters has changed")
            os.close(fd)

    def _adopt_in_flight(self, fd: int) -> None:
        try:
            self.in_flight = InFlight(fd, True)  # it closes what it can't use
        except (OSError, ValueError) as error:
            log.warning("requests in flight of the older gateway aren't counted: %s", error)

    def sweep(self) -> None:
        """A worker has ended: what it held comes free."""
        self.loads.sweep()
        self.in_flight.sweep()

    def __repr__(self) -> str:
        return f"<estate: {self.listening!r}, {len(self.services)} services>"
