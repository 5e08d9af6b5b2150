import os
import socket
from pathlib import Path
from typing import Any

import pytest

from bascule.control.listening import ListenFailed, Listening
from bascule.model.listen import ListenAddress
from tests.servers.ports import free_port

LOCAL = ListenAddress(host="127.0.0.1", port=0)


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_every_worker_has_its_own_socket_on_the_same_port() -> None:
    listening = Listening()
    listening.open((LOCAL,), 3, 16)
    sockets = [listening.of(worker)[0] for worker in range(3)]
    assert len({one.port for one in sockets}) == 1
    assert len({one.fd for one in sockets}) == 3
    assert listening.addresses == (f"http://127.0.0.1:{sockets[0].port}",)
    assert connects(sockets[0].port)
    listening.close()
    assert not connects(sockets[0].port)


def test_a_port_that_somebody_has_is_told_even_if_it_could_be_shared() -> None:
    first, second = Listening(), Listening()
    first.open((LOCAL,), 1, 16)
    port = first.of(0)[0].port
    with pytest.raises(ListenFailed, match=f"cannot listen on http://127.0.0.1:{port}: address already in use"):
        second.open((LOCAL, ListenAddress(host="127.0.0.1", port=port)), 2, 16)
    assert second.addresses == ()
    assert second.of(0) == ()
    first.close()
    second.close()


def test_a_unix_socket_is_shared_and_its_file_goes_at_the_end(tmp_path: Path) -> None:
    path = str(tmp_path / "b.sock")
    listening = Listening()
    listening.open((ListenAddress(path=path),), 2, 16)
    assert listening.of(0) == listening.of(1)
    assert listening.of(0)[0].unix
    other = Listening()
    with pytest.raises(ListenFailed, match="in use"):
        other.open((ListenAddress(path=path),), 1, 16)
    listening.close()
    assert not os.path.exists(path)


def test_the_file_of_a_killed_gateway_is_no_hindrance(tmp_path: Path) -> None:
    path = str(tmp_path / "b.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    listening = Listening()
    listening.open((ListenAddress(path=path),), 1, 16)
    listening.close()


def test_addresses_and_workers_change_in_place() -> None:
    listening = Listening()
    listening.open((LOCAL,), 2, 16)
    before = [listening.of(worker)[0] for worker in range(2)]
    listening.open((LOCAL, ListenAddress(host="127.0.0.2", port=0)), 3, 16)
    assert [listening.of(worker)[0] for worker in range(2)] == before, "what was there goes on"
    assert len(listening.addresses) == 2
    assert len(listening.fds(2)) == 2
    listening.open((ListenAddress(host="127.0.0.2", port=0),), 1, 16)
    assert len(listening.addresses) == 1
    assert connects(before[0].port), "its queue is still served by workers that drain"
    listening.close_retired()
    assert not connects(before[0].port)
    listening.close()


def test_what_a_draining_worker_alone_has_is_let_go_of_with_it() -> None:
    listening = Listening()
    listening.open((LOCAL,), 2, 16)
    one, two = (socket.socket(fileno=os.dup(listening.of(worker)[0].fd)) for worker in range(2))
    port = listening.of(0)[0].port
    with one, two:
        listening.open((LOCAL,), 1, 16)
        listening.retire(0)
        listening.retire(1)  # worker 1 has the last copy of its socket now
        two.close()
        for _ in range(12):  # so that all find the one that is left
            assert connects(port)
    listening.close()


def test_what_was_retired_is_taken_back_when_it_is_asked_for_again() -> None:
    """New settings didn't work out: the old addresses are still ours, though some workers left them already."""
    old, new = (ListenAddress(host="127.0.0.1", port=free_port()) for _ in range(2))
    listening = Listening()
    listening.open((old,), 2, 16)
    kept = listening.of(1)[0].fd
    listening.open((new,), 2, 16)
    listening.retire(0)
    listening.open((old,), 2, 16)
    assert listening.of(1)[0].fd == kept
    listening.close_retired()
    assert connects(old.port)
    assert not connects(new.port)
    with pytest.raises(ListenFailed, match="in use"):
        Listening().open((old,), 1, 16)
    listening.close()
    assert not connects(old.port)


def offer_of(listening: Listening) -> list[tuple[dict[str, Any], int]]:
    """As another process gets it."""
    return [(what, os.dup(fd)) for what, fd in listening.offered()]


def test_what_is_adopted_stays_the_others_until_they_have_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "b.sock")
    old, new = Listening(), Listening()
    wanted = (LOCAL, ListenAddress(path=path))
    old.open(wanted, 2, 128)
    port = old.of(0)[0].port
    new.adopt(offer_of(old))
    new.adopt(offer_of(old))  # two may have kept it
    assert len(new.offered()) == 3
    assert new.identities() == old.identities()
    new.open(wanted, 1, 128)
    assert new.addresses == old.addresses
    new.close()  # it fails to start
    for _ in range(12):
        assert connects(port), "every one of the old sockets still takes connections"
    assert os.path.exists(path)
    new.adopt(offer_of(old))
    new.open(wanted, 2, 128)
    old.close()  # it stops in good order at the same time, and turns connections away
    assert not os.path.exists(path)
    new.settle()
    for _ in range(12):
        assert connects(port)
    new.close()
    assert not connects(port)


def test_what_was_adopted_and_is_not_wanted_is_let_go_of(tmp_path: Path) -> None:
    path = str(tmp_path / "b.sock")
    old, new = Listening(), Listening()
    old.open((LOCAL, ListenAddress(path=path)), 1, 128)
    port = old.of(0)[0].port
    new.adopt(offer_of(old))
    new.open((ListenAddress(host="127.0.0.2", port=0),), 1, 128)
    old.leave()
    assert connects(port)
    assert os.path.exists(path), "nobody knows yet whether this one comes to serve"
    new.settle()
    assert not connects(port)
    assert not os.path.exists(path)
    new.close()


def test_another_use_of_the_same_place_is_the_same_socket() -> None:
    plain = ListenAddress(host="127.0.0.1", port=free_port())
    other = plain.model_copy(update={"proxy_protocol": True})
    listening = Listening()
    listening.open((plain,), 2, 16)
    before = listening.fds(0)
    listening.open((other,), 2, 16)
    assert listening.fds(0) == before
    listening.close_retired()
    assert connects(plain.port)
    listening.close()
