import pytest

from bascule.plugin import Config, Plugin, Request, Response
from bascule.plugin.kit.testing import Binding, MemoryHost, Upstream, get, make, post, run, run_async


class AllowConfig(Config):
    allow: list[str]


class Allow(Plugin):
    name = "allow"
    priority = 10
    Config = AllowConfig
    Metadata = AllowConfig

    async def access(self, request: Request) -> Response | None:
        if request.remote_addr in self.conf.allow:
            return None
        return Response(403, {"message": "no"})

    def header_filter(self, request, response):
        response.set_header("X-Seen", request.remote_addr)

    def log(self, request):
        request.ctx["status"] = request.var("status")


class Upper(Plugin):
    name = "upper"
    priority = 20
    Config = Config

    def rewrite(self, request):
        request.set_header("X-Order", "upper")
        request.method = "PUT"
        request.set_upstream_target("/new?x")
        request.set_upstream_host("inner.test")

    def body_filter(self, request, response, chunk, last):
        return chunk.upper() + (b"!" if last else b"")


class KeyConfig(Config):
    key: str


class Keys(Plugin):
    name = "keys"
    priority = 30
    Config = Config
    type = "auth"
    ConsumerConfig = KeyConfig

    @classmethod
    def consumer_key(cls, conf):
        return conf.key

    def rewrite(self, request):
        found = request.find_consumer("keys", request.header("key") or "")
        if found is None:
            return Response(401)
        request.attach_consumer(found)
        return None


def test_in_five_lines():
    result = run(Allow, {"allow": ["10.0.0.1"]}, get("/", headers={"X": "1"}, remote_addr="192.168.0.1"))
    assert (result.status, result.json(), result.answered_by) == (403, {"message": "no"}, "allow")
    assert result.sent is None
    assert result.header("x-seen") == "192.168.0.1"
    assert result.request.ctx["status"] == 403
    with pytest.raises(AssertionError, match="answered by allow"):
        _ = result.upstream


def test_what_goes_upstream_and_comes_back():
    upstream = Upstream(201, {"X-Up": "1"}, [b"one ", b"two"])
    result = run(
        Upper, {}, post("/old", {"a": 1}, headers={"Connection": "X-Secret", "X-Secret": "s"}), upstream=upstream
    )
    assert (result.status, result.body, result.chunks) == (201, b"ONE TWO!", [b"ONE ", b"TWO", b"!"])
    assert result.answered_by == "upstream"
    sent = result.upstream
    assert (sent.method, sent.target, sent.host, sent.body) == ("PUT", "/new?x", "inner.test", b'{"a":1}')
    assert (sent.header("x-order"), sent.header("connection")) == ("upper", None)
    assert sent.header_values("x-order") == ["upper"]
    assert result.header_values("X-Up") == ["1"]


def test_several_plugins_by_priority():
    chain = [(Allow, {"allow": ["127.0.0.1"]}), (Upper, {}), (Keys, {})]
    result = run(chain, get("/", headers={"key": "k1"}), consumers={"keys": {"jack": {"key": "k1"}}})
    assert [plugin.name for plugin in result.plugins] == ["keys", "upper", "allow"]
    assert result.upstream.header("x-consumer-username") == "jack"
    assert result.body == b"UPSTREAM!"
    assert run(chain, get("/"), consumers={"keys": {"jack": {"key": "k1"}}}).answered_by == "keys"


def test_consumers_may_be_bindings():
    binding = Binding("jill", KeyConfig(key="k2"), credential_id="c1")
    result = run(Keys, {}, get("/", headers={"key": "k2"}), consumers={"keys": {"jill": binding}})
    assert result.upstream.header("x-credential-identifier") == "c1"


def test_an_instance_keeps_its_state():
    host = MemoryHost()
    plugin = make(Allow, {"allow": []}, host)
    assert run(plugin, get("/")).host is host
    assert run([plugin], get("/")).plugins == (plugin,)


def test_conf_and_metadata_are_checked():
    with pytest.raises(ValueError, match="allow"):
        run(Allow, {"allow": 5}, get("/"))
    result = run(Allow, AllowConfig(allow=[]), get("/"), metadata={"allow": ["x"]})
    assert result.host.metadata() == AllowConfig(allow=["x"])


def test_an_upstream_may_look_at_the_request():
    result = run(Upper, {}, get("/"), upstream=lambda sent: Upstream(200, (), sent.target.encode()))
    assert result.body == b"/NEW?X!"


def test_a_request_is_needed():
    with pytest.raises(TypeError, match="request is missing"):
        run(Upper, {})


def test_waiting_plugins_run_in_a_loop():
    import asyncio

    class Slow(Upper):
        name = "slow"

        async def access(self, request):
            await asyncio.sleep(0)
            return Response(202)

    assert asyncio.run(run_async(Slow, {}, get("/"))).status == 202


class Summing(Upper):
    name = "summing"

    def header_filter(self, request, response):
        response.hold_limit = 10

    def body_filter(self, request, response, chunk, last):
        if response.source != "upstream":
            return None
        assert last
        response.status = 201
        response.trailers.append(("x-more", "2"))
        return b"".join([chunk, *(value.encode() for _, value in response.trailers)])


def test_trailers_and_held_responses():
    upstream = Upstream(200, (), [b"one", b"two"], [("x-sum", "1")])
    result = run(Summing, {}, get("/"), upstream=upstream)
    assert (result.status, result.chunks) == (201, [b"onetwo12"])
    assert result.trailers == [("x-sum", "1"), ("x-more", "2")]
    assert run(Summing, {}, get("/"), upstream=Upstream(body=b"x" * 11)).status == 502
