"""A supervisor that does nothing but have its listening socket kept, for tests: prints its port once that is so."""

import asyncio
import os
import socket
import sys

from bascule.control.handover import Offer
from bascule.control.keeper import Keeper


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    facts = {"pid": os.getpid()}
    keeper = Keeper("\0" + sys.argv[1], lambda: Offer(facts, [({"what": "listener"}, listener.fileno())]))
    keeper.start()
    print(listener.getsockname()[1] if await keeper.holds(30) else 0, flush=True)
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main())
