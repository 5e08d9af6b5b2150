from bascule.errors.config_error import ConfigError
from bascule.model.change import Change
from bascule.snapshot.records import ServiceRecord, UpstreamRecord
from bascule.snapshot.state import Broken, State


def service(upstream_id=None):
    return ServiceRecord(packed=b"", file=None, line=None, upstream_id=upstream_id)


def test_dependents_follow_references():
    state = State()
    state.put("services", "s", service("u"))
    assert state.dependents(("upstreams", "u")) == {("services", "s")}  # the target need not exist
    state.put("upstreams", "u", UpstreamRecord(packed=b"", file=None, line=None, upstream=None))
    state.put("services", "s", service("v"))
    assert state.dependents(("upstreams", "u")) == set()
    assert state.dependents(("upstreams", "v")) == {("services", "s")}
    state.put("services", "s", None)
    assert state.dependents(("upstreams", "v")) == set()
    assert state.records["services"] == {}


def test_errors():
    state = State()
    first, second = ConfigError("routes", "1", "$", "bad"), ConfigError("services", "2", "$", "worse")
    state.broken["routes", "1"] = Broken(Change("routes", "1", {}), (first,))
    state.set_link_errors(("services", "2"), (second,))
    assert state.errors() == (first, second)
    assert state.errors_of(("routes", "1")) == (first,)
    state.set_link_errors(("services", "2"), ())
    assert state.errors() == (first,)
