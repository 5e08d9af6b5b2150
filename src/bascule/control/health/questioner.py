"""Carries a probe out and says how it went. Whatever a node does, it ends in time."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from dataclasses import dataclass

from bascule.balance.node_health import Outcome
from bascule.control.health.conversation import LARGEST, Conversation, TooMuch
from bascule.control.health.grpc_probe import NotServing, ask_grpc
from bascule.control.health.http_probe import Cut, Malformed, ask_http
from bascule.control.health.names import Names
from bascule.control.health.probe import Probe, is_address
from bascule.control.health.tls_contexts import TlsContexts, Unusable
from bascule.model.node import UNIX
from bascule.net.dns import NoAddress

log = logging.getLogger("bascule.health")


@dataclass(frozen=True, slots=True)
class Result:
    """`outcome` None: it says nothing (a status that is in neither list). `kind`: for metrics; `reason`: for people."""

    outcome: Outcome | None
    kind: str
    reason: str = ""


class Questioner:
    def __init__(self, names: Names, contexts: TlsContexts) -> None:
        self._names = names
        self._contexts = contexts

    async def ask(self, probe: Probe) -> Result:
        """Never raises, save when it is cancelled; takes the check's `timeout` at most."""
        try:
            async with asyncio.timeout(probe.timeout_s):
                return await self._ask(probe)
        except TimeoutError:
            return Result(Outcome.TIMEOUT, "timeout", f"no answer within {probe.timeout_s:g} s")
        except NoAddress as error:
            return Result(Outcome.TCP_FAILURE, "unresolved", f"{probe.host} can't be resolved: {error}")
        except Unusable as error:
            return Result(Outcome.TCP_FAILURE, "tls", str(error))
        except ssl.SSLError as error:
            return Result(Outcome.TCP_FAILURE, "tls", f"TLS: {_tls_reason(error)}")
        except Cut as error:
            return Result(Outcome.TCP_FAILURE, "tcp_failure", str(error))
        except OSError as error:
            return Result(Outcome.TCP_FAILURE, "tcp_failure", _reason(error))
        except NotServing as error:
            return Result(Outcome.HTTP_FAILURE, "http_failure", str(error))
        except TooMuch:
            return Result(Outcome.HTTP_FAILURE, "malformed", f"the answer has more than {LARGEST} bytes")
        except Malformed as error:
            return Result(Outcome.HTTP_FAILURE, "malformed", str(error))
        except Exception as error:  # a mistake of ours, or of a library, must not end the checks
            log.exception("internal error while checking %s:%d", probe.host, probe.port)
            return Result(None, "error", f"internal error: {type(error).__name__}")

    async def _ask(self, probe: Probe) -> Result:
        context = self._contexts.context(probe) if probe.secure else None
        if is_address(probe.host) or probe.host.startswith(UNIX):
            addresses = [probe.host]
        else:
            addresses = await self._names.addresses(probe.host)
        with await Conversation.open(probe, addresses, context) as conversation:
            check = probe.check
            if check.type == "tcp":
                return Result(Outcome.SUCCESS, "success")
            if check.type == "grpc":
                await ask_grpc(probe, conversation)
                return Result(Outcome.SUCCESS, "success")
            status = await ask_http(probe, conversation)
            if status in check.healthy.http_statuses:
                return Result(Outcome.SUCCESS, "success")
            if status in check.unhealthy.http_statuses:
                return Result(Outcome.HTTP_FAILURE, "http_failure", f"status {status}")
            return Result(None, "ignored", f"status {status} is in neither list")

    def address_of(self, host: str) -> str | None:
        """Of a name, if it was asked for and has one."""
        return self._names.known(host)

    async def close(self) -> None:
        await self._names.close()


def _reason(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate isn't accepted: {error.verify_message}"
    return (error.reason or str(error)).replace("_", " ").lower()
