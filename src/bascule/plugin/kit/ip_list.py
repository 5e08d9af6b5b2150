"""Lists of IP addresses and networks in a configuration."""

from typing import Annotated

from pydantic import AfterValidator

from bascule.match.address import AddressSet

IpList = AddressSet  # `address in IpList(["10.0.0.0/8", "::1"])`


def _check(pattern: str) -> str:
    AddressSet([pattern])
    return pattern


# An IPv4 or IPv6 address or CIDR, as a field of a Config.
IpOrCidr = Annotated[str, AfterValidator(_check)]
