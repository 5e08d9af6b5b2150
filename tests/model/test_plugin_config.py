from bascule.model.plugin_config import PluginConfig


def test_plugins_are_required(told):
    assert told(PluginConfig, {"plugins": {"a": {}}, "id": 1, "name": "n", "labels": {"a": "b"}}) == []
    assert told(PluginConfig, {"id": "1"}) == ["$.plugins: is required"]
