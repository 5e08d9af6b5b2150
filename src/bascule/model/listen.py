"""Where the gateway listens: the forms of `apisix.node_listen`."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from bascule.errors.sentences import Refused


def ip_address(value: str) -> str:
    """An IP address as it is usually written. Raises Refused."""
    try:
        return str(ipaddress.ip_address(value.strip("[]")))
    except ValueError:
        raise Refused(f"{value!r} is not an IP address") from None


class Listen(BaseModel):
    """One entry: a port on `ip`, or on every address without one; or a Unix socket's path. Port 0 picks a free one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ip: Annotated[str, AfterValidator(ip_address)] | None = None
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    path: str | None = None
    enable_http2: bool | None = None
    enable_http3: bool = False
    enable_quic: bool = False

    @property
    def http3(self) -> bool:
        return self.enable_http3 or self.enable_quic

    @model_validator(mode="after")
    def _known_port(self) -> Listen:
        if self.http3 and not self.port:
            raise Refused("HTTP/3 needs a port: clients are told which")
        return self


def as_list(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else [value]


def listen(item: Any) -> Any:
    """9080, "9080", {"ip": …, "port": …}, "unix:/run/bascule.sock"."""
    if isinstance(item, str) and item.startswith("unix:"):
        path = item.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > 107:
            raise Refused("a Unix socket needs an absolute path of at most 107 bytes after unix:")
        return {"path": path}
    if isinstance(item, dict):
        if "port" not in item:
            raise Refused('an entry needs a "port"')
        if "path" in item:
            raise Refused('a Unix socket is written as "unix:/path"')
        return item
    if isinstance(item, int | str) and not isinstance(item, bool):
        return {"port": item}
    return item


class ListenAddress(BaseModel):
    """One socket to open: `host` and `port`, or `path`. `proxy_protocol`: a PROXY header begins each connection.
    `http2`: clients may speak it there. `http3`: they are told that it is spoken on the same port of UDP;
    `udp`: that socket itself."""

    model_config = ConfigDict(frozen=True)

    host: str = ""
    port: int = 0
    path: str | None = None
    proxy_protocol: bool = False
    tls: bool = False
    http2: bool = False
    http3: bool = False
    udp: bool = False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        scheme = "quic" if self.udp else "https" if self.tls else "http"
        return f"{scheme}://[{self.host}]:{self.port}" if ":" in self.host else f"{scheme}://{self.host}:{self.port}"


def addresses(
    entries: tuple[Listen, ...], ipv6: bool, http2: bool, *, proxy_protocol: bool = False, tls: bool = False
) -> tuple[ListenAddress, ...]:
    """The sockets that `entries` ask for, each once. An entry without ip means 0.0.0.0, and :: with `ipv6`.
    `http2`: for entries that don't say."""
    found: dict[ListenAddress, None] = {}
    for entry in entries:
        spoken = http2 if entry.enable_http2 is None else entry.enable_http2
        if entry.path is not None:
            found[ListenAddress(path=entry.path, http2=spoken)] = None
            continue
        hosts = (entry.ip,) if entry.ip else ("0.0.0.0", "::") if ipv6 else ("0.0.0.0",)
        for host in hosts:
            http3 = tls and entry.http3
            address = ListenAddress(
                host=host, port=entry.port, proxy_protocol=proxy_protocol, tls=tls, http2=spoken, http3=http3
            )
            found[address] = None
            if http3:
                found[ListenAddress(host=host, port=entry.port, udp=True)] = None
    return tuple(found)
