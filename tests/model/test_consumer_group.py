from bascule.model.consumer_group import ConsumerGroup


def test_plugins_are_required(told):
    assert told(ConsumerGroup, {"plugins": {"a": {}}, "id": 1, "name": "n", "labels": {"a": "b"}}) == []
    assert told(ConsumerGroup, {"id": "1"}) == ["$.plugins: is required"]
