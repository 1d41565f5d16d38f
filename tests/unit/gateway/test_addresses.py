"""Who asks, behind proxies: what a header may say, and whom it is believed."""

from ipaddress import ip_network

import pytest

from gateway.access.addresses import address_of, client_address, is_within

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8:7::/48"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param("192.0.2.1", [], "192.0.2.1", id="nobody between"),
        pytest.param("192.0.2.1", ["198.51.100.9"], "192.0.2.1", id="a stranger is not believed"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("10.0.0.1", ["198.51.100.9"], "198.51.100.9", id="a proxy"),
        pytest.param("10.0.0.1", ["198.51.100.9, 10.0.0.2"], "198.51.100.9", id="two proxies"),
        pytest.param("10.0.0.1", ["203.0.113.5, 198.51.100.9"], "198.51.100.9", id="what the client made up"),
        pytest.param("10.0.0.1", ["10.0.0.9, 198.51.100.9"], "198.51.100.9", id="the client claims to be a proxy"),
        pytest.param("10.0.0.1", ["203.0.113.5", "198.51.100.9", "10.0.0.2"], "198.51.100.9", id="several headers"),
        pytest.param("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3", id="a client among the proxies"),
        pytest.param("10.0.0.1", ["unknown"], "10.0.0.1", id="no address"),
        pytest.param("10.0.0.1", ["198.51.100.9, unknown"], "10.0.0.1", id="no address on the right"),
        pytest.param("10.0.0.1", ["198.51.100.9, , 10.0.0.2"], "10.0.0.2", id="an empty place"),
        pytest.param("10.0.0.1", [""], "10.0.0.1", id="an empty header"),
        pytest.param("10.0.0.1", ["198.51.100.9:4711"], "198.51.100.9", id="with a port"),
        pytest.param("2001:db8:7::1", ["[2001:db8::9]:4711"], "2001:db8::9", id="IPv6 with a port"),
        pytest.param("2001:db8:7::1", ["2001:db8::9"], "2001:db8::9", id="IPv6"),
        pytest.param("::ffff:10.0.0.1", ["198.51.100.9"], "198.51.100.9", id="a proxy that is IPv4 in IPv6"),
        pytest.param("10.0.0.1", ["::ffff:198.51.100.9"], "198.51.100.9", id="a client that is IPv4 in IPv6"),
        pytest.param(None, ["198.51.100.9"], None, id="no peer"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_trusted_proxy(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert client_address("127.0.0.1", ["198.51.100.9"], ()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "x", "10.0.0", "10.0.0.1/32", "0x7f.1"])
def test_what_is_no_address(text: str) -> None:
    assert address_of(text) is None


def test_a_link_local_address_is_known_without_its_zone() -> None:
    assert str(address_of("fe80::1%eth0")) == "fe80::1"


def test_networks_of_two_kinds_lie_in_none_of_each_other() -> None:
    assert is_within(ip_network("10.1.0.0/16"), TRUSTED)
    assert not is_within(ip_network("::/0"), (ip_network("0.0.0.0/0"),))
