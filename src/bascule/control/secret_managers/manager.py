"""What all secret managers are: keys in, texts or failures out, each document asked for once for all its keys."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

import orjson

D = TypeVar("D")

AT_ONCE = 8  # documents that one manager is asked for at the same time


class SecretFailure(Exception):
    """No text for a key; the message says why. `gone`: the manager answered that there is none, so that what it said
    before doesn't count any more. Otherwise it didn't answer, or not as it should."""

    def __init__(self, sentence: str, gone: bool = False) -> None:
        super().__init__(sentence)
        self.gone = gone


class Documents(Generic[D]):
    """The documents of one round."""

    def __init__(self, ask: Callable[[str], Awaitable[D]]) -> None:
        self._ask = ask
        self._asked: dict[str, asyncio.Future[D]] = {}
        self._free = asyncio.Semaphore(AT_ONCE)

    async def get(self, name: str) -> D:
        """Raises SecretFailure, for everyone who asks."""
        asked = self._asked.get(name)
        if asked is None:
            asked = self._asked[name] = asyncio.ensure_future(self._one(name))
        return await asked

    async def _one(self, name: str) -> D:
        async with self._free:
            return await self._ask(name)


class SecretManager(ABC, Generic[D]):
    """One `secrets` resource. `get` reads the text for a key out of the documents that `ask` fetches by name."""

    async def fetch(self, keys: Iterable[str]) -> dict[str, str | SecretFailure]:
        documents = Documents(self.ask)

        async def one(key: str) -> str | SecretFailure:
            try:
                return await self.get(key, documents)
            except SecretFailure as failure:
                return failure

        wanted = list(keys)
        return dict(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))

    @abstractmethod
    async def ask(self, name: str) -> D:
        """Raises SecretFailure."""

    @abstractmethod
    async def get(self, key: str, documents: Documents[D]) -> str:
        """`key`: what follows manager and id in a reference. Raises SecretFailure."""


def member(document: Any, name: str, where: str) -> str:
    """A text, number or truth value in a JSON object. `where` names the object in the failure."""
    if not isinstance(document, dict):
        raise SecretFailure(f'{where} is no JSON object, so it has no field "{name}"', gone=True)
    if name not in document:
        raise SecretFailure(f'{where} has no field "{name}"', gone=True)
    value = document[name]
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return orjson.dumps(value).decode()
    raise SecretFailure(f'the field "{name}" of {where} is no text', gone=True)


def member_of_text(text: str, name: str, where: str) -> str:
    """The same in the text of a JSON object."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = None
    return member(document, name, where)
