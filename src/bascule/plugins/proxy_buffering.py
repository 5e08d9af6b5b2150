"""proxy-buffering: whether a slow client holds the upstream up, or the gateway takes the response off its hands."""

from pydantic import Field

from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request


class ProxyBufferingConfig(Config):
    disable_proxy_buffering: bool = False
    max_buffer_size: int = Field(1 << 20, ge=1, le=1 << 28)


class ProxyBuffering(Plugin):
    name = "proxy-buffering"
    priority = 21991
    Config = ProxyBufferingConfig
    conf: ProxyBufferingConfig

    def rewrite(self, request: Request) -> None:
        request.buffer_response(0 if self.conf.disable_proxy_buffering else self.conf.max_buffer_size)
