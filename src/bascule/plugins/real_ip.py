"""real-ip: takes the client's address from a header, cookie or argument that a trusted peer sends."""

from ipaddress import ip_address

from pydantic import Field

from bascule.plugin.host import Host
from bascule.plugin.kit.ip_list import IpList, IpOrCidr
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request


class RealIpConfig(Config):
    source: str = Field(min_length=1)
    trusted_addresses: list[IpOrCidr] | None = Field(None, min_length=1)
    recursive: bool = False


class RealIp(Plugin):
    name = "real-ip"
    priority = 23000
    Config = RealIpConfig
    conf: RealIpConfig

    def __init__(self, conf: RealIpConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.trusted = IpList(conf.trusted_addresses) if conf.trusted_addresses else None
        # With apisix.trusted_addresses, a peer that isn't among them can't say whom it forwards for.
        proxies = host.settings["trusted_addresses"]
        self.proxies = IpList(proxies) if proxies else None
        self.forwarded_for = conf.source == "http_x_forwarded_for"

    def rewrite(self, request: Request) -> None:
        if self.trusted is not None and request.remote_addr not in self.trusted:
            return
        if self.forwarded_for:
            if self.proxies is not None and request.var("realip_remote_addr") not in self.proxies:
                return
            client = self.forwarded_client(",".join(request.header_values("X-Forwarded-For")).split(","))
        else:
            client = parse_address(str(request.var(self.conf.source) or ""))
        if client is not None:
            request.set_client(*client)

    def forwarded_client(self, hops: list[str]) -> tuple[str, int] | None:
        """The last hop; with `recursive` the last that is not trusted, or the first if all are."""
        client = parse_address(hops[-1])
        if self.conf.recursive and self.trusted is not None:
            for hop in reversed(hops[:-1]):
                if client is None or client[0] not in self.trusted:
                    break
                client = parse_address(hop)
        return client


def parse_address(text: str) -> tuple[str, int] | None:
    """Address and port (0 when absent) of "1.2.3.4", "1.2.3.4:80", "::1", "[::1]" or "[::1]:80"; None for all else."""
    text = text.strip()
    port = ""
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in text or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else "0"
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    else:
        port = "0"
    if not (port.isascii() and port.isdigit()) or int(port) > 65535 or "%" in text:
        return None
    try:
        return str(ip_address(text)), int(port)
    except ValueError:
        return None
