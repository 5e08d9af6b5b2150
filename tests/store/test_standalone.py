from typing import Any

from bascule.store.standalone import read_standalone


def keys(document: Any) -> list[tuple[str, str]]:
    return [(item.kind, item.id) for item in read_standalone(document).items]


def faults(document: Any) -> list[tuple[tuple[str | int, ...], str]]:
    return read_standalone(document).faults


def test_items_and_their_keys() -> None:
    document = {
        "routes": [{"id": 1}, {"id": "b"}, {"uri": "/x"}],
        "consumers": [{"username": "anna"}, {"id": "anna/credentials/first", "plugins": {}}],
        "plugin_metadata": [{"id": "http-logger", "log_format": {}}],
        "secrets": [{"id": "vault/1", "uri": "x"}],
        "services": None,
        "routes_conf_version": 3,
    }
    found = read_standalone(document)
    assert not found.faults
    assert {(item.kind, item.id): item.value for item in found.items} == {
        ("routes", "1"): {"id": 1},
        ("routes", "b"): {"id": "b"},
        ("routes", "arr_3"): {"uri": "/x"},
        ("consumers", "anna"): {"username": "anna"},
        ("credentials", "anna/credentials/first"): {"id": "first", "plugins": {}},
        ("plugin_metadata", "http-logger"): {"log_format": {}},
        ("secrets", "vault/1"): {"uri": "x"},
    }


def test_a_number_and_its_text_are_the_same_id_and_the_first_stays() -> None:
    document = {"routes": [{"id": 1, "uri": "/a"}, {"id": "1", "uri": "/b"}]}
    assert [item.value["uri"] for item in read_standalone(document).items] == ["/a"]
    assert faults(document) == [(("routes", 1), 'the id "1" is taken by $.routes[0]; this one is left out')]


def test_what_is_wrong_is_told_by_place() -> None:
    assert [
        place for place, _ in faults({"routs": [], "services": {}, "routes": [1, {"id": True}], "credentials": []})
    ] == [
        ("routs",),
        ("services",),
        ("routes", 0),
        ("routes", 1),
        ("credentials",),
    ]
    assert faults([1]) == [((), "must be a mapping of kinds of resources to lists")]
    assert 'did you mean "routes"' in faults({"routs": []})[0][1]
    for consumer in ({}, {"id": "anna/first"}, {"id": "anna/credentials/"}, {"id": "/credentials/x"}, {"username": 1}):
        assert len(faults({"consumers": [consumer]})) == 1
    assert len(faults({"plugin_metadata": [{}], "secrets": [{}]})) == 2


def test_decorations_stand_among_services() -> None:
    items = read_standalone(
        {"services": [{"id": "s"}, {"id": "s/graphql_cost_decorations/d", "field_path": "a"}]}
    ).items
    assert [(item.kind, item.id) for item in items][1] == ("graphql_cost_decorations", "s/graphql_cost_decorations/d")
    assert items[1].value == {"id": "d", "field_path": "a"}
    for id in ("s/x", "/graphql_cost_decorations/d", "s/graphql_cost_decorations/", "s/graphql_cost_decorations/d/e"):
        assert len(faults({"services": [{"id": id}]})) == 1


def test_a_plugin_without_settings() -> None:
    [item] = read_standalone({"routes": [{"id": 1, "plugins": {"key-auth": None, "cors": {"max_age": 1}}}]}).items
    assert item.value["plugins"] == {"key-auth": {}, "cors": {"max_age": 1}}


def test_the_index_of_a_change_is_no_attribute() -> None:
    [item] = read_standalone({"routes": [{"id": 1, "uri": "/", "modifiedIndex": 7}]}).items
    assert item.value == {"id": 1, "uri": "/"}


def test_nothing_is_nothing() -> None:
    assert keys(None) == keys({}) == []


def test_the_file_s_own_list_of_plugins() -> None:
    assert read_standalone({}).plugins is None
    document = {"plugins": [{"name": "cors"}, "key-auth", {"name": "mqtt-proxy", "stream": True}, {"nam": "x"}]}
    assert read_standalone(document).plugins == ("cors", "key-auth")
    assert faults(document)[0][0] == ("plugins", 3)
    assert faults({"plugins": {}}) == [(("plugins",), "must be a list")]
