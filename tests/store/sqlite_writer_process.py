"""Writes to a store until it is killed, and tells each thing on stdout once it is acknowledged.

python sqlite_writer_process.py FILE  ->  lines "put TASK NUMBER" and "id NUMBER"
"""

import asyncio
import os
import sys
from pathlib import Path

from bascule.store.entry import Delete, Origin, Put
from bascule.store.sqlite import SqliteStore

TASKS = 6


def tell(text: str) -> None:
    os.write(1, text.encode() + b"\n")


async def write(store: SqliteStore, task: int) -> None:
    entry = await store.get(f"task/{task}")
    number = 0 if entry is None else int(entry.value)
    while True:
        number += 1
        value = b"%d" % number
        other = Put(f"extra/{task}", value) if number % 3 else Delete(f"extra/{task}")
        await store.write([Put(f"task/{task}", value), Put(f"twin/{task}", value), other], Origin("writer"))
        tell(f"put {task} {number}")
        if number % 7 == 0:
            tell(f"id {await store.new_id()}")


async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]), history=200)
    await store.open()
    await asyncio.gather(*(write(store, task) for task in range(TASKS)))


if __name__ == "__main__":
    asyncio.run(main())
