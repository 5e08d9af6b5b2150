"""example-plugin: what APISIX demonstrates plugins with. It sends requests to another node, when it is told one."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from bascule.model.attributes import Number
from bascule.model.node import check_host
from bascule.model.upstream import Upstream
from bascule.plugin.host import Host
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request

NotNegative = Annotated[Number, Field(ge=0)]


class ExampleConfig(Config):
    i: NotNegative
    s: str | None = None
    t: list[Any] | None = Field(None, min_length=1)
    ip: Annotated[str, AfterValidator(check_host)] | None = None
    port: int | None = Field(None, ge=1, le=65535)


class ExampleMetadata(Config):
    ikey: NotNegative
    skey: str


class ExamplePlugin(Plugin):
    name = "example-plugin"
    priority = 0
    Config = ExampleConfig
    Metadata = ExampleMetadata
    conf: ExampleConfig

    def __init__(self, conf: ExampleConfig, host: Host) -> None:
        super().__init__(conf, host)
        self._upstream = None
        if conf.ip is not None:
            address = f"[{conf.ip}]" if ":" in conf.ip else conf.ip
            nodes = {address if conf.port is None else f"{address}:{conf.port}": 1}
            self._upstream = host.upstream(Upstream.model_validate({"nodes": nodes}), ("ip",))

    def hooks(self) -> tuple[str, ...]:
        return () if self._upstream is None else ("access",)

    def access(self, request: Request) -> None:
        request.use_upstream(self._upstream)
