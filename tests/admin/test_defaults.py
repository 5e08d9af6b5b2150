from bascule.admin.defaults import Defaults
from bascule.plugin.registry import Registry


def test_attributes_and_plugins_get_their_defaults() -> None:
    defaults = Defaults(Registry())
    given = {
        "uri": "/",
        "upstream": {"nodes": {"a:1": 1}},
        "plugins": {"key-auth": {}, "no-such": {"a": 1}, "cors": 7},
    }
    completed = defaults.complete("routes", given)
    assert completed["upstream"] == {
        "nodes": {"a:1": 1},
        "type": "roundrobin",
        "scheme": "http",
        "pass_host": "pass",
        "hash_on": "vars",
        "http2": False,
    }
    assert (completed["status"], completed["priority"], "name" in completed) == (1, 0, False)
    plugins = completed["plugins"]
    assert plugins["key-auth"] == {"header": "apikey", "query": "apikey", "hide_credentials": False, "realm": "key"}
    assert (plugins["no-such"], plugins["cors"]) == ({"a": 1}, 7)
    assert given["plugins"] == {"key-auth": {}, "no-such": {"a": 1}, "cors": 7}


def test_what_is_wrong_stays() -> None:
    defaults = Defaults(Registry())
    assert defaults.complete("routes", {"upstream": "x", "plugins": []})["upstream"] == "x"
    assert defaults.complete("no_such_kind", {"a": 1}) == {"a": 1}
