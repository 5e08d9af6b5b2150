"""What a request needs from whoever carries it: the engine's exchange, or the one in memory for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

Value = str | int | float | bool | list[Any] | None  # of a variable


class Record(NamedTuple):
    """What became of a request, for the log phase."""

    status: int
    source: str  # "upstream", "plugin", "gateway"
    node: str | None  # address of the upstream's node
    matched_uri: str | None
    matched_host: str | None
    request_us: int
    upstream_us: int | None  # None: no upstream was asked
    received_bytes: int
    sent_bytes: int


class ConsumerBinding(Protocol):
    """A consumer as found by one of its credentials."""

    @property
    def consumer_name(self) -> str: ...
    @property
    def conf(self) -> Any:
        """The ConsumerConfig of the plugin that found it; None when it was found by name."""

    @property
    def credential_id(self) -> str | None: ...
    @property
    def group_id(self) -> str | None: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def custom_id(self) -> str | None: ...


class Exchange(Protocol):
    remote_addr: str
    remote_port: int
    server_addr: str
    server_port: int
    scheme: str

    def variable(self, name: str) -> Value:
        """Variables that the gateway owns: status, upstream_addr, request_time…; None when unknown or not yet set."""

    def read_body(self, n: int) -> bytes | Awaitable[bytes]:
        """Holds the body until at least n bytes or its end have come, and returns what is held (perhaps more than n);
        at once where it can, else something to await. What is held still goes upstream."""

    def record(self) -> Record | tuple[int, str, str | None, str | None, str | None, int, int | None, int, int]:
        """At once what loggers need of the variables; as a Record or a plain tuple of the same."""

    def held_body(self) -> bytes | None:
        """What read_body has held of it so far; None: nothing was asked for."""

    def limit_body(self, n: int) -> bool:
        """The most bytes of body, 0: any number. False: more were announced, or have come."""

    def hold_whole_body(self) -> None:
        """Before the upstream is asked."""

    def buffer_response(self, n: int) -> None:
        """So many bytes may wait for the client while the upstream goes on."""

    def find_consumer(self, plugin: str, key: str) -> ConsumerBinding | None: ...
    def find_consumer_by_name(self, name: str) -> ConsumerBinding | None: ...


class BodyTooLarge(Exception):
    """The request body is longer than the `limit` bytes that the caller can hold: answer 413."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"request body is larger than {limit} bytes")
        self.limit = limit


@dataclass
class MemoryExchange:
    """An exchange without a connection. `consumers` maps plugin name -> key -> binding."""

    body: bytes = b""
    remote_addr: str = "127.0.0.1"
    remote_port: int = 34567
    server_addr: str = "127.0.0.1"
    server_port: int = 9080
    scheme: str = "http"
    consumers: Mapping[str, Mapping[str, ConsumerBinding]] = field(default_factory=dict)
    variables: dict[str, Value] = field(default_factory=dict)
    held: int = -1
    holds_body: bool = False
    response_buffer: int = 0

    def variable(self, name: str) -> Value:
        return self.variables.get(name)

    def read_body(self, n: int) -> bytes:
        self.held = max(self.held, min(n, len(self.body)))
        return self.body[: self.held]

    def record(self) -> Record:
        upstream_s: Any = self.variables.get("upstream_response_time")
        get: Any = self.variables.get
        return Record(
            get("status") or 0,
            get("response_source") or "gateway",
            get("balancer_ip"),
            get("matched_uri"),
            get("matched_host"),
            round((get("request_time") or 0) * 1e6),
            None if upstream_s is None else round(upstream_s * 1e6),
            get("request_length") or 0,
            get("bytes_sent") or 0,
        )

    def held_body(self) -> bytes | None:
        return None if self.held < 0 else self.body[: self.held]

    def limit_body(self, n: int) -> bool:
        return n == 0 or len(self.body) <= n

    def hold_whole_body(self) -> None:
        self.holds_body = True

    def buffer_response(self, n: int) -> None:
        self.response_buffer = n

    def find_consumer(self, plugin: str, key: str) -> ConsumerBinding | None:
        return self.consumers.get(plugin, {}).get(key)

    def find_consumer_by_name(self, name: str) -> ConsumerBinding | None:
        for bindings in self.consumers.values():
            for binding in bindings.values():
                if binding.consumer_name == name:
                    return binding
        return None
