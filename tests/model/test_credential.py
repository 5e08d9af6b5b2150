from bascule.model.credential import Credential


def test_accepted(told):
    assert told(Credential, {"id": "joe/credentials/1", "plugins": {"key-auth": {}}, "name": "n"}) == []
    assert told(Credential, {}) == []


def test_one_plugin_at_most(told):
    assert told(Credential, {"plugins": {"a": {}, "b": {}}}) == ["$.plugins: must hold at most 1 item"]
