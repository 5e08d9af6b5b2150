"""Lists of IP addresses and networks in a configuration."""

import re
from typing import Annotated

from pydantic import AfterValidator

from bascule.errors.apisix_text import MatchesAny
from bascule.errors.sentences import Refused
from bascule.match.address import AddressSet, parse_address

IpList = AddressSet  # `address in IpList(["10.0.0.0/8", "::1"])`


_IPV6_CIDR = re.compile(r"([0-9a-fA-F:.]*:[0-9a-fA-F:.]*)/[0-9]{1,3}")


def _check(pattern: str) -> str:
    try:
        AddressSet([pattern])
    except ValueError as error:
        # APISIX's schema lets every length of an IPv6 prefix pass; what reads it refuses it then.
        cidr = _IPV6_CIDR.fullmatch(pattern)
        if cidr is not None and parse_address(cidr[1]) is not None:
            raise Refused(str(error), f"invalid ip address: {pattern}", True) from None
        raise
    return pattern


# An IPv4 or IPv6 address or CIDR, as a field of a Config.
IpOrCidr = Annotated[str, AfterValidator(_check), MatchesAny]
