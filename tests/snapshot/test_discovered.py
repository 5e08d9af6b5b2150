from bascule.model.change import Change
from bascule.model.discovery import DiscoveredNode, Service
from bascule.snapshot.compiled_upstream import ClientTls, CompiledUpstream, Node
from bascule.snapshot.discovered import Discovered, Following
from bascule.snapshot.upstream_compiler import Served
from tests.snapshot.bench import Bench

WEB = Service("file", "web")
UP = {"service_name": "web", "discovery_type": "file"}


def upstream(**options):
    return CompiledUpstream("upstreams/1", "1", (), service=WEB, **options)


def test_nodes_get_the_port_of_the_scheme():
    known = Discovered({WEB: [DiscoveredNode("a", None), DiscoveredNode("b", 8080, 3, 1, {"z": 1})]})
    assert known.nodes(WEB, 80) == (Node("a", 80, 1), Node("b", 8080, 3, 1, {"z": 1}))
    assert known.nodes(WEB, 443)[0] == Node("a", 443, 1)
    assert known.nodes(WEB, 80) is known.nodes(WEB, 80)
    assert Discovered({WEB: [DiscoveredNode("unix:/run/a", None)]}).nodes(WEB, 80) == (Node("unix:/run/a", 0, 1),)
    assert known.nodes(Service("file", "other"), 80) == ()


def test_only_what_differs_has_changed():
    known = Discovered()
    assert known.update({WEB: [DiscoveredNode("a", 1)], Service("file", "none"): []}) == [WEB]
    assert known.update({WEB: [("a", 1)]}) == []
    assert known.update({WEB: []}) == [WEB]
    assert known.nodes(WEB, 80) == ()


def test_an_upstream_is_renewed_when_its_nodes_are_others():
    known = Discovered({WEB: [DiscoveredNode("a", None)]})
    first = known.renewed(upstream())
    assert first.nodes == (Node("a", 80, 1),)
    assert known.renewed(first) is first
    assert known.renewed(upstream(tls=ClientTls())).nodes == (Node("a", 443, 1),)
    listed = CompiledUpstream("upstreams/2", "2", (Node("x", 1, 1),))
    assert known.renewed(listed) is listed


def test_items_are_found_by_the_service_that_they_name():
    class Record:
        def __init__(self, upstream):
            self.upstream = upstream

    following = Following()
    following.note(("upstreams", "1"), None, Record(upstream()))
    following.note(("routes", "1"), None, Record(None))
    following.note(("routes", "2"), None, object())
    assert following.items([WEB, Service("file", "other")]) == [("upstreams", "1")]
    following.note(("upstreams", "1"), Record(upstream()), None)
    assert following.items([WEB]) == []


def make_tables(known):
    return Bench(served=Served(discovery=frozenset({"file"}), discovered=known)).tables


def test_a_change_of_nodes_reaches_every_route_and_touches_nothing_else():
    known = Discovered()
    tables = make_tables(known)
    applied = tables.apply(
        [
            Change("upstreams", "u", UP),
            Change("services", "s", {"upstream": UP}),
            Change("routes", "inline", {"uri": "/inline", "upstream": UP}),
            Change("routes", "named", {"uri": "/named", "upstream_id": "u"}),
            Change("routes", "service", {"uri": "/service", "service_id": "s"}),
            Change("routes", "other", {"uri": "/other", "upstream": {"nodes": {"x:1": 1}}}),
        ]
    )
    assert applied.errors == ()
    routes = {route.id: route for route in (find(tables, path) for path in ("inline", "named", "service", "other"))}
    other = routes["other"].upstream
    for route in routes.values():
        route.plan = object()
    tables.refresh_nodes(known.update({WEB: [DiscoveredNode("a", 1)]}))
    for id in ("inline", "named", "service"):
        assert find(tables, id) is routes[id]
        assert routes[id].upstream.nodes == (Node("a", 1, 1),)
        assert routes[id].plan is None
    assert routes["inline"].upstream.key == "routes/inline#upstream"
    assert routes["other"].upstream is other
    assert routes["other"].plan is not None
    assert tables.upstream("u").nodes == (Node("a", 1, 1),)


def test_an_edit_keeps_the_nodes():
    known = Discovered({WEB: [DiscoveredNode("a", 1)]})
    tables = make_tables(known)
    tables.apply([Change("upstreams", "u", UP)])
    before = tables.upstream("u")
    tables.apply([Change("upstreams", "u", {**UP, "desc": "the same"})])
    assert tables.upstream("u") is before
    tables.apply([Change("upstreams", "u", {**UP, "retries": 1})])
    assert tables.upstream("u").nodes == before.nodes
    tables.apply([Change("upstreams", "u", {"nodes": {"x:1": 1}})])
    tables.refresh_nodes(known.update({WEB: [DiscoveredNode("b", 1)]}))
    assert tables.upstream("u").nodes == (Node("x", 1, 1),)


def test_a_type_that_is_not_configured_is_refused():
    tables = make_tables(Discovered())
    (error,) = tables.apply([Change("upstreams", "u", {**UP, "discovery_type": "fil"})]).errors
    assert error.message == '"fil" is not configured under "discovery"; did you mean "file"?'


def find(tables, path):
    return tables.router.match("GET", "x.com", f"/{path}")
