from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bascule.plugin.kit.testing import Binding, MemoryHost, Route, get, make, run
from bascule.plugins.prometheus import Prometheus
from tests.servers.gateway import Gateway
from tests.servers.raw import RawUpstream

VARIABLES: dict[str, Any] = {
    "status": 200,
    "matched_uri": "/hello",
    "balancer_ip": "127.0.0.1",
    "response_source": "upstream",
    "request_time": 0.03,
    "upstream_response_time": 0.025,
    "request_length": 100,
    "bytes_sent": 300,
}
HELLO = Route(uris=("/hello",))
TRADITIONAL = 'request_type="traditional_http",request_llm_model="",llm_model=""'


def observe(
    conf: dict[str, Any] | None = None,
    route: Route | None = HELLO,
    host: MemoryHost | None = None,
    times: int = 1,
    consumer: Binding | None = None,
    set_variables: dict[str, str] | None = None,
    **variables: Any,
) -> list[str]:
    """The metrics after some requests, as lines."""
    mine = host or MemoryHost("prometheus")
    plugin = make(Prometheus, conf or {}, mine)
    for _ in range(times):
        request = get("/hello", route=route, variables={**VARIABLES, **variables})
        request.consumer = consumer
        for name, value in (set_variables or {}).items():
            request.set_var(name, value)
        run(plugin, request)
    return mine.metrics.render().decode().splitlines()


def test_metrics_of_a_request() -> None:
    lines = observe(times=2)
    common = f'route="1",service="",consumer="",node="127.0.0.1",{TRADITIONAL}'
    status = (
        'apisix_http_status{code="200",route="1",matched_uri="/hello",matched_host="",service="",consumer="",'
        f'node="127.0.0.1",{TRADITIONAL},response_source="upstream"}} 2'
    )
    assert status in lines
    assert f'apisix_bandwidth{{type="ingress",{common}}} 200' in lines
    assert f'apisix_bandwidth{{type="egress",{common}}} 600' in lines
    assert f'apisix_http_latency_bucket{{type="request",{common},le="20"}} 0' in lines
    assert f'apisix_http_latency_bucket{{type="request",{common},le="50"}} 2' in lines
    assert f'apisix_http_latency_bucket{{type="upstream",{common},le="50"}} 2' in lines
    assert f'apisix_http_latency_bucket{{type="apisix",{common},le="5"}} 2' in lines
    assert f'apisix_http_latency_sum{{type="request",{common}}} 60' in lines
    bounds = [line.split('le="')[1].split('"')[0] for line in lines if 'latency_bucket{type="request"' in line]
    expected = "1 2 5 10 20 50 100 200 500 1000 2000 5000 10000 30000 60000 +Inf"
    assert bounds == expected.split()


def test_kinds() -> None:
    lines = observe()
    assert "# TYPE apisix_http_status counter" in lines
    assert "# TYPE apisix_http_latency histogram" in lines
    assert "# TYPE apisix_bandwidth counter" in lines


def test_without_an_upstream() -> None:
    lines = observe(upstream_response_time=None, balancer_ip=None, response_source="plugin", status=401)
    assert not any('type="upstream"' in line for line in lines)
    assert any('latency_count{type="apisix"' in line and line.endswith(" 1") for line in lines)
    assert any('code="401"' in line and 'node=""' in line and 'response_source="apisix"' in line for line in lines)


@pytest.mark.parametrize(("status", "source"), [(404, "apisix"), (503, "apisix"), (502, "nginx"), (504, "nginx")])
def test_source_of_the_gateways_own_answers(status: int, source: str) -> None:
    lines = observe(status=status, response_source="gateway")
    assert any(f'code="{status}"' in line and f'response_source="{source}"' in line for line in lines)


def test_no_route() -> None:
    lines = observe(route=None, status=404, matched_uri=None, balancer_ip=None, response_source="gateway")
    assert any('code="404",route="",matched_uri="",matched_host="",service="",' in line for line in lines)


def test_consumer() -> None:
    lines = observe(consumer=Binding("jack"))
    assert any('consumer="jack"' in line and "http_status" in line for line in lines)


NAMED = Route(id="1", name="route_name", service_id="2", service_name="service_name")


@pytest.mark.parametrize(
    ("route", "prefer", "labels"),
    [
        (NAMED, True, 'route="route_name",service="service_name"'),
        (NAMED, False, 'route="1",service="2"'),
        (Route(id="1", service_id="2"), True, 'route="1",service="2"'),
    ],
)
def test_names(route: Route, prefer: bool, labels: str) -> None:
    assert any(f'type="egress",{labels}' in line for line in observe({"prefer_name": prefer}, route))


def test_disabled_labels() -> None:
    disabled = {"http_status": ["matched_uri", "consumer", "response_source"], "bandwidth": ["node"]}
    metadata = Prometheus.Metadata.model_validate({"disabled_labels": disabled})
    lines = observe(host=MemoryHost(metadata=metadata), consumer=Binding("jack"))
    assert any('matched_uri="",' in line and 'response_source=""' in line for line in lines)
    assert any('type="egress"' in line and 'node=""' in line and 'consumer="jack"' in line for line in lines)
    assert any('latency_count{type="request"' in line and 'node="127.0.0.1"' in line for line in lines)


def test_metadata_may_change() -> None:
    host = MemoryHost()
    plugin = make(Prometheus, {}, host)
    for metadata in (None, Prometheus.Metadata.model_validate({"disabled_labels": {"bandwidth": ["route"]}})):
        host.metadata_value = metadata
        run(plugin, get("/", variables=VARIABLES))
    lines = host.metrics.render().decode().splitlines()
    assert any('type="egress",route="1"' in line and line.endswith(" 300") for line in lines)
    assert any('type="egress",route=""' in line and line.endswith(" 300") for line in lines)


def test_models_are_labels_of_bounded_length() -> None:
    lines = observe(set_variables={"request_type": "ai_chat", "request_llm_model": "a" * 500, "llm_model": "gpt"})
    wanted = f'request_type="ai_chat",request_llm_model="{"a" * 128}",llm_model="gpt"'
    assert any(wanted in line for line in lines)


def test_attributes_of_the_gateway() -> None:
    host = MemoryHost(attr={"metric_prefix": "gw_", "default_buckets": [5, 50]})
    lines = observe(host=host)
    assert any(line.startswith("gw_http_status{") for line in lines)
    assert sum('gw_http_latency_bucket{type="request"' in line for line in lines) == 3


def test_two_instances_share_the_metrics() -> None:
    host = MemoryHost()
    observe(host=host)
    assert any("http_status{" in line and line.endswith(" 2") for line in observe(host=host))


def test_global_instance_stands_back() -> None:
    assert Prometheus.run_policy == "prefer_route"


def test_workers_are_summed(gateway: Callable[..., Gateway], raw_upstream: Callable[..., RawUpstream]) -> None:
    upstream = {"type": "roundrobin", "nodes": {raw_upstream().address: 1}}
    route = {
        "id": "1",
        "uris": ["/a*", "/b"],
        "hosts": ["shop.test"],
        "plugins": {"prometheus": {}},
        "upstream": upstream,
    }
    rule = {"id": "1", "plugins": {"prometheus": {}}}
    server = gateway({"routes": [route], "global_rules": [rule]}, workers=3)
    for _ in range(20):
        with server.client() as client:
            assert client.request("GET", "/abc", [("Host", "shop.test")]).status == 200
            assert client.request("GET", "/none").status == 404
    lines = server.metrics().splitlines()
    counts = [line for line in lines if line.startswith("apisix_http_status{")]
    assert len(counts) == 2
    found = 'code="200",route="1",matched_uri="/a*",matched_host="shop.test",service="",consumer="",node="127.0.0.1",'
    assert any(found in line and 'response_source="upstream"' in line and line.endswith(" 20") for line in counts)
    missed = 'code="404",route="",matched_uri="",matched_host="",service="",consumer="",node="",'
    assert any(missed in line and 'response_source="apisix"' in line and line.endswith(" 20") for line in counts)
    assert any(line.startswith("apisix_http_requests_total") for line in lines)
    assert "bascule_shared_counter_evictions 0" in lines


def test_bad_configurations() -> None:
    with pytest.raises(ValidationError, match="prefer_name"):
        make(Prometheus, {"prefer_name": "yes"})
    with pytest.raises(ValidationError, match="disabled_labels"):
        Prometheus.Metadata.model_validate({"disabled_labels": {"bandwidth": ["matched_uri"]}})
