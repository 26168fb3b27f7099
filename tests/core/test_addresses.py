"""Which addresses are the internet, which are ours, and which are nobody's to send us to."""

import ipaddress

import pytest

from proxy.core.addresses import Zone, zone_of

ADDRESSES = {
    Zone.GLOBAL: [
        "8.8.8.8", "168.63.129.17", "192.0.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "2600::1",
        "2001:4860:4860::8888", "64:ff9b::808:808", "::ffff:8.8.8.8", "2001:200::1",
    ],
    Zone.PRIVATE: [
        "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "192.0.2.1",
        "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "192.88.99.1", "240.0.0.1", "fd12::1", "fc00::1",
        "fec0::1", "2001:db8::1", "3fff::1", "3fff:fff::1", "5f00::1", "2001:2::1", "2001:20::1", "64:ff9b::a00:1",
        "64:ff9b:1::808:808", "::ffff:10.0.0.1", "::ffff:0:808:808", "2002:808:808::1", "2001:0:808:808::f7f7:f7f7",
        "4000::1", "1000::1", "fe00::1", "2600::5efe:a00:1", "2600::200:5efe:c0a8:1",
    ],
    Zone.LOOPBACK: [
        "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::1",
        "2600::5efe:7f00:1",
    ],
    Zone.NEVER: [
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "168.63.129.16", "100.100.100.200", "192.0.0.192",
        "192.0.0.1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::1", "fe80::1%eth0", "0.0.0.0", "0.1.2.3",
        "::", "::a9fe:a9fe", "::7f00:1", "224.0.0.1", "239.1.2.3", "255.255.255.255", "ff02::1", "ff0e::1", "100::1",
        "100:0:0:1::1", "::ffff:169.254.169.254", "::ffff:0:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:2:3:4:a9fe:a9fe", "64:ff9b::a83f:8110", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1",
        "2001:0:808:808::5601:5601", "2600::5efe:a9fe:a9fe", "2600::200:5efe:a9fe:a9fe", "nonsense", "", "8.8.8.8:80",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("zone", "address"), [(zone, each) for zone, all_ in ADDRESSES.items() for each in all_])
def test_an_address_is_as_near_as_the_nearest_that_it_may_become(zone: Zone, address: str) -> None:
    assert zone_of(address) is zone


def test_whatever_python_holds_for_not_global_is_not_global_here() -> None:
    """The other way round Python of some versions is the more generous one."""
    python = [*ipaddress.IPv4Address._constants._private_networks, *ipaddress.IPv6Address._constants._private_networks]  # type: ignore[attr-defined]
    assert len(python) > 20
    for network in python:
        if network != ipaddress.ip_network("::ffff:0:0/96"):  # as far as what they embed
            assert zone_of(str(network[-1])) is not Zone.GLOBAL, network
