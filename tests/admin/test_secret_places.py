from typing import Any

from bascule.admin.secret_places import SecretPlaces
from bascule.store.sealing import Sealer

FIELDS = {"key-auth": ("key",), "ai-proxy-multi": ("instances.auth.header",)}
PLACES = SecretPlaces(Sealer((), lambda name: FIELDS.get(name, ()), False))


def test_wherever_a_plugin_or_a_certificate_has_them() -> None:
    consumer = {"plugins": {"key-auth": {"key": "k", "header": "h"}, "cors": {}}}
    assert PLACES("consumers", consumer) == [("plugins", "key-auth", "key")]
    instances = [{"name": "a"}, {"auth": {"header": {"Authorization": "x", "B": "y"}}}]
    assert PLACES("routes", {"plugins": {"ai-proxy-multi": {"instances": instances}}}) == [
        ("plugins", "ai-proxy-multi", "instances", 1, "auth", "header", "Authorization"),
        ("plugins", "ai-proxy-multi", "instances", 1, "auth", "header", "B"),
    ]
    assert PLACES("ssls", {"cert": "c", "key": "k", "keys": ["a", "b"]}) == [("key",), ("keys", 0), ("keys", 1)]
    assert PLACES("routes", {"upstream": {"tls": {"client_key": "k"}}}) == [("upstream", "tls", "client_key")]


def test_secret_managers() -> None:
    assert PLACES("secrets", {"uri": "u", "token": "t"}) == [("token",)]
    assert PLACES("secrets", {"auth_config": {"private_key": "k"}}) == [("auth_config", "private_key")]


def test_nothing_secret() -> None:
    value: dict[str, Any] = {"uri": "/", "plugins": {"key-auth": {}}}
    assert PLACES("routes", value) == []
