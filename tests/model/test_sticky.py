import pytest

from bascule.model.sticky import Sticky


def test_defaults():
    sticky = Sticky.model_validate({})
    assert (sticky.name, sticky.ttl, sticky.path, sticky.secure) == ("bascule_node", None, "/", None)
    assert (sticky.http_only, sticky.same_site) == (True, "lax")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"name": "shop-node", "ttl": 3600, "path": "/shop", "secure": False, "http_only": False, "same_site": "strict"},
        {"same_site": "none", "secure": True},
        {"same_site": None},
    ],
)
def test_accepted(told, value):
    assert told(Sticky, value) == []


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"name": ""}, "$.name"),
        ({"name": "a b"}, "$.name"),
        ({"name": "a;b"}, "$.name"),
        ({"name": "a\r\nSet-Cookie"}, "$.name"),
        ({"ttl": 0}, "$.ttl"),
        ({"ttl": "1"}, "$.ttl"),
        ({"path": "shop"}, "$.path"),
        ({"path": "/a;b"}, "$.path"),
        ({"path": "/a\n"}, "$.path"),
        ({"same_site": "any"}, "$.same_site"),
        ({"same_site": "none"}, "$"),
        ({"domain": "a"}, "$.domain"),
    ],
)
def test_refused(told, value, path):
    assert [sentence.split(": ")[0] for sentence in told(Sticky, value)] == [path]
