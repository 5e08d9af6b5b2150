import os
import socket
from collections.abc import Iterator

import pytest

from bascule.control.estate import Estate
from bascule.control.handover import Offer
from bascule.engine.shared_counters import SharedCounters
from bascule.model.listen import ListenAddress
from tests.servers.ports import free_port

SIZE = 1 << 20


@pytest.fixture
def estate() -> Iterator[Estate]:
    made = Estate("9.9", SharedCounters.create(SIZE), "notify-here")
    yield made
    made.listening.close()


def passed(offer: Offer) -> Offer:
    """As another process gets it: with descriptors of its own, and without this process's output."""
    sockets = [(what, os.dup(fd)) for what, fd in offer.sockets if "output" not in what]
    return Offer(offer.facts, sockets)


def test_sockets_and_counters_are_used_on(estate: Estate) -> None:
    address = ListenAddress(host="127.0.0.1", port=free_port())
    estate.listening.open((address,), 1, 16)
    estate.counters.incr("a", 3, 60)
    estate.health.look = lambda: b"what is known"
    offer = estate.offer("2")
    assert offer.facts["workers"] == "2"
    assert offer.facts["notify"] == "notify-here"
    assert [what for what, _ in offer.sockets if "output" in what] == [{"output": 1}, {"output": 2}]
    heir = Estate("9.10", SharedCounters.create(SIZE), None)
    heir.adopt(passed(offer))
    try:
        assert heir.notify == "notify-here"
        assert heir.counters.incr("a", 1, 60)[0] == 4
        assert os.fstat(heir.in_flight.fd).st_ino == os.fstat(estate.in_flight.fd).st_ino
        assert heir.health.inherited() == [b"what is known"]
        heir.listening.open((address,), 1, 16)
        assert heir.listening.identities() == estate.listening.identities()
    finally:
        heir.listening.close()


def test_counters_of_another_size_begin_anew(estate: Estate, caplog: pytest.LogCaptureFixture) -> None:
    heir = Estate("9.10", SharedCounters.create(SIZE * 2), None)
    heir.adopt(passed(estate.holdings()))
    assert "rate limits start anew: bascule.shared_counters has changed" in caplog.text
    assert heir.counters.size_bytes > estate.counters.size_bytes
    with socket.socket() as nothing:
        heir.adopt(Offer({}, [({"shared": "counters"}, os.dup(nothing.fileno()))]))
    assert "the older gateway counts in another way" in caplog.text
    with socket.socket() as nothing:
        heir.adopt(Offer({}, [({"table": "in flight"}, os.dup(nothing.fileno()))]))
    assert "requests in flight of the older gateway aren't counted" in caplog.text
    assert heir.in_flight.rows == 65536
    with socket.socket() as unknown:
        fd = os.dup(unknown.fileno())
        heir.adopt(Offer({}, [({"service": "of another version", "ip": "127.0.0.1", "port": 1}, fd)]))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    assert repr(heir).endswith("0 services>")
