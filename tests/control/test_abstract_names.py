import os
import socket

from bascule.control.abstract_names import abstract_names


def test_names_are_found_by_how_they_begin_and_vanish_with_their_socket() -> None:
    prefix = f"\0bascule-names-{os.getpid()}-"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as two:
        one.bind(f"{prefix}b")
        two.bind(f"{prefix}a")
        one.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{prefix}b")
            with one.accept()[0]:  # which has the name, too
                assert abstract_names(prefix) == [f"{prefix}a", f"{prefix}b"]
        assert abstract_names(f"{prefix}b") == [f"{prefix}b"]
    assert abstract_names(prefix) == []
