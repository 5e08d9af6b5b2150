"""key-auth: a consumer is told by an API key in a header or a query argument."""

from typing import ClassVar

from pydantic import Field

from bascule.plugin.host import Host
from bascule.plugin.kit.target import without_arg
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.response import Response


class ConsumerKey(Config):
    key: str = Field(json_schema_extra={"encrypted": True})


class KeyAuthConfig(Config):
    header: str = "apikey"
    query: str = "apikey"
    hide_credentials: bool = False
    realm: str = Field("key", min_length=1, max_length=128, pattern=r"^[ -!#-\[\]-~]+$")
    anonymous_consumer: str | None = Field(None, min_length=1)


class KeyAuth(Plugin):
    name = "key-auth"
    priority = 2500
    type = "auth"
    ConsumerConfig = ConsumerKey
    encrypt_fields: ClassVar[tuple[str, ...]] = ("key",)

    Config = KeyAuthConfig

    conf: KeyAuthConfig

    def __init__(self, conf: KeyAuthConfig, host: Host) -> None:
        super().__init__(conf, host)
        self.header = conf.header
        self.query = conf.query
        self.hide = conf.hide_credentials
        self.anonymous = conf.anonymous_consumer
        self.challenge = {"WWW-Authenticate": f'apikey realm="{conf.realm}"'}

    @classmethod
    def consumer_key(cls, conf: ConsumerKey) -> str:
        return conf.key

    def rewrite(self, request: Request) -> Response | None:
        key = request.header(self.header)
        in_header = key is not None
        if key is None:
            key = request.arg(self.query)
            if key is None:
                return self.refuse(request, "Missing API key in request")
        # A dict lookup: its time tells about the hash of the key, not about how many of its characters are right.
        consumer = request.find_consumer("key-auth", key)
        if consumer is None:
            return self.refuse(request, "Invalid API key in request")
        if self.hide:
            if in_header:
                request.remove_header(self.header)
            else:
                request.set_upstream_target(without_arg(request.upstream_target, self.query))
        request.attach_consumer(consumer)
        return None

    def refuse(self, request: Request, message: str) -> Response | None:
        """Answers 401, or goes on as the anonymous consumer if there is one."""
        if self.anonymous is not None:
            consumer = request.find_consumer_by_name(self.anonymous)
            if consumer is not None:
                request.attach_consumer(consumer)
                return None
            self.host.log.error("failed to get anonymous consumer %s", self.anonymous)
            message = "Invalid user authorization"
        return Response(401, {"message": message}, self.challenge)
