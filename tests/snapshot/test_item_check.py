import pytest

from bascule.model.change import Change
from bascule.model.consumer import Consumer
from bascule.model.credential import Credential
from bascule.model.route import Route
from bascule.model.upstream import Upstream
from bascule.snapshot.faults import Faults
from bascule.snapshot.item_check import checked_upstream, interned, shared, validated
from bascule.snapshot.upstream_compiler import Served
from tests.snapshot.bench import pairs


@pytest.mark.parametrize(
    ("model", "kind", "id", "value"),
    [
        (Route, "routes", "1", {"uri": "/", "plugins": {}}),
        (Route, "routes", "1", {"id": 1, "uri": "/", "plugins": {}}),
        (Consumer, "consumers", "joe", {"username": "joe"}),
        (Credential, "credentials", "joe/credentials/1", {"id": "1"}),
        (Credential, "credentials", "joe/credentials/1", {"id": "joe/credentials/1"}),
    ],
)
def test_valid(model, kind, id, value):
    faults = Faults()
    assert validated(model, Change(kind, id, value), faults) is not None
    assert not faults


@pytest.mark.parametrize(
    ("model", "kind", "id", "value", "fault"),
    [
        (
            Route,
            "routes",
            "2",
            {"id": 1, "uri": "/", "plugins": {}},
            ("$.id", 'says "1", but the item is stored as "2"'),
        ),
        (
            Consumer,
            "consumers",
            "joe",
            {"username": "jane"},
            ("$.username", 'says "jane", but the item is stored as "joe"'),
        ),
        (Route, "routes", "2", [], ("$", "must be an object")),
    ],
)
def test_faults(model, kind, id, value, fault):
    faults = Faults()
    assert validated(model, Change(kind, id, value), faults) is None
    assert pairs(faults) == [fault]


def test_checked_upstream():
    faults = Faults()
    assert checked_upstream(None, "k", None, None, (), Served(), faults) is None
    conf = Upstream.model_validate({"nodes": [], "scheme": "udp"})
    checked_upstream(conf, "k", None, None, ("upstream",), Served(), faults)
    assert pairs(faults) == [("$.upstream.scheme", '"udp" is not served yet; served: grpc, grpcs, http, https')]


def test_strings_are_shared():
    one, other = "".join(["a", "b-c"]), "".join(["a", "b-c"])
    assert interned(one) is interned(other)
    assert interned(None) is None
    assert shared((one,))[0] is shared((other,))[0]
    assert shared(()) == ()
