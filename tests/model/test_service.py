from bascule.model.service import Service


def test_nothing_is_required(told):
    assert told(Service, {}) == []


def test_everything(told):
    value = {"plugins": {"a": {}}, "upstream": {"nodes": []}, "enable_websocket": False, "hosts": ["a"], "name": "s"}
    assert told(Service, value) == []


def test_refused(told):
    assert told(Service, {"hosts": [], "enable_websocket": 1, "uri": "/"}) == [
        "$.enable_websocket: must be true or false",
        "$.hosts: must hold at least 1 item",
        '$.uri: unknown attribute "uri"',
    ]
    assert "Lua" in told(Service, {"script": "x"})[0]
