"""What config.yaml asks for has changed: another keeper, and what it does not name is served no more."""

import json
import os
import signal
from pathlib import Path

from tests.control.acme.test_keeper import running
from tests.servers.ports import free_port


def test_a_name_that_leads_elsewhere(tmp_path: Path) -> None:
    """The other name is served nevertheless, and this one once it leads here."""

    with running(tmp_path, ["a.test", "b.test"]) as served:
        served.wait_shown("b.test")
        served.server.http_port, right = free_port(), served.server.http_port
        served.gateway.configure({"bascule": {"acme": {"names": ["a.test", "b.test", "c.test"]}}})
        os.kill(served.gateway.process.pid, signal.SIGHUP)
        served.wait(lambda: len(served.told()) == 3 and served.told()[2]["trouble"] is not None)
        assert "c.test: connection: " in served.told()[2]["trouble"]
        assert served.shown("a.test") is not None
        served.server.http_port = right
        served.wait_shown("c.test")

        # A name that is taken out is served no more.
        served.gateway.configure({"bascule": {"acme": {"names": ["b.test", "c.test"]}}})
        os.kill(served.gateway.process.pid, signal.SIGHUP)
        served.wait(lambda: served.shown("a.test") is None)
        assert served.shown("b.test") is not None


def test_an_authority_that_forgot_the_account(tmp_path: Path) -> None:
    with running(tmp_path, ["a.test"]) as served:
        served.wait_shown("a.test")
        served.server.accounts.clear()
        served.gateway.configure({"bascule": {"acme": {"names": ["b.test"]}}})
        os.kill(served.gateway.process.pid, signal.SIGHUP)
        served.wait_shown("b.test")
        assert "accountDoesNotExist" in served.gateway.log
        kept = json.loads(next(served.store.rglob("account.json")).read_text())
        assert kept["uri"] == served.server.accounts[0].uri
