from bascule.model.discovery import Service, service_of, services_in


def test_an_upstream_names_a_service():
    assert service_of({"service_name": "a", "discovery_type": "dns"}) == Service("dns", "a")
    assert service_of({"nodes": {"a:1": 1}}) is None
    assert service_of({"service_name": "", "discovery_type": "dns"}) is None
    assert service_of({"service_name": "a", "discovery_type": 1}) is None
    assert service_of(None) is None


def test_arguments_in_another_order_are_the_same():
    one = service_of({"service_name": "a", "discovery_type": "nacos", "discovery_args": {"x": 1, "y": 2}})
    other = service_of({"service_name": "a", "discovery_type": "nacos", "discovery_args": {"y": 2, "x": 1}})
    assert one == other
    assert one is not None
    assert (one.arg("x"), one.arg("z"), str(one)) == (1, None, 'nacos a {"x":1,"y":2}')
    assert service_of({"service_name": "a", "discovery_type": "n", "discovery_args": {"x": object()}}) == ("n", "a", "")


def test_services_are_found_wherever_they_stand():
    upstream = {"service_name": "a", "discovery_type": "dns"}
    assert list(services_in(upstream)) == [("", Service("dns", "a"))]
    assert list(services_in({"uri": "/", "upstream": upstream})) == [("upstream", Service("dns", "a"))]
    split = {"plugins": {"traffic-split": {"rules": [{"weighted_upstreams": [{"weight": 1}, {"upstream": upstream}]}]}}}
    assert list(services_in(split)) == [
        ("plugins/traffic-split/rules/0/weighted_upstreams/1/upstream", Service("dns", "a"))
    ]
    assert list(services_in([])) == []
