from typing import Any

import pytest

from bascule.plugin.inline_upstream import InlineUpstream
from bascule.plugin.kit.testing import MemoryHost, get, run
from bascule.plugin.plugin import Config, Plugin
from bascule.plugin.request import Request
from bascule.plugin.upstream import UpstreamHandle


class Fork(Plugin):
    """Sends who asks for it elsewhere."""

    name = "fork"
    priority = 1

    class Config(Config):
        upstream: InlineUpstream
        other: str

    def __init__(self, conf: Any, host: Any) -> None:
        super().__init__(conf, host)
        self.handles = [host.upstream(conf.upstream, ("upstream",)), host.upstream(conf.other, ("other",))]

    def access(self, request: Request) -> None:
        wanted = request.arg("to")
        if wanted is not None:
            request.use_upstream(self.handles[int(wanted)])
        if request.arg("back") is not None:
            request.use_upstream(None)


CONF = {"upstream": {"nodes": {"a:1": 1}}, "other": "u"}


def test_a_plugin_chooses_and_a_test_sees_what() -> None:
    host = MemoryHost("fork", holder="services/3")
    inline = run(Fork, CONF, get("/?to=0"), host=host).upstream.chosen
    assert inline is not None
    assert (inline.key, inline.id, inline.conf.scheme) == ("services/3#plugins/fork/upstream", None, "http")
    named = run(Fork, CONF, get("/?to=1"), host=host).upstream.chosen
    assert named is not None
    assert (named.key, named.id, repr(named)) == ("upstreams/u", "u", "<handle of upstreams/u>")
    assert run(Fork, CONF, get("/"), host=host).upstream.chosen is None
    assert run(Fork, CONF, get("/?to=1&back"), host=host).upstream.chosen is None


def test_what_isn_t_a_handle_is_refused() -> None:
    request: Any = get("/")
    with pytest.raises(TypeError, match=r"what host\.upstream gave, not str"):
        request.use_upstream("u")


def test_too_late_once_a_node_was_chosen() -> None:
    request = get("/")
    exchange: Any = request.exchange
    exchange.upstream_config = object()
    with pytest.raises(RuntimeError, match="rewrite or access"):
        request.use_upstream(UpstreamHandle("upstreams/u", (), id="u"))
