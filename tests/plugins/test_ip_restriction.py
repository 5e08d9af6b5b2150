from typing import Any

import pytest

from bascule.plugin.kit.testing import get, run
from bascule.plugins.ip_restriction import IpRestriction
from tests.plugins.faults import fault_paths

V4 = ["127.0.0.0/24", "113.74.26.106"]
V6 = ["::1", "fe80::/32"]


def test_defaults() -> None:
    conf = IpRestriction.Config.model_validate({"whitelist": V4})
    assert conf.model_dump(exclude_none=True) == {
        "whitelist": V4,
        "message": "Your IP address is not allowed",
        "response_code": 403,
    }


@pytest.mark.parametrize(
    ("conf", "address", "let_in"),
    [
        ({"whitelist": V4}, "127.0.0.1", True),
        ({"whitelist": V4}, "113.74.26.106", True),
        ({"whitelist": V4}, "114.114.114.114", False),
        ({"whitelist": V4}, "2001:db8::2", False),
        ({"blacklist": V4}, "127.0.0.200", False),
        ({"blacklist": V4}, "113.74.26.106", False),
        ({"blacklist": V4}, "114.114.114.114", True),
        ({"blacklist": V4}, "2001:db8::2", True),
        ({"blacklist": V4}, "::ffff:127.0.0.1", False),
        ({"blacklist": V6}, "::1", False),
        ({"blacklist": V6}, "fe80::1:1", False),
        ({"blacklist": V6}, "127.0.0.1", True),
    ],
)
def test_decides_by_address(conf: dict[str, Any], address: str, let_in: bool) -> None:
    result = run(IpRestriction, conf, get("/", remote_addr=address))
    assert (result.answered_by == "upstream") is let_in
    if not let_in:
        assert (result.status, result.body) == (403, b'{"message":"Your IP address is not allowed"}')
        assert result.header("Content-Type") == "application/json"


def test_sees_the_address_that_real_ip_set() -> None:
    request = get("/")
    request.set_client("113.74.26.106")
    assert run(IpRestriction, {"whitelist": ["113.74.26.106"]}, request).status == 200


def test_own_message_and_code() -> None:
    conf = {"blacklist": V4, "message": "Do you want to do something bad?", "response_code": 404}
    result = run(IpRestriction, conf, get("/"))
    assert (result.status, result.body) == (404, b'{"message":"Do you want to do something bad?"}')


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({}, "$"),
        ({"whitelist": ["172.17.40.0/24"], "blacklist": ["10.255.0.0/16"]}, "$"),
        ({"blacklist": []}, "$.blacklist"),
        ({"whitelist": ["10.255.256.0/24"]}, "$.whitelist[0]"),
        ({"whitelist": ["10.0.0.1", "10.255.254.0/38"]}, "$.whitelist[1]"),
        ({"whitelist": ["::1/129"]}, "$.whitelist[0]"),
        ({"whitelist": ["::ffgg"]}, "$.whitelist[0]"),
        ({"whitelist": V4, "message": ""}, "$.message"),
        ({"whitelist": V4, "message": "-1Aa#" * 205}, "$.message"),
        ({"whitelist": V4, "response_code": 409}, "$.response_code"),
        ({"whitelist": V4, "response_code": 402}, "$.response_code"),
        ({"whitelist": V4, "allow": []}, "$.allow"),
    ],
)
def test_refuses(conf: dict[str, Any], path: str) -> None:
    assert fault_paths(IpRestriction, conf) == [path]
