"""proxy-control: whether the upstream is asked only when the whole request body is here."""

from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request


class ProxyControlConfig(Config):
    request_buffering: bool = True


class ProxyControl(Plugin):
    name = "proxy-control"
    priority = 21990
    Config = ProxyControlConfig
    conf: ProxyControlConfig

    def hooks(self) -> tuple[str, ...]:
        return ("rewrite",) if self.conf.request_buffering else ()

    def rewrite(self, request: Request) -> None:
        request.hold_whole_body()
