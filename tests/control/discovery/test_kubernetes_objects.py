from bascule.control.discovery.discovery import DiscoveredNode
from bascule.control.discovery.kubernetes_objects import Cluster, Kind
from tests.servers.kubernetes import endpoint_slice, endpoints


def node(host, port=80, **metadata):
    return DiscoveredNode(host, port, 50, 0, metadata or None)


def test_endpoints_by_name_and_number_of_the_port():
    cluster = Cluster("", 50)
    two = endpoints("ns", "web", "10.0.0.1", "10.0.0.2")
    two["subsets"].append(
        {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"port": 9}], "notReadyAddresses": [{"ip": "x"}]}
    )
    assert cluster.replace(Kind.ENDPOINTS, [two]) == {
        "ns/web:80": (node("10.0.0.1"), node("10.0.0.2")),
        "ns/web:web": (node("10.0.0.1"), node("10.0.0.2")),
        "ns/web:9": (node("10.0.0.3", 9),),
    }
    changed = cluster.change(Kind.ENDPOINTS, endpoints("ns", "web", "10.0.0.1"), gone=False)
    assert changed == {"ns/web:80": (node("10.0.0.1"),), "ns/web:web": (node("10.0.0.1"),), "ns/web:9": ()}
    assert cluster.change(Kind.ENDPOINTS, endpoints("ns", "web"), gone=False) == {"ns/web:80": (), "ns/web:web": ()}


def test_what_is_gone_is_told():
    cluster = Cluster("first/", 50)
    cluster.replace(Kind.ENDPOINTS, [endpoints("ns", "a", "1.1.1.1"), endpoints("ns", "b", "1.1.1.2")])
    assert cluster.change(Kind.ENDPOINTS, endpoints("ns", "a"), gone=True) == {
        "first/ns/a:80": (),
        "first/ns/a:web": (),
    }
    assert cluster.replace(Kind.ENDPOINTS, []) == {"first/ns/b:80": (), "first/ns/b:web": ()}
    assert cluster.change(Kind.ENDPOINTS, endpoints("ns", "a"), gone=True) == {}


def test_slices_of_one_service_are_put_together():
    cluster = Cluster("", 50)
    cluster.replace(
        Kind.SLICES,
        [
            endpoint_slice("ns", "web-1", "web", "10.0.0.1", "10.0.0.2", zone="a"),
            endpoint_slice("ns", "web-2", "web", "10.0.0.2", "10.0.0.3"),
            endpoint_slice("ns", "lonely", None, "10.0.0.9"),
        ],
    )
    assert cluster.everything()["ns/web:web"] == (
        node("10.0.0.1", zone="a"),
        node("10.0.0.2", zone="a"),
        node("10.0.0.3"),
    )
    changed = cluster.change(Kind.SLICES, endpoint_slice("ns", "web-1", "web"), gone=True)
    assert changed["ns/web:80"] == (node("10.0.0.2"), node("10.0.0.3"))
    waiting = endpoint_slice("ns", "web-2", "web", "10.0.0.2", conditions={"ready": False, "serving": True})
    assert cluster.change(Kind.SLICES, waiting, gone=False) == {"ns/web:80": (), "ns/web:web": ()}


def test_what_kubernetes_would_not_send_is_passed_over():
    cluster = Cluster("", 50)
    broken = [None, {}, {"metadata": {"namespace": "n", "name": "x"}, "subsets": [{"ports": [{}], "addresses": [1]}]}]
    assert cluster.replace(Kind.ENDPOINTS, broken) == {}
    assert cluster.replace(Kind.SLICES, [{"metadata": {"namespace": "n", "name": "x", "labels": 5}}]) == {}
    assert cluster.change(Kind.SLICES, {}, gone=False) == {}


def test_paths():
    assert Kind.ENDPOINTS.path(None) == "/api/v1/endpoints"
    assert Kind.SLICES.path("ns") == "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices"
