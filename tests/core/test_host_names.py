"""By which names a listener may be asked."""

import pytest

from proxy.core.doors import HostNames
from proxy.core.errors import HostUnknown

LOOPBACK = HostNames.of("127.0.0.1", ("mirror.example.com", "2001:db8::1"), any_address=False)
OPEN = HostNames.of("0.0.0.0", ("admin.example.com",), any_address=True)
OWN = ["localhost", "LocalHost:5000", "127.0.0.1", "127.0.0.1:5000", "[::1]", "[::1]:5000", "[0:0::1]:80", ""]
STRANGE = [
    "evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.nip.io", "localhost@evil.example",
    "evil.example/localhost", "a b", ":5000", "[::1", "2130706433", "localhost.", "xn--localhost",
]  # fmt: skip


@pytest.mark.parametrize("host", [*OWN, "mirror.example.com", "Mirror.Example.com:443", "[2001:DB8::1]:80"])
def test_its_own_names_are_right(host: str) -> None:
    LOOPBACK.require(host)


@pytest.mark.parametrize("host", [*STRANGE, "admin.example.com", "192.0.2.7", "[2001:db8::2]"])
def test_any_other_is_wrong_and_told_what_allows_it(host: str) -> None:
    with pytest.raises(HostUnknown, match="'host_names'"):
        LOOPBACK.require(host)


@pytest.mark.parametrize("host", [*OWN, "admin.example.com", "192.0.2.7:5001", "[2001:db8::2]:5001", "0.0.0.0:5001"])
def test_a_listener_for_others_has_any_address(host: str) -> None:
    OPEN.require(host)


@pytest.mark.parametrize("host", [*STRANGE, "mirror.example.com"])
def test_and_no_name_but_its_own(host: str) -> None:
    with pytest.raises(HostUnknown):
        OPEN.require(host)
