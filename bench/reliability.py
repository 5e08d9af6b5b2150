"""python -m bench.reliability: what clients see while one of three nodes fails, behind each gateway in turn.

The table of docs/reliability.md. A gateway gets 400 requests a second, one in five a POST; after 3 s one node fails in
one of the ways below for 6 s, then it works again for 5 s. A request has failed when its client got another status than
200, another body, a cut connection, or nothing within 8 s.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.guarded_peers import GUARDED
from bench.steady_load import Seen, steady_load
from tests.servers.ports import free_port

BEFORE_S, FAILING_S, AFTER_S = 3.0, 6.0, 5.0


class Node:
    """One upstream process on a port of its own, started again there."""

    def __init__(self, journal: Path) -> None:
        self.port = free_port()
        self.journal = journal
        self.start()

    def start(self) -> None:
        argv = [sys.executable, "-m", "bench.faulty_node", str(self.port), str(self.journal)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("an upstream node did not start")

    def say(self, mode: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{mode}\n".encode())
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)


async def killed(node: Node) -> None:
    node.kill()
    await asyncio.sleep(FAILING_S)
    await asyncio.to_thread(node.start)


async def frozen(node: Node) -> None:
    node.signal(signal.SIGSTOP)
    await asyncio.sleep(FAILING_S)
    node.signal(signal.SIGCONT)


async def flapping(node: Node) -> None:
    """Gone for half a second, there for half a second."""
    loop = asyncio.get_running_loop()
    end = loop.time() + FAILING_S
    while loop.time() < end:
        node.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(node.start)
        await asyncio.sleep(0.5)


def mode(name: str) -> Callable[[Node], Awaitable[None]]:
    async def fail(node: Node) -> None:
        node.say(name)
        await asyncio.sleep(FAILING_S)
        node.say("ok")

    return fail


FAILURES: dict[str, Callable[[Node], Awaitable[None]]] = {
    "killed": killed,
    "frozen (SIGSTOP)": frozen,
    "slow (3 s; limit 1 s)": mode("slow"),
    "answers 500": mode("error"),
    "answers garbage": mode("garbage"),
    "resets within the body": mode("reset"),
    "flapping": flapping,
}


@dataclass
class Outcome:
    """Of one gateway and one failure, over all rounds. `twice`: POSTs that were carried out more than once."""

    requests: int = 0
    failed: list[int] = field(default_factory=list)
    failed_gets: int = 0
    what: Counter[str] = field(default_factory=Counter)
    p99_s: list[float] = field(default_factory=list)
    twice: int = 0

    def add(self, seen: Seen, twice: int) -> None:
        self.requests += seen.requests
        self.failed.append(seen.failures.total())
        self.failed_gets += seen.failed_gets
        self.what += seen.failures
        self.p99_s.append(seen.quantile(0.99))
        self.twice += twice


async def one_run(peer: str, failure: str, directory: Path) -> tuple[Seen, int]:
    journal = directory / "posts"
    nodes = [Node(journal) for _ in range(3)]
    gateway = GUARDED[peer]([node.port for node in nodes], directory)
    try:
        await steady_load(gateway.port, 1)  # connections, and first health checks
        journal.write_text("")
        load = asyncio.create_task(steady_load(gateway.port, BEFORE_S + FAILING_S + AFTER_S))
        await asyncio.sleep(BEFORE_S)
        await FAILURES[failure](nodes[0])
        seen = await load
    finally:
        gateway.stop()
        for node in nodes:
            node.kill()
    ids = Counter(journal.read_text().split())
    return seen, sum(count > 1 for count in ids.values())


def table(outcomes: dict[tuple[str, str], Outcome], peers: list[str]) -> str:
    lines = [f"| one of three nodes | {' | '.join(peers)} |", f"| --- |{' ---: |' * len(peers)}"]
    for failure in dict.fromkeys(failure for failure, _ in outcomes):
        cells = []
        for peer in peers:
            outcome = outcomes[failure, peer]
            spread = "" if len(outcome.failed) == 1 else f" ({min(outcome.failed)}–{max(outcome.failed)})"
            middle = sorted(outcome.failed)[len(outcome.failed) // 2]
            cells.append(f"{middle}{spread}, p99 {1000 * max(outcome.p99_s):.0f} ms")
        lines.append(f"| {failure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.reliability", description="The table of docs/reliability.md.")
    parser.add_argument(
        "--peers", nargs="+", choices=list(GUARDED), default=[name for name in GUARDED if name != "bascule-hedging"]
    )
    parser.add_argument("--failures", nargs="+", choices=list(FAILURES), default=list(FAILURES))
    parser.add_argument("--rounds", type=int, default=3, help="of each, interleaved; the table has the median")
    options = parser.parse_args()
    outcomes: dict[tuple[str, str], Outcome] = {}
    for number in range(options.rounds):
        for failure in options.failures:
            for peer in options.peers:
                with tempfile.TemporaryDirectory(prefix="bascule-reliability-") as directory:
                    Path(directory).chmod(0o755)
                    seen, twice = asyncio.run(one_run(peer, failure, Path(directory)))
                outcomes.setdefault((failure, peer), Outcome()).add(seen, twice)
                text = ", ".join(f"{count} {what}" for what, count in seen.failures.most_common()) or "none"
                print(
                    f"round {number + 1}/{options.rounds} {failure}: {peer}: {seen.requests} requests, failed: {text} "
                    f"({seen.failed_gets} GETs), p99 {1000 * seen.quantile(0.99):.0f} ms, carried out twice: {twice}",
                    flush=True,
                )
    print("\n" + table(outcomes, options.peers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
