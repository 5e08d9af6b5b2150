from bascule.admin.resource_kind import KINDS, with_defaults, without_defaults
from bascule.model import kinds
from bascule.store import keys


def test_every_kind_that_a_store_keeps_is_here() -> None:
    assert set(KINDS) == {*keys.KINDS, *keys.NESTED} >= set(kinds.KINDS)


def test_defaults_are_written_and_nothing_is_overwritten() -> None:
    value = {"uri": "/", "status": 0, "upstream": {"scheme": "https", "nodes": {}}}
    filled = with_defaults(KINDS["routes"], value)
    assert filled["status"] == 0
    assert filled["priority"] == 0
    assert filled["upstream"]["scheme"] == "https"
    assert filled["upstream"]["pass_host"] == "pass"
    assert value == {"uri": "/", "status": 0, "upstream": {"scheme": "https", "nodes": {}}}


def test_what_is_filled_in_can_be_left_out_again() -> None:
    value = {"uri": "/", "status": 0, "upstream": {"scheme": "https", "nodes": {}}}
    assert without_defaults(KINDS["routes"], with_defaults(KINDS["routes"], value)) == value
    assert without_defaults(KINDS["upstreams"], {"nodes": {}, "type": "chash", "pass_host": "pass"}) == {
        "nodes": {},
        "type": "chash",
    }
    assert without_defaults(KINDS["routes"], {"status": True}) == {"status": True}
