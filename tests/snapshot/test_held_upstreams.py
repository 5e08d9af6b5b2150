from types import SimpleNamespace
from typing import Any

from bascule.model.discovery import DiscoveredNode, Service
from bascule.plugin.upstream import UpstreamHandle
from bascule.snapshot.compiled_upstream import CompiledUpstream, Node
from bascule.snapshot.discovered import Discovered
from bascule.snapshot.held_upstreams import HeldUpstreams, handles_of
from bascule.snapshot.state import State


def record(*handles: UpstreamHandle) -> Any:
    instance = SimpleNamespace(upstreams=handles)
    return SimpleNamespace(plugins=SimpleNamespace(instances={"fork": instance}), file="f", line=3)


def named(id: str) -> UpstreamHandle:
    return UpstreamHandle(f"upstreams/{id}", ("plugins", "fork", "id"), id=id)


def inline(key: str) -> UpstreamHandle:
    return UpstreamHandle(key, (), compiled=SimpleNamespace(key=key, runtime={}))


ITEM = ("routes", "1")


def test_who_has_none_is_no_burden() -> None:
    held = HeldUpstreams()
    held.put(ITEM, None)
    held.put(ITEM, record())
    assert (list(held), held.affected([ITEM], State())) == ([], [])
    assert handles_of(None) == ()


def test_users_of_an_upstream_are_affected_by_it() -> None:
    held, state = HeldUpstreams(), State()
    held.put(ITEM, record(named("a"), named("b")))
    held.put(("services", "2"), record(named("b")))
    assert held.affected([("upstreams", "b")], state) == [ITEM, ("services", "2")]
    assert held.affected([("upstreams", "a"), ("routes", "9")], state) == [ITEM]
    held.put(ITEM, record(named("a")))
    assert held.affected([("upstreams", "b")], state) == [("services", "2")]
    held.put(ITEM, None)
    assert held.affected([("upstreams", "a")], state) == []


def test_errors_name_place_file_and_line() -> None:
    held, state = HeldUpstreams(), State()
    state.records["routes"]["1"] = record(named("a"))
    held.put(ITEM, state.records["routes"]["1"])
    [error] = held.errors(ITEM, state)
    assert str(error) == 'f:3: routes[1] $.plugins.fork.id: there is no upstream "a"'
    state.records["upstreams"]["a"] = object()
    assert held.errors(ITEM, state) == ()


def test_what_is_no_longer_held_lets_its_caches_go() -> None:
    held = HeldUpstreams()
    first, second = inline("x"), inline("y")
    held.put(ITEM, record(first, second))
    assert [upstream.key for upstream in held] == ["x", "y"]
    taken_over = UpstreamHandle("x", (), compiled=first.compiled)
    held.put(ITEM, record(taken_over))
    assert (first.compiled.runtime, second.compiled.runtime) == ({}, None)


def test_nodes_of_discovered_services_are_renewed() -> None:
    web = Service("file", "web")
    held, known = HeldUpstreams(), Discovered({web: [DiscoveredNode("a", 1)]})
    found = UpstreamHandle("x", (), compiled=CompiledUpstream("x", None, (), service=web, runtime={}))
    listed = inline("y")
    listed.compiled.service = None
    held.put(ITEM, record(found, listed, named("b")))
    before, found.plans = found.compiled, {None: object()}
    held.renew([web], known)
    assert found.compiled.nodes == (Node("a", 1, 1),)
    assert (found.plans, before.runtime, listed.compiled.runtime) == ({}, None, {})
    after = found.compiled
    held.renew([web], known)
    assert found.compiled is after
