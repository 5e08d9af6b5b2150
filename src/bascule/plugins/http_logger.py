"""http-logger: sends log entries to an HTTP server, in batches."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, Field

from bascule.plugin import Config, Host, Plugin, Request, Response
from bascule.plugin.kit.batch import BatchProcessor
from bascule.plugin.kit.captured_bodies import CapturedBodies, CapturedBodiesConf
from bascule.plugin.kit.log_entry import LogEntries, LogFormat

URI = r"^[^/]+://([\da-zA-Z.-]+|\[[\da-fA-F:]+\])(:\d+)?"


def _log_format(value: dict[str, Any]) -> dict[str, Any]:
    LogFormat(value)
    return value


Format = Annotated[dict[str, Any], AfterValidator(_log_format)]


class HttpLoggerConfig(CapturedBodiesConf):
    uri: Annotated[str, Field(pattern=URI)]
    auth_header: str | None = None
    timeout: Annotated[int, Field(ge=1)] = 3
    ssl_verify: bool = False
    concat_method: Literal["json", "new_line"] = "json"
    log_format: Format | None = None
    log_format_extra: Format | None = None
    name: str = "http logger"
    batch_max_size: Annotated[int, Field(ge=1)] = 1000
    inactive_timeout: Annotated[int, Field(ge=1)] = 5
    buffer_duration: Annotated[int, Field(ge=1)] = 60
    max_retry_count: Annotated[int, Field(ge=0)] = 0
    retry_delay: Annotated[int, Field(ge=0)] = 1


class HttpLoggerMetadata(Config):
    log_format: Format | None = None
    log_format_extra: Format | None = None
    max_pending_entries: Annotated[int, Field(ge=1)] = 8192


class HttpLogger(Plugin):
    name = "http-logger"
    priority = 410
    observes_body = True
    Config = HttpLoggerConfig
    Metadata = HttpLoggerMetadata
    encrypt_fields = ("auth_header",)

    conf: HttpLoggerConfig

    def __init__(self, conf: HttpLoggerConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._bodies = CapturedBodies(conf, f"http-logger {host.holder}")
        self._metadata: HttpLoggerMetadata | None = None
        self._entries = self._make_entries(None)
        self._batch: BatchProcessor | None = None

    def hooks(self) -> tuple[str, ...]:
        access = ("access",) if self._bodies.wants_request else ()
        body_filter = ("body_filter",) if self._bodies.wants_response else ()
        return (*access, *body_filter, "log")

    def access(self, request: Request) -> Response | Awaitable[Response | None] | None:
        return self._hold(request)

    async def _hold(self, request: Request) -> Response | None:
        await self._bodies.hold_request(request)
        return None

    def body_filter(self, request: Request, response: Response, chunk: bytes, last: bool) -> bytes | None:
        self._bodies.collect_response(request, response, chunk)
        return None

    def log(self, request: Request) -> None:
        metadata = self.host.metadata()
        if metadata is not self._metadata:
            self._metadata = metadata
            self._entries = self._make_entries(metadata)
        bodies = self._bodies
        entry = self._entries.entry(request, bodies.request_text(request), bodies.response_text(request))
        if self._batch is None:
            self._batch = self._make_batch(request.server_addr)
        self._batch.push(entry)

    def close(self) -> None:
        if self._batch is not None:
            self._batch.close()

    async def send(self, entries: list[Any]) -> None:
        """Posts them; raises when the server doesn't take them."""
        conf = self.conf
        if conf.concat_method == "json":
            # A batch of one by configuration is not a list, as receivers made for it expect.
            body = orjson.dumps(entries[0] if conf.batch_max_size == 1 else entries, default=str)
            headers = [("Content-Type", "application/json")]
        else:
            body = b"\n".join(orjson.dumps(entry, default=str) for entry in entries)
            headers = [("Content-Type", "text/plain")]
        if conf.auth_header is not None:
            headers.append(("Authorization", conf.auth_header))
        answer = await self.host.http.request(
            "POST", conf.uri, headers=headers, body=body, timeout_s=conf.timeout, ssl_verify=conf.ssl_verify
        )
        if answer.status >= 400:
            raise RuntimeError(f"{conf.uri} answered {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}")

    def _make_entries(self, metadata: HttpLoggerMetadata | None) -> LogEntries:
        conf, common = self.conf, metadata or HttpLoggerMetadata()
        return LogEntries(
            conf.log_format or common.log_format,
            conf.log_format_extra or common.log_format_extra,
            settings=self.host.settings,
            now=self.host.now,
        )

    def _make_batch(self, server_addr: str) -> BatchProcessor:
        conf = self.conf
        return BatchProcessor(
            self.host,
            self.send,
            name=conf.name,
            batch_max_size=conf.batch_max_size,
            inactive_timeout=conf.inactive_timeout,
            buffer_duration=conf.buffer_duration,
            max_retry_count=conf.max_retry_count,
            retry_delay=conf.retry_delay,
            max_pending_entries=8192 if self._metadata is None else self._metadata.max_pending_entries,
            server_addr=server_addr,
        )
