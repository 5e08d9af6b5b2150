import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp

from bascule.control.stapler import Stapler
from bascule.model.change import Change
from bascule.snapshot.certificates import staple_key
from bascule.snapshot.references import Unresolved
from tests.servers.certificates import Certificates
from tests.servers.ocsp import OcspResponder


@pytest.fixture
def responder(tmp_path: Path) -> Iterator[OcspResponder]:
    made = OcspResponder(Certificates(tmp_path))
    yield made
    made.stop()


class Kept:
    """A stapler that runs, and what it told."""

    def __init__(self) -> None:
        self.told: list[dict[bytes, bytes | None]] = []
        self.texts: dict[str, str] = {}
        self.more = asyncio.Event()
        self.stapler = Stapler(self.tell, self.resolve, retry_s=0.05, longest_retry_s=0.1)

    def tell(self, changed: dict[bytes, bytes | None]) -> None:
        self.told.append(changed)
        self.more.set()

    def resolve(self, reference: str) -> str | Unresolved:
        return self.texts.get(reference, Unresolved("no", open=True))

    def take(self, value: dict[str, Any] | None, **stapling: Any) -> None:
        if value is not None:
            value = {"sni": "a.test", **value, "ocsp_stapling": {"enabled": True, **stapling}}
        self.stapler.take([Change("ssls", "1", value), Change("routes", "1", {})])

    async def until(self, holds: Callable[[], Any]) -> None:
        async with asyncio.timeout(15):
            while not holds():
                self.more.clear()
                with contextlib.suppress(TimeoutError):  # not all that is looked for is told
                    await asyncio.wait_for(self.more.wait(), 0.02)


def play(script: Callable[[Kept], Awaitable[None]]) -> None:
    async def run() -> None:
        kept = Kept()
        task = asyncio.create_task(kept.stapler.run())
        try:
            await asyncio.wait_for(script(kept), 30)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_one_is_fetched_and_forgotten(responder: OcspResponder) -> None:
    value = responder.issue("a")
    key = staple_key(value["cert"])

    async def script(kept: Kept) -> None:
        kept.take(value)
        await kept.until(lambda: kept.told)
        [told] = kept.told
        assert list(told) == [key]
        assert told[key] == kept.stapler.answers[key]
        assert ocsp.load_der_ocsp_response(told[key] or b"").certificate_status is ocsp.OCSPCertStatus.GOOD
        assert kept.stapler.details() == {"certificates": 1, "stapled": 1, "trouble": []}
        kept.take(None)
        await kept.until(lambda: len(kept.told) > 1)
        assert kept.told[1] == {key: None}
        assert kept.stapler.answers == {}
        assert len(responder.requests) == 1

    play(script)


def test_failures_are_told_and_asked_again(responder: OcspResponder, caplog: pytest.LogCaptureFixture) -> None:
    async def script(kept: Kept) -> None:
        responder.status = None
        kept.take(responder.issue("a"))
        await kept.until(lambda: len(responder.requests) > 2)
        [trouble] = kept.stapler.details()["trouble"]
        assert trouble == {"ssl": "1", "message": f"no OCSP response: {responder.url} answers 503"}
        responder.status = ocsp.OCSPCertStatus.REVOKED
        await kept.until(lambda: "revoked" in kept.stapler.details()["trouble"][0]["message"])
        responder.stop()
        await kept.until(lambda: "connect" in kept.stapler.details()["trouble"][0]["message"].lower())
        responder.status = ocsp.OCSPCertStatus.GOOD
        responder.start()
        await kept.until(lambda: kept.told)
        assert kept.stapler.details()["trouble"] == []

    play(script)
    assert "is there again" in caplog.text


def test_one_is_renewed_before_it_runs_out_and_dropped_when_it_has(responder: OcspResponder) -> None:
    value = responder.issue("a")
    key = staple_key(value["cert"])

    async def script(kept: Kept) -> None:
        responder.validity = timedelta(seconds=4)
        kept.take(value)
        await kept.until(lambda: len(kept.told) > 1)
        assert all(told[key] for told in kept.told)
        responder.status = None
        await kept.until(lambda: kept.told[-1] == {key: None})
        assert kept.stapler.answers == {}

    play(script)


def test_references_and_changes(responder: OcspResponder) -> None:
    async def script(kept: Kept) -> None:
        first, second = responder.issue("a"), responder.issue("b")
        kept.take({"cert": "$file:///a.crt", "key": "$file:///a.key", "certs": [second["cert"]]})
        await kept.until(lambda: kept.told)
        assert [*kept.stapler.answers] == [staple_key(second["cert"])]
        kept.texts["$file:///a.crt"] = first["cert"]
        kept.stapler.look_again()
        await kept.until(lambda: len(kept.stapler.answers) == 2)
        kept.take({"cert": second["cert"]}, skip_verify=True)  # asked again
        await kept.until(lambda: len(kept.stapler.answers) == 1 and len(responder.requests) == 3)
        kept.take({"cert": second["cert"], "status": 0})
        await kept.until(lambda: not kept.stapler.answers)

    play(script)
