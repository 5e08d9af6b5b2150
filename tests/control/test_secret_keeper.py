import asyncio
import contextlib
import json
import logging
from typing import Any

import pytest

from bascule.control.configuration import pack
from bascule.control.secret_keeper import SecretKeeper
from bascule.model.change import Change
from bascule.snapshot.references import Unresolved
from tests.servers.aws import AwsServer
from tests.servers.google import GoogleServer
from tests.servers.vault import TOKEN, VaultServer


@pytest.fixture
def vault():
    server = VaultServer()
    server.secrets = {"apps/jack": {"key": "k", "other": "o"}}
    yield server
    server.stop()


class Kept:
    """A keeper and what it told."""

    def __init__(self, **options: Any) -> None:
        self.told: list[dict[str, Any]] = []
        self.more = asyncio.Event()
        environ = {"VAULT_TOKEN": TOKEN}
        self.keeper = SecretKeeper(self.tell, environ, **{"refresh_s": 0.05, "retry_s": 0.05, **options})
        self.versions: dict[tuple[str, str], list[Any]] = {}

    def tell(self, changed: dict[str, Any]) -> None:
        self.told.append(changed)
        self.more.set()

    async def take(self, *changes: Change, wait_s: float = 5) -> None:
        await self.keeper.take(changes, wait_s)
        for change in changes:
            self.versions[change.kind, change.id] = [] if change.value is None else [pack(change)]
        self.keeper.settle(changes, lambda kind, id: self.versions[kind, id])

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.more.clear()
                # Not all that is looked for is told.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.more.wait(), 0.02)


def ref(key: str, manager: str = "vault/1") -> str:
    return f"$secret://{manager}/{key}"


def holder(*references: str, id: str = "1") -> Change:
    return Change("routes", id, {"uri": "/", "plugins": {"x": {"a": list(references)}}})


def manager(server: VaultServer, **conf: Any) -> Change:
    value = {"uri": server.url, "prefix": "kv/apps", "token": "$env://VAULT_TOKEN", **conf}
    return Change("secrets", "vault/1", value)


def play(script: Any, **options: Any) -> Any:
    async def run() -> Any:
        kept = Kept(**options)
        try:
            return await asyncio.wait_for(script(kept), 30)
        finally:
            await kept.keeper.close()

    return asyncio.run(run())


def test_what_changes_need_is_there_before_them(vault):
    async def script(kept):
        await kept.take(holder(ref("jack/key"), ref("jack/other")), manager(vault))
        assert kept.told == [{ref("jack/key"): "k", ref("jack/other"): "o"}]
        await kept.take(holder(ref("jack/key"), id="2"))
        assert len(vault.requests) == 1
        assert kept.keeper.answers == kept.told[0]
        assert kept.keeper.resolve(ref("jack/key")) == "k"
        assert kept.keeper.resolve(ref("jack/new")).open
        assert kept.keeper.details() == {"references": 2, "unresolved": [], "stale": []}

    play(script, refresh_s=60)


def test_a_rotation_is_noticed(vault):
    async def script(kept):
        await kept.take(manager(vault), holder(ref("jack/key"), ref("jack/other")))
        vault.secrets = {"apps/jack": {"key": "k2", "other": "o"}}
        await kept.until(lambda: len(kept.told) > 1)
        assert kept.told[1:] == [{ref("jack/key"): "k2"}]

    play(script)


def test_a_manager_that_is_slow_holds_nothing_up(vault):
    async def script(kept):
        vault.gate.clear()
        await kept.take(manager(vault), holder(ref("jack/key")), wait_s=0.05)
        assert kept.told == []
        vault.gate.set()
        await kept.until(lambda: kept.told)
        assert kept.told == [{ref("jack/key"): "k"}]

    play(script, refresh_s=60)


def test_what_was_known_counts_while_the_manager_is_away(vault, caplog):
    async def script(kept):
        await kept.take(manager(vault), holder(ref("jack/key")))
        vault.sealed = True
        await kept.until(lambda: kept.keeper.details()["stale"])
        assert kept.keeper.resolve(ref("jack/key")) == "k"
        (stale,) = kept.keeper.details()["stale"]
        assert stale["message"].endswith('answers 503 for "kv/apps/jack": Vault is sealed')
        vault.secrets = {"apps/jack": {"key": "k2"}}
        vault.sealed = False
        await kept.until(lambda: len(kept.told) > 1)
        assert kept.told[1:] == [{ref("jack/key"): "k2"}]
        assert kept.keeper.details()["stale"] == []

    with caplog.at_level(logging.INFO):
        play(script)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "k2" not in caplog.text


def test_what_is_withdrawn_is_gone(vault):
    async def script(kept):
        await kept.take(manager(vault), holder(ref("jack/key")))
        vault.secrets = {}
        await kept.until(lambda: len(kept.told) > 1)
        sentence = f'{ref("jack/key")} can\'t be resolved: vault at {vault.url} has nothing at "kv/apps/jack"'
        assert kept.told[1:] == [{ref("jack/key"): Unresolved(sentence)}]
        assert kept.keeper.details()["unresolved"] == [{"reference": ref("jack/key"), "message": sentence}]
        vault.secrets = {"apps/jack": {"key": "back"}}
        await kept.until(lambda: len(kept.told) > 2)
        assert kept.told[2:] == [{ref("jack/key"): "back"}]

    play(script)


def test_an_unreachable_manager_heals_by_itself(vault):
    async def script(kept):
        vault.stop()
        await kept.take(manager(vault), holder(ref("jack/key")))
        ((reference, told),) = kept.told[0].items()
        assert (
            told.sentence == f"{reference} can't be resolved: vault at {vault.url} doesn't answer: connection refused"
        )
        vault.start()
        await kept.until(lambda: len(kept.told) > 1)
        assert kept.told[1:] == [{reference: "k"}]

    play(script)


def test_the_manager_may_come_later_change_and_go(vault):
    async def script(kept):
        await kept.take(holder(ref("jack/key")))
        assert kept.told[0][ref("jack/key")].sentence.endswith("there is no secret manager secrets/vault/1")
        await kept.take(manager(vault, token="s.wrong"))
        assert "permission denied" in kept.told[1][ref("jack/key")].sentence
        await kept.take(manager(vault))
        assert kept.told[2] == {ref("jack/key"): "k"}
        await kept.take(manager(vault, uri="nonsense"))
        assert len(kept.told) == 3, "what is known counts"
        assert "secrets/vault/1 can't be used: $.uri" in kept.keeper.details()["stale"][0]["message"]
        await kept.take(Change("secrets", "vault/1", None))
        assert isinstance(kept.told[3][ref("jack/key")], Unresolved)

    play(script, refresh_s=60, retry_s=60)


def test_a_token_that_the_environment_lacks(vault):
    async def script(kept):
        await kept.take(manager(vault, token="$env://NONE"), holder(ref("jack/key")))
        assert "secrets/vault/1: $env://NONE can't be resolved" in kept.told[0][ref("jack/key")].sentence

    play(script)


def test_forms_that_no_reference_has():
    async def script(kept):
        references = ["$secret://valut/1/a/b", "$secret://vault/1", "$secret://vault//a", "$secret://"]
        await kept.take(holder(*references))
        told = {reference: answer for one in kept.told for reference, answer in one.items()}
        assert sorted(told) == sorted(references)
        assert all("must have the form $secret://manager/id/key" in answer.sentence for answer in told.values())

    play(script)


def test_what_nobody_refers_to_is_forgotten(vault):
    async def script(kept):
        await kept.take(manager(vault), holder(ref("jack/key")), holder(ref("jack/key"), ref("jack/other"), id="2"))
        await kept.take(Change("routes", "2", None))
        assert sorted(kept.keeper.answers) == [ref("jack/key")]
        # A version that is refused: the one before it still serves.
        kept.versions["routes", "1"] = [pack(holder(ref("jack/key"))), pack(holder(ref("jack/other")))]
        change = holder(ref("jack/other"))
        await kept.keeper.take([change], 5)
        kept.keeper.settle([change], lambda kind, id: kept.versions[kind, id])
        assert sorted(kept.keeper.answers) == [ref("jack/key"), ref("jack/other")]
        await kept.take(holder())
        assert repr(kept.keeper) == "<secret keeper: 0 references, 1 managers>"

    play(script, refresh_s=60)


def test_an_answer_that_comes_after_its_manager_changed_is_dropped(vault):
    async def script(kept):
        vault.gate.clear()
        await kept.take(manager(vault), holder(ref("jack/key")), wait_s=0.05)
        other = VaultServer()
        other.secrets = {"apps/jack": {"key": "of the other"}}
        await kept.take(manager(other))
        vault.gate.set()
        await asyncio.sleep(0.1)
        other.stop()
        assert kept.told == [{ref("jack/key"): "of the other"}]

    play(script, refresh_s=60)


def test_every_kind_of_manager(vault, tmp_path):
    aws, google = AwsServer(tmp_path), GoogleServer()
    aws.put("jack", json.dumps({"key": "from aws"}))
    google.secrets = {"jack": json.dumps({"key": "from google"})}

    async def script(kept):
        references = [ref("jack/key", name) for name in ("vault/1", "aws/1", "gcp/1")]
        await kept.take(
            manager(vault),
            Change("secrets", "aws/1", aws.resource),
            Change("secrets", "gcp/1", {"auth_config": google.account}),
            holder(*references),
        )
        assert [kept.keeper.resolve(reference) for reference in references] == ["k", "from aws", "from google"]

    try:
        play(script, refresh_s=60)
    finally:
        aws.stop()
        google.stop()


def test_a_mistake_in_a_library_is_a_failure_like_others(vault, monkeypatch):
    async def script(kept):
        def boom(*args):
            raise RuntimeError("boom")

        monkeypatch.setattr(kept.keeper, "_make", boom)
        await kept.take(manager(vault), holder(ref("jack/key")))
        assert kept.told[0][ref("jack/key")].sentence.endswith("internal error: RuntimeError")

    play(script)


def test_files_are_watched(tmp_path, caplog):
    async def script(kept):
        path, reference = tmp_path / "a", f"$file://{tmp_path / 'a'}"
        path.write_text("one\n")
        await kept.take(holder(reference, "$file://relative"))
        assert kept.keeper.resolve(reference) == "one"
        assert kept.keeper.details()["unresolved"] == [
            {
                "reference": "$file://relative",
                "message": "$file://relative must have the form $file:///path with an absolute path",
            }
        ]
        path.write_text("two")
        await kept.until(lambda: kept.told[-1] == {reference: "two"})
        path.unlink()
        await kept.until(lambda: kept.keeper.details()["stale"])
        assert kept.keeper.details()["stale"] == [
            {"reference": reference, "message": f"{reference} can't be resolved: no such file or directory"}
        ]
        assert kept.keeper.resolve(reference) == "two"
        path.write_text("three")
        await kept.until(lambda: kept.told[-1] == {reference: "three"})
        assert kept.keeper.details()["stale"] == []
        await kept.take(holder())
        assert kept.keeper.details()["references"] == 0

    play(script, refresh_s=60, files_s=0.05)
    assert "is resolved again" in caplog.text


def test_a_file_that_was_never_there_is_found_when_it_comes(tmp_path):
    async def script(kept):
        path, reference = tmp_path / "a", f"$file://{tmp_path / 'a'}"
        await kept.take(holder(reference))
        assert isinstance(kept.keeper.resolve(reference), Unresolved)
        path.write_text("one")
        await kept.until(lambda: kept.told[-1] == {reference: "one"})

    play(script, refresh_s=60, files_s=0.05)
