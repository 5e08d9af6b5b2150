from bascule.model.consumer import Consumer


def test_accepted(told):
    assert told(Consumer, {"username": "jack_1-a", "group_id": "g", "plugins": {"key-auth": {"key": "k"}}}) == []


def test_refused(told):
    assert told(Consumer, {}) == ["$.username: is required"]
    assert told(Consumer, {"username": "a b"}) == [r"$.username: must match the pattern ^[a-zA-Z0-9_\-]+$"]
    errors = told(Consumer, {"username": "a", "group": 1})
    assert errors == ['$.group: unknown attribute "group"; did you mean "group_id"?']
