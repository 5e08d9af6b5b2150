"""Sets of IP addresses and networks, as `remote_addrs` and `ipmatch` use them."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

# Answers kept per set: one per client address; when full, the memory starts afresh.
REMEMBERED = 1024


def parse_address(text: str) -> tuple[int, int] | None:
    """(bits, number) of an IPv4 or IPv6 address, None when it is neither; ::ffff:1.2.3.4 counts as 1.2.3.4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.max_prefixlen, int(address)


class AddressSet:
    """IPs and CIDRs; `text in addresses` answers for one address. ValueError names a bad pattern."""

    __slots__ = ("_networks", "_remembered", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        # (bits, bits to shift away) -> the networks' numbers: as many look-ups as there are different prefix lengths.
        self._networks: dict[tuple[int, int], set[int]] = {}
        self._remembered: dict[str, bool] = {}
        for pattern in self.patterns:
            try:
                network = ip_network(pattern, strict=False)
            except ValueError:
                raise ValueError(f"{pattern!r} is not an IP address or CIDR") from None
            mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
            if mapped is not None and network.prefixlen >= 96:
                network = IPv4Network((mapped, network.prefixlen - 96))
            shift = network.max_prefixlen - network.prefixlen
            numbers = self._networks.setdefault((network.max_prefixlen, shift), set())
            numbers.add(int(network.network_address) >> shift)

    def __contains__(self, text: object) -> bool:
        if not isinstance(text, str):
            return False
        known = self._remembered.get(text)
        if known is None:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            known = self._remembered[text] = self._find(text)
        return known

    def _find(self, text: str) -> bool:
        address = parse_address(text)
        if address is None:
            return False
        bits, number = address
        return any(number >> shift in numbers for (width, shift), numbers in self._networks.items() if width == bits)

    def __repr__(self) -> str:
        return f"AddressSet({list(self.patterns)!r})"
