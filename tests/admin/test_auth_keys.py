import asyncio
from pathlib import Path
from typing import Any

import pytest

from bascule.admin.administration import Administration
from bascule.admin.auth_keys import AuthKeys, auth_keys
from tests.admin.desk import WISH, with_desk


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"plugins": {"key-auth": {"key": "k"}, "cors": {}, "basic-auth": {"username": "u"}}}, ["k", "u"]),
        ({"plugins": {"key-auth": {"key": "$ENV://K"}, "jwt-auth": {"key": "$secret://v/1/k"}}}, []),
        ({"plugins": {"key-auth": {"key": 1}, "jwt-auth": [], "hmac-auth": None}}, []),
        ({"plugins": []}, []),
        (None, []),
        ([1], []),
    ],
)
def test_keys_of_any_value(value: Any, found: list[str]) -> None:
    assert [key.key for key in auth_keys(value)] == found


def consumer(name: str, key: str) -> dict[str, Any]:
    return {"username": name, "plugins": {"key-auth": {"key": key}}}


def test_a_key_belongs_to_one_consumer_or_credential(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        await desk.put("consumers", None, consumer("jack", "k"), WISH)
        credential = {"plugins": {"key-auth": {"key": "c"}}}
        assert (await desk.put("credentials", "jack/credentials/one", credential, WISH)).status == 201
        for body, who in ((consumer("jim", "k"), "consumer: jack"), (consumer("jim", "c"), "credential: one")):
            answer = await desk.put("consumers", None, body, WISH)
            assert (answer.status, answer.body) == (
                400,
                {"error_msg": f"duplicate key of plugin key-auth found with {who}"},
            )
        answer = await desk.put("credentials", "jack/credentials/two", credential, WISH)
        assert answer.body == {"error_msg": "duplicate key of plugin key-auth found with credential: one"}
        # Once it is free, another may have it.
        await desk.delete("credentials", "jack/credentials/one", WISH)
        assert (await desk.put("consumers", None, consumer("jim", "c"), WISH)).status == 201
        await desk.put("consumers", None, consumer("jim", "other"), WISH)
        assert (await desk.put("consumers", None, consumer("joe", "c"), WISH)).status == 201

    with_desk(tmp_path, scene)


def test_of_many_at_once_one_gets_the_key(tmp_path: Path) -> None:
    async def scene(desk: Administration) -> None:
        same = [desk.put("consumers", None, consumer(f"n{n}", "k"), WISH) for n in range(20)]
        own = [desk.put("consumers", None, consumer(f"m{n}", f"k{n}"), WISH) for n in range(200)]
        answers = await asyncio.gather(*same, *own)
        assert sorted(answer.status for answer in answers[:20]) == [201] + 19 * [400]
        assert {answer.status for answer in answers[20:]} == {201}

    with_desk(tmp_path, scene)


def test_what_was_read_once_is_not_unsealed_again(tmp_path: Path) -> None:
    class Counting:
        count = 0

        def unseal(self, kind: str, value: Any) -> dict[str, Any]:
            self.count += 1
            return dict(value)

    async def scene(desk: Administration) -> None:
        for n in range(300):
            await desk.put("consumers", None, consumer(f"n{n}", f"k{n}"), WISH)
        sealer = Counting()
        known = AuthKeys(desk.store, sealer)
        for _ in range(3):
            assert await known.taken("consumers", "new", consumer("new", "k")) is None
        assert sealer.count == 300
        for n in range(299):
            await desk.delete("consumers", f"n{n}", WISH)
        assert await known.taken("consumers", "new", consumer("new", "k")) is None
        assert len(known._known) == len(known._holders) == 1

    with_desk(tmp_path, scene)
