import pytest
from pydantic import ValidationError

from bascule.plugin import Config
from bascule.plugin.kit.ip_list import IpList, IpOrCidr


class Listed(Config):
    addresses: list[IpOrCidr]


def test_addresses_and_networks():
    listed = IpList(["10.0.0.0/8", "192.168.1.5", "2001:db8::/32"])
    for address in ("10.1.2.3", "192.168.1.5", "2001:db8::5", "::ffff:10.0.0.1"):
        assert address in listed
    for address in ("11.0.0.1", "192.168.1.6", "2001:db9::", "text", ""):
        assert address not in listed


def test_as_a_field():
    assert Listed.model_validate({"addresses": ["::1", "0.0.0.0/0"]}).addresses == ["::1", "0.0.0.0/0"]
    for bad in ("10.0.0", "10.0.0.0/33", "host", ""):
        with pytest.raises(ValidationError, match="not an IP address or CIDR"):
            Listed.model_validate({"addresses": [bad]})
