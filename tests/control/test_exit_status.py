import asyncio
import subprocess
import sys

from bascule.control.exit_status import exit_status


def python(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code])


def test_the_status_of_what_ends_and_of_what_is_killed() -> None:
    async def scene() -> None:
        async with asyncio.timeout(20):
            assert await exit_status(python("raise SystemExit(3)")) == 3
            sleeper = python("import time; time.sleep(60)")
            ended = exit_status(sleeper)
            sleeper.kill()
            assert await ended == -9

    asyncio.run(scene())
