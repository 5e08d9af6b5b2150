import gc
import re
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bascule.match.expression import compile_expression
from bascule.match.route_match import RouteMatch
from bascule.match.router import MODES, Router
from bascule.match.variables import FixedVariables, Value
from bascule.model.route import Route
from tests.match.naive_router import NaiveRouter

HOST_URI, URI, PARAMETERS = MODES


def router(mode: str = HOST_URI, **routes: Any) -> Router[str]:
    """Routes by key, each a uri or a RouteMatch; the value is the key."""
    made: Router[str] = Router(mode)
    for key, match in routes.items():
        made.add(key, RouteMatch((match,)) if isinstance(match, str) else match, key)
    return made


# Order of paths


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "all"),
        ("/a", "exact"),
        ("/a/", "slash"),
        ("/ab", "short"),
        ("/abc", "long"),
        ("/abcd/e", "long"),
        ("/a/b/c", "slash"),
        ("/b", "all"),
        ("b", None),
        ("", None),
    ],
)
def test_exact_beats_prefix_and_longer_beats_shorter(mode: str, path: str, expected: str | None) -> None:
    found = router(mode, all="/*", long="/abc*", short="/ab*", exact="/a", slash="/a/*")
    assert found.match("GET", None, path) == expected


def test_priority_then_order_of_adding() -> None:
    found = router(a=RouteMatch(("/x",)), b=RouteMatch(("/x",), priority=5), c=RouteMatch(("/x",), priority=5))
    assert found.match("GET", None, "/x") == "b"
    found.remove("b")
    assert found.match("GET", None, "/x") == "c"
    found.remove("c")
    assert found.match("GET", None, "/x") == "a"


def test_priority_does_not_beat_a_longer_pattern() -> None:
    found = router(a=RouteMatch(("/x*",), priority=100), b="/x/y*")
    assert found.match("GET", None, "/x/y/z") == "b"


def test_replaced_route_keeps_its_place_among_equals() -> None:
    found = router(a="/x", b="/x")
    found.replace("a", RouteMatch(("/x",), methods=frozenset({"GET"})), "a2")
    assert found.match("GET", None, "/x") == "a2"
    assert found.match("POST", None, "/x") == "b"


def test_star_elsewhere_is_an_ordinary_byte() -> None:
    found = router(a="/a*b", p="/:id")
    assert found.match("GET", None, "/a*b") == "a"
    assert found.match("GET", None, "/axb") is None
    assert found.match("GET", None, "/:id") == "p"
    assert found.match("GET", None, "/7") is None


# Conditions and fall-through


@pytest.mark.parametrize("mode", MODES)
def test_failing_candidate_hands_over_down_to_the_shortest_prefix(mode: str) -> None:
    found = router(
        mode,
        exact=RouteMatch(("/a/b",), methods=frozenset({"POST"})),
        long=RouteMatch(("/a/*",), vars=compile_expression([["arg_x", "==", "1"]])),
        short=RouteMatch(("/a*",), remote_addrs=("10.0.0.0/8",)),
        all="/*",
    )

    def match(method: str = "GET", **values: Value) -> str | None:
        return found.match(method, None, "/a/b", FixedVariables(values))

    assert match("POST") == "exact"
    assert match(arg_x="1", remote_addr="10.1.2.3") == "long"
    assert match(remote_addr="10.1.2.3") == "short"
    assert match(remote_addr="11.1.2.3") == "all"
    assert match() == "all"


def test_methods_without_a_number_are_compared_by_name() -> None:
    found = router(a=RouteMatch(("/",), methods=frozenset({"PROPFIND", "GET"})), b="/")
    assert found.match("PROPFIND", None, "/") == "a"
    assert found.match("GET", None, "/") == "a"
    assert found.match("MKCOL", None, "/") == "b"
    assert found.match("POST", None, "/") == "b"


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "PURGE"]
)
def test_every_method(method: str) -> None:
    found = router(a=RouteMatch(("/",), methods=frozenset({method})))
    assert found.match(method, None, "/") == "a"
    assert found.match("GET" if method != "GET" else "PUT", None, "/") is None


def test_no_methods_at_all_never_match() -> None:
    assert router(a=RouteMatch(("/",), methods=frozenset())).match("GET", None, "/") is None


def test_conditions_see_the_variables_only_when_needed() -> None:
    class Refusing:
        def var(self, name: str, /) -> Value:
            raise AssertionError(name)

    found = router(
        a=RouteMatch(("/a",), methods=frozenset({"GET"}), vars=compile_expression([["x", "==", "1"]])), b="/*"
    )
    assert found.match("POST", None, "/a", Refusing()) == "b"
    with pytest.raises(AssertionError):
        found.match("GET", None, "/a", Refusing())
    found.remove("a")  # the exception left nothing locked


def test_changing_the_router_from_a_condition_is_refused() -> None:
    class Meddling:
        def var(self, name: str, /) -> Value:
            found.remove("a")
            return None

    found = router(a=RouteMatch(("/a",), vars=compile_expression([["x", "==", "1"]])))
    with pytest.raises(RuntimeError, match="can't change while"):
        found.match("GET", None, "/a", Meddling())
    assert "a" in found


# Hosts


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.x.com", "exact"),
        ("A.X.COM", "exact"),
        ("a.x.com.", "exact"),
        ("b.x.com", "wild"),
        ("c.b.x.com", "wilder"),
        ("x.com", "star"),
        ("fx.com", "star"),
        ("y.org", "star"),
        (None, "star"),
        ("[::1]", "six"),
    ],
)
def test_host_tree_exact_then_longest_wildcard(host: str | None, expected: str) -> None:
    found = router(
        none="/*",
        star=RouteMatch(("/*",), ("*",)),
        wild=RouteMatch(("/*",), ("*.X.com",)),
        wilder=RouteMatch(("/*",), ("*.b.x.com",)),
        exact=RouteMatch(("/*",), ("A.x.com:8080",)),
        six=RouteMatch(("/*",), ("[::1]:443",)),
    )
    assert found.match("GET", host, "/p") == expected


def test_host_tree_falls_through_to_wider_hosts_and_to_none() -> None:
    get = frozenset({"GET"})
    found = router(
        exact=RouteMatch(("/a", "/get"), ("a.x.com",)),
        wild=RouteMatch(("/b", "/get"), ("*.x.com",), get),
        none=RouteMatch(("/c", "/*")),
    )
    assert [found.match("GET", "a.x.com", path) for path in ("/a", "/b", "/c", "/d")] == [
        "exact",
        "wild",
        "none",
        "none",
    ]
    assert found.match("POST", "a.x.com", "/b") == "none"


def test_host_goes_before_path_in_host_mode_and_after_it_in_uri_mode() -> None:
    matches = {"host": RouteMatch(("/*",), ("x.com",)), "path": RouteMatch(("/a/b",))}
    assert router(HOST_URI, **matches).match("GET", "x.com", "/a/b") == "host"
    assert router(URI, **matches).match("GET", "x.com", "/a/b") == "path"


def test_host_filter_of_uri_mode() -> None:
    found = router(URI, a=RouteMatch(("/*",), ("x.com", "*.y.com", "*z.com")))
    fitting = [
        host for host in ("X.com", "b.y.com", "y.com", "z.com", "az.com", "com", None) if found.match("GET", host, "/")
    ]
    assert fitting == ["X.com", "b.y.com", "z.com", "az.com"]


def test_host_longer_than_any_name_is_taken_as_absent() -> None:
    found = router(a=RouteMatch(("/*",), ("*.x.com",)), b="/*")
    assert found.match("GET", "a" * 249 + ".x.com", "/") == "a"
    assert found.match("GET", "a" * 300 + ".x.com", "/") == "b"


def test_what_matched_is_told() -> None:
    found = router(a=RouteMatch(("/a/*",), ("*.X.com",)), b="/b")
    found.match("GET", "q.x.com", "/a/1")
    assert (found.pattern, found.host_pattern, found.params) == ("/a/*", "*.X.com", None)
    found.match("GET", "q.x.com", "/b")
    assert (found.pattern, found.host_pattern) == ("/b", None)
    found.match("GET", "q.x.com", "/zzz")
    assert (found.pattern, found.host_pattern) == (None, None)


# Parameters


@pytest.mark.parametrize(
    ("path", "expected", "params"),
    [
        ("/users/me", "me", None),
        ("/users/42", "user", {"id": "42"}),
        ("/users/", None, None),
        ("/users/42/", None, None),
        ("/users/me/posts", "posts", {"name": "me"}),
        ("/users/42/posts/7", "post", {"id": "42", "post": "7"}),
        ("/users/42/files/a/b", "files", {"id": "42", "path": "a/b"}),
        ("/users/42/files/", "files", {"id": "42", "path": ""}),
        ("/static/a/b", "static", None),
    ],
)
def test_parameters(path: str, expected: str | None, params: dict[str, str] | None) -> None:
    found = router(
        PARAMETERS,
        user="/users/:id",
        me="/users/me",
        posts="/users/:name/posts",
        post="/users/:id/posts/:post",
        files="/users/:id/files/*path",
        static="/static/*",
    )
    assert (found.match("GET", None, path), found.params) == (expected, params)


def test_literal_beats_parameter_beats_wildcard_with_backtracking() -> None:
    found = router(PARAMETERS, wild="/a/*rest", one="/a/:x", literal="/a/b/c", tail="/a/:x/d")
    assert found.match("GET", None, "/a/b/c") == "literal"
    assert found.match("GET", None, "/a/b/d") == "tail"
    assert found.match("GET", None, "/a/b") == "one"
    assert found.match("GET", None, "/a/b/e") == "wild"
    assert found.params == {"rest": "b/e"}


def test_parameter_values_are_text() -> None:
    found = router(PARAMETERS, a="/:x/*rest")
    found.match("GET", None, "/grüße/é/b")
    assert found.params == {"x": "grüße", "rest": "é/b"}


# The trailing slash


@pytest.mark.parametrize("mode", MODES)
def test_delete_uri_tail_slash(mode: str) -> None:
    found: Router[str] = Router(mode, delete_uri_tail_slash=True)
    found.add("a", RouteMatch(("/a",)), "a")
    found.add("root", RouteMatch(("/",)), "root")
    assert [found.match("GET", None, path) for path in ("/a", "/a/", "/a//", "/")] == ["a", "a", None, "root"]


# The page

ROUTING = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
REQUEST = re.compile(r"\| `(\w+) (\S+) (/\S*)`(?: with `X-Beta: (\d)`)?(?: from (\S+))? \| (\w+)")


def test_the_documented_example() -> None:
    document = yaml.safe_load(ROUTING.partition("```yaml")[2].partition("```")[0])
    found: Router[str] = Router()
    for item in document["routes"]:
        route = Route.model_validate(item)
        match = RouteMatch(
            (route.uri or "",),
            tuple(route.hosts or ()),
            None if route.methods is None else frozenset(route.methods),
            tuple(route.remote_addrs or ()),
            None if route.vars is None else compile_expression(route.vars),
            route.priority,
        )
        found.add(item["id"], match, item["id"])
    lines = REQUEST.findall(ROUTING)
    assert len(lines) == 9
    for method, host, path, beta, address, expected in lines:
        variables = FixedVariables({"http_x_beta": beta or None, "remote_addr": address or "127.0.0.1"})
        assert (found.match(method, host.partition(":")[0], path, variables) or "none") == expected


# Errors


def test_errors_leave_the_router_as_it_was() -> None:
    found = router(a="/a")
    with pytest.raises(ValueError, match="there already"):
        found.add("a", RouteMatch(("/b",)), "b")
    with pytest.raises(ValueError, match="not an IP address"):
        found.replace("a", RouteMatch(("/b",), remote_addrs=("1.2.3.4/99",)), "b")
    with pytest.raises(ValueError, match="not an IP address"):
        found.add("b", RouteMatch(("/b",), remote_addrs=("x",)), "b")
    with pytest.raises(KeyError):
        found.replace("c", RouteMatch(("/b",)), "b")
    with pytest.raises(KeyError):
        found.remove("c")
    with pytest.raises(ValueError, match="router mode 'tree' is none of radixtree_host_uri"):
        Router("tree")
    assert found.match("GET", None, "/a") == "a"
    assert (len(found), "b" in found) == (1, False)


# Explaining


def test_explain_names_every_route_whose_path_fits() -> None:
    found = router(
        get=RouteMatch(("/a",), methods=frozenset({"POST", "PUT"})),
        office=RouteMatch(("/a",), remote_addrs=("10.0.0.0/8",)),
        vars=RouteMatch(("/a",), vars=compile_expression([["arg_x", "==", "1"]])),
        match="/a",
        late="/*",
        elsewhere=RouteMatch(("/a",), ("y.com", "*.z.com")),
        unrelated="/b",
    )
    variables = FixedVariables({"remote_addr": "11.0.0.1"})
    assert found.explain("GET", "x.com", "/a", variables) == [
        ("get", "method GET is not in [POST, PUT]"),
        ("office", "remote_addr 11.0.0.1 is not in [10.0.0.0/8]"),
        ("vars", "vars: arg_x == 1 failed because arg_x is missing"),
        ("match", None),
        ("late", "its conditions hold, but an earlier candidate matches"),
        ("elsewhere", "host x.com is not in [y.com, *.z.com]"),
    ]
    assert found.match("GET", "x.com", "/a", variables) == "match"


def test_explain_in_uri_mode_tells_of_hosts() -> None:
    found = router(URI, a=RouteMatch(("/a",), ("y.com",)), b="/*")
    assert found.explain("PROPFIND", None, "/a") == [("a", "host (none) is not in [y.com]"), ("b", None)]
    assert repr(found) == "Router(radixtree_uri, 2 routes, 0 hosts, 2 nodes)"


# Memory


def test_removed_values_are_released_at_once() -> None:
    class Value:
        pass

    value = Value()
    gone = weakref.ref(value)
    found: Router[Value] = Router()
    gc.disable()
    try:
        found.add("a", RouteMatch(("/a", "/b/*"), ("x.com", "*.x.com")), value)
        assert found.match("GET", "x.com", "/a") is value
        found.replace("a", RouteMatch(("/c",)), value)
        found.remove("a")
        del value
        assert gone() is None
    finally:
        gc.enable()
    assert found.nodes() == 0


def test_finds_and_changes_leak_no_references() -> None:
    match = RouteMatch(("/a/:id", "/a/*"), ("x.com",), frozenset({"GET"}), vars=compile_expression([["q", "~=", "1"]]))
    value = object()
    for mode in MODES:
        found: Router[object] = Router(mode)

        def work(found: Router[object] = found) -> None:
            found.add("a", match, value)
            found.match("GET", "x.com", "/a/5")
            found.match("POST", "x.com", "/a/5")
            found.explain("GET", "y.com", "/a/5")
            found.remove("a")

        work()
        gc.collect()
        before = sys.getrefcount(value), sys.getrefcount(match), sys.getrefcount(None)
        for _ in range(200):
            work()
        gc.collect()
        after = sys.getrefcount(value), sys.getrefcount(match), sys.getrefcount(None)
        assert after[:2] == before[:2]
        assert abs(after[2] - before[2]) < 50


# Any sequence of changes, against the naive router

SEGMENTS = st.sampled_from(["a", "b", "ab", "abc", "", ":x", ":y", ":", "*", "*r", "a*", "*b"])
URIS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "abc", "", "c", "*", ":x"]), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
HOSTS = st.sampled_from(["x.com", "a.x.com", "*.x.com", "*x.com", "*.a.x.com", "*", "X.com:80", "[::1]", "com", "*com"])
REQUEST_HOSTS = st.sampled_from(["x.com", "A.x.com", "b.a.x.com", "ax.com", "y.org", "[::1]", ""])
METHODS = st.sampled_from(["GET", "POST", "PROPFIND"])
CONDITIONS = [None, None, compile_expression([["v", "==", "1"]]), compile_expression([["v", "~=", "1"]])]
MATCHES = st.builds(
    RouteMatch,
    uris=st.lists(URIS, min_size=1, max_size=3, unique=True).map(tuple),
    hosts=st.lists(HOSTS, max_size=2, unique_by=lambda host: host.lower().removesuffix(":80")).map(tuple),
    methods=st.none() | st.frozensets(METHODS, min_size=1),
    remote_addrs=st.sampled_from([(), (), ("10.0.0.0/8",)]),
    vars=st.sampled_from(CONDITIONS),
    priority=st.integers(0, 2),
)
CHANGES = st.lists(st.tuples(st.integers(0, 7), st.none() | MATCHES), min_size=1, max_size=24)
REQUESTS = st.lists(st.tuples(METHODS, REQUEST_HOSTS, PATHS, st.booleans(), st.booleans()), min_size=1, max_size=12)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=120, deadline=None)
@given(changes=CHANGES, requests=REQUESTS)
def test_any_sequence_of_changes_against_the_naive_router(
    mode: str, changes: list[tuple[int, RouteMatch | None]], requests: list[tuple[str, str, str, bool, bool]]
) -> None:
    real: Router[str] = Router(mode)
    naive = NaiveRouter(mode)
    for number, (slot, match) in enumerate(changes):
        key = str(slot)
        if match is None:
            if key in real:
                real.remove(key)
                naive.remove(key)
        elif key in real:
            real.replace(key, match, f"{key}v{number}")
            naive.replace(key, match, f"{key}v{number}")
        else:
            real.add(key, match, f"{key}v{number}")
            naive.add(key, match, f"{key}v{number}")
        for method, host, path, inside, one in requests if number == len(changes) - 1 else requests[:2]:
            variables = FixedVariables({"remote_addr": "10.1.1.1" if inside else "1.1.1.1", "v": "1" if one else None})
            expected = naive.find(method, host, path, variables)
            value = real.match(method, host, path, variables)
            found = None if value is None else (value, real.pattern, real.host_pattern, real.params or {})
            assert found == expected
            reasons = real.explain(method, host, path, variables)
            assert [value for value, reason in reasons if reason is None] == ([value] if value is not None else [])
    # The trees have the shape of ones that never knew another route, and nothing is left when the routes go.
    fresh: Router[str] = Router(mode)
    for key, (_, match, value) in naive.routes.items():
        fresh.add(key, match, value)
    assert (real.nodes(), len(real)) == (fresh.nodes(), len(fresh))
    for key in list(naive.routes):
        real.remove(key)
    assert real.nodes() == 0
