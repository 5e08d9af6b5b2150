from bascule.model.global_rule import GlobalRule


def test_plugins_are_required(told):
    assert told(GlobalRule, {"plugins": {"a": {}}, "id": 1}) == []
    assert told(GlobalRule, {"id": "1"}) == ["$.plugins: is required"]


def test_it_has_no_name(told):
    assert told(GlobalRule, {"plugins": {}, "name": "n"}) == ['$.name: unknown attribute "name"']
