from bascule.admin.version2 import as_version2


def test_one_resource_a_list_and_a_deletion() -> None:
    one = {"key": "/apisix/routes/1", "value": {"uri": "/"}}
    assert as_version2("PUT", "/routes/1", one) == {"action": "set", "count": 1, "node": one}
    assert as_version2("GET", "/routes", {"total": 1, "list": [one]}) == {
        "action": "get",
        "count": 1,
        "node": {"dir": True, "key": "/apisix/routes", "nodes": [one]},
    }
    gone = {"deleted": "1", "key": "/apisix/routes/1"}
    assert as_version2("DELETE", "/routes/1", gone) == gone | {"action": "delete", "node": {}}


def test_anything_else_stays() -> None:
    assert as_version2("GET", "/plugins/list", ["cors"]) == ["cors"]
    assert as_version2("GET", "/schema/route", {"type": "object"}) == {"type": "object"}
