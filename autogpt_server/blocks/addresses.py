"""Which IP addresses of the outside world a block may reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from autogpt_server.errors import BlockError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Networks in which an IPv4 address is hidden: where it starts in the 128 bits.
_EMBEDDING: tuple[tuple[ipaddress.IPv6Network, int], ...] = tuple(
    (ipaddress.IPv6Network(network), shift)
    for network, shift in (
        ("::/96", 0),  # IPv4-compatible
        ("::ffff:0:0/96", 0),  # IPv4-mapped
        ("::ffff:0:0:0/96", 0),  # IPv4-translated
        ("64:ff9b::/96", 0),  # NAT64
        ("64:ff9b:1::/48", 0),  # NAT64, local
        ("2002::/16", 80),  # 6to4
    )
)
#: Not for the public, whatever this Python's own lists say about it.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "2001::/23", "fec0::/10")
)


def check_addresses(host: str, addresses: list[str], is_allowed: Callable[[str], bool]) -> None:
    """Refuse a host when one single address of it is not public.

    All are looked at: a name that answers with a public and a private address is up to no good.

    Raises:
        BlockError: Names the host and the address.
    """
    for text in addresses:
        # The zone says on which cable an address lies, not whose it is.
        address = ipaddress.ip_address(text.partition("%")[0])
        inner = _embedded(address)
        if not any(is_allowed(str(form)) for form in (address, inner)) and not (_is_public(address, inner)):
            raise BlockError(
                f"{host} has the address {text}, which is not public;"
                " the setting AUTOGPT_ALLOWED_NETWORKS lists the networks that may be reached all the same"
            )


def _embedded(address: Address) -> Address:
    """Return the IPv4 address inside of an IPv6 one, or else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        for network, shift in _EMBEDDING:
            if address in network:
                return ipaddress.IPv4Address((int(address) >> shift) & 0xFFFFFFFF)
    return address


def _is_public(address: Address, inner: Address) -> bool:
    if inner != address and isinstance(address, ipaddress.IPv6Address) and address in _EMBEDDING[0][0]:
        return False
    return (
        inner.is_global
        and not (inner.is_multicast or inner.is_reserved or inner.is_unspecified or inner.is_loopback)
        and not any(inner in network or address in network for network in _NEVER)
    )
