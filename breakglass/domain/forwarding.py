"""Where a forward may never lead, whatever a playbook names: told from the address alone."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# Where machines in a cloud are told their secrets: the common one, AWS's by IPv6, Alibaba's, Azure's.
METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"))
)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
NAT64 = IPv6Network("64:ff9b::/96")


def plain_address(text: str) -> IPv4Address | IPv6Address:
    """The address itself, out of the IPv6 forms that carry an IPv4 one. Raises ValueError where it is none."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour is not None:
            return address.sixtofour
        if address.teredo is not None:
            return address.teredo[1]  # the machine itself; the other one is the server that it asked
    return address


def objection(text: str, *, named: str) -> str:
    """Why nobody is led to this address, or "". `named` is how the playbook calls the place.

    Loopback is the asset's own, for the asset dials: it counts only where the playbook says loopback in so many words,
    never where a name turns out to mean it.
    """
    address = plain_address(text)
    if address in METADATA:
        return "it is a cloud's metadata service"
    if address.is_loopback:
        return "" if named in LOOPBACK_NAMES else "its name means loopback"
    if address.is_link_local:
        return "it is link-local"
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return "it is no machine's address"
    return ""
