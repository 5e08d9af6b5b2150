from bascule.snapshot.compact_json import pack
from bascule.snapshot.referring import Referring

ROUTE = ("routes", "1")
SECRET = "$secret://vault/1/a/b"


def test_items_are_found_by_what_they_refer_to():
    referring = Referring()
    referring.note(ROUTE, pack({"plugins": {"x": {"y": [SECRET]}}}), None)
    referring.note(("routes", "2"), pack({"uri": "/$a://b"}), None)
    referring.note(("consumers", "c"), None, {"plugins": {"key-auth": {"key": "$secret://vault/1/other"}}})
    assert referring.items({SECRET}) == [ROUTE]
    assert referring.items({SECRET, "$secret://vault/1/other"}) == [ROUTE, ("consumers", "c")]
    assert referring.items({"$secret://vault/1/none"}) == []


def test_the_version_in_use_and_the_newest_both_count():
    referring = Referring()
    referring.note(ROUTE, pack({"a": SECRET}), {"a": "$secret://vault/1/new"})
    assert referring.items({"$secret://vault/1/new"}) == referring.items({SECRET}) == [ROUTE]
    referring.note(ROUTE, pack({"a": "plain"}), None)
    assert referring.items({"$secret://vault/1/new", SECRET}) == []
