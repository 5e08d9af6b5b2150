"""What chash chooses by."""

from types import SimpleNamespace
from typing import Any

import pytest

from bascule.engine.hash_key import key_reader


class Asked:
    """An exchange with these variables."""

    remote_addr = "10.0.0.1"

    def __init__(self, **variables: Any) -> None:
        self.variables = variables

    def ensure(self) -> "Asked":
        return self

    def var(self, name: str) -> Any:
        return self.variables.get(name)


def reader(hash_on: str, key: str = "") -> Any:
    return key_reader(SimpleNamespace(type="chash", hash_on=hash_on, hash_key=key))


@pytest.mark.parametrize(
    ("hash_on", "key", "variables", "expected"),
    [
        ("vars", "uri", {"uri": "/a"}, "/a"),
        ("vars", "arg_id", {}, "10.0.0.1"),
        ("header", "X-User-Id", {"http_x_user_id": "u"}, "u"),
        ("header", "X-User-Id", {"http_x_user_id": ""}, "10.0.0.1"),
        ("cookie", "Session-1", {"cookie_Session-1": "c"}, "c"),
        ("consumer", "", {"consumer_name": "jack"}, "jack"),
        ("consumer", "", {}, "10.0.0.1"),
        ("vars_combinations", "$host$uri", {"host": "a", "uri": "/b"}, "a/b"),
        ("vars_combinations", "$host", {}, "10.0.0.1"),
        ("vars", "remote_port", {"remote_port": 80}, "80"),
    ],
)
def test_keys(hash_on: str, key: str, variables: dict[str, Any], expected: str) -> None:
    assert reader(hash_on, key)(Asked(**variables)) == expected


def test_other_balancers_need_none() -> None:
    assert key_reader(SimpleNamespace(type="roundrobin", hash_on="vars", hash_key="uri")) is None
