import re
from types import SimpleNamespace
from typing import Any

import pytest

from bascule.engine.tls_clients import client_problem
from bascule.snapshot.compiled_ssl import CompiledSsl
from bascule.snapshot.sni_table import SniTable


def ssl(id: str, *names: str, ca: str | None = None, skip: tuple[str, ...] = ()) -> CompiledSsl:
    return CompiledSsl(id, names, (), client_ca=ca, skip=tuple(map(re.compile, skip)))


ASKS = ssl("1", "asks.test", ca="CA", skip=("^/open",))
PLAIN = ssl("2", "plain.test")


def connection(source: CompiledSsl, certificate: bytes | None = None, verify_error: str = "") -> Any:
    identity = SimpleNamespace(source=source)
    return SimpleNamespace(
        identity=identity, server_name=source.names[0], shown=certificate is not None, verify_error=verify_error
    )


@pytest.mark.parametrize(
    ("tls", "host", "path", "problem"),
    [
        (connection(ASKS, b"x"), "asks.test", b"/", None),
        (connection(ASKS), "asks.test", b"/", "the client showed no certificate"),
        (connection(ASKS), "asks.test", b"/open/x", None),
        (connection(ASKS, b"x", "expired"), "asks.test", b"/", "the client's certificate isn't trusted: expired"),
        (connection(PLAIN), "plain.test", b"/", None),
        (connection(PLAIN), "", b"/", None),
        (connection(PLAIN), "asks.test", b"/open/x", None),
        (
            connection(PLAIN),
            "asks.test",
            b"/",
            "asks.test needs a client certificate, and the connection was opened for plain.test",
        ),
    ],
)
def test_who_is_served(tls: Any, host: str, path: bytes, problem: str | None) -> None:
    table = SniTable()
    table.put(None, ASKS)
    table.put(None, PLAIN)
    assert client_problem(tls, table, host, path) == problem
