"""Three plugins as a user writes them, for the scenario `plugins`: the job of key-auth, limit-count and
response-rewrite in plain Python, nothing prepared."""

from typing import Any

from bascule.plugin import Config, Plugin, Request, Response


class Nothing(Config):
    pass


class Key(Config):
    key: str


class OwnAuth(Plugin):
    name = "own-auth"
    priority = 2500
    type = "auth"
    Config = Nothing
    ConsumerConfig = Key

    @classmethod
    def consumer_key(cls, conf: Any) -> str | None:
        return str(conf.key)

    def rewrite(self, request: Request) -> Response | None:
        key = request.header("apikey")
        consumer = None if key is None else request.find_consumer(self.name, key)
        if consumer is None:
            return Response(401, {"message": "Invalid API key in request"})
        request.attach_consumer(consumer)
        return None


class OwnLimit(Plugin):
    name = "own-limit"
    priority = 1002

    class Config(Config):
        count: int
        time_window: int

    def access(self, request: Request) -> Response | None:
        key = f"own-limit/{self.host.holder}/{request.remote_addr}"
        used, reset_s = self.host.counters.incr(key, 1, self.conf.time_window)
        request.ctx[self.name] = (self.conf.count - used, reset_s)
        return Response(503) if used > self.conf.count else None

    def header_filter(self, request: Request, response: Response) -> None:
        if self.name in request.ctx:
            remaining, reset_s = request.ctx[self.name]
            response.set_header("X-RateLimit-Limit", self.conf.count)
            response.set_header("X-RateLimit-Remaining", max(0, remaining))
            response.set_header("X-RateLimit-Reset", int(reset_s + 1))


class OwnHeader(Plugin):
    name = "own-header"
    priority = 899

    class Config(Config):
        add: dict[str, str]

    def header_filter(self, request: Request, response: Response) -> None:
        for name, value in self.conf.add.items():
            response.add_header(name, value)
