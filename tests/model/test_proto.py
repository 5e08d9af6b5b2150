from bascule.model.proto import Proto


def test_content(told):
    assert told(Proto, {"content": 'syntax = "proto3";'}) == []
    assert told(Proto, {}) == ["$.content: is required"]
    assert told(Proto, {"content": ""}) == ["$.content: must have at least 1 character"]
