import pytest

from bascule.model.route import Route

UP = {"upstream_id": "1"}


@pytest.mark.parametrize(
    "value",
    [
        {"uri": "/*"} | UP,
        {"uris": ["/a", "/b"], "service_id": 1},
        {"uri": "/", "plugins": {}},
        {"uri": "/", "upstream": {"nodes": {"a": 1}}, "timeout": {"connect": 1, "send": 1, "read": 1}},
        {
            "uri": "/",
            "hosts": ["a.com", "*.b.com"],
            "remote_addrs": ["10.0.0.0/8"],
            "methods": ["GET"],
            "priority": -3,
            "vars": [["arg_a", "==", "b"]],
            "enable_websocket": True,
            "status": 0,
            "plugin_config_id": "p",
        }
        | UP,
    ],
)
def test_accepted(told, value):
    assert told(Route, value) == []


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({"uri": "/"}, ['$: needs at least one of "plugins", "upstream", "upstream_id" and "service_id"']),
        (UP, ['$: needs exactly one of "uri" and "uris"']),
        ({"uri": "/", "uris": ["/"]} | UP, ['$: needs exactly one of "uri" and "uris"']),
        ({"uri": "/", "host": "a", "hosts": ["b"]} | UP, ['$: only one of "host" and "hosts" is allowed']),
        (
            {"uri": "/", "remote_addr": "::1", "remote_addrs": ["::1"]} | UP,
            ['$: only one of "remote_addr" and "remote_addrs" is allowed'],
        ),
        ({"uri": ""} | UP, ["$.uri: must have at least 1 character"]),
        ({"uris": ["/a", "/a"]} | UP, ["$.uris: holds '/a' twice"]),
        ({"uri": "/", "plugins": {"a": 1}}, ["$.plugins.a: must be an object"]),
        ({"uri": "/", "vars": {}} | UP, ["$.vars: must be a list"]),
        ({"uri": "/", "hots": "a"} | UP, ['$.hots: unknown attribute "hots"; did you mean "hosts"?']),
        ({"uri": "/", "upstream": {"nodes": {"a": -1}}}, ["$.upstream.nodes.a: must be at least 0"]),
    ],
)
def test_refused(told, value, errors):
    assert told(Route, value) == errors


@pytest.mark.parametrize("attribute", ["script", "filter_func", "script_id"])
def test_lua_is_refused(told, attribute):
    (error,) = told(Route, {"uri": "/", attribute: "function() end"} | UP)
    assert error.startswith(f"$.{attribute}: ")
    assert "Lua" in error
