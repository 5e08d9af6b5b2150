import asyncio

from bascule.control.progress import Progress


def test_who_waits_is_told_once_every_worker_serves_the_revision() -> None:
    async def scene() -> None:
        progress = Progress()
        progress.take(2, 10)
        progress.take(3, 12)
        early, late = (asyncio.ensure_future(progress.wait(revision)) for revision in (10, 11))
        await asyncio.sleep(0)
        progress.reach(2)
        await asyncio.sleep(0)
        assert early.done()
        assert not late.done()
        progress.reach(3)
        await asyncio.wait_for(late, 1)
        assert progress.revision == 12

    asyncio.run(scene())


def test_a_revision_that_is_served_already_is_not_waited_for() -> None:
    async def scene() -> None:
        progress = Progress()
        progress.take(1, 7)
        progress.reach(1)
        await asyncio.wait_for(progress.wait(7), 1)
        await asyncio.wait_for(progress.wait(3), 1)

    asyncio.run(scene())


def test_who_gave_up_waiting_does_no_harm() -> None:
    async def scene() -> None:
        progress = Progress()
        progress.take(1, 7)
        waiting = asyncio.ensure_future(progress.wait(7))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        progress.reach(1)
        assert progress.revision == 7

    asyncio.run(scene())
