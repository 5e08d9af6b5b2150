UP = {"nodes": {"a:1": 1}}


def test_a_changed_route_is_a_new_object(bench):
    bench.put("routes", "1", uri="/a", upstream=UP)
    first = bench.route("/a")
    bench.put("routes", "1", uri="/a", upstream=UP, name="n")
    assert bench.route("/a") is not first
    assert bench.route("/a").upstream is first.upstream
    bench.put("routes", "1", uri="/b", upstream=UP)
    assert bench.route("/a") is None
    bench.delete("routes", "1")
    assert bench.route("/b") is None
    assert len(bench.tables.router) == 0


def test_what_it_refers_to_is_bound_in_place(bench):
    bench.put("upstreams", "u", **UP)
    bench.put("routes", "1", uri="/a", upstream_id="u")
    route, upstream = bench.route("/a"), bench.route("/a").upstream
    route.plan = object()
    bench.put("upstreams", "u", nodes={"b:1": 1})
    assert bench.route("/a") is route
    assert route.upstream is not upstream
    assert route.plan is None


def test_status_0_is_left_out(bench):
    bench.put("routes", "1", uri="/a", upstream=UP, status=0)
    assert bench.route("/a") is None
    bench.put("routes", "1", uri="/a", upstream=UP, status=1)
    assert bench.route("/a").id == "1"
    bench.put("routes", "1", uri="/a", upstream=UP, status=0)
    assert bench.route("/a") is None
    bench.delete("routes", "1")
    assert bench.tables.counts["routes"] == 0


def test_hosts_of_the_service_follow_it(bench):
    bench.put("routes", "1", uri="/a", service_id="s")
    assert bench.route("/a", "any.com").service_missing
    bench.put("services", "s", hosts=["s.com"])
    assert (bench.route("/a", "any.com"), bench.route("/a", "s.com").id) == (None, "1")
    bench.put("services", "s", hosts=["t.com"])
    assert (bench.route("/a", "s.com"), bench.route("/a", "t.com").id) == (None, "1")
    bench.put("routes", "1", uri="/a", service_id="s", host="own.com")
    assert (bench.route("/a", "t.com"), bench.route("/a", "own.com").id) == (None, "1")


def test_routes_without_plugins_of_their_own_share_a_chain(bench):
    bench.put("services", "s", plugins={"limit": {}})
    bench.put("plugin_configs", "p", plugins={"edit": {}})
    for id in "12":
        bench.put("routes", id, uri=f"/{id}", service_id="s", plugin_config_id="p")
    bench.put("routes", "3", uri="/3", service_id="s", plugins={"first": {}})
    one, two, three = (bench.tables.chain(bench.route(f"/{id}")) for id in "123")
    assert one is two
    assert (one.names, three.names) == (("limit", "edit"), ("first", "limit"))
    bench.put("services", "s", plugins={"limit": {"count": 1}})
    assert bench.tables.chain(bench.route("/1")) is not one
    assert bench.tables.chain(bench.route("/1")) is bench.tables.chain(bench.route("/2"))


def test_a_change_that_leaves_the_plugins_alone_keeps_the_chain(bench):
    bench.put("routes", "1", uri="/a", plugins={"limit": {}})
    chain = bench.tables.chain(bench.route("/a"))
    bench.put("routes", "1", uri="/b", plugins={"limit": {}})
    assert bench.tables.chain(bench.route("/b")) is chain
