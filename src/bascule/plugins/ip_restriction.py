"""ip-restriction: lets clients in, or keeps them out, by their address."""

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from bascule.plugin.host import Host
from bascule.plugin.kit.ip_list import IpList, IpOrCidr
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response


class IpRestrictionConfig(Config):
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["whitelist"]}, {"required": ["blacklist"]}]})

    whitelist: list[IpOrCidr] | None = Field(None, min_length=1)
    blacklist: list[IpOrCidr] | None = Field(None, min_length=1)
    message: str = Field("Your IP address is not allowed", min_length=1, max_length=1024)
    response_code: int = Field(403, ge=403, le=404)

    @model_validator(mode="after")
    def one_list(self) -> Self:
        if self.whitelist is None and self.blacklist is None:
            raise ValueError("value should match only one schema, but matches none")
        if self.whitelist is not None and self.blacklist is not None:
            raise ValueError("value should match only one schema, but matches both schemas 1 and 2")
        return self


class IpRestriction(Plugin):
    name = "ip-restriction"
    priority = 3000
    Config = IpRestrictionConfig
    conf: IpRestrictionConfig

    def __init__(self, conf: IpRestrictionConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.addresses = IpList(conf.whitelist or conf.blacklist or ())
        self.allowed_inside = conf.whitelist is not None

    def access(self, request: Request) -> Response | None:
        if (request.remote_addr in self.addresses) is self.allowed_inside:
            return None
        return Response(self.conf.response_code, {"message": self.conf.message})
