from bascule.model.plugin_metadata import PluginMetadata, own_attributes


def test_any_object_is_accepted_here(told):
    assert told(PluginMetadata, {"log_format": {"a": "$b"}}) == []
    assert told(PluginMetadata, []) == ["$: must be an object"]


def test_bookkeeping_is_left_out_unless_the_plugin_has_it():
    value = {"id": "http-logger", "name": "n", "update_time": 1, "log_format": {}}
    assert own_attributes(value, frozenset({"log_format"})) == {"log_format": {}}
    assert own_attributes(value, frozenset({"name"})) == {"name": "n", "log_format": {}}
