"""Where a request comes from: addresses and networks, and what proxies say that may be believed.

Each proxy appends to X-Forwarded-For the address that it was asked from, so the header is true from the right, as far
as the proxies are trusted: the first address that is none of theirs is the client's. All that stands before it may be
made up by anybody.
"""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
FORWARDED = "X-Forwarded-For"


def address_of(text: str) -> Address | None:
    """Return an address, None if the text is none. An IPv4 address in IPv6 is what it stands for."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None  # a Unix socket has no address
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_in(networks: Collection[Network], address: Address | None) -> bool:
    return address is not None and any(address in network for network in networks)


def is_within(inner: Network, outers: Collection[Network]) -> bool:
    return any(inner.version == outer.version and inner.subnet_of(outer) for outer in outers)  # type: ignore[arg-type]


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Collection[Network]) -> str | None:
    """Return who asks: the peer, unless it is a trusted proxy that names somebody else.

    forwarded: the values of X-Forwarded-For in the order in which they came. What is no address ends the search: the
    last proxy that can be trusted is then all that is known.
    """
    known = peer
    hops = [hop for value in forwarded for hop in value.split(",")]
    while hops and is_in(trusted, address_of(known or "")):
        address = address_of(_without_port(hops.pop().strip()))
        if address is None:
            break
        known = str(address)
    return known


def _without_port(hop: str) -> str:
    """Some proxies write `192.0.2.1:4711` or `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def behind(trusted: Collection[Network]) -> Middleware:
    """Return a middleware that has every request come from its client, for all that follows."""

    @web.middleware
    async def come_from_the_client(request: web.Request, handler: Handler) -> web.StreamResponse:
        address = client_address(request.remote, request.headers.getall(FORWARDED, ()), trusted)
        if address is not None and address != request.remote:
            request = request.clone(remote=address)
        return await handler(request)

    return come_from_the_client
