import asyncio
import socket

import pytest

from bascule.control.channel import Channel


async def ends() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return await Channel.open(ours), await Channel.open(theirs)


def test_messages_come_whole_and_in_order() -> None:
    async def talk() -> None:
        left, right = await ends()
        left.send("changes", 1, [b"x" * 3_000_000])
        left.send("collect")
        assert await right.receive() == ("changes", 1, [b"x" * 3_000_000])
        assert await right.receive() == ("collect",)
        left.close()
        right.close()

    asyncio.run(talk())


def test_the_end_of_the_other_side_shows_when_receiving() -> None:
    async def talk() -> None:
        left, right = await ends()
        left.close()
        with pytest.raises(EOFError):
            await right.receive()
        right.close()

    asyncio.run(talk())
