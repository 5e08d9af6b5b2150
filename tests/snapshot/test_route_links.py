"""What a route inherits: the merge order of the specification, with the real tables around it."""

import pytest

UP = {"nodes": {"a:1": 1}}


@pytest.mark.parametrize(
    ("route", "service", "key"),
    [
        ({"upstream": UP}, {}, "routes/1#upstream"),
        ({"upstream_id": "u"}, {}, "upstreams/u"),
        ({"upstream": UP, "upstream_id": "u"}, {}, "upstreams/u"),
        ({}, {"upstream": UP}, "services/s#upstream"),
        ({}, {"upstream_id": "u"}, "upstreams/u"),
        ({"upstream": UP}, {"upstream_id": "u"}, "routes/1#upstream"),
        ({"upstream_id": "u"}, {"upstream": UP}, "upstreams/u"),
        ({}, {}, None),
    ],
)
def test_which_upstream(bench, route, service, key):
    bench.put("upstreams", "u", **UP)
    bench.put("services", "s", **service)
    assert bench.put("routes", "1", uri="/", service_id="s", **route) == []
    upstream = bench.route("/").upstream
    assert (upstream and upstream.key) == key


@pytest.mark.parametrize(
    ("route", "service", "websocket"),
    [(None, None, False), (None, True, True), (False, True, False), (True, None, True)],
)
def test_websocket(bench, route, service, websocket):
    bench.put("services", "s", **({} if service is None else {"enable_websocket": service}))
    bench.put("routes", "1", uri="/", service_id="s", **({} if route is None else {"enable_websocket": route}))
    assert bench.route("/").websocket is websocket


def test_service_name_and_hosts(bench):
    bench.put("services", "s", name="n", hosts=["s.com"])
    bench.put("routes", "1", uri="/", service_id="s")
    bench.put("routes", "2", uri="/", service_id="s", host="r.com")
    assert bench.route("/", "s.com").id == "1"
    assert bench.route("/", "r.com").id == "2"
    assert bench.route("/", "x.com") is None
    assert bench.route("/", "s.com").service_name == "n"


def test_labels_of_the_service(bench):
    bench.put("services", "s", labels={"a": "b"})
    bench.put("routes", "1", uri="/", service_id="s", labels={"c": "d"})
    assert (bench.route("/").labels, bench.route("/").service_labels) == ({"c": "d"}, {"a": "b"})
    bench.put("services", "s", labels={"a": "e"})
    assert bench.route("/").service_labels == {"a": "e"}
    bench.put("services", "s")
    assert bench.route("/").service_labels is None


def test_references_to_nothing(bench):
    errors = bench.put("routes", "1", uri="/", service_id="s", upstream_id="u", plugin_config_id="p")
    assert errors == [
        'routes[1] $.service_id: there is no service "s"',
        'routes[1] $.plugin_config_id: there is no plugin config "p"',
        'routes[1] $.upstream_id: there is no upstream "u"',
    ]
    route = bench.route("/")
    assert route.service_missing == 'there is no service "s"'
    assert route.refusal == 'there is no plugin config "p"'
    assert route.upstream_missing == 'there is no upstream "u"'


def test_a_service_s_missing_upstream_is_told_once(bench):
    bench.put("routes", "1", uri="/", service_id="s")
    bench.put("services", "s", upstream_id="u")
    assert bench.route("/").upstream_missing == 'there is no upstream "u"'
    assert bench.refused() == ['services[s] $.upstream_id: there is no upstream "u"']


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("services", 'service "x" can\'t be used'),
        ("plugin_configs", 'plugin config "x" can\'t be used'),
        ("upstreams", 'upstream "x" can\'t be used'),
    ],
)
def test_references_to_broken_items_refuse(bench, kind, reason):
    attribute = kind[:-1] + "_id"
    bench.put(kind, "x", nonsense=1)
    bench.put("routes", "1", uri="/", plugins={}, **{attribute: "x"})
    route = bench.route("/")
    assert (route.refusal, route.service_missing, route.upstream_missing) == (reason, None, None)
    assert all(error.startswith(f"{kind}[x]") for error in bench.refused())
    good = {"services": {}, "plugin_configs": {"plugins": {}}, "upstreams": {"nodes": {}}}[kind]
    bench.put(kind, "x", **good)
    assert bench.route("/").refusal is None
    assert bench.refused() == []
