import asyncio

import pytest

from bascule.control.secret_managers.manager import AT_ONCE, SecretFailure, SecretManager, member, member_of_text


class Shelf(SecretManager[str]):
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.busy = self.most = 0

    async def get(self, key, documents):
        return member_of_text(await documents.get(key.partition("/")[0]), key.partition("/")[2], "the document")

    async def ask(self, name):
        self.asked.append(name)
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        if name == "broken":
            raise SecretFailure("it is broken")
        return '{"a": "x", "n": 1.5, "t": true, "o": {}}'


def test_each_document_is_asked_for_once():
    shelf = Shelf()
    found = asyncio.run(shelf.fetch(["d/a", "d/n", "d/t", "d/z", "d/o", "broken/a", "broken/b"]))
    assert {key: str(value) for key, value in found.items()} == {
        "d/a": "x",
        "d/n": "1.5",
        "d/t": "true",
        "d/z": 'the document has no field "z"',
        "d/o": 'the field "o" of the document is no text',
        "broken/a": "it is broken",
        "broken/b": "it is broken",
    }
    assert [found[key].gone for key in ("d/z", "d/o", "broken/a")] == [True, True, False]
    assert shelf.asked == ["d", "broken"]


def test_a_few_at_a_time():
    shelf = Shelf()
    asyncio.run(shelf.fetch([f"{n}/a" for n in range(50)]))
    assert (len(shelf.asked), shelf.most) == (50, AT_ONCE)


@pytest.mark.parametrize("text", ["plain", "[1]", "", "\ud800"])
def test_no_object(text):
    with pytest.raises(SecretFailure, match=r'^it is no JSON object, so it has no field "a"'):
        member_of_text(text, "a", "it")
    with pytest.raises(SecretFailure):
        member(text, "a", "it")
