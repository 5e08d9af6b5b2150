"""Probes as an upstream's configuration makes them, carried out against real servers."""

import asyncio
from collections.abc import Callable
from typing import Any

from bascule.control.health.names import Names
from bascule.control.health.probe import Probe, probe_of
from bascule.control.health.questioner import Questioner, Result
from bascule.control.health.tls_contexts import TlsContexts
from bascule.model.upstream import Upstream
from bascule.net.dns import NoAddress
from bascule.snapshot.references import from_environment
from bascule.snapshot.upstream_compiler import compile_upstream

# Real names need no name server here.
ADDRESSES = {"both.test": ["127.0.0.1", "::1"], "one.test": ["127.0.0.1"], "localhost": ["127.0.0.1"]}


async def eventually(holds: Callable[[], object], timeout_s: float = 20) -> None:
    """Until it holds."""
    for _ in range(int(timeout_s * 500)):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise TimeoutError


async def resolve(name: str) -> tuple[list[str], float]:
    if name not in ADDRESSES:
        raise NoAddress("no such name")
    return ADDRESSES[name], 60.0


def probe(address: str, active: dict[str, Any] | None = None, **upstream: Any) -> Probe:
    """Of an upstream with this one node."""
    # Generous: it is the outcome that counts, and the machine may be busy.
    checks = {"active": {"timeout": 20, **(active or {})}}
    conf = Upstream.model_validate({"nodes": {address: 1}, "checks": checks, **upstream})
    made = probe_of(conf, compile_upstream(conf, "u", None, None).nodes[0])
    assert made is not None
    return made


def ask(asked: Probe, **environ: str) -> Result:
    """What comes of a probe; `environ`: what $env:// stands for."""

    async def run() -> Result:
        contexts = TlsContexts("system", from_environment(environ), lambda _: None)
        questioner = Questioner(Names(resolve), contexts)
        try:
            return await asyncio.wait_for(questioner.ask(asked), 30)
        finally:
            await questioner.close()

    return asyncio.run(run())
